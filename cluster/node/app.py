"""Wires one node: what it stores, what it follows, its doors, its link to the coordinator.

Everything runs in one trio thread, which owns all state. Order matters only at the two ends: the
stores are open before a door is, and doors close before stores do.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from cluster.catalog.driver import Catalog
from cluster.commands.context import Services
from cluster.commands.results import CommandResult
from cluster.commands.service import CommandService
from cluster.coordinator.reports import Report
from cluster.errors import RemoraError, UnavailableError
from cluster.gateway.answering import Answering
from cluster.gateway.identity.door import open_identity
from cluster.gateway.replication import ReplicationService
from cluster.history.driver import OperationRunner
from cluster.history.log import History
from cluster.ingest.deriving import UpdatePolicies
from cluster.ingest.driver import IngestPipeline
from cluster.node.attachments import NodeAttachments
from cluster.node.databases import NodeDatabases
from cluster.node.doors import Behind, add_grpc_services, listen_grpc, open_http
from cluster.node.draining import CapabilityDrain
from cluster.node.ingestion import NodeQueued, batch_ingestion, queued_files
from cluster.node.link import CoordinatorLink, Identity
from cluster.node.load import node_facts, node_load
from cluster.node.lookup import DroppedKeys, KeyLookup
from cluster.node.other_clusters import with_other_clusters
from cluster.node.reporting import HistoryReports, NodeStatistics
from cluster.node.storage import NodeStorage, check_default_root, extent_folders
from cluster.processors import keep_to_one
from cluster.replication.authority import Authority, Capability
from cluster.rowstore.stores import RowStores
from follower.driver import FollowerManager

if TYPE_CHECKING:
    from cluster.catalog.model import Version
    from cluster.commands.context import NodeFacts
    from cluster.commands.doors import NodeLoad
    from cluster.node.config import NodeConfig
    from cluster.node.ingestion import OpenQueued
    from cluster.node.platform import Platform

logger = logging.getLogger(__name__)

PREWARM_DELAY_SECONDS = 1.0
GRACE_SECONDS = 2.0
"""How long calls under way may take to end when the node stops."""


class Node:
    """One node on a platform. :meth:`run` is its life."""

    def __init__(self, config: NodeConfig, platform: Platform) -> None:
        self._config = config
        self._platform = platform
        self._clock = platform.clock
        self._authority = Authority(doubt_seconds=config.limits.lease_seconds)
        self._history = History(self._clock, config.limits)
        self._reports = HistoryReports.of(self._history, lambda: self._catalog.new_id())
        self._started_at_ns = self._clock.now_ns()
        self._address = self.http_url = self.https_url = ""  # not served, or not yet

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Opens what is stored, serves until cancelled, closes. Started with the gRPC address.

        Raises CorruptionError (a damaged file), ConflictError (the folder is in use, or another
        process has taken this node's place), OSError (the port is taken).
        """
        config, limits = self._config, self._config.limits
        config.data.mkdir(parents=True, exist_ok=True)
        # DuckDB first: its threads compute without the interpreter's lock, on all processors.
        async with self._platform.queries.engine(
            clock=self._clock,
            cores=self._platform.cores,
            limits=limits,
            processors=self._platform.processors,
            folders=extent_folders(config),
            on_query=self._reports.query,
        ) as engine:
            if config.processor >= 0:
                keep_to_one(config.processor)
            self._engine = with_other_clusters(engine, config, self._platform.transport)
            await self._open_stores(task_status)

    async def _open_stores(self, task_status: trio.TaskStatus[str]) -> None:
        config, limits = self._config, self._config.limits
        async with (
            await Catalog.open(
                config.data / "catalog.db",
                clock=self._clock,
                mint=lambda: self._platform.random_bits(64),
                limits=limits,
            ) as catalog,
            queued_files(config, self._platform) as queued,
            trio.open_nursery() as stores,
        ):
            self._catalog = catalog
            owned = (tree for tree in catalog.databases() if not catalog.is_following(tree.name))
            check_default_root(config, owned)
            self._keys = KeyLookup(catalog)
            self._row_stores = await RowStores.open(
                config.data,
                disk=self._platform.disk,
                clock=self._clock,
                limits=limits,
                schema_of=self._keys.schema_of,
                sealed_of=self._keys.sealed_of,
                store_of=self._keys.store_of,
            )
            # Logs are trimmed: the newest time given out may be in an extent only, or nowhere if
            # its rows are gone, and cursors were given out all the same.
            now_us = self._clock.now_ns() // 1000
            self._row_stores.times.raise_to(max(self._keys.newest_ingested_us(), now_us))
            await stores.start(self._row_stores.run)
            self._make_storage()
            self._make_services(queued)
            await self._serve(task_status)

    def _make_storage(self) -> None:
        """What holds, follows, reads and ships data; nothing runs yet."""
        config, limits, clock = self._config, self._config.limits, self._clock
        platform = self._platform
        self._followers = FollowerManager(
            cluster=config.cluster,
            node=config.node,
            folder=config.data / "followed",
            catalog=self._catalog,
            authority=self._authority,
            connect=platform.transport.connect,
            disk=platform.disk,
            clock=clock,
            chance=platform.rng.random,
            on_gate=lambda: self._link.poke(),
            prefetch=lambda *wanted: self._storage.files.prefetch(*wanted),
            strict=config.strict,
            limits=limits,
        )
        self._databases = NodeDatabases(
            self._catalog,
            self._row_stores,
            self._followers,
            cursor_us=self._row_stores.times.cursor_us,
        )
        self._storage: NodeStorage = NodeStorage(
            config,
            self._catalog,
            self._row_stores,
            platform=platform,
            fetch=self._followers.fetch_extent,
            acknowledged=self._oldest_acknowledged,
            is_pinned=self._databases.is_pinned,
            on_report=self._reports.job,
            on_data_operation=self._history.data_operation,
        )
        self._drain = CapabilityDrain(
            self._storage.keeper,
            self._row_stores,
            self._authority,
            retry_seconds=limits.seal_retry_first_seconds,
            on_news=lambda: self._link.poke(),
        )
        self._replication = ReplicationService(
            row_stores=self._row_stores,
            catalog=self._catalog,
            authority=self._authority,
            clock=clock,
            root_of=self._storage.root_of,
            limits=limits,
        )
        self._hot = platform.queries.hot_cache(
            self._engine,
            self._storage.files,
            tables=self._databases.sealed_tables,
            clock=clock,
            limits=limits,
            processors=platform.processors,
        )

    def _make_services(self, queued: OpenQueued | None) -> None:
        """What the doors pass requests to; nothing runs yet."""
        limits, clock = self._config.limits, self._clock
        self._update_policies = UpdatePolicies(
            self._engine.run_to_store,
            snapshot_of=lambda name: self._databases.pin(name).snapshot,
            clock=clock,
            on_failure=self._history.ingestion_failure,
        )
        self._ingestion = batch_ingestion(
            self._config,
            catalog=self._catalog,
            storage=self._storage,
            update_policies=self._update_policies,
            times=self._row_stores.times,
            history=self._history,
            clock=clock,
        )
        self._identity = open_identity(self._config, self._catalog, clock)
        self._queued = NodeQueued(
            queued,
            self._config,
            self._platform,
            catalog=self._catalog,
            ingestion=self._ingestion,
            history=self._history,
            access=self._identity.access,
            url_of=lambda: self.http_url,
        )
        self._pipeline = IngestPipeline(
            self._row_stores,
            self._catalog,
            streaming_capability=self.streaming_capability,
            limits=limits,
            cores=self._platform.cores,
            clock=clock,
            processors=self._platform.processors,
            updates=self._update_policies,
            on_streamed=self._history.streaming.add,
        )
        self._operations = OperationRunner[CommandResult](
            self._history, clock=clock, new_id=self._catalog.new_id, limits=limits
        )
        self.services = Services(
            clock=clock,
            queries=self._engine,
            update_policies=self._update_policies,
            schema_cache=self._pipeline.schemas,
            history=self._history,
            operations=self._operations,
            extents=self._storage.keeper,
            ingestion=self._ingestion,
            row_stores=self._row_stores,
            databases=self._databases,
            followers=self._followers,
            attachments=NodeAttachments(
                self._config, self._platform, self._authority, lambda: self._link.refresh()
            ),
            resources=self._queued.resources,
            cancel_query=self._cancel_query,
            load=self._load,
            limits=limits,
        )

    async def _serve(self, task_status: trio.TaskStatus[str]) -> None:
        config = self._config
        server = self._platform.transport.server()
        behind = self._behind()
        health = add_grpc_services(server, behind)
        self._address = listen_grpc(server, config, self._platform)
        self._http = http = open_http(config, self._platform, behind)
        self._link = self._make_link()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_catalog)
            nursery.start_soon(self._drain.run)
            # Before anything is ingested: both remove what a crash has left.
            await self._storage.clean()
            await nursery.start(self._storage.keeper.run)
            await nursery.start(self._hot.run)
            await nursery.start(self._pipeline.run)
            await nursery.start(self._operations.run)
            await nursery.start(self._followers.run)
            if self._queued.service is not None:
                await nursery.start(self._queued.service.run)
            await nursery.start(partial(server.serve, grace_seconds=GRACE_SECONDS))
            if http is not None:
                await nursery.start(partial(http.server.serve, grace_seconds=GRACE_SECONDS))
                self.http_url, self.https_url = http.url, http.tls_url
                logger.info("node %s serves HTTP on %s", config.node, http.url)
            await nursery.start(self._link.run)
            health.set_serving(True)
            task_status.started(self._address)
            logger.info("node %s serves gRPC on %s", config.node, self._address)
            # Not at once: at the start of a setup its other processes need the processor more.
            await trio.sleep(PREWARM_DELAY_SECONDS)
            try:
                await self._engine.prewarm()
            except RemoraError as error:
                logger.warning("the first query will be slow: %s", error)

    def _behind(self) -> Behind:
        config = self._config
        identity = self._identity
        return Behind(
            identity=identity,
            pipeline=self._pipeline,
            commands=CommandService(self._catalog, self, config.limits, access=identity.access),
            answering=Answering(self._engine, self._databases, identity.access),
            replication=self._replication,
            queued=self._queued.service,
            resources=self._queued.resources,
            version_of=lambda name: self._catalog.get(name).version,
        )

    def _make_link(self) -> CoordinatorLink:
        config = self._config
        return CoordinatorLink(
            config.coordinator,
            self._platform.transport,
            clock=self._clock,
            identity=Identity(
                cluster=config.cluster,
                node=config.node,
                instance=f"{self._platform.random_bits(128):032x}",
                grpc_address=self._address,
                pid=self._platform.process_id,
                data=str(config.data),
                initial_streaming_ingestion=config.streaming_ingestion,
                strict=config.strict,
                location=config.location,
            ),
            authority=self._authority,
            report=self._report,
            on_change=self._authority_changed,
            rng=self._platform.rng,
            limits=config.limits,
        )

    def _report(self) -> Report:
        drain, owned = self._drain, self._databases.reports()
        return Report(self._followers.report(), owned, drain.drained_revision, drain.trouble)

    def _authority_changed(self) -> None:
        # Followers first: what must be hidden is hidden before anything else happens.
        self._followers.authority_changed()
        self._replication.authority_changed()
        self._drain.authority_changed()

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
        return node_facts(self._config, self._platform, self._address, self._started_at_ns)

    def statistics(self) -> NodeStatistics:
        """Counters since the start. Only while it serves."""
        return NodeStatistics(
            link=self._link.statistics(),
            followers=self._followers.statistics(),
            replication=self._replication.statistics(),
            keeper=self._storage.keeper.statistics(),
            files=self._storage.files.statistics(),
            http=None if self._http is None else self._http.server.statistics(),
        )

    def _load(self) -> NodeLoad:
        return node_load(
            self._config.data, self._engine, self._operations, self._hot, self._storage.files,
            queries_most=self._config.limits.queries_per_core * self._platform.cores,
        )  # fmt: skip

    def _cancel_query(self, activity_id: str) -> bool:
        number = self._reports.number_of(activity_id)
        return number is not None and self._engine.cancellations.cancel(number)

    def _oldest_acknowledged(self, database: str) -> Version | None:
        return min(self._replication.acknowledged_versions(database), default=None)

    async def _watch_catalog(self) -> None:
        """Frees the rows of dropped tables, and tells of every change those who wait for one.

        A database can be attached as soon as the coordinator has been told of it.
        """
        dropped = DroppedKeys(self._catalog)
        revision = self._catalog.revision
        while True:
            revision = await self._catalog.wait_change(revision)
            for key in dropped.take():
                self._row_stores.forget(key)
            self._storage.keeper.wake()
            self._hot.poke()
            self._link.poke()
