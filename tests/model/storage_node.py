"""A leader's storage without its doors: everything real but disk, storage root, clock and threads.

Wired as ``cluster/node/app.py`` wires it. What survives the end of a life is what a process leaves
behind: the catalog's file, what the disk keeps, the objects of the root.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from cluster.catalog.driver import Catalog
from cluster.catalog.store import CatalogStore
from cluster.errors import UnavailableError
from cluster.extents.copies import Place
from cluster.extents.driver import ExtentKeeper
from cluster.extents.files import ExtentFiles
from cluster.extents.parquet import read_extent
from cluster.extents.sealing import slices
from cluster.extents.writer import ExtentWriter
from cluster.ingest.driver import IngestPipeline
from cluster.limits import Limits
from cluster.node.databases import NodeDatabases
from cluster.node.lookup import KeyLookup
from cluster.rowstore.stores import RowStores
from cluster.testing.disk import FakeDisk
from cluster.testing.root import FakeRoot

if TYPE_CHECKING:
    from cluster.catalog.model import Version
    from cluster.extents.keeping import CrashPoint
    from cluster.query.binding import BoundTable, QuerySnapshot

DATABASE = "Shop"
START_US = 1_700_000_000_000_000
SECOND_US = 1_000_000

LIMITS = Limits(
    row_stores=2,
    row_store_segment_bytes=6000,  # so that seals do remove files
    row_store_tail_bytes=3000,
    catalog_snapshot_bytes=8000,  # so that trees come from snapshots and from journals
    garbage_grace_seconds=300.0,
    orphan_grace_seconds=3600.0,
)


class Crash(BaseException):
    """The process dies here."""


class StepClock:
    """Wall time that a test moves, plus virtual time."""

    def __init__(self) -> None:
        self.us = START_US

    def now_ns(self) -> int:
        return self.us * 1000 + int(trio.current_time() * 1e9)

    @property
    def now_us(self) -> int:
        return self.now_ns() // 1000

    def monotonic(self) -> float:
        return trio.current_time()


class _NobodyFollowed:
    def get(self, name: str) -> None:
        del name


async def in_place(function: Any, *arguments: Any, **_: Any) -> Any:
    """Stands in for ``trio.to_thread.run_sync``: threads add nothing here but chance."""
    await trio.lowlevel.cancel_shielded_checkpoint()
    return function(*arguments)


class StorageNode:
    """See the module. Times are microseconds of :attr:`clock`."""

    def __init__(self, folder: Path, limits: Limits = LIMITS) -> None:
        self.folder = folder
        self.limits = limits
        self.clock = StepClock()
        self.disk = FakeDisk()
        self.root = FakeRoot(folder=folder / "extents", limits=limits)
        self.mint = random.Random(3)
        self.rng = random.Random(7)
        self.lives = 0
        self.is_up = False
        self.crash_at: tuple[CrashPoint, int] | None = None
        self.reached: list[CrashPoint] = []
        self.on_point: Any = None
        self.look_between: Any = None
        self.catalog_fault = ""
        self.catalog_struck = ""
        self._decoded: dict[object, list[tuple[Any, ...]]] = {}

    # Life

    async def live(self, *, task_status: trio.TaskStatus[None]) -> None:
        """One life of the process, until :meth:`end`."""
        self.scope, self.ended = trio.CancelScope(), trio.Event()
        try:
            with self.scope:
                await self._live(task_status)
        finally:
            self.is_up = False
            self.ended.set()

    async def _live(self, task_status: trio.TaskStatus[None]) -> None:
        async with (
            await Catalog.open(
                self.folder / "catalog.db",
                clock=self.clock,
                mint=lambda: self.mint.getrandbits(64),
                limits=self.limits,
            ) as self.catalog,
            trio.open_nursery() as nursery,
        ):
            self._watch_writes()
            keys = self._keys = KeyLookup(self.catalog)
            self.row_stores = await RowStores.open(
                Path("/data"),
                disk=self.disk,
                clock=self.clock,
                limits=self.limits,
                schema_of=keys.schema_of,
                sealed_of=keys.sealed_of,
                store_of=keys.store_of,
            )
            self.row_stores.times.raise_to(keys.newest_ingested_us())
            await nursery.start(self.row_stores.run)
            self._make_parts()
            nursery.start_soon(self._watch_catalog)
            await nursery.start(self.pipeline.run)
            await self.serve(nursery)
            self.lives += 1
            self.is_up = True
            task_status.started()
            await trio.sleep_forever()

    async def serve(self, nursery: trio.Nursery) -> None:
        """For a node that others follow."""

    def _make_parts(self) -> None:
        self._decoded = {}
        self.databases = NodeDatabases(
            self.catalog,
            self.row_stores,
            _NobodyFollowed(),  # type: ignore[arg-type]
            cursor_us=self.row_stores.times.cursor_us,
        )
        self.writer = ExtentWriter(
            root_of=lambda _: self.root,
            work=self.folder / "work",
            rng=self.rng,
            limits=self.limits,
            blocks=False,
        )
        self.files = ExtentFiles(
            place_of=lambda _: Place(self.root, in_place=True),
            cache=self.folder / "cache",
            limits=self.limits,
            blocks=False,
        )
        self.keeper = ExtentKeeper(
            self.catalog,
            self.row_stores,
            self.writer,
            self.files,
            lambda _: self.root,
            clock=self.clock,
            limits=self.limits,
            acknowledged=self.acknowledged,
            is_pinned=self.databases.is_pinned,
            at=self._at,
        )
        self.pipeline = IngestPipeline(
            self.row_stores,
            self.catalog,
            streaming_capability=lambda: True,
            cores=1,
            clock=self.clock,
            limits=self.limits,
        )

    def acknowledged(self, database: str) -> Version | None:
        """The oldest version that a follower has acknowledged."""
        del database
        return None

    async def end(self, how: str, kept_bytes: int = 0) -> None:
        """``stop`` in good order, ``kill`` the process, or ``crash`` the machine."""
        self.crash_at = self.on_point = None
        self.catalog_fault = self.catalog_struck = ""
        if how == "kill":
            self.disk.kill()
        elif how == "crash":
            self.disk.crash(kept_bytes=kept_bytes)
        if self.is_up:
            self.scope.cancel()
            await self.ended.wait()
        self.disk.kill()  # what was armed and never struck is over
        self.root.crash()
        self.disk.capacity_bytes = self.root.capacity_bytes = None

    async def _watch_catalog(self) -> None:
        """As the node does it: the rows of dropped tables go."""
        known, revision = self._keys.owned(), self.catalog.revision
        while True:
            revision = await self.catalog.wait_change(revision)
            present = self._keys.owned()
            for key in known - present:
                self.row_stores.forget(key)
            known = present

    async def _at(self, point: CrashPoint) -> None:
        self.reached.append(point)
        if self.crash_at is not None and self.crash_at[0] == point:
            left = self.crash_at[1]
            self.crash_at = (point, left - 1) if left else None
            if not left:
                raise Crash(point.value)
        await self.look_between(point)
        if self.on_point is not None:
            await self.on_point(point)

    def _watch_writes(self) -> None:
        """Lets the next write of the catalog fail ``before`` it is durable, or ``after``."""
        store = self.catalog._writer._store
        real = store.append

        def append(*arguments: Any, **named: Any) -> Any:
            fault, self.catalog_fault = self.catalog_fault, ""
            self.catalog_struck = self.catalog_struck or fault
            if fault == "before":
                raise UnavailableError("the catalog's disk failed, by request")
            written = real(*arguments, **named)
            if fault == "after":
                raise UnavailableError("the catalog's disk failed after all, by request")
            return written

        assert isinstance(store, CatalogStore)
        store.append = append  # type: ignore[method-assign]

    # Looking

    def tree(self) -> Any:
        return self.catalog.get(DATABASE)

    def table(self, name: str) -> Any:
        return self.tree().tables[name]

    def pin(self) -> QuerySnapshot:
        return self.databases.pin(DATABASE).snapshot

    async def read(self, bound: BoundTable) -> list[tuple[Any, ...]]:
        """Every row a query over a pinned table sees, in the schema in force, with its time."""
        rows = []
        for fresh in bound.fresh:
            for batch in slices(fresh, bound.table, with_times=True):  # type: ignore[arg-type]
                rows.extend(tuples(batch))
        for part in (await self.read_extents(bound)).values():
            rows.extend(part)
        return rows

    async def read_extents(self, bound: BoundTable) -> dict[str, list[tuple[Any, ...]]]:
        """The same of the extents alone, by extent id."""
        found = {}
        wanted = []
        for extent_id, extent in bound.extents.items():
            known = self._decoded.get(self._name(bound, extent))
            if known is None:
                wanted.append(extent)
            else:
                found[extent_id] = known
        async with self.files.acquire(bound.database or self.tree(), wanted) as paths:
            for extent in wanted:
                rows = []
                for batch in read_extent(
                    paths[extent.file], extent, bound.table, with_ingestion_time=True
                ):
                    rows.extend(tuples(batch))
                found[extent.extent_id] = self._decoded[self._name(bound, extent)] = rows
        return found

    @staticmethod
    def _name(bound: BoundTable, extent: Any) -> object:
        return extent, bound.table.column_ids[-1], bound.table.columns

    def files_kept(self) -> set[str]:
        """What trees, dropped tables and the garbage list name."""
        tree = self.tree()
        tables = [*tree.tables.values(), *(item.table for item in tree.dropped_tables)]
        named = {extent.file for table in tables for extent in table.extents.values()}
        return named | {item.file for item in self.catalog.garbage()}


def tuples(batch: Any) -> list[tuple[Any, ...]]:
    """Rows of a batch."""
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
