"""Streaming with a mapping: every kind of column, joint and alone, few records and many."""

from __future__ import annotations

import io
import json
import re
import zlib
from typing import Any

import fastavro
import pytest
from ingest_tables import ALL_TYPES, GOOD_TEXTS, decoder, delimited, rows_of

from cluster.catalog.model import Column, ScalarType
from cluster.errors import (
    FieldCountError,
    MalformedPayloadError,
    MappingInconsistentError,
    RemoraError,
)
from cluster.ingest.avro import MAGIC
from cluster.ingest.decode import GroupResult, TableDecoder
from cluster.ingest.mappings import MappingKind, parse_mapping
from cluster.ingest.request import MAPPING_KINDS, STREAMING_FORMATS, DataFormat, data_format
from cluster.limits import LIMITS

COLUMNS = (
    Column("a", ScalarType.STRING),
    Column("b", ScalarType.INT),
    Column("at", ScalarType.DATETIME),
    Column("line", ScalarType.LONG),
    Column("fixed", ScalarType.REAL),
    Column("none", ScalarType.GUID),
)
MAY = 1_714_979_289_000_000


def mapped(kind: str, *elements: dict[str, Any], columns: tuple[Column, ...] = COLUMNS) -> Any:
    """A decoder with a mapping."""
    plan = parse_mapping(kind, json.dumps(elements))
    return TableDecoder(columns, LIMITS, database="db", table="T", mapping=plan, mapping_name="M")


def csv_decoder() -> Any:
    """a, b and the time from fields 3, 1 and 0; a constant; the line; nothing for `none`."""
    return mapped(
        "csv",
        {"column": "a", "Ordinal": 3},
        {"column": "b", "Ordinal": 1},
        {"column": "at", "Ordinal": 0, "Transform": "DateTimeFromUnixSeconds"},
        {"column": "line", "Transform": "SourceLineNumber"},
        {"column": "fixed", "ConstValue": "2.5"},
    )


def good(result: GroupResult) -> list[tuple[Any, ...]]:
    """The rows, none refused."""
    assert not any(result.errors), result.errors
    return rows_of(result)


@pytest.mark.parametrize("count", [1, 3, 100, 400])
@pytest.mark.parametrize("width", [4, 5])
def test_csv_fields_are_taken_by_ordinal(count: int, width: int) -> None:
    lines = [["1714979289", str(i), "unused", f"n,{i}", "more"][:width] for i in range(count)]
    result = csv_decoder().decode_group(DataFormat.CSV, [delimited(lines)])
    assert good(result) == [(f"n,{i}", i, MAY, i + 1, (2.5, 1.0), None) for i in range(count)]


@pytest.mark.parametrize("count", [2, 200])
def test_a_field_a_record_does_not_have_is_missing(count: int) -> None:
    lines = [["1714979289", "7"], ["1714979289", "8", "", "x", "y", "z"]] * count
    result = csv_decoder().decode_group(DataFormat.CSV, [delimited(lines)])
    assert good(result)[:2] == [
        ("", 7, MAY, 1, (2.5, 1.0), None),
        ("x", 8, MAY, 2, (2.5, 1.0), None),
    ]
    short = csv_decoder().decode_group(DataFormat.CSV, [b"1714979289,7\n" * count])
    assert good(short)[-1] == ("", 7, MAY, count, (2.5, 1.0), None)


def test_long_ragged_records_keep_their_quotes() -> None:
    long = "x" * 1000
    text = b"".join(
        b'1,%d,"u""v\n",%s%s\n' % (i, long.encode(), b",e" * (i % 3)) for i in range(99)
    )
    result = csv_decoder().decode_group(DataFormat.CSV, [b"\n" + text])
    assert [row[1] for row in good(result)] == list(range(99))
    assert rows_of(result)[5][0] == long


@pytest.mark.fidelity("mappings.md", "SourceLineNumber counts from one")
def test_lines_count_from_one_in_every_payload() -> None:
    result = csv_decoder().decode_group(DataFormat.CSV, [b"0,1\n0,2\n", b"0,3\n", b"0,4\n0,5\n"])
    assert [row[3] for row in good(result)] == [1, 2, 1, 1, 2]


def test_a_wrong_value_names_its_record_and_hurts_no_neighbour() -> None:
    result = csv_decoder().decode_group(DataFormat.CSV, [b"0,1\n", b"0,2\n0,x\n", b"0,3\n"])
    assert isinstance(result.errors[1], MalformedPayloadError)
    assert result.errors[1].message == "record 2, column 'b' (int): 'x' is not a whole number"
    assert [row[1] for row in rows_of(result)] == [1, 3]


def test_two_columns_may_come_of_one_field() -> None:
    columns = (Column("x", ScalarType.STRING), Column("y", ScalarType.INT))
    twice = mapped("csv", {"column": "x", "ordinal": 0}, {"column": "y", "ordinal": 0},
                   columns=columns)  # fmt: skip
    assert good(twice.decode_group(DataFormat.CSV, [b"5\n" * 100]))[0] == ("5", 5)


def test_a_mapping_of_constants_counts_records() -> None:
    fixed = mapped("csv", {"column": "a", "ConstValue": "c"})
    assert len(good(fixed.decode_group(DataFormat.CSV, [b"1,2\n3\n"]))) == 2
    fixed = mapped("json", {"column": "a", "ConstValue": "c"})
    assert good(fixed.decode_group(DataFormat.JSON, [b'{}\n{"x":1}\n']))[0][0] == "c"


def test_a_constant_must_fit_its_column() -> None:
    with pytest.raises(MappingInconsistentError, match="the constant 'x' is not a whole number"):
        mapped("csv", {"column": "b", "ConstValue": "x"})


def test_without_a_mapping_the_number_of_fields_is_exact() -> None:
    result = decoder(COLUMNS[:2]).decode_group(DataFormat.PSV, [b"x|1|2\n"])
    assert isinstance(result.errors[0], FieldCountError)


def test_plain_json_properties() -> None:
    plain = mapped("json", {"column": "a", "Path": "$.name"}, {"column": "b", "Path": "$['n n']"},
                   {"column": "fixed", "Path": "2.5"})  # fmt: skip
    payload = b'{"name":"x","n n":7,"b":9}\n{"n n":8}\n'
    rows = good(plain.decode_group(DataFormat.JSON, [payload]))
    assert [(row[0], row[1], row[4]) for row in rows] == [("x", 7, (2.5, 1.0)), ("", 8, (2.5, 1.0))]


DEEP = (
    Column("name", ScalarType.STRING),
    Column("second", ScalarType.DECIMAL),
    Column("rest", ScalarType.DYNAMIC),
    Column("bags", ScalarType.DYNAMIC),
    Column("at", ScalarType.DATETIME),
    Column("whole", ScalarType.STRING),
)


def deep_decoder() -> Any:
    """Paths, an index, and every transformation of JSON."""
    return mapped(
        "json",
        {"column": "name", "Path": "$.o.name"},
        {"column": "second", "Path": "$.o.list[1]"},
        {"column": "rest", "Path": "$.o", "Transform": "DropMappedFields"},
        {"column": "bags", "Path": "$.bags", "Transform": "PropertyBagArrayToDictionary"},
        {"column": "at", "Path": "$.t", "Transform": "DateTimeFromUnixMilliseconds"},
        {"column": "whole", "Path": "$"},
        columns=DEEP,
    )


@pytest.mark.fidelity("jsonpath.md", "Paths have names in both notations and indices")
def test_paths_lead_into_documents_and_keep_what_is_written() -> None:
    record = (
        b'{"o":{"name":"n","list":[1,2.50],"more":{"x":1e2}},'
        b'"bags":[{"a":1},{"b":[2]}],"t":1714979289000.5}'
    )
    one, two = good(deep_decoder().decode_group(DataFormat.JSON, [record, b'{"o":5}\n']))
    assert one[0] == "n"
    assert str(one[1]) == "2.500000000000000000"
    assert json.loads(one[2]) == {"list": [1, 2.5], "more": {"x": 100}}
    assert "1e2" in one[2]
    assert json.loads(one[3]) == {"a": 1, "b": [2]}
    assert one[4] == MAY + 500
    assert one[5] == record.decode()
    assert two == ("", None, "5", None, None, '{"o":5}')


@pytest.mark.parametrize("kind", ["multijson", "singlejson"])
def test_paths_of_arrays_of_records(kind: str) -> None:
    chosen = data_format(kind)
    assert chosen is not None
    result = deep_decoder().decode_group(chosen, [b'[{"o":{"name":"x"}},\n {"o":{"name":"y"}}]'])
    assert [row[0] for row in good(result)] == ["x", "y"]


def test_a_wrong_value_at_a_path_is_refused_alone() -> None:
    payloads = [b'{"o":{"name":"x"}}', b'{"t":1}\n{"t":"soon"}', b'{"o":{"name":"y"}}']
    result = deep_decoder().decode_group(DataFormat.JSON, payloads)
    assert "record 2, column 'at' (datetime)" in str(result.errors[1])
    assert [row[0] for row in rows_of(result)] == ["x", "y"]


@pytest.mark.parametrize(
    "payload", [b"{", b'{"o":1}\n{"o"', b"[1", b'{"o":' + b"[" * 500 + b"]" * 500 + b"}", b"\xff"]
)
def test_what_is_not_json_is_refused_with_a_mapping_too(payload: bytes) -> None:
    error = deep_decoder().decode_group(DataFormat.MULTIJSON, [payload]).errors[0]
    assert isinstance(error, RemoraError)
    assert error.permanent


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("scsv", b'x;1\n"y;z";2\n'),
        ("sohsv", b'x\x011\n"y;z"\x012\n'),
        ("psv", b'x|1\n"y;z"|2\n'),
        ("tsve", b"x\t1\ny;z\t2\n"),
    ],
)
def test_other_separators(name: str, payload: bytes) -> None:
    chosen = data_format(name)
    assert chosen is not None
    rows = good(decoder(COLUMNS[:2]).decode_group(chosen, [payload]))
    assert rows == [("x", 1), ("y;z", 2)]


TEXT = (Column("text", ScalarType.STRING), Column("more", ScalarType.STRING))


@pytest.mark.parametrize(
    ("name", "payload", "expected"),
    [
        ("txt", b"one, two\n\nthree\r\n", [("one, two", ""), ("three", "")]),
        ("raw", b"one\ntwo\n", [("one\ntwo\n", "")]),
        ("tsve", b"a\\tb\\\\\tc\\\nd\n\te\n", [("a\tb\\", "c\nd"), ("", "e")]),
    ],
)
def test_text_without_quotes(name: str, payload: bytes, expected: list[Any]) -> None:
    chosen = data_format(name)
    assert chosen is not None
    assert good(decoder(TEXT).decode_group(chosen, [payload])) == expected


def test_every_streaming_format_has_a_mapping_kind() -> None:
    assert set(MAPPING_KINDS) == set(DataFormat)
    assert {kind.value for kind in MAPPING_KINDS.values()} == {kind.value for kind in MappingKind}
    assert DataFormat.PARQUET not in STREAMING_FORMATS
    assert data_format("CSV") is DataFormat.CSV
    assert data_format("xml") is None


# Avro

FIELDS: list[dict[str, Any]] = [
    {"name": "a", "type": ["null", "string"]},
    {"name": "b", "type": "int"},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "fixed", "type": "double"},
]


def container(records: list[Any], fields: list[Any] = FIELDS, codec: str = "null") -> bytes:
    """A container file."""
    stream = io.BytesIO()
    schema = {"type": "record", "name": "R", "fields": fields}
    fastavro.writer(stream, fastavro.parse_schema(schema), records, codec=codec)
    return stream.getvalue()


RECORD = {"a": "x", "b": 7, "at": MAY, "fixed": 0.5}


@pytest.mark.fidelity("avro-mapping.md", "Avro elements have Field or Path")
@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
@pytest.mark.parametrize("chosen", [DataFormat.AVRO, DataFormat.APACHEAVRO])
def test_avro_fields_are_mapped_by_name(codec: str, chosen: DataFormat) -> None:
    payload = container([RECORD, {**RECORD, "a": None}], codec=codec)
    rows = good(decoder(COLUMNS).decode_group(chosen, [payload, payload]))
    assert rows[:2] == [
        ("x", 7, MAY, None, (0.5, 1.0), None), ("", 7, MAY, None, (0.5, 1.0), None)
    ]  # fmt: skip
    assert len(rows) == 4


def test_avro_with_a_mapping() -> None:
    fields = [
        {"name": "bytes", "type": "bytes"},
        {"name": "deep", "type": {"type": "map", "values": "long"}},
    ]
    avro = mapped("avro", {"column": "a", "Field": "bytes", "Transform": "BytesAsBase64"},
                  {"column": "b", "Path": "$.deep.x"},
                  {"column": "line", "Transform": "SourceLineNumber"})  # fmt: skip
    payload = container([{"bytes": b"\xff\x00", "deep": {"x": 3}}], fields)
    assert good(avro.decode_group(DataFormat.AVRO, [payload]))[0][:4] == ("/wA=", 3, None, 1)


def test_avro_values_follow_the_rules_of_text() -> None:
    fields = [{"name": column.name, "type": "string"} for column in ALL_TYPES]
    texts = {column.name: GOOD_TEXTS[column.type] for column in ALL_TYPES}
    found = good(decoder().decode_group(DataFormat.AVRO, [container([texts], fields)]))
    line = delimited([[GOOD_TEXTS[column.type] for column in ALL_TYPES]])
    assert found == good(decoder().decode_group(DataFormat.CSV, [line]))


RECURSIVE = [{"name": "next", "type": ["null", "R"]}]
EMPTY_ITEMS = [{"name": "items", "type": {"type": "array", "items": "null"}}]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b"a,1\n", "does not start"),
        (container([RECORD])[:-5], "ends before"),
        (container([RECORD])[:-1] + b"x", "mark of its file"),
        (container([{"next": None}], RECURSIVE), "part of itself"),
        (container([{"items": []}], EMPTY_ITEMS), "take no bytes"),
        (container([{}], []), "take no bytes"),
        (container([RECORD]).replace(b"null", b"lzma", 1), "refused|codec"),
    ],
)
def test_avro_that_is_refused(payload: bytes, words: str) -> None:
    error = decoder(COLUMNS).decode_group(DataFormat.AVRO, [payload]).errors[0]
    assert isinstance(error, MalformedPayloadError)

    assert re.search(words, error.message)


def test_an_avro_bomb_costs_no_more_than_its_bound() -> None:
    whole = container([{**RECORD, "a": "x" * 1000}], codec="deflate")
    start = whole.index(whole[-16:])
    compressor = zlib.compressobj(wbits=-15)
    bomb = compressor.compress(bytes(64 << 20)) + compressor.flush()

    def number(value: int) -> bytes:
        value <<= 1
        parts = bytearray()
        while value > 0x7F:
            parts.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes([*parts, value])

    payload = whole[: start + 16] + number(1) + number(len(bomb)) + bomb + whole[-16:]
    assert payload.startswith(MAGIC)
    error = decoder(COLUMNS).decode_group(DataFormat.AVRO, [payload]).errors[0]
    assert error is not None
    assert error.code == "Stream_InputStreamTooLarge"
