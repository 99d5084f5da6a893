"""Whole files: every format, lenient, in pieces; archives; what is refused."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import fastavro
import pyarrow as pa
import pyarrow.orc as pa_orc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest_tables import batch_rows, quoted

from cluster.catalog.model import Column, Database, IngestionMapping, ScalarType, Table
from cluster.errors import (
    ClosingQuoteError,
    FormatNotSupportedError,
    InvalidArchiveError,
    InvalidCharacterError,
    MalformedPayloadError,
    MappingInconsistentError,
    MappingNotFoundError,
    PayloadTooLargeError,
)
from cluster.ingest import chunks
from cluster.ingest.mappings import identity_plan, parse_mapping
from cluster.ingest.request import MAPPING_KINDS, DataFormat
from cluster.ingest.worker import BatchDecode, decode_source
from cluster.limits import LIMITS, Limits

if TYPE_CHECKING:
    from pathlib import Path

S, I = ScalarType.STRING, ScalarType.INT  # noqa: E741
PEOPLE = (Column("name", S), Column("age", I))


def decoded(
    data: bytes,
    chosen: DataFormat,
    columns: tuple[Column, ...] = PEOPLE,
    mapping: list[dict[str, Any]] | None = None,
    *,
    limits: Limits = LIMITS,
    skip: bool = False,
) -> list[tuple[Any, ...]]:
    """All rows of one file."""
    kind = MAPPING_KINDS[chosen]
    plan = (
        identity_plan(kind, columns)
        if mapping is None
        else parse_mapping(kind, json.dumps(mapping))
    )
    batches = decode_source(
        io.BytesIO(data), chosen, plan, columns, limits, location="here", ignore_first_record=skip
    )
    return [row for batch in batches for row in batch_rows(batch)]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of ten bytes."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 10)


ADA = b'{"name":"Ada","age":36}'
ALAN = b'{"name":"Al,an\\n","age":41}'
KURT = b'{"name":"Kurt","age":71}'
TEXTS = [
    (DataFormat.CSV, b'Ada,36\r\n"Al,an\n",41\n\nKurt,71'),
    (DataFormat.TSV, b'Ada\t36\n"Al,an\n"\t41\nKurt\t71\n'),
    (DataFormat.SCSV, b'Ada;36\n"Al,an\n";41\nKurt;71\n'),
    (DataFormat.SOHSV, b'Ada\x0136\n"Al,an\n"\x0141\nKurt\x0171\n'),
    (DataFormat.PSV, b'Ada|36\n"Al,an\n"|41\nKurt|71\n'),
    (DataFormat.TSVE, b"Ada\t36\nAl,an\\\n\t41\nKurt\t71\n"),
    (DataFormat.JSON, b"%s\n%s\n%s"),
    (DataFormat.MULTIJSON, b"[%s,\n%s ,%s]\n"),
    (DataFormat.MULTIJSON, b"%s%s %s"),
    (DataFormat.SINGLEJSON, b"\n[%s,%s,%s]"),
    (DataFormat.W3CLOGFILE,
     b'#Version: 1.0\n#Fields: age name\n36 Ada\n41 "Al,an"\n#Fields: name x age\nKurt - 71\n'),
]  # fmt: skip


@pytest.mark.parametrize(("chosen", "data"), TEXTS)
@pytest.mark.parametrize("piece", [0, 1, 7, 10])
def test_text_formats_in_pieces(
    chosen: DataFormat, data: bytes, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if piece:
        monkeypatch.setattr(chunks, "CHUNK_BYTES", piece)
    if b"%s" in data:
        data %= (ADA, ALAN, KURT)
    middle = "Al,an" if chosen is DataFormat.W3CLOGFILE else "Al,an\n"
    assert decoded(data, chosen) == [("Ada", 36), (middle, 41), ("Kurt", 71)]


def test_raw_and_txt() -> None:
    columns = (Column("text", S), Column("line", ScalarType.LONG), Column("place", S))
    mapping = [
        {"column": "text", "Ordinal": 0},
        {"column": "line", "Transform": "SourceLineNumber"},
        {"column": "place", "Transform": "SourceLocation"},
    ]
    assert decoded(b"a,b\nc", DataFormat.RAW, columns, mapping) == [("a,b\nc", 1, "here")]
    assert decoded(b"a,b\n\nc", DataFormat.TXT, columns, mapping) == [
        ("a,b", 1, "here"), ("c", 2, "here")
    ]  # fmt: skip
    skipped = decoded(b"head\na\nb\n", DataFormat.TXT, columns, mapping, skip=True)
    assert skipped == [("a", 2, "here"), ("b", 3, "here")]


@pytest.mark.parametrize("chosen", [DataFormat.CSV, DataFormat.TSV, DataFormat.TSVE])
@pytest.mark.usefixtures("small_chunks")
def test_a_header_is_left_out_once(chosen: DataFormat) -> None:
    separator = b"," if chosen is DataFormat.CSV else b"\t"
    lines = [
        b"\r\n",
        b'"na\nme"' if chosen is not DataFormat.TSVE else b"name",
        separator,
        b"age\n",
    ]
    data = b"".join(lines) + (b"Ada,36\n" * 9).replace(b",", separator)
    assert decoded(data, chosen, skip=True) == [("Ada", 36)] * 9


def test_a_header_of_json_is_its_first_record() -> None:
    data = b'[{"name":"x"},{"name":"y"}]'
    assert decoded(data, DataFormat.MULTIJSON, skip=True) == [("y", None)]
    assert decoded(b'{"name":"x"}\n{"name":"y"}\n', DataFormat.JSON, skip=True) == [("y", None)]


@pytest.mark.parametrize("count", [1, 60])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Ada,36,more,and more\n", ("Ada", 36)),
        (b"Ada\n", ("Ada", None)),
        (b"Ada,old\n", ("Ada", None)),
        (b"Ada,99999999999\n", ("Ada", None)),
        (b",\n", ("", None)),
    ],
)
def test_files_are_taken_leniently(line: bytes, expected: tuple[Any, ...], count: int) -> None:
    found = decoded(b"Alan,41\n" + line * count, DataFormat.CSV)
    assert found == [("Alan", 41), *[expected] * count]


def test_json_is_taken_leniently() -> None:
    data = b'{"name":5,"age":"36"}\n{"name":{"a":1},"age":[2]}\n{"other":1}\n{"age":1.5}'
    assert decoded(data, DataFormat.JSON) == [
        ("5", 36), ('{"a":1}', None), ("", None), ("", None)
    ]  # fmt: skip


@pytest.mark.parametrize("chosen", [DataFormat.CSV, DataFormat.JSON, DataFormat.PARQUET])
@pytest.mark.parametrize(("size", "left"), [(9, 9), (10, 10), (11, 10)])
def test_long_strings_are_cut(chosen: DataFormat, size: int, left: int) -> None:
    text = "\u00e9" * (size // 2) + "x" * (size % 2)
    columns = (Column("name", S), Column("bag", ScalarType.DYNAMIC))
    if chosen is DataFormat.CSV:
        data = f"{text},{quoted(json.dumps(text, ensure_ascii=False))}\n".encode()
    elif chosen is DataFormat.JSON:
        data = json.dumps({"name": text, "bag": text}, ensure_ascii=False).encode()
    else:
        data = parquet({"name": [text], "bag": [text]})
    limits = replace(LIMITS, string_value_bytes=10)
    ((name, bag),) = decoded(data, chosen, columns, limits=limits)
    assert len(name.encode()) == left - (size == 11 and left % 2)
    assert bag == (None if size + 2 > 10 else json.dumps(text, ensure_ascii=False))


@pytest.mark.parametrize("spare", [-1, 0])
@pytest.mark.parametrize("chosen", [DataFormat.CSV, DataFormat.RAW, DataFormat.MULTIJSON])
@pytest.mark.usefixtures("small_chunks")
def test_a_record_over_its_limit_fails(chosen: DataFormat, spare: int) -> None:
    text = b"x" * 100
    data = {
        DataFormat.CSV: b'"%s"' % text,
        DataFormat.RAW: text,
        DataFormat.MULTIJSON: b'{"name":"%s"}' % text,
    }[chosen]
    limits = replace(LIMITS, row_store_record_bytes=len(data) + spare)
    if spare < 0:
        with pytest.raises(PayloadTooLargeError, match="row_store_record_bytes"):
            decoded(data, chosen, PEOPLE[:1], limits=limits)
    else:
        assert decoded(data, chosen, PEOPLE[:1], limits=limits) == [(text.decode(),)]


BROKEN = [
    (DataFormat.CSV, b'Ada,36\n"Alan,41\nKurt,71\n', ClosingQuoteError),
    (DataFormat.CSV, b'Ada,36\n"Alan"x,41\nKurt,71\n', MalformedPayloadError),
    (DataFormat.CSV, b"\xff,1\n", InvalidCharacterError),
    (DataFormat.W3CLOGFILE, b"#Fields: name\n\xff\n", InvalidCharacterError),
    (DataFormat.JSON, b'{"name":"Ada"}\n{"name"\n', MalformedPayloadError),
    (DataFormat.MULTIJSON, b'[{"name":"Ada"} {"name":"Kurt"}]', MalformedPayloadError),
    (DataFormat.MULTIJSON, b'[{"name":"Ada"},{"name":"Kurt"}', MalformedPayloadError),
    (DataFormat.MULTIJSON, b'[{"name":"Ada"}] {"name":"Kurt"}', MalformedPayloadError),
    (DataFormat.MULTIJSON, b'[{"name":"Ada"}, 5, {"name":"Kurt"}]', MalformedPayloadError),
    (DataFormat.MULTIJSON, b'{"name":"Ada"} "x" {"name":"Kurt"}', MalformedPayloadError),
    (DataFormat.AVRO, b"Obj\x01", MalformedPayloadError),
    (DataFormat.PARQUET, b"PAR1 and nothing", MalformedPayloadError),
    (DataFormat.ORC, b"ORC and nothing", MalformedPayloadError),
]


@pytest.mark.parametrize(("chosen", "data", "error"), BROKEN)
@pytest.mark.parametrize("piece", [0, 10])
def test_broken_files_are_refused(
    chosen: DataFormat,
    data: bytes,
    error: type[Exception],
    piece: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if piece:
        monkeypatch.setattr(chunks, "CHUNK_BYTES", piece)
    with pytest.raises(error):
        decoded(data, chosen)


BAGS = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(['"', "\\", "[{", "}]"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.lists(BAGS.map(lambda value: {"name": value}), max_size=6),
    st.booleans(),
    st.integers(1, 40),
)
def test_documents_are_found_wherever_the_text_is_cut(
    bags: list[Any], is_array: bool, piece: int
) -> None:
    texts = [json.dumps(bag) for bag in bags]
    data = (f"[{', '.join(texts)}]" if is_array else " \n".join(texts)).encode()
    documents, rest, found = chunks.Documents(), b"", []
    for at in range(0, len(data), piece):
        some, end = documents.bags(rest + data[at : at + piece])
        rest = (rest + data[at : at + piece])[end:]
        found += some
    documents.finish(rest)
    assert [json.loads(bag) for bag in found] == bags


FIELD = st.text(st.sampled_from('a,"\n\r '), max_size=6)


@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=6), st.integers(1, 12))
def test_csv_is_the_same_wherever_it_is_cut(rows: list[tuple[str, str]], piece: int) -> None:
    columns = (Column("a", S), Column("b", S))
    data = "".join(f"{quoted(a)},{quoted(b)}\n" for a, b in rows).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_BYTES", piece)
        assert decoded(data, DataFormat.CSV, columns) == rows


# Binary formats

ALL = tuple(Column(kind.value, kind) for kind in ScalarType)
NATIVE: dict[str, Any] = {
    "bool": [True, None],
    "datetime": pa.array(
        [datetime(2024, 5, 6, 7, 8, 9, 5), None], pa.timestamp("ns", "Europe/Rome")
    ),
    "decimal": [Decimal("1.50"), None],
    "dynamic": [{"a": [1, None]}, None],
    "guid": ["01234567-89ab-cdef-0123-456789abcdef", None],
    "int": pa.array([7, None], pa.int8()),
    "long": pa.array([2**40, None], pa.uint64()),
    "real": pa.array([0.5, None], pa.float32()),
    "string": ["x", None],
    "timespan": pa.array([timedelta(days=1), None], pa.duration("ms")),
}
EXPECTED = [
    (True, 1_714_979_289_000_005, Decimal("1.5"), '{"a":[1,null]}',
     bytes.fromhex("0123456789abcdef0123456789abcdef"), 7, 2**40, (0.5, 1.0), "x", 86_400_000_000),
    (None, None, None, None, None, None, None, None, "", None),
]  # fmt: skip


def parquet(columns: dict[str, Any]) -> bytes:
    """A file with these columns."""
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def test_parquet_columns_are_taken_by_name_and_type() -> None:
    assert decoded(parquet({"other": [1, 2], **NATIVE}), DataFormat.PARQUET, ALL) == EXPECTED
    assert decoded(parquet({"string": ["x"]}), DataFormat.PARQUET, ALL)[0][8] == "x"


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, ScalarType.BOOL, True),
        (2, ScalarType.BOOL, None),
        (5, ScalarType.STRING, "5"),
        (5, ScalarType.REAL, (5.0, 1.0)),
        (5, ScalarType.DECIMAL, Decimal(5)),
        (2**40, ScalarType.INT, None),
        (0.5, ScalarType.STRING, "0.5"),
        (4.0, ScalarType.LONG, 4),
        (4.5, ScalarType.LONG, None),
        (True, ScalarType.STRING, "true"),
        ("7", ScalarType.LONG, 7),
        ("x", ScalarType.LONG, None),
        ('{"a":1}', ScalarType.DYNAMIC, '{"a":1}'),
        ("text", ScalarType.DYNAMIC, '"text"'),
        (datetime(2024, 5, 6), ScalarType.STRING, "2024-05-06T00:00:00Z"),
        (datetime(2024, 5, 6).date(), ScalarType.DATETIME, 1_714_953_600_000_000),
        ([1, "2"][:1], ScalarType.STRING, "[1]"),
        (b"\x00\xff", ScalarType.STRING, "\x00\u00ff"),
    ],
)
def test_conversions_of_parquet(value: Any, kind: ScalarType, expected: Any) -> None:
    found = decoded(parquet({"x": [value]}), DataFormat.PARQUET, (Column("x", kind),))
    assert found == [(expected,)]


def test_parquet_with_paths_and_transformations() -> None:
    data = parquet({
        "o": [{"a": {"b": [1, 2]}, "c": "x"}, None],
        "t": [1_714_979_289, None],
        "bags": [[{"k": 1}], None],
    })  # fmt: skip
    columns = (
        Column("second", I),
        Column("rest", ScalarType.DYNAMIC),
        Column("at", ScalarType.DATETIME),
        Column("bag", ScalarType.DYNAMIC),
        Column("line", ScalarType.LONG),
    )
    mapping = [
        {"column": "second", "Path": "$.o.a.b[1]"},
        {"column": "at", "Field": "t", "Transform": "DateTimeFromUnixSeconds"},
        {"column": "bag", "Field": "bags", "Transform": "PropertyBagArrayToDictionary"},
        {"column": "line", "Transform": "SourceLineNumber"},
    ]
    expected = [(2, None, 1_714_979_289_000_000, '{"k":1}', 1), (None, None, None, None, 2)]
    assert decoded(data, DataFormat.PARQUET, columns, mapping) == expected
    mapping.append({"column": "rest", "Field": "o", "Transform": "DropMappedFields"})
    rows = decoded(data, DataFormat.PARQUET, columns, mapping)
    assert rows[0] == (2, '{"a":{"b":[1,2]},"c":"x"}', *expected[0][2:])


def test_orc_and_avro() -> None:
    table = pa.table({"name": ["Ada", None], "age": pa.array([36, None], pa.int32())})
    sink = io.BytesIO()
    pa_orc.write_table(table, sink)
    assert decoded(sink.getvalue(), DataFormat.ORC) == [("Ada", 36), ("", None)]
    fields = [{"name": "name", "type": "string"}, {"name": "age", "type": ["int", "string"]}]
    sink = io.BytesIO()
    schema = fastavro.parse_schema({"type": "record", "name": "R", "fields": fields})
    records = [{"name": "Ada", "age": 36}, {"name": "Kurt", "age": "old"}]
    fastavro.writer(sink, schema, records, codec="deflate", sync_interval=1)
    assert decoded(sink.getvalue(), DataFormat.APACHEAVRO) == [("Ada", 36), ("Kurt", None)]


# As batch ingestion asks


@dataclass(frozen=True)
class Asked:
    """Properties of an ingestion command."""

    format: str = "csv"
    mapping: str = ""
    mapping_reference: str = ""
    ignore_first_record: bool = False
    keep_gzip: bool = False


@dataclass(frozen=True)
class File:
    """A local source."""

    path: Path
    shown: str = "shown"


TABLE = Table("People", "id", (), (PEOPLE,), ((0, 1),))
DATABASE = Database("db", "id", tables={"People": TABLE})


def zipped(**files: bytes) -> bytes:
    """A zip archive."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "chosen", "count"),
    [
        (b"Ada,36\n", "csv", 1),
        (gzip.compress(b"Ada,36\n") + gzip.compress(b"Ada,36\n"), "CSV", 2),
        (zipped(a=b"Ada,36\n", b=b"Ada,36\n"), "csv", 2),
        (parquet({"name": ["Ada"], "age": [36]}), "parquet", 1),
        (gzip.compress(parquet({"name": ["Ada"], "age": [36]})), "parquet", 1),
        (zipped(a=parquet({"name": ["Ada"], "age": [36]})), "parquet", 1),
    ],
)
def test_files_and_archives(tmp_path: Path, data: bytes, chosen: str, count: int) -> None:
    path = tmp_path / "data"
    path.write_bytes(data)
    batches = BatchDecode(LIMITS).batches(File(path), DATABASE, TABLE, Asked(chosen))
    assert [row for batch in batches for row in batch_rows(batch)] == [("Ada", 36)] * count


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"Ada,36\n")[:-4],
        gzip.compress(b"Ada,36\n" * 99)[:20] + b"damage",
        zipped(),
        zipped(a=b"Ada,36\n" * 99)[:-30],
    ],
)
def test_damaged_archives(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "data"
    path.write_bytes(data)
    with pytest.raises(InvalidArchiveError):
        list(BatchDecode(LIMITS).batches(File(path), DATABASE, TABLE, Asked()))


def test_gzip_may_be_kept() -> None:
    decode = BatchDecode(LIMITS)
    with pytest.raises(InvalidCharacterError):
        list(decode.batches(gzip.compress(b"Ada,36\n"), DATABASE, TABLE, Asked(keep_gzip=True)))


def test_mappings_of_commands() -> None:
    decode = BatchDecode(LIMITS)
    inline = Asked(mapping='[{"column":"name","Ordinal":1}]')
    decode.check(DATABASE, TABLE, inline)
    assert batch_rows(next(decode.batches(b"36,Ada\n", DATABASE, TABLE, inline))) == [("Ada", None)]
    own = {("csv", "M"): IngestionMapping("M", "csv", inline.mapping, 0)}
    named = Asked(mapping_reference="M")
    with pytest.raises(MappingNotFoundError):
        decode.check(DATABASE, TABLE, named)
    mapped = replace(TABLE, mappings=own)
    decode.check(DATABASE, mapped, named)
    assert batch_rows(next(decode.batches(b"36,Ada\n", DATABASE, mapped, named))) == [("Ada", None)]
    with pytest.raises(MappingInconsistentError):
        decode.check(DATABASE, TABLE, Asked(mapping='[{"column":"no","Ordinal":1}]'))
    with pytest.raises(FormatNotSupportedError):
        decode.check(DATABASE, TABLE, Asked("xml"))
