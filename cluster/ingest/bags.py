"""JSON Lines and MultiJSON: property bags mapped to columns by exact, case-sensitive name.

A property without a column is ignored, a column without a property is missing; of a property
named twice the last one counts. Scalars follow the rules of :mod:`cluster.ingest.text`: a JSON
number, true or false is taken as its text would be in CSV. Arrays and objects fit ``dynamic`` and
``string`` columns only, and stay as they are written.

Two paths: typed, which lets msgspec check the usual JSON type of each column while it parses, and
exact, which takes every value as its own text. The typed path answers only when every value is
fine, the exact path words the refusals.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import pyarrow as pa

from cluster.catalog.model import ScalarType
from cluster.ingest import refusals
from cluster.ingest.plan import WrongValueError
from cluster.ingest.refusals import DeclinedError
from cluster.ingest.structure import is_deeper_than, record_count
from cluster.ingest.transforms import is_unix

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.errors import RequestError
    from cluster.ingest.plan import TablePlan
    from cluster.limits import Limits

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_NULL: Final = msgspec.Raw(b"null")
_TYPED_FIELDS: Final[dict[ScalarType, Any]] = {
    ScalarType.BOOL: bool | None,
    ScalarType.DATETIME: str | None,
    ScalarType.GUID: str | None,
    ScalarType.INT: int | None,
    ScalarType.LONG: int | None,
    ScalarType.REAL: float | None,
    ScalarType.STRING: str | None,
    ScalarType.TIMESPAN: str | None,
}
"""What msgspec checks. Decimal and dynamic need the text as written, so they stay raw."""

_FROM_STRING_ONLY: Final = frozenset({ScalarType.DATETIME, ScalarType.GUID, ScalarType.TIMESPAN})
_POINTER_BYTES: Final = 8
_PLACE: Final = re.compile(r" - at `\$\[([0-9]+)\].*")
_BYTE_PLACE: Final = re.compile(r"\(byte [0-9]+\)$")
_string: Final = msgspec.json.Decoder(str)
_any_bag: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class JsonRows(NamedTuple):
    """A payload that parses. ``columns`` hold Arrow-ready values, or nothing if one is not fine."""

    data: bytes
    row_count: int
    columns: tuple[Sequence[Any], ...] | None


class JsonFormat:
    """JSON Lines (``lines``) or MultiJSON for one table."""

    def __init__(self, plan: TablePlan, *, lines: bool) -> None:
        self._plan = plan
        self._lines = lines
        rename = {f"f{index}": str(path[0]) for index, path in enumerate(plan.paths)}
        typed: list[tuple[str, Any, Any]] = []
        self._settle: list[Callable[[Sequence[Any]], Sequence[Any]]] = []
        for index, column in enumerate(plan.columns):
            field_type = _TYPED_FIELDS.get(column.type)
            field = (
                (f"f{index}", field_type, None) if field_type else (f"f{index}", msgspec.Raw, _NULL)
            )
            typed.append(field)
            self._settle.append(_settler(column.type, plan.converters[index]))
        exact = [(f"f{index}", msgspec.Raw, _NULL) for index in range(len(plan.columns))]
        typed_bag = msgspec.defstruct("TypedBag", typed, rename=rename, gc=False)
        exact_bag = msgspec.defstruct("ExactBag", exact, rename=rename, gc=False)
        self._typed = (msgspec.json.Decoder(typed_bag), msgspec.json.Decoder(list[typed_bag]))  # type: ignore[valid-type]
        self._exact = (msgspec.json.Decoder(exact_bag), msgspec.json.Decoder(list[exact_bag]))  # type: ignore[valid-type]

    def prepare(self, payload: bytes) -> JsonRows:
        """Parses the payload.

        Raises EmptyPayloadError, InvalidCharacterError, MalformedPayloadError (also for nesting
        over the limit), PayloadTooLargeError.
        """
        data = payload.removeprefix(BYTE_ORDER_MARK)
        check_shape(data, self._plan)
        columns: tuple[Sequence[Any], ...] | None = None
        try:
            rows = self._parse(data, self._typed)
        except (msgspec.DecodeError, RecursionError):
            rows = self._parse_or_refuse(data)
        else:
            columns = self._typed_columns(rows)
        if not rows:
            raise refusals.empty_payload(self._plan.database, self._plan.table)
        if self._lines:
            check_lines(data, len(rows))
        return JsonRows(data, len(rows), columns)

    def _parse(self, data: bytes, decoders: tuple[Any, Any]) -> list[Any]:
        bag, array_of_bags = decoders
        rows: list[Any]
        if not self._lines and data.lstrip().startswith(b"["):
            rows = array_of_bags.decode(data)
        else:
            rows = bag.decode_lines(data)
        return rows

    def _parse_or_refuse(self, data: bytes) -> list[Any]:
        try:
            return self._parse(data, self._exact)
        except RecursionError:
            raise refusals.too_deep("the document", self._plan.limits.json_depth) from None
        except msgspec.DecodeError as error:
            raise self._not_parsed(data, str(error)) from None

    def _typed_columns(self, rows: list[Any]) -> tuple[Sequence[Any], ...] | None:
        fields = zip(*map(msgspec.structs.astuple, rows), strict=True)
        try:
            return tuple(
                [settle(values) for settle, values in zip(self._settle, fields, strict=False)]
            )
        except ValueError:
            return None

    def decode_together(self, prepared: Sequence[JsonRows]) -> pa.RecordBatch:
        """All rows of all payloads, in order. Raises DeclinedError if any value is not fine."""
        parts = [rows.columns for rows in prepared if rows.columns is not None]
        if len(parts) < len(prepared):
            raise DeclinedError
        plan = self._plan
        try:
            arrays = [
                pa.array(list(chain.from_iterable(pieces)), type=arrow_type)
                for pieces, arrow_type in zip(zip(*parts, strict=True), plan.types, strict=True)
            ]
        except (pa.ArrowInvalid, OverflowError) as error:  # a number too large for its column
            raise DeclinedError from error
        batch = pa.RecordBatch.from_arrays(arrays, schema=plan.schema)
        plan.decline_large_values(batch, sum(len(rows.data) for rows in prepared))
        return batch

    def row_counts(self, prepared: Sequence[JsonRows], row_count: int) -> list[int]:
        """Rows of each payload."""
        counts = [rows.row_count for rows in prepared]
        assert sum(counts) == row_count, "a row was lost or made up"
        return counts

    def decode_exactly(self, prepared: JsonRows) -> pa.RecordBatch:
        """The rows of one payload, or the error that names the first wrong value."""
        rows = self._parse_or_refuse(prepared.data)
        fields = zip(*map(msgspec.structs.astuple, rows), strict=True)
        texts = [[str(raw, "utf-8") for raw in raws] for raws in fields]
        return json_to_batch(self._plan, texts)

    def _not_parsed(self, data: bytes, detail: str) -> RequestError:
        """Says where and why the payload does not parse."""
        return not_parsed(data, detail, lines=self._lines)


def check_shape(data: bytes, plan: TablePlan) -> None:
    """Refuses what must not reach a parser.

    Raises InvalidCharacterError, MalformedPayloadError for nesting over the limit,
    PayloadTooLargeError for records that are tiny here and large in memory.
    """
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise refusals.invalid_utf8(error) from None
    limits = plan.limits
    if is_deeper_than(data, limits.json_depth):
        raise refusals.too_deep("the document", limits.json_depth)
    # `{}` is three bytes with its line end but costs memory for every column of the table.
    row_bytes = len(plan.columns) * _POINTER_BYTES
    if data.count(b"{") * row_bytes > limits.row_store_record_bytes:
        check_row_bytes(record_count(data) * row_bytes, limits)


def check_row_bytes(size: int, limits: Limits) -> None:
    """Raises PayloadTooLargeError if rows would take too much memory while they are decoded."""
    if size > limits.row_store_record_bytes:
        raise refusals.too_large(
            "what the payload becomes in memory",
            str(size),
            "row_store_record_bytes",
            limits.row_store_record_bytes,
        )


def json_to_batch(plan: TablePlan, columns: Sequence[Sequence[str]]) -> pa.RecordBatch:
    """Values by column, each as written in its document: the exact path of JSON.

    Raises MalformedPayloadError for the first wrong value in the order of records, and
    PayloadTooLargeError for a value over its limit, unless the plan is lenient.
    """
    first: WrongValueError | None = None
    arrays: list[pa.Array] = []
    for index, texts in enumerate(columns):
        convert = partial(exact_value, plan, index)
        try:
            array = plan.converted(index, convert, texts[: first.record] if first else texts)
        except WrongValueError as error:
            first = error
        else:
            arrays.append(array)
    if first is not None:
        record, index = first.record, first.index
        column = plan.columns[index]
        raise refusals.wrong_value(record + 1, column, columns[index][record], str(first.reason))
    return plan.bound_large_values(pa.RecordBatch.from_arrays(arrays, schema=plan.schema))


def exact_value(plan: TablePlan, index: int, text: str) -> Any:
    """The Arrow-ready value; ``text`` is as written in the document. Raises ValueError."""
    kind, convert = plan.columns[index].type, plan.converters[index]
    if text == "null":
        return plan.missing[index]
    if plan.transforms[index] is not None:
        return _transformed(plan, index, text)
    if kind is ScalarType.DYNAMIC:
        return text
    if text[0] == '"':
        inner = _string.decode(text)
        return convert(inner) if inner else plan.missing[index]
    if kind is ScalarType.STRING:
        return text
    if text[0] in "[{":
        raise ValueError("is an array or object")
    if kind in _FROM_STRING_ONLY:
        raise ValueError("is not a JSON string")
    # In JSON a whole zero with a sign is plain zero, in CSV it is the negative zero.
    return 0.0 if text == "-0" and kind is ScalarType.REAL else convert(text)


def _transformed(plan: TablePlan, index: int, text: str) -> Any:
    """The value of a path that a transformation has dealt with, or that its converter does."""
    if is_unix(plan.transforms[index]):
        inner = _string.decode(text) if text[0] == '"' else text
        return plan.converters[index](inner) if inner else plan.missing[index]
    return plan.converters[index](text)


def not_parsed(data: bytes, detail: str, *, lines: bool) -> RequestError:
    """The refusal of JSON that does not parse: which record, and why."""
    found = filter(None, map(bytes.strip, data.split(b"\n"))) if lines else ()
    for number, line in enumerate(found, 1):
        try:
            _any_bag.decode(line)
        except msgspec.DecodeError as error:
            reason = _BYTE_PLACE.sub("", str(error)).rstrip()
            return refusals.not_json(
                f"record {number}, {refusals.shorten(line.decode())}: {reason}",
                remedy="Send one property bag a line, or name the format multijson.",
            )
    return refusals.not_json(_worded(detail))


def _worded(detail: str) -> str:
    place = _PLACE.search(detail)
    if place is None:
        return detail
    return f"record {int(place[1]) + 1}: {detail[: place.start()]}"


def check_lines(data: bytes, row_count: int) -> None:
    """Raises MalformedPayloadError unless there is one bag a line."""
    line_count = data.count(b"\n") + (not data.endswith(b"\n"))
    if line_count != row_count:
        line_count = sum(map(bool, map(bytes.strip, data.split(b"\n"))))
        if line_count != row_count:
            raise refusals.not_json(
                f"{row_count} property bag(s) on {line_count} lines",
                remedy="Send one property bag a line, or name the format multijson.",
            )


def _settler(
    kind: ScalarType, convert: Callable[[str], Any]
) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """From the values msgspec gives for a column to Arrow-ready ones. They raise ValueError."""
    if kind is ScalarType.STRING:
        return lambda values: [value or "" for value in values]
    if kind is ScalarType.DYNAMIC:
        return lambda values: [
            None if raw is _NULL or (text := str(raw, "utf-8")) == "null" else text
            for raw in values
        ]
    if kind is ScalarType.DECIMAL:
        return lambda values: [None if raw is _NULL else _decimal(raw, convert) for raw in values]
    if kind in _FROM_STRING_ONLY:
        return lambda values: [convert(text) if text else None for text in values]
    return lambda values: values


def _decimal(raw: msgspec.Raw, convert: Callable[[str], Any]) -> Any:
    text = str(raw, "utf-8")
    if text == "null":
        return None
    if text[0] == '"':
        text = _string.decode(text)
    return convert(text) if text else None
