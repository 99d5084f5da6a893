"""The shapes of payloads: line ends, quotes, bags, and what every malformed one is refused with."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from ingest_tables import decoder, rows_of
from ingest_world import ingest_world, people

from cluster.catalog.model import Column, ScalarType
from cluster.errors import (
    ClosingQuoteError,
    DatabaseNotFoundError,
    EmptyPayloadError,
    FieldCountError,
    FormatNotSupportedError,
    InvalidArchiveError,
    InvalidCharacterError,
    InvalidRequestError,
    MalformedPayloadError,
    MappingNotFoundError,
    PayloadTooLargeError,
    ReadOnlyError,
    RemoraError,
    StreamingPolicyError,
    TableNotFoundError,
)
from cluster.ingest.request import DataFormat
from cluster.ingest.structure import is_deeper_than, nesting_depth, record_count
from cluster.ingest.vector import ODD_COLUMNS, VectorReader

CSV, TSV, JSON, MULTIJSON = DataFormat.CSV, DataFormat.TSV, DataFormat.JSON, DataFormat.MULTIJSON
WORDS = (Column("a", ScalarType.STRING), Column("b", ScalarType.STRING))

SHAPES: list[tuple[DataFormat, bytes, list[tuple[str, str]]]] = [
    (CSV, b"a,b", [("a", "b")]),
    (CSV, b"a,b\r\nc,d\r\n", [("a", "b"), ("c", "d")]),
    (CSV, b"a,b\rc,d", [("a", "b"), ("c", "d")]),
    (CSV, b"\n\r\n\na,b\n\n\nc,d\n\n", [("a", "b"), ("c", "d")]),
    (CSV, b'"a\nb","c\r\nd"\ne,f', [("a\nb", "c\r\nd"), ("e", "f")]),
    (CSV, b'"say ""hi""",""""\n', [('say "hi"', '"')]),
    (CSV, b'"",\n', [("", "")]),
    (CSV, b'5" disk,"x"\n', [('5" disk', "x")]),
    (CSV, b'"a,b","c"\n', [("a,b", "c")]),
    (CSV, b"\xef\xbb\xbfa,b\n", [("a", "b")]),
    (CSV, b" a , b \n", [(" a ", " b ")]),
    (CSV, b"a\tb,c\x0bd\n", [("a\tb", "c\x0bd")]),
    (CSV, "a\u2028b,\u0085\n".encode(), [("a\u2028b", "\u0085")]),
    (TSV, b'a,b\t"c\td"\n', [("a,b", "c\td")]),
    (TSV, b"a\\tb\tc\n", [("a\\tb", "c")]),
    (JSON, b'{"a":"1","b":"2"}\n{"a":"3"}', [("1", "2"), ("3", "")]),
    (JSON, b'\n {"a":"1"} \r\n\n{"b":"2"}\n', [("1", ""), ("", "2")]),
    (JSON, b'\xef\xbb\xbf{"a":"1"}', [("1", "")]),
    (MULTIJSON, b'[{"a":"1"},\n{"b":"2"}]', [("1", ""), ("", "2")]),
    (MULTIJSON, b'{\n"a":"1"\n}\n{\n"b":"2"\n}', [("1", ""), ("", "2")]),
    (MULTIJSON, b'{"a":"1"}{"b":"2"} {"a":"3"}', [("1", ""), ("", "2"), ("3", "")]),
    (MULTIJSON, b' \n [ {"a":"]["} ] ', [("][", "")]),
]


@pytest.mark.fidelity(
    "ingestion-supported-formats.md",
    "CSV, TSV, PSV, SCSV, SOHSV, TSVE, TXT, RAW, JSON, MultiJSON are read",
)
@pytest.mark.parametrize(("data_format", "payload", "expected"), SHAPES)
def test_a_shape_is_read(
    data_format: DataFormat, payload: bytes, expected: list[tuple[str, str]]
) -> None:
    decode = decoder(WORDS)
    alone = decode.decode_group(data_format, [payload])
    assert alone.errors == (None,)
    assert rows_of(alone) == expected
    filler = {CSV: b"x,y\n", TSV: b"x\ty\n"}.get(data_format, b'{"a":"x"}\n')
    among = decode.decode_group(data_format, [filler, payload, filler * 50, payload])
    assert among.errors == (None,) * 4
    assert among.row_counts == (1, len(expected), 50, len(expected))
    assert rows_of(among)[1 : 1 + len(expected)] == expected
    assert rows_of(among)[-len(expected) :] == expected


def test_a_table_of_one_column() -> None:
    decode = decoder((Column("only", ScalarType.STRING),))
    result = decode.decode_group(CSV, [b'a\n\n""\nb\n', b'""'])
    assert rows_of(result) == [("a",), ("",), ("b",), ("",)]
    assert result.row_counts == (3, 1)


def test_a_wide_table() -> None:
    columns = tuple(Column(f"c{i}", ScalarType.INT) for i in range(1000))
    payload = ",".join(map(str, range(1000))).encode()
    bag = json.dumps({f"c{i}": i for i in range(1000)}).encode()
    for data_format, text in ((CSV, payload), (JSON, bag)):
        assert rows_of(decoder(columns).decode_group(data_format, [text])) == [tuple(range(1000))]


MALFORMED: list[tuple[DataFormat, bytes, type[RemoraError], str]] = [
    (CSV, b"", EmptyPayloadError, "db.T : The input stream is empty after processing, tip:check"),
    (CSV, b"\n\r\n\n", EmptyPayloadError, "Bad streaming ingestion request to db.T : "),
    (CSV, b"\xef\xbb\xbf\n", EmptyPayloadError, "empty"),
    (JSON, b" \n ", EmptyPayloadError, "empty"),
    (MULTIJSON, b"[]", EmptyPayloadError, "empty"),
    (CSV, gzip.compress(b""), EmptyPayloadError, "empty"),
    (CSV, b"a,b\na\n", FieldCountError, "record 2 has 1 field"),
    (CSV, b"a,b\n\na,b,c\na\n", FieldCountError, "record 2 has 3 field"),
    (CSV, b'"a,b"\n', FieldCountError, "record 1 has 1 field"),
    (CSV, b'a,b\n"x\ny",z\n"q\nr",\n,\n,,\n', FieldCountError, "record 5 has 3 field"),
    (CSV, b"a,b\r\nc\r\n", FieldCountError, "record 2 has 1 field"),
    (CSV, b" \n", FieldCountError, "record 1 has 1 field"),
    (TSV, b"a,b\n", FieldCountError, "record 1 has 1 field"),
    (CSV, b'a,"b\n', ClosingQuoteError, "record 1 has a quoted field that is never closed"),
    (CSV, b'a,b\n"c""\nd,e\n', ClosingQuoteError, "record 2"),
    (CSV, b'5" disk,"abc\n', ClosingQuoteError, "record 1"),
    (CSV, b'a,b\n"c"d,e\n', MalformedPayloadError, "record 2 has text after the closing quote"),
    (CSV, b'"a" ,b\n', MalformedPayloadError, "record 1 has text after the closing quote"),
    (CSV, b"a,\xff\n", InvalidCharacterError, "byte 0xff at offset 2"),
    (JSON, b'{"a":"\xff"}', InvalidCharacterError, "byte 0xff at offset 6"),
    (JSON, b'{"zzz":"\xff"}', InvalidCharacterError, "byte 0xff"),
    (CSV, "a,b".encode("utf-16"), InvalidCharacterError, "byte 0xff at offset 0"),
    (JSON, b"a,b\n", MalformedPayloadError, "record 1, 'a,b': JSON is malformed"),
    (JSON, b'{"a":"1"}\n{"a":', MalformedPayloadError, "record 2"),
    (JSON, b'{"a":"1"}\n\n{"a":"1",}\n', MalformedPayloadError, "record 2"),
    (JSON, b'[{"a":"1"}]', MalformedPayloadError, "record 1"),
    (JSON, b'{"a":"1"}\n5\n', MalformedPayloadError, "record 2"),
    (JSON, b'{\n"a":"1"\n}', MalformedPayloadError, "multijson"),
    (JSON, b'{"a":"1"}{"a":"2"}', MalformedPayloadError, "multijson"),
    (JSON, b'{"a":\n"1"}\n{"a":"2"}', MalformedPayloadError, "multijson"),
    (JSON, b"{'a':1}", MalformedPayloadError, "record 1"),
    (MULTIJSON, b'[{"a":"1"},5]', MalformedPayloadError, "record 2"),
    (MULTIJSON, b'[{"a":"1"}', MalformedPayloadError, "JSON"),
    (MULTIJSON, b'[{"a":"1"}] x', MalformedPayloadError, "JSON"),
    (MULTIJSON, b'[[{"a":"1"}]]', MalformedPayloadError, "record 1"),
    (MULTIJSON, b'{"a":"1"},{"a":"2"}', MalformedPayloadError, "JSON"),
    (MULTIJSON, b"a,b\n", MalformedPayloadError, "JSON"),
    (MULTIJSON, b'{"a":"\\ud800"}', MalformedPayloadError, "JSON"),
    (JSON, b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", MalformedPayloadError, "json_depth, 128"),
    (JSON, b'{"z":' + b"[" * 100_000 + b"]" * 100_000 + b"}", MalformedPayloadError, "json_depth"),
    (JSON, b'{"a":' + b"[" * 100_000, MalformedPayloadError, "json_depth"),
    (MULTIJSON, b"[" * 1000 + b"]" * 1000, MalformedPayloadError, "json_depth"),
    (MULTIJSON, b'{"a":' * 1000 + b"1" + b"}" * 1000, MalformedPayloadError, "json_depth"),
    (CSV, gzip.compress(b"a,b\n" * 9)[:-9], InvalidArchiveError, "ends before its data"),
    (CSV, gzip.compress(b"a,b\n")[:-1], InvalidArchiveError, "ends before its data"),
    (CSV, b"\x1f\x8b", InvalidArchiveError, "ends before its data"),
    (CSV, b"\x1f\x8b" + bytes(50), InvalidArchiveError, "damaged"),
    (CSV, gzip.compress(b"a,b\n") + b"more", InvalidArchiveError, "after the gzip archive"),
    (CSV, gzip.compress(b"a,b\n") + b"\x1f\x8b", InvalidArchiveError, "ends before its data"),
    (CSV, gzip.compress(gzip.compress(b"a,b\n")), InvalidCharacterError, "byte 0x8b at offset 1"),
]


@pytest.mark.parametrize(("data_format", "payload", "error", "words"), MALFORMED)
def test_a_malformed_payload_is_refused_with_its_words_alone_and_among_others(
    data_format: DataFormat, payload: bytes, error: type[RemoraError], words: str
) -> None:
    decode = decoder(WORDS)
    good = {CSV: b"x,y\n", TSV: b"x\ty\n"}.get(data_format, b'{"a":"x"}\n')
    for group in ([payload], [good, payload, good], [good * 50, payload]):
        result = decode.decode_group(data_format, group)
        place = group.index(payload)
        found = result.errors[place]
        assert type(found) is error
        assert words in str(found) + str(found and found.remedy)
        assert found is not None
        assert len(found.message) < 300
        assert [e is None for e in result.errors] == [i != place for i in range(len(group))]
        assert sum(result.row_counts) == len(rows_of(result))


def test_the_first_wrong_value_is_named_in_the_order_of_records() -> None:
    columns = tuple(Column(name, ScalarType.INT) for name in "abc")
    payload = b"1,2,3\n4,5,x\ny,6,7\n8,9,10\n"
    for group in ([payload], [payload, b"1,2,3\n" * 60]):
        error = decoder(columns).decode_group(CSV, group).errors[0]
        assert "record 2, column 'c' (int): 'x' is not a whole number" in str(error)
    bags = b'{"a":1}\n{"c":"x"}\n{"a":"y"}\n'
    assert "record 2, column 'c'" in str(decoder(columns).decode_group(JSON, [bags]).errors[0])


def test_a_long_wrong_value_is_cut() -> None:
    columns = (Column("a", ScalarType.INT),)
    error = decoder(columns).decode_group(CSV, [b"x" * 100_000]).errors[0]
    assert error is not None
    assert "..." in error.message
    assert len(error.message) < 200


def test_large_payloads_are_refused_with_the_same_words() -> None:
    columns = (Column("a", ScalarType.STRING), Column("b", ScalarType.INT))
    many = b"text,1\n" * 30_000
    decode = decoder(columns)
    for wrong, words in (
        (b"a\n", "record 30001 has 1 field"),
        (b"a,b\n", "record 30001, column 'b'"),
        (b'a,"1\n', "record 30001 has a quoted field that is never closed"),
    ):
        assert words in str(decode.decode_group(CSV, [many + wrong + many]).errors[0])
    assert decode.decode_group(CSV, [many + b"\n\n" + many]).row_counts == (60_000,)


def test_odd_values_leave_the_other_columns_on_the_fast_path() -> None:
    columns = (
        Column("a", ScalarType.TIMESPAN),
        Column("b", ScalarType.DATETIME),
        Column("c", ScalarType.INT),
    )
    good = b"01:00:00,2024-05-06,1\n" * 60
    odd = b"1d,2024-05-06T00:00:00Z,+1\n"
    result = decoder(columns).decode_group(CSV, [good + odd])
    assert rows_of(result)[-1] == (86_400_000_000, 1_714_953_600_000_000, 1)


@pytest.mark.parametrize("odd", [ODD_COLUMNS - 1, ODD_COLUMNS, ODD_COLUMNS + 1, 20])
def test_many_odd_columns_are_read_like_few(odd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = []
    original = VectorReader._read_as

    def counted(reader: VectorReader, data: bytes, types: list[Any], width: int) -> Any:
        readings.append(types)
        return original(reader, data, types, width)

    monkeypatch.setattr(VectorReader, "_read_as", counted)
    columns = tuple(Column(f"c{i}", ScalarType.INT) for i in range(20))
    odd_row = ",".join(["+7"] * odd + ["7"] * (20 - odd)).encode() + b"\n"
    result = decoder(columns).decode_group(CSV, [b",".join([b"1"] * 20) + b"\n" + odd_row * 60])
    assert rows_of(result) == [(1,) * 20] + [(7,) * 20] * 60
    assert len(readings) == min(odd, ODD_COLUMNS + 1) + 1


# Structure


@pytest.mark.parametrize(
    ("document", "depth", "records"),
    [
        (b"", 0, 0),
        (b"5", 0, 0),
        (b"{}", 1, 1),
        (b'{"a":[{}]}', 3, 1),
        (b"[{},{},{}]", 2, 3),
        (b"{}{} {}", 1, 3),
        (b'{"]]]":"[[["}', 1, 1),
        (b'{"a\\"[":[]}', 2, 1),
        (b'{"a\\\\":[[]]}', 3, 1),
        (b'{"\\\\\\"[":{}}', 2, 1),
    ],
)
def test_structure_knows_strings(document: bytes, depth: int, records: int) -> None:
    assert nesting_depth(document) == depth
    assert record_count(document) == records


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_deeper_means_deeper(depth: int) -> None:
    document = b'{"a":"' + b"[" * 50 + b'","b":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    assert is_deeper_than(document, 2) is (depth > 2)


# The whole way


BAD_REQUESTS: list[tuple[str, dict[str, Any], type[RemoraError], str]] = [
    ("empty", {"payload": b""}, EmptyPayloadError, "Stream_NoDataToIngest"),
    ("blank lines", {"payload": b"\n\n"}, EmptyPayloadError, "Stream_NoDataToIngest"),
    ("too many fields", {"payload": b"a,1,2\n"}, FieldCountError, "Stream_WrongNumberOfFields"),
    ("too few fields", {"payload": b"a\n"}, FieldCountError, "Stream_WrongNumberOfFields"),
    ("open quote", {"payload": b'"a,1\n'}, ClosingQuoteError, "Stream_ClosingQuoteMissing"),
    (
        "wrong type",
        {"payload": b"a,b\n"},
        MalformedPayloadError,
        "BadRequest_NoRecordsOrWrongFormat",
    ),
    (
        "bad UTF-8",
        {"payload": b"\xfe,1\n"},
        InvalidCharacterError,
        "BadRequest_UnexpectedCharacterInInputStream",
    ),
    ("wrong format", {"format": JSON}, MalformedPayloadError, "BadRequest_NoRecordsOrWrongFormat"),
    ("no format", {"format": None}, FormatNotSupportedError, "BadRequest_FormatNotSupported"),
    (
        "deep",
        {"format": JSON, "payload": b'{"name":' + b"[" * 1000 + b"]" * 1000 + b"}"},
        MalformedPayloadError,
        "BadRequest_NoRecordsOrWrongFormat",
    ),
    (
        "cut gzip",
        {"payload": gzip.compress(b"a,1\n")[:-5]},
        InvalidArchiveError,
        "BadRequest_InvalidArchive",
    ),
    (
        "gzip bomb",
        {"payload": gzip.compress(bytes(64 * 1024 * 1024))},
        PayloadTooLargeError,
        "Stream_InputStreamTooLarge",
    ),
    (
        "over 4 MiB",
        {"payload": b"a,1\n" * 1_100_000},
        PayloadTooLargeError,
        "Stream_InputStreamTooLarge",
    ),
    (
        "over 10 MiB",
        {"payload": b"\x1f\x8b" + bytes(11 * 1024 * 1024)},
        PayloadTooLargeError,
        "Stream_InputStreamTooLarge",
    ),
    (
        "large value",
        {"payload": b"a" * 1_100_000 + b",1\n"},
        PayloadTooLargeError,
        "Stream_InputStreamTooLarge",
    ),
    ("unknown table", {"table": "people"}, TableNotFoundError, "BadRequest_TableNotExist"),
    (
        "unknown database",
        {"database": "nowhere"},
        DatabaseNotFoundError,
        "BadRequest_DatabaseNotExist",
    ),
    ("followed database", {"database": "copied"}, ReadOnlyError, "Forbidden"),
    (
        "no policy",
        {"table": "Quiet"},
        StreamingPolicyError,
        "BadRequest_StreamingIngestionPolicyNotEnabled",
    ),
    (
        "policy off",
        {"table": "Off"},
        StreamingPolicyError,
        "BadRequest_StreamingIngestionPolicyNotEnabled",
    ),
    ("mapping", {"mapping": "m"}, MappingNotFoundError, "BadRequest_MappingReferenceWasNotFound"),
    ("long source id", {"source_id": "x" * 129}, InvalidRequestError, "General_BadRequest"),
]


@pytest.mark.parametrize(
    ("name", "changes", "error", "code"), BAD_REQUESTS, ids=[b[0] for b in BAD_REQUESTS]
)
async def test_a_bad_request_has_its_code_stores_nothing_and_the_next_one_works(
    name: str, changes: dict[str, Any], error: type[RemoraError], code: str
) -> None:
    async with ingest_world() as world:
        before = world.row_store.end_lsn()
        with pytest.raises(error) as caught:
            await world.pipeline.ingest(people("Ada,36", **changes))
        assert type(caught.value) is error
        assert caught.value.code == code
        assert caught.value.permanent
        assert world.row_store.end_lsn() == before
        assert world.rows() == []
        await world.pipeline.ingest(people("Ada,36"))
        assert world.rows() == [("Ada", 36)]
        statistics = world.pipeline.statistics()
        assert (statistics.bytes_in_flight, statistics.unary_in_flight, statistics.lanes) == (
            0,
            0,
            0,
        )
        assert (statistics.requests_refused, statistics.requests_committed) == (1, 1)


async def test_random_bytes_never_break_the_pipeline() -> None:
    async with ingest_world() as world:
        # Text without structure is text whatever it says.
        for data_format in set(DataFormat) - {DataFormat.TXT, DataFormat.RAW}:
            for size in (1, 10, 1000):
                payload = b"\xff" + bytes((i * 197 + size * 31) % 256 for i in range(size))
                with pytest.raises(RemoraError) as caught:
                    await world.pipeline.ingest(people("", payload=payload, format=data_format))
                assert caught.value.permanent
        assert world.rows() == []
