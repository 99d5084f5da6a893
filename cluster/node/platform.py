"""What a node has from the machine it runs on, as one value: real in a process, virtual elsewhere.

Everything below :class:`cluster.node.app.Node` that touches the outside or depends on chance comes
from here, so that a node can be run on another disk, clock, network and source of chance without a
line of it knowing. :func:`machine` is the one production uses.
"""

from __future__ import annotations

import os
import random
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cluster.commands.context import QueryRunner
from cluster.extents.opening import open_root
from cluster.gateway.http.server import HttpServer
from cluster.node.clock import SystemClock
from cluster.processors import usable
from cluster.query.driver import QueryEngine, QueryStatistics
from cluster.query.hot.driver import HotCache
from cluster.rowstore.disk import RealDisk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import trio

    from cluster.clock import Clock
    from cluster.extents.files import ExtentFiles
    from cluster.extents.keeping import At
    from cluster.extents.root import StorageRoot
    from cluster.limits import Limits
    from cluster.query.hot.driver import HotCacheStatistics
    from cluster.query.inflight import Cancellations
    from cluster.query.records import QueryRecord
    from cluster.query.remote import OtherClusters
    from cluster.rowstore.disk import Disk
    from cluster.transport.api import Transport

LOOPBACK = "127.0.0.1"


class Engine(QueryRunner, Protocol):
    """What answers the queries of a node: :class:`cluster.query.driver.QueryEngine`."""

    @property
    def cancellations(self) -> Cancellations:
        """The running queries."""

    def reach(self, clusters: OtherClusters, cluster: str) -> None:
        """From now on queries may name tables of other clusters; ``cluster`` is the own one."""

    async def prewarm(self) -> None:
        """Makes the first query as quick as the next ones."""

    def statistics(self) -> QueryStatistics:
        """Counters since the start."""


EngineT = TypeVar("EngineT", bound=Engine)


class Hot(Protocol):
    """The hot cache as a node runs it: :class:`cluster.query.hot.driver.HotCache`."""

    def poke(self) -> None:
        """The tables, their extents or their policies may have changed."""

    async def run(self, *, task_status: trio.TaskStatus[None] = ...) -> None:
        """Keeps the cache as it should be until cancelled."""

    def statistics(self) -> HotCacheStatistics:
        """Counters since the start."""


class Queries(Protocol[EngineT]):
    """Makes what answers the queries of a node, and its hot cache."""

    def engine(
        self,
        *,
        clock: Clock,
        cores: int,
        limits: Limits,
        processors: tuple[int, ...],
        folders: Sequence[Path],
        on_query: Callable[[QueryRecord], None],
    ) -> AbstractAsyncContextManager[EngineT]:
        """The engine; files of extents lie in ``folders``."""

    def hot_cache(
        self,
        engine: EngineT,
        files: ExtentFiles,
        *,
        tables: Callable[[], Any],
        clock: Clock,
        limits: Limits,
        processors: tuple[int, ...],
    ) -> Hot:
        """The hot cache of an engine, which from now on reads ``files``."""


class DuckQueries:
    """DuckDB answers, and holds hot extents in its memory."""

    def engine(
        self,
        *,
        clock: Clock,
        cores: int,
        limits: Limits,
        processors: tuple[int, ...],
        folders: Sequence[Path],
        on_query: Callable[[QueryRecord], None],
    ) -> QueryEngine:
        """See :class:`Queries`."""
        return QueryEngine(
            clock=clock,
            cores=cores,
            limits=limits,
            processors=processors,
            folders=folders,
            on_query=on_query,
        )

    def hot_cache(
        self,
        engine: QueryEngine,
        files: ExtentFiles,
        *,
        tables: Callable[[], Any],
        clock: Clock,
        limits: Limits,
        processors: tuple[int, ...],
    ) -> HotCache:
        """See :class:`Queries`."""
        hot = HotCache(
            engine.database,
            files=files,
            tables=tables,
            clock=clock,
            limits=limits,
            processors=processors,
        )
        engine.serve(files, hot)
        return hot


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The outside of one node process.

    ``disk`` holds the logs of the row stores; the catalog, work files and copies of extents are
    files of the operating system under the node's data folder. ``random_bits`` gives numbers
    nobody can guess, for ids and keys; ``rng`` is for jitter and names. ``open_root`` opens the
    storage root of a URL or path; it raises InvalidRequestError for one it cannot open. ``host`` is
    where the node listens. ``blocks``: whether reading and writing files may take long, so that it
    belongs in worker threads. ``http_server`` carries HTTP; None: the node has no HTTP door.
    ``reach`` is told of named points of the work on extents; production has none.
    """

    transport: Transport
    clock: Clock
    disk: Disk
    rng: random.Random
    random_bits: Callable[[int], int]
    open_root: Callable[[str], StorageRoot]
    queries: Queries[Any]
    cores: int
    processors: tuple[int, ...] = ()
    process_id: int = 0
    http_server: type[HttpServer] | None = None
    host: str = LOOPBACK
    blocks: bool = True
    reach: At | None = None


def machine(
    transport: Transport,
    limits: Limits,
    *,
    clock: Clock | None = None,
    disk: Disk | None = None,
) -> Platform:
    """The machine this process runs on; ``clock`` and ``disk`` may be put in front of its own."""
    rng = random.Random(secrets.randbits(64))  # noqa: S311 - jitter and names
    return Platform(
        transport=transport,
        clock=clock or SystemClock(),
        disk=disk or RealDisk(),
        rng=rng,
        random_bits=secrets.randbits,
        open_root=lambda url: open_root(url, rng=rng, options=os.environ, limits=limits),
        queries=DuckQueries(),
        cores=os.cpu_count() or 1,
        processors=usable(),
        process_id=os.getpid(),
        http_server=HttpServer,
    )
