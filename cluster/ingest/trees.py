"""Records as Python values: what readers of Avro, Parquet and ORC give. Pure.

A value becomes its column's by the text of it, so the rules of :mod:`cluster.ingest.text` hold for
every format; the commonest pairs of value and column are taken directly.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from cluster.catalog.model import ScalarType
from cluster.ingest import refusals
from cluster.ingest.mappings import Transform
from cluster.ingest.plan import WrongValueError
from cluster.ingest.text import EPOCH
from cluster.ingest.transforms import bag_array_to_dictionary, is_unix, json_of, text_of, to_base64

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cluster.ingest.mappings import Path
    from cluster.ingest.plan import TablePlan

_INT_BITS: Final = {ScalarType.INT: 31, ScalarType.LONG: 63}
_VALUE_CHARACTERS: Final = 200


def trees_to_batch(plan: TablePlan, records: Sequence[Any]) -> pa.RecordBatch:
    """Records through the paths of the plan.

    Raises MalformedPayloadError for the first wrong value in the order of records, and
    PayloadTooLargeError for a value over its limit, unless the plan is lenient.
    """
    first: WrongValueError | None = None
    arrays: list[pa.Array] = []
    for index, path in enumerate(plan.paths):
        values: Iterable[Any] = (at_path(record, path) for record in records)
        if plan.transforms[index] is Transform.DROP_MAPPED_FIELDS:
            below = _below(plan, index)
            values = (_without(value, below) for value in values)
        try:
            array = plan.converted(index, partial(tree_value, plan, index), values)
        except WrongValueError as error:
            if first is None or error.record < first.record:
                first = error
        else:
            arrays.append(array)
    if first is not None:
        column, value = (
            plan.columns[first.index],
            at_path(records[first.record], plan.paths[first.index]),
        )
        raise refusals.wrong_value(
            first.record + 1, column, str(value)[:_VALUE_CHARACTERS], str(first.reason)
        )
    return plan.bound_large_values(pa.RecordBatch.from_arrays(arrays, schema=plan.schema))


def at_path(value: Any, path: Path) -> Any:
    """What the path leads to; None if nothing."""
    for step in path:
        if isinstance(step, str):
            if isinstance(value, list):  # maps of Parquet and ORC are lists of pairs
                value = dict(value) if all(map(_is_pair, value)) else None
            value = value.get(step) if isinstance(value, dict) else None
        elif isinstance(value, list) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def tree_value(plan: TablePlan, index: int, value: Any) -> Any:
    """The Arrow-ready value of column ``index``. Raises ValueError."""
    if value is None:
        return plan.missing[index]
    kind, transform = plan.columns[index].type, plan.transforms[index]
    if transform is not None and not is_unix(transform):
        value = _transformed(transform, value)
        if value is None:
            return plan.missing[index]
        if kind is ScalarType.DYNAMIC and transform is not Transform.BYTES_AS_BASE64:
            return value
    elif transform is None:
        found = _direct(plan, index, value)
        if found is not None:
            return found
    text = text_of(value)
    if not text:
        return plan.missing[index]
    return plan.converters[index](text)


def _direct(plan: TablePlan, index: int, value: Any) -> Any:
    """The Arrow-ready value where no text is needed; None where it is. Raises ValueError."""
    kind = plan.columns[index].type
    bits = _INT_BITS.get(kind)
    if bits is not None and type(value) is int:
        if -(1 << bits) <= value < 1 << bits:
            return value
        raise ValueError(f"does not fit in {bits + 1} bits")
    if type(value) is float:
        return _of_float(plan, index, value)
    if kind is ScalarType.DATETIME and isinstance(value, datetime) and value.tzinfo is None:
        elapsed = value - EPOCH
        return (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
    if kind is ScalarType.DYNAMIC and isinstance(value, list | tuple | dict):
        return json_of(value)
    if kind is ScalarType.GUID and isinstance(value, bytes) and len(value) == 16:
        return value
    return None


def _of_float(plan: TablePlan, index: int, value: float) -> Any:
    kind = plan.columns[index].type
    if kind is ScalarType.REAL:
        return value
    if kind in _INT_BITS and value.is_integer():
        return tree_value(plan, index, int(value))
    return plan.converters[index](repr(value))


def _transformed(transform: Transform, value: Any) -> Any:
    if transform is Transform.BYTES_AS_BASE64:
        return to_base64(value)
    text = json_of(value)
    if transform is Transform.BAG_ARRAY_TO_DICTIONARY:
        try:
            return bag_array_to_dictionary(text)
        except ValueError:
            return text  # what it cannot work on stays what it is
    return text


def _below(plan: TablePlan, index: int) -> list[Path]:
    own = plan.paths[index]
    return [
        other[len(own) :]
        for at, other in enumerate(plan.paths)
        if at != index and len(other) > len(own) and other[: len(own)] == own
    ]


def _without(value: Any, paths: Sequence[Path]) -> Any:
    """The object without the fields the paths lead to; anything else is itself."""
    if not isinstance(value, dict):
        return value
    kept = dict(value)
    for name in {path[0] for path in paths}:
        deeper = [path[1:] for path in paths if path[0] == name]
        if name in kept and isinstance(name, str):
            if () in deeper:
                del kept[name]
            else:
                kept[name] = _without(kept[name], deeper)
    return kept


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
