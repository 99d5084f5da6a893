"""Doors over gRPC, against services in memory that remember what they were asked."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pyarrow as pa
import pytest
import trio

from cluster.conformance.calls import FLAWS, Answer, Changed, Ingested, Ran
from cluster.conformance.doors_grpc import GrpcControl, GrpcDoor, position_of
from cluster.conformance.payloads import payload_of
from cluster.conformance.plan import BASE_COLUMNS
from cluster.conformance.values import At
from cluster.errors import FollowRefusedError, TimedOutError
from cluster.limits import LIMITS
from cluster.rpc.v1 import (
    coordinator_pb2,
    coordinator_pb2_grpc,
    ingestion_pb2,
    ingestion_pb2_grpc,
    management_pb2,
    management_pb2_grpc,
    query_pb2,
    query_pb2_grpc,
    types_pb2,
)
from cluster.transport.memory import MemoryTransport
from cluster.transport.memory_network import MemoryNetwork

AT = At(version=(1, 7), keys={3: (5, 99), 4: (1, 2)})
TABLE = pa.table(
    {
        "Id": [3, 1, 2],
        "Source": ["a", "a", "b"],
        "At": [None, None, None],
        "Payload": ["x", "y", "z"],
        "C1": pa.array([None, 1, 2], pa.int64()),
    }
)


def position():
    keys = [types_pb2.KeyPosition(key=k, ordinal=o, checksum=c) for k, (o, c) in AT.keys.items()]
    return types_pb2.Position(version=types_pb2.MetadataVersion(major=1, minor=7), keys=keys)


def arrow(table):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


class Everything(
    ingestion_pb2_grpc.IngestionServiceServicer,
    query_pb2_grpc.QueryServiceServicer,
    management_pb2_grpc.ManagementServiceServicer,
    coordinator_pb2_grpc.CoordinatorServiceServicer,
):
    """A node and a coordinator; ``asked`` are their requests."""

    def __init__(self):
        self.asked = []
        self.staleness_seconds = 2

    async def Ingest(self, request, call):  # noqa: N802
        self.asked.append(request)
        return ingestion_pb2.IngestResponse(row_count=2, position=position(), duplicate=True)

    async def Query(self, request, stream):  # noqa: N802
        self.asked.append(request)
        header = query_pb2.QueryHeader(
            columns=[types_pb2.Column(name=name, type="long") for name in TABLE.column_names],
            position=position(),
            streaming_rows_hidden=True,
            hidden_reason="FOLLOWER_STREAMING_DISABLED",
        )
        if self.staleness_seconds is not None:
            header.staleness.FromSeconds(self.staleness_seconds)
        await stream.send(query_pb2.QueryResponse(header=header))
        await stream.send(query_pb2.QueryResponse(arrow=arrow(TABLE)))
        await stream.send(query_pb2.QueryResponse(completion=query_pb2.QueryCompletion()))

    async def ExecuteCommand(self, request, call):  # noqa: N802
        self.asked.append(request)
        if request.command == "hang":
            await trio.sleep_forever()
        guids = pa.array([bytes(range(16)), None], pa.uuid())
        result = pa.table({"Name": ["T", None], "Rows": [1, 2], "Id": guids})
        columns = [types_pb2.Column(name=name, type="string") for name in result.column_names]
        return management_pb2.ExecuteCommandResponse(columns=columns, arrow=arrow(result))

    async def SetCapability(self, request, call):  # noqa: N802
        self.asked.append(request)
        return coordinator_pb2.SetCapabilityResponse(
            epoch=4, certainty=coordinator_pb2.CERTAINTY_LEASE_EXPIRED
        )

    async def Attach(self, request, call):  # noqa: N802
        self.asked.append(request)
        if request.follower_cluster == "strict":
            raise FollowRefusedError("streaming ingestion of strict is off")
        grant = coordinator_pb2.Grant(epoch=5, rows=False, reason="FOLLOWER_STREAMING_DISABLED")
        return coordinator_pb2.AttachResponse(grant=grant)

    async def Detach(self, request, call):  # noqa: N802
        self.asked.append(request)
        return coordinator_pb2.DetachResponse(certainty=coordinator_pb2.CERTAINTY_CONFIRMED)

    async def DetachFollowerDatabases(self, request, call):  # noqa: N802
        self.asked.append(request)
        return coordinator_pb2.DetachFollowerDatabasesResponse(
            certainty=coordinator_pb2.CERTAINTY_CONFIRMED
        )


@asynccontextmanager
async def serving():
    service, network = Everything(), MemoryNetwork()
    server = MemoryTransport(network=network, host="node").server()
    ingestion_pb2_grpc.add_IngestionServiceServicer_to_server(service, server)
    query_pb2_grpc.add_QueryServiceServicer_to_server(service, server)
    management_pb2_grpc.add_ManagementServiceServicer_to_server(service, server)
    coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server(service, server)
    server.listen("node:1")
    client = MemoryTransport(network=network, host="client")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        door = GrpcDoor(client.connect("node:1"), timeout_seconds=20)
        control = GrpcControl(client.connect("node:1"))
        yield service, door, control
        await door.aclose()
        await control.aclose()
        nursery.cancel_scope.cancel()


async def test_rows_go_by_position_and_come_back_with_what_was_said(autojump_clock):
    async with serving() as (service, door, _control):
        assert await door.ingest("D1", "T1", (1, 2), (*BASE_COLUMNS, "C1"), "s") == Ingested(
            position=AT, repeated=True
        )
        (request,) = service.asked
        assert (request.database, request.table, request.source_id) == ("D1", "T1", "s")
        assert request.format == ingestion_pb2.DATA_FORMAT_CSV
        lines = request.payload.decode().splitlines()
        assert [line.split(",")[0] for line in lines] == ["1", "2"]
        assert [line.split(",")[1] for line in lines] == ["s", "s"]
        assert [line.split(",")[4:] for line in lines] == [["1"], ["2"]]


async def test_an_answer_is_every_row_in_the_order_it_came(autojump_clock):
    async with serving() as (service, door, _control):
        assert await door.read("D1", "T1", at_least=AT, max_staleness_seconds=1.5) == Answer(
            ids=(3, 1, 2),
            position=AT,
            columns=(*BASE_COLUMNS, "C1"),
            filled={"C1": (1, 2)},
            hidden_reason="FOLLOWER_STREAMING_DISABLED",
            staleness_seconds=2.0,
        )
        (request,) = service.asked
        assert request.kql == "T1"
        assert request.at_least == position()
        assert request.max_staleness.ToMilliseconds() == 1500
        service.staleness_seconds = None
        answer = await door.read("D1", "T1")
        assert answer.staleness_seconds is None
        assert not service.asked[1].HasField("at_least")
        assert not service.asked[1].HasField("max_staleness")


async def test_a_command_tells_its_result_as_text(autojump_clock):
    async with serving() as (_service, door, _control):
        assert await door.command("D1", ".show tables") == Ran(
            columns=("Name", "Rows", "Id"),
            rows=(("T", "1", "00010203-0405-0607-0809-0a0b0c0d0e0f"), ("", "2", "")),
        )


async def test_a_request_without_an_answer_ends_at_its_deadline(autojump_clock):
    async with serving() as (_service, door, _control):
        with pytest.raises(TimedOutError):
            await door.command("D1", "hang")
        assert trio.current_time() == pytest.approx(20, abs=1)


async def test_the_first_calls_open_the_channel_once(autojump_clock):
    async with serving() as (service, door, _control):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(door.read, "D1", "T1")
        assert len(service.asked) == 3


async def test_a_door_nobody_used_is_closed_without_a_word(autojump_clock):
    async with serving() as (service, _door, _control):
        assert service.asked == []


async def test_the_control_plane_says_how_it_became_certain(autojump_clock):
    async with serving() as (service, _door, control):
        assert await control.set_capability("follower1", on=False) == Changed(
            epoch=4, certainty="lease_expired"
        )
        attached = await control.attach("leader", "D1", "follower1", include=("A",), exclude=["B"])
        assert attached == Changed(epoch=5, reason="FOLLOWER_STREAMING_DISABLED")
        assert service.asked[1].sharing == types_pb2.TableLevelSharing(
            tables_to_include=["A"], tables_to_exclude=["B"]
        )
        await control.attach("leader", "D1", "follower1")
        assert service.asked[2].HasField("sharing")  # everything, not: as before
        with pytest.raises(FollowRefusedError):
            await control.attach("leader", "D1", "strict")


@pytest.mark.parametrize("side", ["leader", "follower"])
async def test_either_side_may_detach(autojump_clock, side):
    async with serving() as (service, _door, control):
        detached = await control.detach("leader", "D1", "follower1", side=side)
        assert detached == Changed(certainty="confirmed")
        (request,) = service.asked
        assert (request.leader_cluster, request.follower_cluster) == ("leader", "follower1")
        if side == "leader":
            assert request.configuration == "leader.D1"
        else:
            assert request.database == "D1"


def test_a_position_survives_being_written():
    assert At.of(position_of(AT)) == AT


def test_every_flaw_is_one_and_others_are_refused():
    whole = payload_of((1, 2), BASE_COLUMNS, "s")
    flawed = {flaw: payload_of((1, 2), BASE_COLUMNS, "s", flaw) for flaw in FLAWS}
    assert len({whole, *flawed.values()}) == 1 + len(FLAWS)
    assert whole == payload_of((1, 2), BASE_COLUMNS, "s")
    assert flawed["malformed"].splitlines()[-1].startswith(b"not-a-number,")
    assert flawed["fields"].splitlines()[-1].count(b",") == 2
    assert LIMITS.ingest_request_bytes < len(flawed["oversize"]) < LIMITS.ingest_wire_bytes
    assert flawed["gzip"].startswith(b"\x1f\x8b")
    with pytest.raises(ValueError, match="no such flaw"):
        payload_of((1,), BASE_COLUMNS, "s", "other")
