"""Parquet and ORC: columns of Arrow to columns of the table. Pure but for the file it is given.

Conversions of ``mappings.md`` (Parquet): numbers to numbers and text, text to what it says, lists,
maps and structures to ``dynamic``. What fits a column's type is taken as it is, by the column; all
else value by value, by the rules of :mod:`cluster.ingest.trees`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.catalog.model import ScalarType
from cluster.errors import MalformedPayloadError
from cluster.ingest.mappings import Transform
from cluster.ingest.request import DataFormat
from cluster.ingest.text import DATETIME_FIRST_US, DATETIME_LAST_US
from cluster.ingest.trees import trees_to_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from cluster.ingest.plan import TablePlan

BATCH_ROWS: Final = 65_536


def parquet_batches(stream: BinaryIO, plan: TablePlan) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file in the columns of the plan, batch by batch.

    Raises MalformedPayloadError for a file that is not one.
    """

    def read() -> Iterator[pa.RecordBatch]:
        file = pq.ParquetFile(stream)
        roots = roots_of(plan)
        present = file.schema_arrow.names
        wanted = [name for name in present if roots is None or name in roots]
        yield from file.iter_batches(batch_size=BATCH_ROWS, columns=wanted, use_threads=False)

    yield from converted_batches(read(), DataFormat.PARQUET, plan)


def roots_of(plan: TablePlan) -> set[str] | None:
    """The columns of a file that the plan needs; None: all."""
    if not all(plan.paths):
        return None
    return {str(path[0]) for path in plan.paths}


def converted_batches(
    batches: Iterator[pa.RecordBatch], data_format: DataFormat, plan: TablePlan
) -> Iterator[pa.RecordBatch]:
    """Batches of a file in the columns of the plan. Raises MalformedPayloadError."""
    try:
        for batch in batches:
            yield _converted(batch, plan)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise MalformedPayloadError(
            f"the file is not {data_format.value}, or damaged: {str(error)[:200]}",
            remedy="Check the format named, and the file.",
        ) from None


def _converted(batch: pa.RecordBatch, plan: TablePlan) -> pa.RecordBatch:
    if Transform.DROP_MAPPED_FIELDS in plan.transforms:
        return trees_to_batch(plan, _readable(batch).to_pylist())
    arrays: list[pa.Array | None] = []
    for index, path in enumerate(plan.paths):
        array = None
        if plan.transforms[index] is None and len(path) == 1:
            place = batch.schema.get_field_index(str(path[0]))
            if place >= 0:
                array = _cast(batch.column(place), plan.columns[index].type, plan.types[index])
            else:
                missing = pa.scalar(plan.missing[index], plan.types[index])
                array = pa.repeat(missing, batch.num_rows)
        arrays.append(array)
    slow = [index for index, array in enumerate(arrays) if array is None]
    if slow:
        paths = [plan.paths[index] for index in slow]
        if all(paths):
            roots = {path[0] for path in paths}
            batch = batch.select([name for name in batch.schema.names if name in roots])
        by_value = trees_to_batch(plan.only(slow), _readable(batch).to_pylist())
        for place, index in enumerate(slow):
            arrays[index] = by_value.column(place)
    return plan.bound_large_values(pa.RecordBatch.from_arrays(arrays, schema=plan.schema))


def _readable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with what Python's own types can hold: microseconds."""
    arrays = []
    for array in batch.columns:
        kind = array.type
        if pa.types.is_dictionary(kind):
            array = array.dictionary_decode()
        elif pa.types.is_timestamp(kind) and kind.unit == "ns":
            array = array.cast(pa.timestamp("us", kind.tz), safe=False)
        elif pa.types.is_duration(kind) and kind.unit == "ns":
            array = array.cast(pa.duration("us"), safe=False)
        elif pa.types.is_time(kind):
            array = array.cast(pa.time64("us"), safe=False)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _cast(array: pa.Array, kind: ScalarType, arrow_type: pa.DataType) -> pa.Array | None:
    """The column if Arrow's cast is what the rules say; None if it is not."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    source = array.type
    if kind is ScalarType.STRING:
        is_text = pa.types.is_string(source) or pa.types.is_large_string(source)
        if is_text or pa.types.is_integer(source):
            found = pc.fill_null(array.cast(arrow_type), "")
            found.validate(full=True)  # readers believe a file that its text is UTF-8
            return found
        return None
    if not _is_plain(source, kind):
        return None
    if kind is ScalarType.DATETIME:
        return _moments(array)
    try:
        return array.cast(arrow_type, safe=kind is not ScalarType.TIMESPAN)
    except pa.ArrowInvalid:
        return None


def _moments(array: pa.Array) -> pa.Array | None:
    """Moments as naive microseconds of UTC; None if one is outside the years 1 to 9999."""
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("s"))
    unit = array.type.unit
    naive = array.view(pa.timestamp(unit))
    if unit == "ns":
        naive = pc.floor_temporal(naive, unit="microsecond")
    try:
        found = naive.cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        return None
    if found.null_count < len(found):
        ends = pc.min_max(found.view(pa.int64()))
        least, most = ends["min"].as_py(), ends["max"].as_py()
        if least < DATETIME_FIRST_US or most > DATETIME_LAST_US:
            return None
    return found


def _is_plain(source: pa.DataType, kind: ScalarType) -> bool:
    return any(test(source) for test in _TAKEN.get(kind, ()))


_TAKEN: Final[dict[ScalarType, tuple[Callable[[pa.DataType], bool], ...]]] = {
    ScalarType.BOOL: (pa.types.is_boolean,),
    ScalarType.INT: (pa.types.is_integer,),
    ScalarType.LONG: (pa.types.is_integer,),
    ScalarType.REAL: (pa.types.is_floating, pa.types.is_integer),
    ScalarType.DECIMAL: (pa.types.is_decimal,),
    ScalarType.DATETIME: (pa.types.is_timestamp, pa.types.is_date),
    ScalarType.TIMESPAN: (pa.types.is_duration,),
}
"""Arrow types whose cast is what the rules say."""
