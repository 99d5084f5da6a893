"""Queries without DuckDB: the text is a table's name, the answer all of its rows.

Everything around it is real: pinning, hiding, positions, files of extents, encoding, the service.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import trio

from cluster.errors import NotSupportedError, SemanticError
from cluster.extents.parquet import read_extent
from cluster.query.binding import Answer, QueryResult, ResultColumn
from cluster.query.fresh import fresh_table
from cluster.query.hot.driver import HotCacheStatistics
from cluster.query.inflight import Cancellations
from cluster.request import NODE_REQUEST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.catalog.model import Column, Extent
    from cluster.extents.files import ExtentFiles
    from cluster.query.binding import BoundTable, QuerySnapshot
    from cluster.query.remote import OtherClusters
    from cluster.request import ClientRequest

_NOTHING_HOT = HotCacheStatistics(0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class ScanStatistics:
    """What node_load asks for."""

    running: int


class ScanEngine:
    """Answers ``T``. Use as ``async with``; :meth:`serve` before the first query.

    ``think_seconds`` gives how long each query computes before it reads what it has pinned.
    """

    def __init__(self, think_seconds: Callable[[], float]) -> None:
        self.cancellations = Cancellations()
        self._think_seconds = think_seconds
        self._files: ExtentFiles | None = None
        self._decoded: dict[object, pa.Table] = {}
        self._running = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._decoded.clear()

    def serve(self, files: ExtentFiles) -> None:
        """From now on queries read extents."""
        self._files = files

    def reach(self, clusters: OtherClusters, cluster: str) -> None:
        """Nothing: the queries of the simulation stay in their cluster."""

    async def prewarm(self) -> None:
        """There is nothing to warm."""
        await trio.lowlevel.checkpoint()

    def statistics(self) -> ScanStatistics:
        """Queries being answered now."""
        return ScanStatistics(self._running)

    async def run(self, kql: str, snapshot: QuerySnapshot) -> QueryResult:
        """All rows of the table that the text names. Raises SemanticError if there is none."""
        name = kql.strip()
        bound = snapshot.tables.get(name)
        if bound is None:
            raise SemanticError(f"'{name}' is no table of database '{snapshot.database}'.")
        self._running += 1
        try:
            await trio.sleep(self._think_seconds())
            parts = [fresh_table(bound, [column.name for column in bound.columns])]
            parts += await self._sealed(bound)
        finally:
            self._running -= 1
        columns = tuple(ResultColumn(column.name, column.type) for column in bound.columns)
        return QueryResult(columns, pa.concat_tables(parts))

    async def answer(
        self, text: str, snapshot: QuerySnapshot, request: ClientRequest = NODE_REQUEST
    ) -> Answer:
        """As :meth:`run`: every text is one query here."""
        del request
        return Answer((await self.run(text, snapshot),))

    async def run_to_store(self, kql: str, snapshot: QuerySnapshot) -> QueryResult:
        """As :meth:`run`."""
        return await self.run(kql, snapshot)

    async def run_over(
        self, columns: Sequence[Column], rows: Sequence[Any], kql: str
    ) -> QueryResult:
        """Raises NotSupportedError: results of commands are not queried here."""
        del columns, rows
        raise NotSupportedError(f"This engine answers names of tables only, not {kql!r}.")

    async def _sealed(self, bound: BoundTable) -> list[pa.Table]:
        found: list[pa.Table] = []
        wanted: list[Extent] = []
        for identity in sorted(bound.extents):  # a mapping in the order of hashes
            extent = bound.extents[identity]
            known = self._decoded.get(_name(bound, extent))
            if known is None:
                wanted.append(extent)
            else:
                found.append(known)
        if not wanted:
            return found
        assert self._files is not None, "serve() comes first"
        assert bound.database is not None, "extents have a database"
        async with self._files.acquire(bound.database, wanted) as paths:
            for extent in wanted:
                batches = list(read_extent(paths[extent.file], extent, bound.table))
                decoded = self._decoded[_name(bound, extent)] = pa.Table.from_batches(batches)
                found.append(decoded)
        return found


def _name(bound: BoundTable, extent: Extent) -> object:
    return extent.file, bound.table.column_ids[-1], bound.table.columns


class NoHotCache:
    """Nothing is hot."""

    def poke(self) -> None:
        """Nothing changes."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Has nothing to do."""
        task_status.started()
        await trio.sleep_forever()

    def statistics(self) -> HotCacheStatistics:
        """All zero."""
        return _NOTHING_HOT


@dataclass(frozen=True, slots=True)
class ScanQueries:
    """:class:`cluster.node.platform.Queries` of :class:`ScanEngine`."""

    think_seconds: Callable[[], float]

    def engine(self, **_: Any) -> ScanEngine:
        """See :class:`cluster.node.platform.Queries`."""
        return ScanEngine(self.think_seconds)

    def hot_cache(self, engine: ScanEngine, files: ExtentFiles, **_: Any) -> NoHotCache:
        """See :class:`cluster.node.platform.Queries`."""
        engine.serve(files)
        return NoHotCache()
