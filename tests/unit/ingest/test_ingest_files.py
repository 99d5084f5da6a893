"""Whole files: binary formats, archives, and what batch ingestion asks."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import fastavro
import pyarrow as pa
import pyarrow.orc as pa_orc
import pyarrow.parquet as pq
import pytest
from ingest_tables import PEOPLE, batch_rows, file_rows

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import Column, Database, IngestionMapping, ScalarType, Table
from cluster.errors import (
    FormatNotSupportedError,
    InvalidArchiveError,
    InvalidCharacterError,
    MalformedPayloadError,
    MappingInconsistentError,
    MappingNotFoundError,
    RequestError,
)
from cluster.ingest.request import DataFormat
from cluster.ingest.worker import BatchDecode
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from pathlib import Path

S, I = ScalarType.STRING, ScalarType.INT  # noqa: E741


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


@pytest.mark.fidelity("ingestion-supported-formats.md", "Parquet is read by name")
def test_parquet_columns_are_taken_by_name_and_type() -> None:
    assert file_rows(parquet({"other": [1, 2], **NATIVE}), DataFormat.PARQUET, ALL) == EXPECTED
    assert file_rows(parquet({"string": ["x"]}), DataFormat.PARQUET, ALL)[0][8] == "x"


@pytest.mark.fidelity(
    "parquet-mapping.md", "Types of Parquet become types of columns as in the table of the page"
)
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
    found = file_rows(parquet({"x": [value]}), DataFormat.PARQUET, (Column("x", kind),))
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
    assert file_rows(data, DataFormat.PARQUET, columns, mapping) == expected
    mapping.append({"column": "rest", "Field": "o", "Transform": "DropMappedFields"})
    rows = file_rows(data, DataFormat.PARQUET, columns, mapping)
    assert rows[0] == (2, '{"a":{"b":[1,2]},"c":"x"}', *expected[0][2:])


@pytest.mark.fidelity("ingestion-supported-formats.md", "ORC and Avro are read")
def test_orc_and_avro() -> None:
    table = pa.table({"name": ["Ada", None], "age": pa.array([36, None], pa.int32())})
    sink = io.BytesIO()
    pa_orc.write_table(table, sink)
    assert file_rows(sink.getvalue(), DataFormat.ORC) == [("Ada", 36), ("", None)]
    fields = [{"name": "name", "type": "string"}, {"name": "age", "type": ["int", "string"]}]
    sink = io.BytesIO()
    schema = fastavro.parse_schema({"type": "record", "name": "R", "fields": fields})
    records = [{"name": "Ada", "age": 36}, {"name": "Kurt", "age": "old"}]
    fastavro.writer(sink, schema, records, codec="deflate", sync_interval=1)
    assert file_rows(sink.getvalue(), DataFormat.APACHEAVRO) == [("Ada", 36), ("Kurt", None)]


def test_an_orc_file_that_crashes_its_reader_is_refused() -> None:
    sink = io.BytesIO()
    pa_orc.write_table(pa.table({"name": ["Ada"], "age": [36]}), sink)
    good = sink.getvalue()
    limits = replace(LIMITS, ingest_reader_bytes=64 * 1024 * 1024)
    with pytest.raises(MalformedPayloadError, match="not orc, or damaged"):
        file_rows(good, DataFormat.ORC, limits=limits)
    with pytest.raises(MalformedPayloadError, match="not orc, or damaged"):
        file_rows(good[:-9], DataFormat.ORC)


def test_text_of_parquet_is_utf8() -> None:
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"x\xff"]).buffers())
    with pytest.raises(MalformedPayloadError):
        file_rows(parquet({"name": broken}), DataFormat.PARQUET)
    with pytest.raises(MalformedPayloadError):
        file_rows(parquet({"age": broken}), DataFormat.PARQUET)


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


@pytest.mark.fidelity("ingestion-supported-formats.md", "gzip and zip are unpacked")
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


def samples() -> dict[str, tuple[str, bytes]]:
    """A good file of each kind that has a structure."""
    people = {"name": [f"n{i}" for i in range(99)], "age": list(range(99))}
    fields = [{"name": "name", "type": "string"}, {"name": "age", "type": ["null", "long"]}]
    schema = fastavro.parse_schema({"type": "record", "name": "R", "fields": fields})
    avro, orc = io.BytesIO(), io.BytesIO()
    records = [{"name": "n", "age": i} for i in range(50)]
    fastavro.writer(avro, schema, records, codec="deflate", sync_interval=99)
    pa_orc.write_table(pa.table(people), orc)
    text = b'Ada,36\n"Al,an",41\n' * 40
    return {
        "parquet": ("parquet", parquet(people)),
        "orc": ("orc", orc.getvalue()),
        "avro": ("avro", avro.getvalue()),
        "gzip": ("csv", gzip.compress(text)),
        "zip": ("csv", zipped(a=text)),
        "csv": ("csv", text),
        "multijson": ("multijson", b'[{"name":"n","age":5},{"name":"\\u0041"}]' * 1),
    }


@pytest.mark.parametrize("kind", ["parquet", "orc", "avro", "gzip", "zip", "csv", "multijson"])
def test_flipped_bits_are_rows_or_a_refusal(tmp_path: Path, kind: str) -> None:
    chosen, good = samples()[kind]
    chance = random.Random(kind)
    path = tmp_path / "data"
    for _ in range(6 if kind == "orc" else 80):
        data = bytearray(good)
        for _ in range(chance.choice((1, 1, 3))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])
        with suppress(RequestError):
            for batch in BatchDecode(LIMITS).batches(File(path), DATABASE, TABLE, Asked(chosen)):
                batch.validate(full=True)
                assert batch.schema == arrow_schema(PEOPLE)


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


@pytest.mark.fidelity("parquet-mapping.md", "A command may carry its mapping")
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
