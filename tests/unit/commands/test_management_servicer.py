"""The gRPC door of commands: columns with Kusto types, rows as one Arrow stream."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone

import pyarrow as pa
import pytest
import trio

from cluster.catalog.model import Column, ScalarType
from cluster.commands.results import CommandResult
from cluster.errors import ReadOnlyError
from cluster.gateway.management import ManagementServicer, result_to_arrow
from cluster.rpc.v1 import management_pb2, management_pb2_grpc
from cluster.transport.memory import MemoryTransport

GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
EAST = timezone(timedelta(hours=2))


class FakeCommands:
    def __init__(self, outcome):
        self.outcome = outcome
        self.asked = []

    async def execute(self, database_name, text, request):
        self.asked.append((database_name, text))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def read(data):
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()


@asynccontextmanager
async def served(commands):
    """A stub of the service over a transport of memory."""
    transport = MemoryTransport()
    server = transport.server()
    management_pb2_grpc.add_ManagementServiceServicer_to_server(
        ManagementServicer(commands), server
    )
    address = server.listen("127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        async with transport.connect(address) as channel:
            yield management_pb2_grpc.ManagementServiceStub(channel)
        nursery.cancel_scope.cancel()


async def test_a_result_travels_with_its_columns():
    columns = (Column("Name", ScalarType.STRING), Column("IsCurrent", ScalarType.BOOL))
    commands = FakeCommands(CommandResult(columns, (("a", True), ("b", False))))
    request = management_pb2.ExecuteCommandRequest(database="D", command=".show databases")
    async with served(commands) as stub:
        response = await stub.ExecuteCommand(request, timeout=5.0)
    assert commands.asked == [("D", ".show databases")]
    assert [(column.name, column.type) for column in response.columns] == [
        ("Name", "string"),
        ("IsCurrent", "bool"),
    ]
    assert read(response.arrow).to_pydict() == {"Name": ["a", "b"], "IsCurrent": [True, False]}


async def test_errors_arrive_as_they_were_raised():
    error = ReadOnlyError("no", remedy="ask the leader", metadata={"leader_cluster": "leader"})
    async with served(FakeCommands(error)) as stub:
        with pytest.raises(ReadOnlyError, match="no") as caught:
            await stub.ExecuteCommand(management_pb2.ExecuteCommandRequest(), timeout=5.0)
    assert caught.value.remedy == "ask the leader"
    assert caught.value.metadata["leader_cluster"] == "leader"


def test_every_type_is_stored_as_rows_are():
    values = {
        ScalarType.BOOL: (True, True, pa.bool_()),
        ScalarType.DATETIME: (
            datetime(2024, 1, 1, 2, tzinfo=EAST),
            datetime(2024, 1, 1, 0),
            pa.timestamp("us"),
        ),
        ScalarType.DYNAMIC: ('{"a":1}', '{"a":1}', pa.string()),
        ScalarType.GUID: (GUID, uuid.UUID(GUID).bytes, pa.binary(16)),
        ScalarType.INT: (1, 1, pa.int32()),
        ScalarType.LONG: (2**40, 2**40, pa.int64()),
        ScalarType.REAL: (1.5, 1.5, pa.float64()),
        ScalarType.STRING: ("größe", "größe", pa.string()),
        ScalarType.TIMESPAN: (timedelta(1), timedelta(1), pa.duration("us")),
    }
    columns = tuple(Column(scalar.value, scalar) for scalar in values)
    rows = (tuple(given for given, _, _ in values.values()), (None,) * len(columns))
    table = read(result_to_arrow(CommandResult(columns, rows)))
    assert table.schema.types == [stored for _, _, stored in values.values()]
    assert [column[0].as_py() for column in table.columns] == [
        expected for _, expected, _ in values.values()
    ]
    assert all(column[1].as_py() is None for column in table.columns)


def test_no_rows_still_have_a_schema():
    columns = (Column("StartTime", ScalarType.DATETIME), Column("Id", ScalarType.GUID))
    table = read(result_to_arrow(CommandResult(columns, ())))
    assert table.num_rows == 0
    assert table.schema.names == ["StartTime", "Id"]


def test_a_row_of_another_width_is_refused():
    with pytest.raises(ValueError, match="2 values for 1 columns"):
        CommandResult((Column("a", ScalarType.INT),), ((1, 2),))
