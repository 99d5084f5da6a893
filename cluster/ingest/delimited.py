"""CSV and TSV: the grammar, and the paths that must agree on it.

The grammar is RFC 4180 with these decisions: records end with ``\\n``, ``\\r\\n`` or ``\\r``, the
last end may be missing; empty lines are no records; a field is quoted if it starts with a quote,
and nothing but the separator may follow its closing quote; a quote inside an unquoted field is an
ordinary character. A payload of this grammar, with a last line end, can be followed by any other:
that is what makes decoding several together sound.

Three paths, cheapest first for the sizes they are for:

- ``csv`` module and the converters of :mod:`cluster.ingest.text`: a few records;
- pyarrow's typed reader (:mod:`cluster.ingest.vector`): many records;
- exact: one payload, every value through the converters. It alone words refusals.

The first two answer only when every value is fine, else they raise DeclinedError.
"""

from __future__ import annotations

import csv
import io
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa

from cluster.ingest import refusals
from cluster.ingest.plan import WrongValueError
from cluster.ingest.refusals import DeclinedError
from cluster.ingest.text import NestingError
from cluster.ingest.vector import VectorReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.ingest.plan import TablePlan

SMALL_RECORDS: Final = 40
"""Up to here the csv module is cheaper than pyarrow (measured in ``DESIGN.md``)."""

SMALL_BYTES: Final = 64 * 1024
"""Up to here a field cannot reach the csv module's own limit of 131,072 characters."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_QUOTED: Final = rb'"(?>[^"]++|"")*+"'
_QUOTED_FIELD: Final = re.compile(_QUOTED)
_LINE: Final = re.compile(rb"[^\r\n]+")


class DelimitedText(NamedTuple):
    """A payload of the grammar, with a last line end.

    ``line_ends`` is at least the number of records, and equal to it for plain text; -1 when even
    that is not known.
    """

    data: bytes
    line_ends: int


class DelimitedFormat:
    """One of CSV and TSV for one table."""

    def __init__(self, delimiter: str, plan: TablePlan) -> None:
        self._delimiter = delimiter
        self._plan = plan
        separators = re.escape(delimiter.encode()) + rb"\r\n"
        self._well_formed = re.compile(
            rb'(?>[^"]++|(?<=[^'
            + separators
            + rb'])"|'
            + _QUOTED
            + rb"(?=["
            + separators
            + rb"]))*+"
        )
        self._field = re.compile(
            rb"(?:" + _QUOTED + rb"|[^" + separators + rb"]*+)(\r\n|[" + separators + rb"])"
        )
        # Only what begins a field: a quote within one quotes nothing.
        self._quoted = re.compile(rb"(?:\A|(?<=[" + separators + rb"]))" + _QUOTED)
        one = rb'(?>[^"\r\n]++|(?<=[^' + separators + rb'])"|' + _QUOTED
        self._record = re.compile(one + rb"(?=[" + separators + rb"]))*+[\r\n]++")
        self._records = re.compile(b"(?>" + self._record.pattern + b")*+")
        self._vector = VectorReader(delimiter, plan)

    def prepare(self, payload: bytes) -> DelimitedText:
        """Checks the text and its quotes.

        Raises EmptyPayloadError, InvalidCharacterError, ClosingQuoteError, MalformedPayloadError.
        """
        data = payload.removeprefix(_BYTE_ORDER_MARK)
        if not data.isascii():
            try:
                data.decode()
            except UnicodeDecodeError as error:
                raise refusals.invalid_utf8(error) from None
        if not data.endswith(b"\n"):
            data += b"\n"
        if b'"' in data:
            self._check_quotes(data)
        line_ends = data.count(b"\n")
        if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
            line_ends = -1
        if _LINE.search(data) is None:
            raise refusals.empty_payload(self._plan.database, self._plan.table)
        return DelimitedText(data, line_ends)

    def end_of_records(self, data: bytes) -> int:
        """Behind the last record that ends in ``data``, which starts where a record does.

        Raises MalformedPayloadError for text after a closing quote.
        """
        if b'"' not in data:
            return max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        match = self._records.match(data)
        end = match.end() if match is not None else 0
        well_formed = self._well_formed.match(data, end)
        stop = well_formed.end() if well_formed is not None else end
        quoted = _QUOTED_FIELD.match(data, stop)
        if quoted is not None and quoted.end() < len(data):
            raise refusals.text_after_quote(self._count_records(data[:stop] + b"x"))
        return end

    def without_first_record(self, data: bytes) -> bytes:
        """The text behind its first record."""
        start = _LINE.search(data)
        if start is None:
            return b""
        match = self._record.match(data, start.start())
        return b"" if match is None else data[match.end() :]

    def _count_records(self, data: bytes) -> int:
        """Records of a payload of the grammar: lines that are not empty, outside quotes."""
        if b'"' in data:
            data = self._quoted.sub(b'"', data)
        return len(_LINE.findall(data))

    def _check_quotes(self, data: bytes) -> None:
        match = self._well_formed.match(data)
        end = match.end() if match is not None else 0
        if end == len(data):
            return
        record = self._count_records(data[:end] + b"x")
        if _QUOTED_FIELD.match(data, end) is None:
            raise refusals.closing_quote(record)
        raise refusals.text_after_quote(record)

    def decode_together(self, texts: Sequence[DelimitedText]) -> pa.RecordBatch:
        """All records of all texts, in order. Raises DeclinedError if any value is not fine."""
        data = b"".join([text.data for text in texts])
        expected = sum([text.line_ends for text in texts])
        if expected <= SMALL_RECORDS and len(data) <= SMALL_BYTES:
            batch = self._read_small(data)
        else:
            batch = self._vector.read(data)
        self._plan.decline_large_values(batch, len(data))
        return batch

    def row_counts(self, texts: Sequence[DelimitedText], row_count: int) -> list[int]:
        """Records of each text, which make ``row_count`` together."""
        counts = [text.line_ends for text in texts]
        # Each is at least the true number: if the sums are equal, every one is.
        if -1 in counts or sum(counts) != row_count:
            counts = [self._count_records(text.data) for text in texts]
            assert sum(counts) == row_count, "two counts of the same grammar differ"
        return counts

    def decode_exactly(self, text: DelimitedText) -> pa.RecordBatch:
        """The records of one text, or the error that names the first wrong one.

        Wrong numbers of fields are found first, then values in the order of records.
        """
        return texts_to_batch(self._plan, self._read_texts(text.data))

    def _read_small(self, data: bytes) -> pa.RecordBatch:
        columns = self._split_small(data)
        plan = self._plan
        try:
            arrays = [
                pa.array([convert(t) if t else missing for t in texts], type=arrow_type)
                for texts, convert, missing, arrow_type in zip(
                    columns, plan.converters, plan.missing, plan.types, strict=True
                )
            ]
        except ValueError as error:
            raise DeclinedError from error
        return pa.RecordBatch.from_arrays(arrays, schema=plan.schema)

    def _split_small(self, data: bytes) -> list[tuple[str, ...]]:
        lines = io.StringIO(data.decode(), newline="")
        records = [record for record in csv.reader(lines, delimiter=self._delimiter) if record]
        ordinals = self._plan.ordinals
        if ordinals is not None:
            return [
                tuple([r[ordinal] if ordinal < len(r) else "" for r in records])
                for ordinal in ordinals
            ]
        width = len(self._plan.columns)
        if any(len(record) != width for record in records):
            raise DeclinedError
        return list(zip(*records, strict=True))

    def _read_texts(self, data: bytes) -> Sequence[Sequence[str]]:
        """The fields by column, as text. Raises FieldCountError."""
        try:
            if len(data) <= SMALL_BYTES:
                return self._split_small(data)
            return self._vector.read_texts(data)
        except DeclinedError:
            if self._plan.ordinals is not None:
                return self._read_ragged(data, self._plan.ordinals)
            raise self._wrong_field_count(data) from None

    def _read_ragged(self, data: bytes, ordinals: Sequence[int]) -> Sequence[Sequence[str]]:
        """Fields of records of any length; what a record does not have is empty."""
        columns: list[list[str]] = [[] for _ in ordinals]
        fields: list[str] = []
        delimiter = self._delimiter.encode()
        for match in self._field.finditer(data):
            text = match[0][: -len(match[1])]
            if text.startswith(b'"'):
                text = text[1:-1].replace(b'""', b'"')
            is_last = match[1] != delimiter
            if fields or match[0] != match[1] or not is_last:
                fields.append(text.decode())
            if fields and is_last:
                for column, ordinal in zip(columns, ordinals, strict=True):
                    column.append(fields[ordinal] if ordinal < len(fields) else "")
                fields.clear()
        return columns

    def _wrong_field_count(self, data: bytes) -> Exception:
        width = len(self._plan.columns)
        record = fields = 0
        at = 0
        while at < len(data):
            match = self._field.match(data, at)
            assert match is not None, "prepare() lets only the grammar through"
            end = match.end()
            if fields or end - at > len(match[1]) or match[1] == self._delimiter.encode():
                fields += 1
            at = end
            if fields and match[1] != self._delimiter.encode():
                record += 1
                if fields != width:
                    return refusals.field_count(record, fields, width)
                fields = 0
        raise AssertionError("every record has the right number of fields")


def texts_to_batch(plan: TablePlan, columns: Sequence[Sequence[str]]) -> pa.RecordBatch:
    """Fields by column through the converters: the exact path of every delimited format.

    Raises MalformedPayloadError for the first wrong value in the order of records, and
    PayloadTooLargeError for a value over its limit, unless the plan is lenient.
    """
    arrays: list[pa.Array] = []
    first: WrongValueError | None = None
    for index, texts in enumerate(columns):
        convert, missing = plan.converters[index], plan.missing[index]
        try:
            array = plan.converted(
                index,
                partial(_value, convert, missing),
                texts[: first.record] if first else texts,
            )
        except WrongValueError as error:
            first = error
        else:
            arrays.append(array)
    if first is not None:
        raise _wrong_value(plan, first, columns[first.index][first.record])
    return plan.bound_large_values(pa.RecordBatch.from_arrays(arrays, schema=plan.schema))


def _value(convert: Callable[[str], Any], missing: str | None, text: str) -> Any:
    return convert(text) if text else missing


def _wrong_value(plan: TablePlan, wrong: WrongValueError, value: str) -> Exception:
    column = plan.columns[wrong.index]
    if isinstance(wrong.reason, NestingError):
        what = f"record {wrong.record + 1}, column '{column.name}' ({column.type.value}): the value"
        return refusals.too_deep(what, plan.limits.json_depth)
    return refusals.wrong_value(wrong.record + 1, column, value, str(wrong.reason))
