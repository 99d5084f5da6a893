"""The servicer over the transport of memory: unary calls, streams, windows, acks."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trio
from ingest_world import ingest_world, table
from trio.testing import wait_all_tasks_blocked

from cluster.catalog.model import Database
from cluster.errors import (
    FieldCountError,
    FormatNotSupportedError,
    InvalidRequestError,
    ReadOnlyError,
    ThrottledError,
)
from cluster.gateway.ingestion import IngestionServicer
from cluster.limits import LIMITS
from cluster.rpc.v1 import ingestion_pb2 as pb
from cluster.rpc.v1 import ingestion_pb2_grpc
from cluster.transport.memory import MemoryTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ingest_world import World

    from cluster.limits import Limits


@asynccontextmanager
async def served(
    *, limits: Limits = LIMITS, committing: bool = True
) -> AsyncIterator[tuple[World, Any, IngestionServicer]]:
    """A world, a stub that calls it, and its servicer."""
    transport = MemoryTransport()
    async with ingest_world(limits=limits, committing=committing) as world:
        servicer = IngestionServicer(
            world.pipeline, lambda name: world.catalog.get(name).version, limits=limits
        )
        server = transport.server()
        ingestion_pb2_grpc.add_IngestionServiceServicer_to_server(servicer, server)
        address = server.listen("127.0.0.1:0")
        await world.nursery.start(lambda *, task_status: server.serve(task_status=task_status))
        async with transport.connect(address) as channel:
            yield world, ingestion_pb2_grpc.IngestionServiceStub(channel), servicer


def request(text: str, **changes: Any) -> pb.IngestRequest:
    """A CSV request for db.People."""
    fields: dict[str, Any] = {
        "database": "db",
        "table": "People",
        "format": pb.DATA_FORMAT_CSV,
        "payload": text.encode(),
    }
    return pb.IngestRequest(**{**fields, **changes})


def numbered(sequence: int, text: str = "Ada,36\n", **changes: Any) -> pb.IngestStreamRequest:
    """The same as a message of a stream."""
    return pb.IngestStreamRequest(sequence=sequence, request=request(text, **changes))


async def acked_through(stream: Any, sequence: int) -> list[pb.IngestStreamResponse]:
    """The responses up to the one that acknowledges ``sequence``."""
    responses: list[pb.IngestStreamResponse] = []
    while not responses or responses[-1].acked_through < sequence:
        batch = await stream.recv_many()
        assert batch, "the stream ended"
        responses += batch
    return responses


async def test_a_unary_call_answers_rows_position_and_duplicate() -> None:
    async with served() as (world, stub, _):
        response = await stub.Ingest(request("Ada,36\nAlan,41\n", source_id="one"))
        assert (response.row_count, response.duplicate) == (2, False)
        assert [(key.key, key.ordinal) for key in response.position.keys] == [(1, 2)]
        assert response.position.keys[0].checksum != 0
        assert response.position.version.major == world.catalog.get("db").version.major
        again = await stub.Ingest(request("Ada,36\nAlan,41\n", source_id="one"))
        assert (again.row_count, again.duplicate) == (2, True)


@pytest.mark.parametrize("unknown", [0, 14, 99])
async def test_an_unknown_format_is_refused(unknown: int) -> None:
    async with served() as (_, stub, _):
        with pytest.raises(FormatNotSupportedError):
            await stub.Ingest(request("Ada,36\n", format=unknown))


async def test_a_refused_unary_call_raises_the_same_class_at_the_caller() -> None:
    async with served() as (_, stub, _):
        with pytest.raises(FieldCountError, match="record 1 has 3"):
            await stub.Ingest(request("a,b,c\n"))
        with pytest.raises(ReadOnlyError):
            await stub.Ingest(request("Ada,36\n", database="copied"))


async def test_a_stream_acknowledges_cumulatively_once_for_each_wake_up() -> None:
    async with served(committing=False) as (world, stub, _), stub.IngestStream() as stream:
        for sequence in range(1, 11):
            await stream.send(numbered(sequence, f"Ada,{sequence}\n"))
        await wait_all_tasks_blocked()
        await world.start_committing()
        responses = await acked_through(stream, 10)
        assert len(responses) < 10
        assert responses[-1].rows_acked == 10
        assert [(key.key, key.ordinal) for key in responses[-1].position.keys] == [(1, 10)]
        stream.close_send()
        assert not await stream.recv_many()
        await stream.result()
        assert [age for _, age in world.rows()] == list(range(1, 11))


async def test_a_refused_payload_is_listed_and_does_not_end_the_stream() -> None:
    async with served() as (world, stub, _), stub.IngestStream() as stream:
        await stream.send(numbered(1))
        await stream.send(numbered(2, "wrong\n"))
        await stream.send(numbered(3, "Emmy,53\n", table="Nowhere"))
        await stream.send(numbered(4, "Kurt,71\n"))
        responses = await acked_through(stream, 4)
        failures = {f.sequence: f.failure for r in responses for f in r.failures}
        assert sorted(failures) == [2, 3]
        refused = failures[2]
        assert (refused.code, refused.permanent) == (FieldCountError.code, True)
        assert refused.status == FieldCountError.status
        assert refused.reason == FieldCountError.reason
        assert refused.metadata["fields"] == "1"
        assert refused.message
        assert refused.remedy
        assert failures[3].code == "BadRequest_TableNotExist"
        assert responses[-1].rows_acked == 2
        assert len(world.rows()) == 2


async def test_acks_wait_for_the_oldest_payload() -> None:
    async with served(committing=False) as (world, stub, _), stub.IngestStream() as stream:
        responses: list[pb.IngestStreamResponse] = []

        async def collect() -> None:
            responses.extend(await acked_through(stream, 2))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(collect)
            await stream.send(numbered(1))
            await stream.send(numbered(2, "wrong\n"))
            await wait_all_tasks_blocked()
            assert not responses
            await world.start_committing()
        assert [f.sequence for r in responses for f in r.failures] == [2]


@pytest.mark.parametrize("wrong", [[2], [0], [1, 1], [1, 3], [1, 2, 4]])
async def test_a_sequence_number_out_of_order_ends_the_stream(wrong: list[int]) -> None:
    async with served() as (_, stub, servicer):
        async with stub.IngestStream() as stream:
            for sequence in wrong:
                await stream.send(numbered(sequence))
            with pytest.raises(InvalidRequestError, match=f"sequence number {wrong[-1]}"):
                await stream.result()
        await wait_all_tasks_blocked()
        assert servicer.stream_count == 0


async def test_a_stream_is_of_one_database() -> None:
    async with served() as (world, stub, _), stub.IngestStream() as stream:
        world.catalog.trees["other"] = Database("other", "id-other")
        world.catalog.put(table("People", 50), "other")
        await stream.send(numbered(1))
        await stream.send(numbered(2, database="other"))
        await stream.send(numbered(3, database="DB"))
        responses = await acked_through(stream, 3)
        failures = [f for r in responses for f in r.failures]
        assert [(f.sequence, f.failure.code) for f in failures] == [(2, InvalidRequestError.code)]
        assert len(world.rows()) == 2


async def test_the_position_covers_every_table_of_the_stream() -> None:
    async with served() as (world, stub, _), stub.IngestStream() as stream:
        world.catalog.put(table("Others", 9))
        await stream.send(numbered(1))
        await stream.send(numbered(2, table="Others"))
        await stream.send(numbered(3))
        last = (await acked_through(stream, 3))[-1]
        assert {key.key: key.ordinal for key in last.position.keys} == {1: 2, 9: 1}


@pytest.mark.parametrize("window", [1, 2, 3])
async def test_at_most_a_window_of_payloads_is_unacknowledged(window: int) -> None:
    limits = replace(LIMITS, ingest_stream_window=window)
    async with served(limits=limits, committing=False) as (world, stub, _):
        async with stub.IngestStream() as stream:
            for sequence in range(1, 6):
                await stream.send(numbered(sequence))
            await wait_all_tasks_blocked()
            assert world.pipeline.statistics().requests_submitted == window
            await world.start_committing()
            await acked_through(stream, 5)
            stream.close_send()
            await stream.result()
        assert len(world.rows()) == 5


async def test_streams_wait_for_room_instead_of_being_throttled() -> None:
    limits = replace(LIMITS, ingest_inflight_bytes=15)
    async with served(limits=limits, committing=False) as (world, stub, _):
        async with stub.IngestStream() as stream:
            for sequence in range(1, 6):
                await stream.send(numbered(sequence))  # 7 bytes each: two fit
            await wait_all_tasks_blocked()
            assert world.pipeline.statistics().requests_submitted == 2
            await world.start_committing()
            responses = await acked_through(stream, 5)
        assert not [f for r in responses for f in r.failures]
        assert len(world.rows()) == 5


async def test_streams_are_bounded() -> None:
    limits = replace(LIMITS, ingest_streams=2)
    async with (
        served(limits=limits) as (_, stub, servicer),
        stub.IngestStream() as first,
        stub.IngestStream() as second,
    ):
        for stream in (first, second):
            await stream.send(numbered(1))
            await acked_through(stream, 1)
        assert servicer.stream_count == 2
        async with stub.IngestStream() as third:
            with pytest.raises(ThrottledError, match="ingest_streams"):
                await third.result()
        first.close_send()
        await first.result()
        async with stub.IngestStream() as third:
            await third.send(numbered(1))
            await acked_through(third, 1)


async def test_a_client_that_leaves_frees_its_stream_and_its_rows_stay() -> None:
    async with served(committing=False) as (world, stub, servicer):
        async with stub.IngestStream() as stream:
            await stream.send(numbered(1))
            await wait_all_tasks_blocked()
            assert servicer.stream_count == 1
        await wait_all_tasks_blocked()
        assert servicer.stream_count == 0
        await world.start_committing()
        await wait_all_tasks_blocked()
        assert world.rows() == [("Ada", 36)]


async def test_a_retry_over_a_new_stream_is_acknowledged_and_stored_once() -> None:
    async with served() as (world, stub, _):
        for _ in range(2):
            async with stub.IngestStream() as stream:
                for sequence in (1, 2, 3):
                    await stream.send(numbered(sequence, source_id=f"id-{sequence}"))
                last = (await acked_through(stream, 3))[-1]
                assert last.rows_acked == 3
                assert [key.ordinal for key in last.position.keys] == [3]
        assert len(world.rows()) == 3
