"""Each limit of decoding at limit-1, limit and limit+1; admission's order of gates."""

from __future__ import annotations

import gzip
import random
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ingest_tables import decoder, delimited, rows_of
from ingest_world import DISABLED, FakeCatalog, ingest_world, people, table

from cluster.catalog.model import Column, Database, ScalarType
from cluster.errors import (
    DatabaseNotFoundError,
    EmptyPayloadError,
    FormatNotSupportedError,
    IngestionContextError,
    InvalidArchiveError,
    InvalidRequestError,
    MalformedPayloadError,
    MappingNotFoundError,
    PayloadTooLargeError,
    ReadOnlyError,
    RemoraError,
    StreamingDisabledError,
    StreamingPolicyError,
    TableNotFoundError,
)
from cluster.ingest.admission import admit_request, admit_table
from cluster.ingest.compression import RATIO_FREE_BYTES, check_size, unpack, unpack_small
from cluster.ingest.request import DataFormat, IngestPayload
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from cluster.ingest.decode import GroupResult

AROUND = pytest.mark.parametrize(("spare", "fits"), [(-1, False), (0, True), (1, True)])
TEXT = (Column("a", ScalarType.STRING),)


def fate(result: GroupResult) -> RemoraError | None:
    """The error of the only payload."""
    (error,) = result.errors
    return error


# Sizes


@pytest.mark.fidelity(
    "app-managed-streaming-ingest.md", "A streaming request has at most 10 MB on the wire"
)
@AROUND
def test_the_wire_limit(spare: int, fits: bool) -> None:
    payload = gzip.compress(b"x" * 100)
    limits = replace(LIMITS, ingest_wire_bytes=len(payload) + spare)
    error = fate(decoder(TEXT, limits).decode_group(DataFormat.CSV, [payload]))
    if fits:
        assert error is None
        check_size(payload, limits)
    else:
        assert isinstance(error, PayloadTooLargeError)
        assert "ingest_wire_bytes" in error.message
        with pytest.raises(PayloadTooLargeError):
            admit_request(people("", payload=payload), limits)


@pytest.mark.fidelity("ingest-data-streaming.md", "A streaming request has at most 4 MB")
@AROUND
@pytest.mark.parametrize("compressed", [False, True])
def test_the_request_limit(compressed: bool, spare: int, fits: bool) -> None:
    text = b"x" * 1000
    limits = replace(LIMITS, ingest_request_bytes=len(text) + spare)
    payload = gzip.compress(text) if compressed else text
    error = fate(decoder(TEXT, limits).decode_group(DataFormat.CSV, [payload]))
    if fits:
        assert error is None
    else:
        assert isinstance(error, PayloadTooLargeError)
        assert "ingest_request_bytes" in error.message


@AROUND
def test_the_ratio_limit(spare: int, fits: bool) -> None:
    text = b"x" * (RATIO_FREE_BYTES + 100_000)
    payload = gzip.compress(text)
    ratio = -(-len(text) // len(payload))
    limits = replace(LIMITS, ingest_gzip_ratio=ratio + spare)
    if fits:
        assert unpack(payload, limits) == text
    else:
        with pytest.raises(PayloadTooLargeError, match="ingest_gzip_ratio"):
            unpack(payload, limits)


@pytest.mark.parametrize(("excess", "fits"), [(-1, True), (0, True), (1, False)])
def test_the_ratio_limit_counts_above_a_mebibyte(excess: int, fits: bool) -> None:
    text = b"x" * (RATIO_FREE_BYTES + excess)
    limits = replace(LIMITS, ingest_gzip_ratio=1)
    if fits:
        assert unpack(gzip.compress(text), limits) == text
    else:
        with pytest.raises(PayloadTooLargeError, match="ingest_gzip_ratio"):
            unpack(gzip.compress(text), limits)


def test_a_bomb_costs_no_more_memory_than_an_honest_payload() -> None:
    bomb = gzip.compress(bytes(32 * 1024 * 1024), compresslevel=9)
    assert len(bomb) < LIMITS.ingest_wire_bytes
    tracemalloc.start()
    with pytest.raises(PayloadTooLargeError, match="ingest_request_bytes"):
        unpack(bomb, LIMITS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * LIMITS.ingest_request_bytes


def test_a_small_bomb_is_named_by_its_ratio() -> None:
    bomb = gzip.compress(bytes(3 * 1024 * 1024), compresslevel=9)
    with pytest.raises(PayloadTooLargeError, match="ingest_gzip_ratio"):
        unpack(bomb, LIMITS)
    assert unpack_small(bomb, LIMITS, 65_536) is None


@AROUND
def test_the_member_limit(spare: int, fits: bool) -> None:
    payload = b"".join(gzip.compress(f"row {i}\n".encode()) for i in range(5))
    limits = replace(LIMITS, ingest_gzip_members=5 + spare)
    result = decoder(TEXT, limits).decode_group(DataFormat.CSV, [payload])
    if fits:
        assert rows_of(result) == [(f"row {i}",) for i in range(5)]
    else:
        assert isinstance(fate(result), InvalidArchiveError)
        assert "ingest_gzip_members" in str(fate(result))


def test_archives_larger_than_a_piece_and_with_empty_members() -> None:
    noise = random.Random(1).randbytes(300_000).hex().encode()
    payload = gzip.compress(b"") + gzip.compress(noise) + gzip.compress(b"") + gzip.compress(b"end")
    assert unpack(payload, LIMITS) == noise + b"end"
    assert unpack_small(payload, LIMITS, 600_003) == noise + b"end"
    assert unpack_small(payload, LIMITS, 600_002) is None
    assert unpack_small(b"plain", LIMITS, 5) == b"plain"
    assert unpack_small(b"plain", LIMITS, 4) is None


# Values


@AROUND
@pytest.mark.parametrize("data_format", [DataFormat.CSV, DataFormat.JSON], ids=lambda f: f.value)
@pytest.mark.parametrize("kind", [ScalarType.STRING, ScalarType.DYNAMIC], ids=lambda k: k.value)
def test_the_value_limit_counts_bytes_as_stored(
    kind: ScalarType, data_format: DataFormat, spare: int, fits: bool
) -> None:
    limits = replace(LIMITS, string_value_bytes=1000 + spare)
    text = "ż" * 499  # 998 bytes; as a JSON string with its quotes 1000
    if kind is ScalarType.STRING:
        text += "xx"
    columns = (Column("n", ScalarType.INT), Column("v", kind))
    if data_format is DataFormat.CSV:
        good, payload = b"1,x\n", f"1,x\n2,{text}\n3,x\n".encode()
    else:
        good, payload = b'{"n":1}\n', f'{{"n":1}}\n{{"n":2,"v":"{text}"}}\n'.encode()
    for group in ([payload], [good * 50, payload, good]):
        result = decoder(columns, limits).decode_group(data_format, group)
        error = result.errors[group.index(payload)]
        if fits:
            assert error is None
        else:
            assert isinstance(error, PayloadTooLargeError)
            assert "record 2, column 'v'" in error.message
            assert "1000 bytes, over string_value_bytes, 999" in error.message
        assert sum(e is not None for e in result.errors) == (not fits)


def test_escapes_count_as_stored() -> None:
    limits = replace(LIMITS, string_value_bytes=60)
    payload = delimited([["\x01" * 10]])  # as a JSON string 62 bytes
    error = fate(
        decoder((Column("v", ScalarType.DYNAMIC),), limits).decode_group(DataFormat.CSV, [payload])
    )
    assert isinstance(error, PayloadTooLargeError)
    assert "62 bytes" in error.message


@AROUND
def test_the_depth_limit_of_documents(spare: int, fits: bool) -> None:
    depth = LIMITS.json_depth - spare
    inner = b"[" * (depth - 1) + b"]" * (depth - 1)
    for data_format in (DataFormat.JSON, DataFormat.MULTIJSON):
        error = fate(decoder(TEXT).decode_group(data_format, [b'{"a":' + inner + b"}"]))
        assert (error is None) is fits
        if error is not None:
            assert isinstance(error, MalformedPayloadError)
            assert error.metadata["limit"] == "json_depth"


@AROUND
def test_the_depth_limit_of_dynamic_values(spare: int, fits: bool) -> None:
    depth = LIMITS.json_depth - spare
    payload = delimited([["x", "[" * depth + "]" * depth]])
    columns = (Column("a", ScalarType.STRING), Column("d", ScalarType.DYNAMIC))
    for group in ([payload], [payload, b"x,1\n" * 50]):
        error = decoder(columns).decode_group(DataFormat.CSV, group).errors[0]
        assert (error is None) is fits
        if error is not None:
            assert "record 1, column 'd' (dynamic): the value is nested deeper" in error.message


def test_depth_that_only_the_parser_can_see_is_no_recursion_error() -> None:
    limits = replace(LIMITS, json_depth=1_000_000)
    deep = b"[" * 100_000 + b"]" * 100_000
    for data_format in (DataFormat.JSON, DataFormat.MULTIJSON):
        error = fate(decoder(TEXT, limits).decode_group(data_format, [b'{"a":' + deep + b"}"]))
        assert isinstance(error, MalformedPayloadError)
    columns = (Column("d", ScalarType.DYNAMIC),)
    error = fate(decoder(columns, limits).decode_group(DataFormat.CSV, [deep]))
    assert isinstance(error, MalformedPayloadError)


@AROUND
@pytest.mark.parametrize("data_format", [DataFormat.JSON, DataFormat.MULTIJSON])
def test_small_bags_of_a_wide_table_are_bounded_by_what_they_become(
    data_format: DataFormat, spare: int, fits: bool
) -> None:
    columns = tuple(Column(f"c{i}", ScalarType.INT) for i in range(10))
    limits = replace(LIMITS, row_store_record_bytes=100 * 10 * 8 + spare)
    error = fate(decoder(columns, limits).decode_group(data_format, [b"{}\n" * 100]))
    assert (error is None) is fits
    if error is not None:
        assert isinstance(error, PayloadTooLargeError)
        assert "row_store_record_bytes" in error.message
    # Inner objects are no records.
    nested = b'{"x":[' + b",".join([b"{}"] * 200) + b"]}"
    assert fate(decoder(columns, limits).decode_group(data_format, [nested])) is None


@pytest.mark.parametrize(("size", "fits"), [(127, True), (128, True), (129, False)])
@pytest.mark.parametrize("letter", ["x", "ż"])
def test_the_source_id_limit_counts_bytes(letter: str, size: int, fits: bool) -> None:
    width = len(letter.encode())
    source_id = letter * (size // width) + "x" * (size % width)
    assert len(source_id.encode()) == size
    request = people("Ada,36", source_id=source_id)
    if fits:
        assert admit_request(request, LIMITS) is DataFormat.CSV
    else:
        with pytest.raises(InvalidRequestError, match="source_id_bytes, 128"):
            admit_request(request, LIMITS)


# The order of gates


def catalog() -> FakeCatalog:
    """Databases db (one table without policy) and copied, which follows."""
    found = FakeCatalog({"db": Database("db", "id-db")}, {"copied"})
    found.put(table("T", 1, policy=DISABLED))
    found.trees["copied"] = replace(found.get("db"), name="copied")
    return found


def first_error(*, database: str, name: str, enabled: bool) -> type[RemoraError]:
    with pytest.raises(RemoraError) as caught:
        admit_table(database, name, catalog(), streaming_enabled=enabled)
    return type(caught.value)


@pytest.mark.fidelity(
    "streaming-ingestion-policy.md",
    "Without an enabled policy at either level a table takes no streamed rows",
)
@pytest.mark.parametrize(
    ("database", "name", "enabled", "error"),
    [
        ("copied", "nowhere", False, ReadOnlyError),
        ("COPIED", "T", True, ReadOnlyError),
        ("nowhere", "nowhere", False, StreamingDisabledError),
        ("db", "nowhere", False, StreamingDisabledError),
        ("db", "T", False, StreamingDisabledError),
        ("nowhere", "nowhere", True, DatabaseNotFoundError),
        ("db", "nowhere", True, TableNotFoundError),
        ("db", "t", True, TableNotFoundError),
        ("db", "T", True, StreamingPolicyError),
    ],
)
def test_gates_of_the_table(
    database: str, name: str, enabled: bool, error: type[RemoraError]
) -> None:
    assert first_error(database=database, name=name, enabled=enabled) is error


@pytest.mark.fidelity(
    "streaming-ingestion-policy.md", "A database's policy holds for all tables that have none"
)
def test_the_policy_of_the_database_counts_unless_the_table_has_its_own() -> None:
    found = catalog()
    found.put(table("Own", 2, policy=None))
    enabled = table("x", 0).streaming_policy
    found.trees["db"] = replace(found.get("db"), streaming_policy=enabled)
    assert admit_table("db", "Own", found, streaming_enabled=True).table.name == "Own"
    with pytest.raises(StreamingPolicyError):
        admit_table("db", "T", found, streaming_enabled=True)


async def test_gates_of_the_request_in_their_order() -> None:
    limits = replace(LIMITS, source_id_bytes=3, ingest_request_bytes=3)
    request = IngestPayload(
        "db", "People", None, b"x,1\n", mapping="m", source_id="long", properties={"tags": "[]"}
    )
    expected = (
        (FormatNotSupportedError, {"format": DataFormat.PARQUET}),
        (FormatNotSupportedError, {"format": DataFormat.CSV}),
        (MappingNotFoundError, {"mapping": ""}),
        (IngestionContextError, {"properties": {}}),
        (InvalidRequestError, {"source_id": ""}),
        (PayloadTooLargeError, {"payload": b""}),
        (EmptyPayloadError, {"payload": b"\n"}),
    )
    async with ingest_world(limits=limits) as world:
        for error, repair in expected:
            with pytest.raises(error):
                await world.pipeline.ingest(request)
            request = replace(request, **repair)
        with pytest.raises(EmptyPayloadError):
            await world.pipeline.ingest(request)


async def test_an_unknown_mapping_is_named_in_kustos_words() -> None:
    async with ingest_world() as world:
        with pytest.raises(MappingNotFoundError) as caught:
            await world.pipeline.ingest(people("a,1", mapping="my map"))
    assert caught.value.message == "Entity ID 'my map' of kind 'MappingPersistent' was not found."


@pytest.mark.fidelity(
    "ingest-data-streaming.md",
    "Extent tags and other ingestion properties cannot be given to streaming",
)
@pytest.mark.parametrize(
    "name", ["tags", "ignoreFirstRecord", "ingestionMapping", "creationTime", "anything"]
)
def test_streaming_takes_no_other_property(name: str) -> None:
    with pytest.raises(IngestionContextError, match=f"'{name}'") as caught:
        admit_request(people("a,1", properties={name: "true"}), LIMITS)
    assert caught.value.code == "BadRequest_IngestionPropertyNotSupportedInThisContext"
    assert caught.value.permanent
