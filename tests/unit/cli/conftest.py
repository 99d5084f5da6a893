# ruff: noqa: N802 - servicers have the names of the protos
"""Verbs against services that live in memory: every word of the wire, no process, no socket."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field, replace
from typing import Any

import psutil
import pyarrow as pa
import pytest
import trio
from typer.testing import CliRunner

import cluster.transport.select
from cluster.cli.main import app
from cluster.errors import RemoraError, TableNotFoundError, TimedOutError
from cluster.launcher.identity import Identity
from cluster.launcher.setup import Home, Setup
from cluster.launcher.topology import DEFAULT_TOPOLOGY
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


def arrow_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@dataclass
class World:
    """What the services answer, what they were asked, and a runner of commands."""

    home: Home
    setup: Setup
    columns: list[tuple[str, str]] = field(default_factory=lambda: [("print_0", "long")])
    table: pa.Table = field(default_factory=lambda: pa.table({"print_0": [1]}))
    hidden_reason: str = ""
    status: Any = field(default_factory=coordinator_pb2.GetStatusResponse)
    grant: Any = field(default_factory=coordinator_pb2.Grant)
    configuration: Any = field(default_factory=coordinator_pb2.AttachmentConfigurationStatus)
    error: RemoraError | None = None
    refuse_payload: int | None = None
    refusal: RemoraError = field(default_factory=lambda: TableNotFoundError("no table 'T'"))
    payloads: list[Any] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def run(self, *arguments: str, stdin: bytes | None = None) -> Any:
        return CliRunner().invoke(app, list(arguments), input=stdin, catch_exceptions=False)

    def answer(self, request: Any) -> None:
        self.requests.append(request)
        if self.error is not None:
            raise self.error

    def mark(self, process: str, **changes: Any) -> None:
        """Changes the record of one process."""
        record = replace(self.setup.process(process), **changes)
        self.setup = self.setup.with_process(record)
        self.home.save(self.setup)


class Services(
    coordinator_pb2_grpc.CoordinatorServiceServicer,
    ingestion_pb2_grpc.IngestionServiceServicer,
    management_pb2_grpc.ManagementServiceServicer,
    query_pb2_grpc.QueryServiceServicer,
):
    def __init__(self, world: World) -> None:
        self.world = world

    async def GetStatus(self, request, call):
        self.world.answer(request)
        return self.world.status

    async def Adopt(self, request, call):
        self.world.answer(request)
        return coordinator_pb2.AdoptResponse(doubt=self.world.status.doubt)

    async def SetCapability(self, request, call):
        self.world.answer(request)
        if any(cluster.waiting_for for cluster in self.world.status.clusters):
            raise TimedOutError("the deadline is over")
        return coordinator_pb2.SetCapabilityResponse(
            epoch=7, certainty=coordinator_pb2.CERTAINTY_CONFIRMED
        )

    async def Attach(self, request, call):
        self.world.answer(request)
        grant = self.world.grant
        status = self.world.configuration
        if grant is not None:
            status.attached.append(grant)
        return coordinator_pb2.AttachResponse(grant=grant, status=status)

    async def Detach(self, request, call):
        self.world.answer(request)
        return coordinator_pb2.DetachResponse()

    async def DeleteAttachmentConfiguration(self, request, call):
        self.world.answer(request)
        return coordinator_pb2.DeleteAttachmentConfigurationResponse()

    async def DetachFollowerDatabases(self, request, call):
        self.world.answer(request)
        return coordinator_pb2.DetachFollowerDatabasesResponse()

    async def ListFollowerDatabases(self, request, call):
        self.world.answer(request)
        return coordinator_pb2.ListFollowerDatabasesResponse(
            configurations=self.world.status.configurations
        )

    async def ExecuteCommand(self, request, call):
        self.world.answer(request)
        return management_pb2.ExecuteCommandResponse(
            columns=self.columns(), arrow=arrow_bytes(self.world.table)
        )

    async def Query(self, request, stream):
        self.world.answer(request)
        header = query_pb2.QueryHeader(
            columns=self.columns(), hidden_reason=self.world.hidden_reason
        )
        await stream.send(query_pb2.QueryResponse(header=header))
        await stream.send(query_pb2.QueryResponse(arrow=arrow_bytes(self.world.table)))
        completion = query_pb2.QueryCompletion(row_count=self.world.table.num_rows)
        await stream.send(query_pb2.QueryResponse(completion=completion))

    async def IngestStream(self, stream):
        rows = 0
        while batch := await stream.recv_many():
            failures = []
            for item in batch:
                self.world.answer(item.request)
                if self.world.refuse_payload == len(self.world.payloads):
                    refused = self.world.refusal
                    failure = types_pb2.Failure(
                        status=refused.status,
                        code=refused.code,
                        reason=refused.reason,
                        message=refused.message,
                        remedy=refused.remedy,
                        permanent=True,
                    )
                    failures.append(
                        ingestion_pb2.IngestStreamFailure(sequence=item.sequence, failure=failure)
                    )
                else:
                    rows += item.request.payload.count(b"\n")
                self.world.payloads.append(item.request)
            await stream.send(
                ingestion_pb2.IngestStreamResponse(
                    acked_through=batch[-1].sequence, rows_acked=rows, failures=failures
                )
            )

    def columns(self):
        return [types_pb2.Column(name=name, type=kind) for name, kind in self.world.columns]


class MemoryHosts:
    """A transport whose peers begin to serve when they are connected to."""

    def __init__(self, world: World) -> None:
        self.world = world

    @contextlib.asynccontextmanager
    async def connect(self, address: str):
        self.world.addresses.append(address)
        transport = MemoryTransport(network=MemoryNetwork())
        server = transport.server()
        services = Services(self.world)
        coordinator_pb2_grpc.add_CoordinatorServiceServicer_to_server(services, server)
        ingestion_pb2_grpc.add_IngestionServiceServicer_to_server(services, server)
        management_pb2_grpc.add_ManagementServiceServicer_to_server(services, server)
        query_pb2_grpc.add_QueryServiceServicer_to_server(services, server)
        server.listen(address)
        caught: BaseException | None = None
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve)
            async with transport.connect(address) as channel:
                try:
                    yield channel
                except Exception as error:  # a nursery would wrap it, a real transport does not
                    caught = error
            nursery.cancel_scope.cancel()
        if caught is not None:
            raise caught


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("REMORA_HOME", str(tmp_path))
    home = Home(tmp_path)
    setup = Setup.planned("default", home.default_folder("default"), DEFAULT_TOPOLOGY)
    # This process stands for all of them: it is certainly running.
    process = psutil.Process()
    identity = Identity(os.getpid(), process.create_time(), tuple(process.cmdline()))
    for number, record in enumerate(setup.processes.values(), 5001):
        known = replace(record, identity=identity, grpc=f"127.0.0.1:{number}")
        setup = setup.with_process(known)
    home.save(setup)
    world = World(home, setup)
    monkeypatch.setattr(
        cluster.transport.select, "transport_from_environment", lambda **_: MemoryHosts(world)
    )
    return world
