"""Wires one node: what it stores, what it follows, its doors, its link to the coordinator.

Everything runs in one trio thread, which owns all state. Order matters only at the two ends: the
stores are open before a door is, and doors close before stores do.
"""

from __future__ import annotations

import logging
import os
import random
import secrets
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import psutil
import trio

from cluster import __version__
from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.driver import Catalog
from cluster.commands.context import NodeFacts
from cluster.commands.service import CommandService
from cluster.coordinator.reports import Report
from cluster.errors import RemoraError, UnavailableError
from cluster.gateway.ingestion import IngestionServicer
from cluster.gateway.management import ManagementServicer
from cluster.gateway.query import QueryService
from cluster.gateway.replication import ReplicationService
from cluster.ingest.driver import IngestPipeline
from cluster.node.databases import NodeDatabases
from cluster.node.link import CoordinatorLink, Identity
from cluster.processors import keep_to_one, usable
from cluster.query.driver import QueryEngine
from cluster.replication.authority import Authority, Capability
from cluster.rowstore.disk import RealDisk
from cluster.rowstore.driver import RowStore
from cluster.rpc.v1 import (
    ingestion_pb2_grpc,
    management_pb2_grpc,
    query_pb2_grpc,
    replication_pb2_grpc,
)
from cluster.transport.standard import add_standard_services
from follower.driver import FollowerManager

if TYPE_CHECKING:
    import pyarrow as pa

    from cluster.catalog.model import Column, RowStoreKey, Version
    from cluster.clock import Clock
    from cluster.node.config import NodeConfig
    from cluster.transport.api import Server, Transport
    from cluster.transport.standard import Health

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
PREWARM_DELAY_SECONDS = 1.0
GRACE_SECONDS = 2.0
"""How long calls under way may take to end when the node stops."""


@lru_cache(maxsize=4096)
def _arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    return arrow_schema(columns)


class Node:
    """One node. :meth:`run` is its life."""

    def __init__(self, config: NodeConfig, *, clock: Clock, transport: Transport) -> None:
        self._config = config
        self._clock = clock
        self._transport = transport
        self._authority = Authority()
        self._random = random.Random(secrets.randbits(64))  # noqa: S311 - jitter and names
        self._started_at_ns = clock.now_ns()
        self._address = ""
        self._cores = os.cpu_count() or 1

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Opens what is stored, serves until cancelled, closes. Started with the gRPC address.

        Raises CorruptionError (a damaged file), ConflictError (the folder is in use, or another
        process has taken this node's place), OSError (the port is taken).
        """
        config, limits = self._config, self._config.limits
        config.data.mkdir(parents=True, exist_ok=True)
        self._processors = usable()
        # DuckDB first: its threads compute without the interpreter's lock, on all processors.
        async with QueryEngine(
            clock=self._clock, cores=self._cores, limits=limits, processors=self._processors
        ) as engine:
            if config.processor >= 0:
                keep_to_one(config.processor)
            await self._open_stores(engine, task_status)

    async def _open_stores(self, engine: QueryEngine, task_status: trio.TaskStatus[str]) -> None:
        config, limits = self._config, self._config.limits
        async with (
            await Catalog.open(
                config.data / "catalog.db",
                clock=self._clock,
                mint=lambda: secrets.randbits(64),
                limits=limits,
            ) as catalog,
            trio.open_nursery() as stores,
        ):
            self._catalog = catalog
            self._row_store = await RowStore.open(
                config.data / "rowstore",
                disk=RealDisk(),
                clock=self._clock,
                limits=limits,
                sync=True,
                schema_of=self._schema_of,
            )
            await stores.start(self._row_store.run)
            await self._serve(engine, task_status)

    async def _serve(self, engine: QueryEngine, task_status: trio.TaskStatus[str]) -> None:
        config, limits = self._config, self._config.limits
        self._followers = FollowerManager(
            cluster=config.cluster,
            node=config.node,
            folder=config.data / "followed",
            catalog=self._catalog,
            authority=self._authority,
            connect=self._transport.connect,
            disk=RealDisk(),
            clock=self._clock,
            chance=self._random.random,
            on_gate=lambda: self._link.poke(),
            strict=config.strict,
            limits=limits,
        )
        self._databases = NodeDatabases(self._catalog, self._row_store, self._followers)
        self._replication = ReplicationService(
            row_store=self._row_store,
            catalog=self._catalog,
            authority=self._authority,
            clock=self._clock,
            limits=limits,
        )
        pipeline = IngestPipeline(
            self._row_store,
            self._catalog,
            streaming_capability=self.streaming_capability,
            limits=limits,
            cores=self._cores,
            clock=self._clock,
            processors=self._processors,
        )
        server = self._transport.server()
        health = self._add_services(server, engine, pipeline)
        self._address = server.listen(f"{LOOPBACK}:{config.grpc_port}")
        self._link = self._make_link()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_catalog)
            await nursery.start(pipeline.run)
            await nursery.start(self._followers.run)
            await nursery.start(partial(server.serve, grace_seconds=GRACE_SECONDS))
            await nursery.start(self._link.run)
            health.set_serving(True)
            task_status.started(self._address)
            logger.info("node %s serves gRPC on %s", config.node, self._address)
            # Not at once: at the start of a setup its other processes need the processor more.
            await trio.sleep(PREWARM_DELAY_SECONDS)
            try:
                await engine.prewarm()
            except RemoraError as error:
                logger.warning("the first query will be slow: %s", error)

    def _add_services(
        self, server: Server, engine: QueryEngine, pipeline: IngestPipeline
    ) -> Health:
        ingestion_pb2_grpc.add_IngestionServiceServicer_to_server(
            IngestionServicer(pipeline, version_of=self._version_of), server
        )
        management_pb2_grpc.add_ManagementServiceServicer_to_server(
            ManagementServicer(CommandService(self._catalog, self, self._config.limits)), server
        )
        query_pb2_grpc.add_QueryServiceServicer_to_server(
            QueryService(engine, self._databases), server
        )
        replication_pb2_grpc.add_ReplicationServiceServicer_to_server(self._replication, server)
        return add_standard_services(server)

    def _make_link(self) -> CoordinatorLink:
        config = self._config
        return CoordinatorLink(
            config.coordinator,
            self._transport,
            clock=self._clock,
            identity=Identity(
                cluster=config.cluster,
                node=config.node,
                instance=secrets.token_hex(16),
                grpc_address=self._address,
                pid=os.getpid(),
                data=str(config.data),
                initial_streaming_ingestion=config.streaming_ingestion,
                strict=config.strict,
            ),
            authority=self._authority,
            report=lambda: Report(self._followers.report(), self._databases.reports()),
            on_change=self._authority_changed,
            rng=self._random,
            limits=config.limits,
        )

    def _authority_changed(self) -> None:
        # Followers first: what must be hidden is hidden before anything else happens.
        self._followers.authority_changed()
        self._replication.authority_changed()

    def streaming_capability(self) -> bool:
        """The cluster's own capability, as last heard; a leader goes on without its coordinator.

        Raises UnavailableError before the coordinator has been heard: nobody knows.
        """
        view = self._authority.view
        if view is None:
            raise UnavailableError(
                "This node has not heard from the coordinator since it started.",
                retry_after_seconds=self._config.limits.heartbeat_seconds,
            )
        return view.capability is Capability.ON

    def facts(self) -> NodeFacts:
        """For ``.show cluster`` and ``.show version``."""
        memory = psutil.virtual_memory()
        return NodeFacts(
            cluster=self._config.cluster,
            node_id=self._config.node,
            address=self._address,
            started_at_ns=self._started_at_ns,
            is_admin=True,
            total_memory_bytes=memory.total,
            available_memory_bytes=memory.available,
            processor_count=self._cores,
            build_version=__version__,
            built_at_ns=0,
        )

    def _schema_of(self, key: RowStoreKey, version: int) -> pa.Schema | None:
        table = self._catalog.tables_by_key().get(key)
        if table is None or version >= len(table.schemas):
            return None
        return _arrow_schema(table.schemas[version])

    def _version_of(self, database: str) -> Version:
        return self._catalog.get(database).version

    def _owned_keys(self) -> set[RowStoreKey]:
        return {
            key
            for tree in self._catalog.databases()
            if not self._catalog.is_following(tree.name)
            for key in tree.row_store_keys()
        }

    async def _watch_catalog(self) -> None:
        """Frees the rows of dropped tables, and tells the coordinator of every change at once.

        A database can be attached as soon as the coordinator has been told of it.
        """
        known = self._owned_keys()
        revision = self._catalog.revision
        while True:
            revision = await self._catalog.wait_change(revision)
            present = self._owned_keys()
            for key in known - present:
                self._row_store.forget(key)
            known = present
            self._link.poke()
