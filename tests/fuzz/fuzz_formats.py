"""Payloads of every format: good ones with mistakes in them, as streams and as whole files."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import fastavro
import pyarrow as pa
import pyarrow.orc as pa_orc
import pyarrow.parquet as pq
from fuzz_mutations import ODD_TEXTS, mutated_bytes, variants
from fuzzing import Target
from hypothesis import strategies as st
from ingest_tables import ALL_TYPES, GOOD_TEXTS, decoder, delimited, file_rows, rows_of

from cluster.errors import RequestError
from cluster.ingest.request import DELIMITERS, STREAMING_FORMATS, DataFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hypothesis.strategies import DrawFn, SearchStrategy

    from cluster.catalog.model import Column

TEXTS = (
    "", " ", "true", "1", "-1", "0x7f", "1.5", "1e400", "-0.0", "NaN", "inf", "1" * 20,
    "2024-05-06", "2024-05-06T07:08:09.1234567Z", "0001-01-01", "9999-12-31T23:59:59.9999999-14:00",
    "1.02:03:04.5", "1d", "106751991.04:00:54.775807", "-1tick", "null", "{}", '{"a":[{}]}',
    "01234567-89ab-cdef-0123-456789abcdef", "{0123456789abcdef0123456789abcdef}", "ä漢\U0001f600",
)  # fmt: skip
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
W3C = (
    "#Version: 1.0\n#Fields: date time c-ip cs-uri-query sc-status\n"
    '2026-11-21 12:00:00 10.0.0.1 - 200\n2026-11-21 12:00:01 10.0.0.1 "a ""b""" 404\n'
)
VARIANTS = 15
"""Of each example, besides itself."""

BINARY = (DataFormat.AVRO, DataFormat.APACHEAVRO, DataFormat.PARQUET, DataFormat.ORC)


class Example(NamedTuple):
    """A payload, and the table it is for; ``seed`` is what its variants follow from."""

    data_format: DataFormat
    columns: tuple[Column, ...]
    payload: bytes
    seed: int


def _fields(draw: DrawFn, columns: tuple[Column, ...]) -> list[str]:
    """One record, as text; most values fit their columns."""
    return [
        GOOD_TEXTS[column.type]
        if draw(st.integers(0, 3))
        else draw(st.sampled_from(TEXTS + ODD_TEXTS))
        for column in columns
    ]


def _text(draw: DrawFn, data_format: DataFormat, columns: tuple[Column, ...]) -> bytes:
    records = [_fields(draw, columns) for _ in range(draw(st.sampled_from((1, 1, 2, 5))))]
    if data_format in DELIMITERS:
        return delimited(records, DELIMITERS[data_format])
    if data_format is DataFormat.W3CLOGFILE:
        return W3C.encode()
    if data_format in (DataFormat.TSVE, DataFormat.TXT, DataFormat.RAW):
        return "".join("\t".join(record) + "\n" for record in records).encode()
    bags: list[dict[str, Any]] = [
        dict(zip((column.name for column in columns), record, strict=True)) for record in records
    ]
    for bag in bags:
        if draw(st.booleans()):
            bag[draw(st.sampled_from((*bag, "other")))] = draw(JSON_VALUES)
    if data_format is DataFormat.MULTIJSON and draw(st.booleans()):
        return json.dumps(bags).encode()
    return "\n".join(map(json.dumps, bags)).encode() + b"\n"


def _avro(codec: str, columns: tuple[Column, ...]) -> bytes:
    fields = [{"name": c.name, "type": ["null", "string", "long"]} for c in columns]
    schema = {"type": "record", "name": "R", "fields": fields}
    rows = [{c.name: GOOD_TEXTS[c.type] for c in columns}, {c.name: None for c in columns}]
    sink = io.BytesIO()
    fastavro.writer(sink, fastavro.parse_schema(schema), rows, codec=codec, sync_marker=b"\0" * 16)
    return sink.getvalue()


def _columnar(data_format: DataFormat, codec: str, columns: tuple[Column, ...]) -> bytes:
    table = pa.table({c.name: pa.array([GOOD_TEXTS[c.type], None]) for c in columns})
    sink = io.BytesIO()
    if data_format is DataFormat.PARQUET:
        pq.write_table(table, sink, compression=codec)
    else:
        pa_orc.write_table(table, sink, compression="uncompressed" if codec == "none" else "zlib")
    return sink.getvalue()


def _payload(draw: DrawFn, data_format: DataFormat, columns: tuple[Column, ...]) -> bytes:
    if data_format in (DataFormat.AVRO, DataFormat.APACHEAVRO):
        return _avro(draw(st.sampled_from(("null", "deflate"))), columns)
    if data_format in BINARY:
        return _columnar(data_format, draw(st.sampled_from(("none", "gzip"))), columns)
    return _text(draw, data_format, columns)


def _zipped(data: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data", data)
    return sink.getvalue()


_WRAPPERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "gzip, twice": lambda data: gzip.compress(data, mtime=0) * 2,
    "bzip2": bz2.compress,
    "zip": _zipped,
}


@st.composite
def payloads(draw: DrawFn, formats: tuple[DataFormat, ...], most_columns: int = 10) -> Example:
    """A payload of one of these formats for a table of some columns, with mistakes in it."""
    data_format = draw(st.sampled_from(formats))
    columns = tuple(draw(st.permutations(ALL_TYPES)))[: draw(st.integers(1, most_columns))]
    good = _payload(draw, data_format, columns)
    payload = draw(mutated_bytes(st.just(good)))
    wrapper = draw(st.sampled_from((None, None, None, None, *_WRAPPERS)))
    if wrapper is not None:
        payload = draw(mutated_bytes(st.just(_WRAPPERS[wrapper](payload))))
    return Example(data_format, columns, payload, draw(st.integers(0, 2**32)))


def streamed(pair: tuple[Example, bytes]) -> str:
    """A payload and its variants, alone and with a neighbour: what becomes of one is its own."""
    (data_format, columns, payload, seed), other = pair
    table = decoder(columns)
    neighbour = table.decode_group(data_format, [other])
    word = ""
    for variant in variants(payload, seed, VARIANTS):
        with naming(variant):
            alone = table.decode_group(data_format, [variant])
            together = table.decode_group(data_format, [variant, other])
            for place, single in enumerate((alone, neighbour)):
                error = single.errors[0]
                assert error is None or isinstance(error, RequestError)
                assert str(together.errors[place]) == str(error)
                assert together.row_counts[place] == single.row_counts[0]
            assert rows_of(together) == rows_of(alone) + rows_of(neighbour)
        word = word or _word(data_format, alone.errors[0], bool(alone.batch))
    return word


def _word(data_format: DataFormat, error: Exception | None, has_rows: bool) -> str:
    ending = type(error).__name__ if error is not None else "rows" if has_rows else "no rows"
    return f"{data_format.value}: {ending}"


@contextmanager
def naming(variant: bytes) -> Iterator[None]:
    """What is raised inside says of which variant: the example itself may be a fine one."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"variant: {variant!r}")
        raise


@st.composite
def pairs(draw: DrawFn) -> tuple[Example, bytes]:
    """An example and another payload of the same format for the same table."""
    example = draw(payloads(tuple(sorted(STREAMING_FORMATS, key=lambda item: item.value))))
    other = _payload(draw, example.data_format, example.columns)
    return example, draw(mutated_bytes(st.just(other)))


def read_file(example: Example) -> str:
    """A whole file and its variants, as batch ingestion reads them: archives and all."""
    data_format, columns, payload, seed = example
    # A file of ORC costs a process.
    count = 1 if data_format is DataFormat.ORC else VARIANTS
    words = []
    for variant in variants(payload, seed, count):
        error, rows = None, []
        with naming(variant):
            try:
                rows = file_rows(variant, data_format, columns)
            except RequestError as refusal:
                error = refusal
        words.append(_word(data_format, error, bool(rows)))
    return words[0]


def files() -> SearchStrategy[Example]:
    """Files of every format but ORC, of which each costs a process: a few of them are enough."""
    others = tuple(item for item in DataFormat if item is not DataFormat.ORC)
    return st.integers(0, 60).flatmap(
        lambda number: payloads(others if number else (DataFormat.ORC,), most_columns=4)
    )


STREAMED = Target("formats", pairs(), streamed)
FILES = Target("files", files(), read_file)
