"""JSON whose mapping leads deeper than one property, or transforms what it finds.

Every record stays as it is written until a path has led to a value, and the value too: numbers
keep their digits, documents their spelling. What a path does not lead to is missing. About five
times the cost of :class:`cluster.ingest.bags.JsonFormat`, which takes all other mappings.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cluster.errors import RequestError
from cluster.ingest import refusals
from cluster.ingest.bags import BYTE_ORDER_MARK, check_lines, check_shape, json_to_batch, not_parsed
from cluster.ingest.mappings import Transform
from cluster.ingest.refusals import DeclinedError
from cluster.ingest.transforms import bag_array_to_dictionary, drop_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from cluster.ingest.mappings import Path
    from cluster.ingest.plan import TablePlan

_NULL: Final = msgspec.Raw(b"null")
_record: Final = msgspec.json.Decoder(msgspec.Raw)
_records: Final = msgspec.json.Decoder(list[msgspec.Raw])
_bag: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class PathRows(NamedTuple):
    """A payload that parses: the value each path leads to, by column, as written."""

    data: bytes
    row_count: int
    texts: list[list[str]]


def needs_paths(plan: TablePlan) -> bool:
    """Whether JSON for this plan is more than a struct of properties."""
    paths = plan.paths
    is_plain = all(len(path) == 1 and isinstance(path[0], str) for path in paths)
    return not is_plain or len(set(paths)) < len(paths) or any(plan.transforms)


class PathFormat:
    """JSON Lines (``lines``), MultiJSON or SingleJSON for one table and mapping with paths."""

    def __init__(self, plan: TablePlan, *, lines: bool) -> None:
        self._plan = plan
        self._lines = lines
        self._dropped = [_below(path, plan.paths, index) for index, path in enumerate(plan.paths)]

    def prepare(self, payload: bytes) -> PathRows:
        """Parses the payload and finds every value; raises as ``JsonFormat.prepare`` does."""
        data = payload.removeprefix(BYTE_ORDER_MARK)
        check_shape(data, self._plan)
        try:
            if not self._lines and data.lstrip().startswith(b"["):
                rows: list[msgspec.Raw] = _records.decode(data)
            else:
                rows = _record.decode_lines(data)
            texts = self._texts(rows)
        except RecursionError:
            raise refusals.too_deep("the document", self._plan.limits.json_depth) from None
        except msgspec.DecodeError as error:
            raise not_parsed(data, str(error), lines=self._lines) from None
        if not rows:
            raise refusals.empty_payload(self._plan.database, self._plan.table)
        if self._lines:
            check_lines(data, len(rows))
        return PathRows(data, len(rows), texts)

    def decode_together(self, prepared: Sequence[PathRows]) -> pa.RecordBatch:
        """All rows of all payloads, in order. Raises DeclinedError if any value is not fine."""
        if self._plan.is_lenient or len(prepared) == 1:
            raise DeclinedError  # decode_exactly does it at once
        columns = [
            list(chain.from_iterable(texts))
            for texts in zip(*(rows.texts for rows in prepared), strict=True)
        ]
        try:
            return json_to_batch(self._plan, columns)
        except RequestError as error:
            raise DeclinedError from error

    def row_counts(self, prepared: Sequence[PathRows], row_count: int) -> list[int]:
        """Rows of each payload."""
        counts = [rows.row_count for rows in prepared]
        assert sum(counts) == row_count, "a row was lost or made up"
        return counts

    def decode_exactly(self, prepared: PathRows) -> pa.RecordBatch:
        """The rows of one payload, or the error that names the first wrong value."""
        return json_to_batch(self._plan, prepared.texts)

    def _texts(self, rows: Sequence[msgspec.Raw]) -> list[list[str]]:
        paths, transforms = self._plan.paths, self._plan.transforms
        columns: list[list[str]] = [[] for _ in paths]
        for row in rows:
            document = _Document(row)
            for column, path, transform, dropped in zip(
                columns, paths, transforms, self._dropped, strict=True
            ):
                text = str(document.at(path), "utf-8")
                column.append(_transformed(transform, text, dropped))
        return columns


def _below(path: Path, paths: Sequence[Path], own: int) -> tuple[Path, ...]:
    """What other paths find below ``path``, as paths from there."""
    size = len(path)
    return tuple(
        other[size:]
        for index, other in enumerate(paths)
        if index != own and len(other) > size and other[:size] == path
    )


def _transformed(transform: Transform | None, text: str, dropped: tuple[Path, ...]) -> str:
    if text == "null" or transform is None:
        return text
    try:
        if transform is Transform.BAG_ARRAY_TO_DICTIONARY:
            return bag_array_to_dictionary(text)
        if transform is Transform.DROP_MAPPED_FIELDS:
            return drop_fields(text, dropped)
    except ValueError:
        return text  # what it cannot work on stays what it is
    return text


class _Document:
    """One record, parsed as far as paths have led into it."""

    __slots__ = ("_found", "_opened")

    def __init__(self, record: msgspec.Raw) -> None:
        self._found: dict[Path, msgspec.Raw] = {(): record}
        self._opened: dict[Path, Any] = {}

    def at(self, path: Path) -> msgspec.Raw:
        """The value at the end of ``path``; null if there is none."""
        found = self._found.get(path)
        if found is None:
            inner, step = self._open(path[:-1]), path[-1]
            found = _NULL
            if isinstance(step, str):
                if isinstance(inner, dict):
                    found = inner.get(step, _NULL)
            elif isinstance(inner, list) and step < len(inner):
                found = inner[step]
            self._found[path] = found
        return found

    def _open(self, path: Path) -> Any:
        """The properties of the object there, or the elements of the array."""
        known = self._opened.get(path)
        if known is None:
            raw = self.at(path)
            first = bytes(memoryview(raw)[:1])
            known = _bag.decode(raw) if first == b"{" else ()
            if first == b"[":
                known = _records.decode(raw)
            self._opened[path] = known
        return known
