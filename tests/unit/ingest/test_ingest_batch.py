"""Whole files: every format, lenient, in pieces; archives; what is refused."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest_tables import PEOPLE, file_rows, quoted

from cluster.catalog.model import Column, ScalarType
from cluster.errors import (
    ClosingQuoteError,
    InvalidCharacterError,
    MalformedPayloadError,
    PayloadTooLargeError,
)
from cluster.ingest import chunks
from cluster.ingest.request import DataFormat
from cluster.limits import LIMITS

S, I = ScalarType.STRING, ScalarType.INT  # noqa: E741


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
    assert file_rows(data, chosen) == [("Ada", 36), (middle, 41), ("Kurt", 71)]


def test_raw_and_txt() -> None:
    columns = (Column("text", S), Column("line", ScalarType.LONG), Column("place", S))
    mapping = [
        {"column": "text", "Ordinal": 0},
        {"column": "line", "Transform": "SourceLineNumber"},
        {"column": "place", "Transform": "SourceLocation"},
    ]
    assert file_rows(b"a,b\nc", DataFormat.RAW, columns, mapping) == [("a,b\nc", 1, "here")]
    assert file_rows(b"a,b\n\nc", DataFormat.TXT, columns, mapping) == [
        ("a,b", 1, "here"), ("c", 2, "here")
    ]  # fmt: skip
    skipped = file_rows(b"head\na\nb\n", DataFormat.TXT, columns, mapping, skip=True)
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
    assert file_rows(data, chosen, skip=True) == [("Ada", 36)] * 9


def test_a_header_of_json_is_its_first_record() -> None:
    data = b'[{"name":"x"},{"name":"y"}]'
    assert file_rows(data, DataFormat.MULTIJSON, skip=True) == [("y", None)]
    assert file_rows(b'{"name":"x"}\n{"name":"y"}\n', DataFormat.JSON, skip=True) == [("y", None)]


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
    found = file_rows(b"Alan,41\n" + line * count, DataFormat.CSV)
    assert found == [("Alan", 41), *[expected] * count]


def test_json_is_taken_leniently() -> None:
    data = b'{"name":5,"age":"36"}\n{"name":{"a":1},"age":[2]}\n{"other":1}\n{"age":1.5}'
    assert file_rows(data, DataFormat.JSON) == [
        ("5", 36), ('{"a":1}', None), ("", None), ("", None)
    ]  # fmt: skip


@pytest.mark.fidelity("ingestion-supported-formats.md", "A string over 1 MB is cut")
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
        sink = io.BytesIO()
        pq.write_table(pa.table({"name": [text], "bag": [text]}), sink)
        data = sink.getvalue()
    limits = replace(LIMITS, string_value_bytes=10)
    ((name, bag),) = file_rows(data, chosen, columns, limits=limits)
    assert len(name.encode()) == left - (size == 11 and left % 2)
    assert bag == (None if size + 2 > 10 else json.dumps(text, ensure_ascii=False))


@pytest.mark.fidelity("ingestion-supported-formats.md", "A record over 64 MB fails")
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
            file_rows(data, chosen, PEOPLE[:1], limits=limits)
    else:
        assert file_rows(data, chosen, PEOPLE[:1], limits=limits) == [(text.decode(),)]


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
        file_rows(data, chosen)


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
        assert file_rows(data, DataFormat.CSV, columns) == rows
