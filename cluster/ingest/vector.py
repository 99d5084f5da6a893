"""CSV and TSV by the column: pyarrow's typed reader, wherever it agrees with the converters.

pyarrow tokenizes the grammar of :mod:`cluster.ingest.delimited` exactly as the csv module does,
and what it takes for a bool, int, long or real has the value the converters give. The other types
need care, and get it here:

- ``datetime``: one of four Arrow types is chosen by the first record (with or without an offset,
  up to six fraction digits or more); moments outside the years 1 to 9999 and what comes near the
  ends of 64-bit nanoseconds are declined.
- ``timespan``: read as a time of day; longer and negative ones go through the converter.
- ``decimal``: read as text and cast only while no value can overflow: pyarrow's own decimal
  reader wraps silently (``1.5e22`` becomes 27575855478707607611.5).
- ``guid``: read as text; 36 characters each become bytes in one call.
- ``dynamic``: read as text and checked value by value.

A column pyarrow cannot read is read again as text and goes through the converters.
"""

from __future__ import annotations

import binascii
import csv
import io
import re
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from cluster.catalog.model import ScalarType
from cluster.ingest.refusals import DeclinedError
from cluster.ingest.text import DATETIME_FIRST_US, DATETIME_LAST_US, is_plain_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.ingest.plan import TablePlan

_TEXT: Final = pa.string()
_MICROSECONDS: Final = pa.timestamp("us")
_TIME_OF_DAY: Final = pa.time64("ns")
_READ_TYPES: Final = {
    ScalarType.BOOL: pa.bool_(),
    ScalarType.INT: pa.int32(),
    ScalarType.LONG: pa.int64(),
    ScalarType.REAL: pa.float64(),
}
"""Types that pyarrow reads as they are. All others but datetime and timespan are read as text."""

ODD_COLUMNS: Final = 4
"""So many columns are read again one by one; with more, all are read as text."""

_BLOCK_BYTES: Final = 1 << 30
"""More than any group: everything is one block, hence one batch."""

_SAMPLE_BYTES: Final = 4096
_SAFE_DECIMAL_CHARACTERS: Final = 20
"""So many characters without an exponent have at most 20 digits before and 18 after the point."""

_GUID_CHARACTERS: Final = 36
_GUID_DASHES: Final = (8, 13, 18, 23)
_FINE_FRACTION: Final = re.compile(r"\.[0-9]{7}")
_ZONED: Final = re.compile(r"[T ].*(?:Z|[+-][0-9:]+)$")
_NAMED_COLUMN: Final = re.compile(r"In CSV column #([0-9]+): ")
_NANOSECONDS_FIRST: Final = -8_520_336_000_000_000_000  # the year 1700
_NANOSECONDS_LAST: Final = 8_835_955_200_000_000_000  # the year 2250
_OPTIONS_REMEMBERED: Final = 64


class _OddColumnError(Exception):
    """Reading this column as its type would give a wrong value."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class VectorReader:
    """Reads delimited text of one table."""

    def __init__(self, delimiter: str, plan: TablePlan) -> None:
        self._plan = plan
        self._delimiter = delimiter
        self._ordinals = plan.ordinals or tuple(range(len(plan.columns)))
        self._column_at = {ordinal: index for index, ordinal in enumerate(self._ordinals)}
        self._parse_options = pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        self._sampled = [
            index
            for index, column in enumerate(plan.columns)
            if column.type in {ScalarType.DATETIME, ScalarType.TIMESPAN}
        ]
        # What goes through a transformation is text until then.
        self._fixed_types = [
            _TEXT if transform is not None else _READ_TYPES.get(column.type, _TEXT)
            for column, transform in zip(plan.columns, plan.transforms, strict=True)
        ]
        self._sampled = [i for i in self._sampled if plan.transforms[i] is None]
        self._read_options: dict[int, pacsv.ReadOptions] = {}
        self._options: dict[tuple[int, tuple[pa.DataType, ...]], pacsv.ConvertOptions] = {}

    def read(self, data: bytes) -> pa.RecordBatch:
        """All records, typed. Raises DeclinedError if a record or value is not fine."""
        record = self._first_record(data)
        width = self._width(record)
        types = self._sample_types(record)
        odd_columns = 0
        while True:
            try:
                arrays = [
                    self._finish(index, read_type, array)
                    for (index, read_type), array in zip(
                        enumerate(types), self._read_as(data, types, width), strict=True
                    )
                ]
            except pa.ArrowInvalid as error:
                named = _NAMED_COLUMN.match(str(error))
                if named is None:
                    raise DeclinedError from error
                odd_column = self._column_at[int(named[1])]
            except _OddColumnError as error:
                odd_column = error.index
            else:
                return pa.RecordBatch.from_arrays(arrays, schema=self._plan.schema)
            # One odd value is no reason to leave the fast path in the other columns, but each
            # odd column costs one more reading.
            assert types[odd_column] != _TEXT, "reading text does not fail"
            types[odd_column] = _TEXT
            odd_columns += 1
            if odd_columns > ODD_COLUMNS:
                types = [_TEXT] * len(types)

    def read_texts(self, data: bytes) -> list[list[str]]:
        """The fields by column, as text. Raises DeclinedError if their number is wrong."""
        width = self._width(self._first_record(data))
        try:
            arrays = self._read_as(data, [_TEXT] * len(self._ordinals), width)
        except pa.ArrowInvalid as error:
            raise DeclinedError from error
        return [array.to_pylist() for array in arrays]

    def _width(self, record: Sequence[str]) -> int:
        """Fields of every record. Raises DeclinedError if pyarrow cannot read it as asked."""
        if self._plan.ordinals is None:
            return len(self._ordinals)
        if not record or len(self._column_at) < len(self._ordinals):
            raise DeclinedError
        return len(record)

    def _read_as(self, data: bytes, types: Sequence[pa.DataType], width: int) -> list[pa.Array]:
        """The columns; one that the records are too short for is of empty texts or nulls."""
        names = [str(ordinal) for ordinal in self._ordinals if ordinal < width]
        if width not in self._read_options:
            if len(self._read_options) >= _OPTIONS_REMEMBERED:
                self._read_options.clear()
            self._read_options[width] = pacsv.ReadOptions(
                column_names=list(map(str, range(width))),
                use_threads=False,
                block_size=_BLOCK_BYTES,
            )
        key = (width, tuple(types))
        options = self._options.get(key)
        if options is None:
            if len(self._options) >= _OPTIONS_REMEMBERED:
                self._options.clear()
            of_all = zip(self._ordinals, types, strict=True)
            options = self._options[key] = pacsv.ConvertOptions(
                column_types={str(ordinal): kind for ordinal, kind in of_all if ordinal < width},
                include_columns=names if self._plan.ordinals is not None else None,
                check_utf8=False,  # prepare() has checked
                null_values=[""],
                strings_can_be_null=False,
                true_values=["true", "True", "TRUE", "1"],
                false_values=["false", "False", "FALSE", "0"],
            )
        # open_csv reads on this thread; read_csv hands the work to a pool, which costs 50 us.
        reader = pacsv.open_csv(
            pa.BufferReader(data), self._read_options[width], self._parse_options, options
        )
        batch = reader.read_next_batch()
        assert batch.num_rows * width <= len(data), "every field has a separator"
        if len(names) == len(types):
            return list(batch.columns)
        found = iter(batch.columns)
        return [
            next(found) if ordinal < width else _missing(kind, batch.num_rows)
            for ordinal, kind in zip(self._ordinals, types, strict=True)
        ]

    def _first_record(self, data: bytes) -> Sequence[str]:
        if not self._sampled and self._plan.ordinals is None:
            return ()
        text = data[:_SAMPLE_BYTES].decode(errors="ignore")
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter)
        return next(filter(None, lines), [])

    def _sample_types(self, record: Sequence[str]) -> list[pa.DataType]:
        types = list(self._fixed_types)
        for index in self._sampled:
            ordinal = self._ordinals[index]
            sample = record[ordinal] if ordinal < len(record) else ""
            if self._plan.columns[index].type is ScalarType.DATETIME:
                unit = "ns" if _FINE_FRACTION.search(sample) else "us"
                types[index] = pa.timestamp(unit, "UTC" if _ZONED.search(sample) else None)
            else:
                is_clock = not sample or sample[2:3] == ":"
                types[index] = _TIME_OF_DAY if is_clock else _TEXT
        return types

    def _finish(self, index: int, read_type: pa.DataType, array: pa.Array) -> pa.Array:
        """The column as it is stored. Raises DeclinedError or _OddColumnError."""
        kind = self._plan.columns[index].type
        finished: pa.Array | None = None
        if self._plan.transforms[index] is not None:
            return self._convert(index, array)
        if kind is ScalarType.STRING:
            finished = array
        elif read_type == _TEXT:
            if kind is ScalarType.DECIMAL:
                finished = _decimals(array, self._plan.types[index])
            elif kind is ScalarType.GUID:
                finished = _guids(array)
        elif kind is ScalarType.DATETIME:
            finished = _moments(array)
            if finished is None:
                raise _OddColumnError(index)
        elif kind is ScalarType.TIMESPAN:
            # A time of day is not negative, so cutting digits off is cutting towards zero.
            finished = array.cast(pa.time64("us"), safe=False).view(pa.duration("us"))
        else:
            finished = array
        return self._convert(index, array) if finished is None else finished

    def _convert(self, index: int, array: pa.Array) -> pa.Array:
        texts: list[str] = array.to_pylist()
        depth_limit = self._plan.limits.json_depth
        is_document = self._plan.columns[index].type is ScalarType.DYNAMIC
        is_plain = is_document and self._plan.transforms[index] is None
        if is_plain and is_plain_json(texts, depth_limit):
            return array
        convert, missing = self._plan.converters[index], self._plan.missing[index]
        if self._plan.is_lenient:
            return self._plan.converted(index, lambda t: convert(t) if t else missing, texts)
        try:
            values: list[Any] = [convert(text) if text else missing for text in texts]
        except ValueError as error:
            raise DeclinedError from error
        return pa.array(values, type=self._plan.types[index])


def _missing(kind: pa.DataType, count: int) -> pa.Array:
    return pa.repeat(pa.scalar("" if kind == _TEXT else None, kind), count)


def _moments(array: pa.Array) -> pa.Array | None:
    """Moments as naive microseconds; None if one may be out of range."""
    if array.type.unit == "ns":
        # Near its ends 64-bit arithmetic may have wrapped around.
        if not _all_within(array, _NANOSECONDS_FIRST, _NANOSECONDS_LAST):
            return None
        floor = pc.floor_temporal(array.view(pa.timestamp("ns")), unit="microsecond")
        return floor.cast(_MICROSECONDS)
    # pyarrow knows a year 0, and an offset can lead out of the years 1 to 9999.
    if not _all_within(array, DATETIME_FIRST_US, DATETIME_LAST_US):
        return None
    return array.view(_MICROSECONDS)


def _all_within(array: pa.Array, first: int, last: int) -> bool:
    if array.null_count == len(array):
        return True
    ends = pc.min_max(array.view(pa.int64()))
    least: int = ends["min"].as_py()
    most: int = ends["max"].as_py()
    return first <= least and most <= last


def _decimals(array: pa.Array, decimal_type: pa.DataType) -> pa.Array | None:
    """Decimals; None if one is missing, may overflow, or is not of the plainest form."""
    lengths = pc.min_max(pc.binary_length(array))
    if lengths["min"].as_py() == 0 or lengths["max"].as_py() > _SAFE_DECIMAL_CHARACTERS:
        return None
    text = _text_of(array)
    if b"e" in text or b"E" in text:
        return None
    try:
        return array.cast(decimal_type)
    except pa.ArrowInvalid:
        return None


def _guids(array: pa.Array) -> pa.Array | None:
    """Guids; None unless every one is written with dashes and without braces."""
    count = len(array)
    lengths = pc.min_max(pc.binary_length(array))
    if lengths["min"].as_py() != _GUID_CHARACTERS or lengths["max"].as_py() != _GUID_CHARACTERS:
        return None
    text = _text_of(array)
    dashes = b"-" * count
    if any(text[at::_GUID_CHARACTERS] != dashes for at in _GUID_DASHES):
        return None
    try:
        values = binascii.unhexlify(text.replace(b"-", b""))
    except binascii.Error:
        return None
    if len(values) != 16 * count:
        return None
    return pa.Array.from_buffers(pa.binary(16), count, [None, pa.py_buffer(values)])


def _text_of(array: pa.Array) -> bytes:
    """The characters of a text column without nulls, one value after the other."""
    _, offsets, characters = array.buffers()
    ends = memoryview(offsets).cast("i")
    first, last = ends[array.offset], ends[array.offset + len(array)]
    return memoryview(characters)[first:last].tobytes()
