"""A pipeline over a real row store on a fake disk, with a catalog that tests rewrite."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from ingest_tables import ALL_TYPES, batch_rows

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    StreamingIngestionPolicy,
    Table,
)
from cluster.errors import DatabaseNotFoundError
from cluster.ingest.driver import IngestPipeline
from cluster.ingest.request import DataFormat, IngestPayload
from cluster.limits import LIMITS
from cluster.replication.position import START
from cluster.rowstore.stores import RowStores
from cluster.testing.disk import FakeDisk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import pyarrow as pa

    from cluster.history.records import StreamedRequest
    from cluster.ingest.deriving import UpdatePolicies
    from cluster.limits import Limits

ENABLED = StreamingIngestionPolicy(is_enabled=True)
DISABLED = StreamingIngestionPolicy(is_enabled=False)
PEOPLE = (Column("name", ScalarType.STRING), Column("age", ScalarType.INT))


def table(
    name: str, key: int, columns: tuple[Column, ...] = PEOPLE, policy: Any = ENABLED
) -> Table:
    """A table with one schema."""
    reference = RowStoreReference(0, RowStoreKey(key))
    ids = tuple(range(len(columns)))
    return Table(name, f"id-{name}", (reference,), (columns,), (ids,), policy)


class TestClock:
    """Time that does not pass by itself."""

    __test__ = False

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now_ns(self) -> int:
        return int(self.seconds * 10**9)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class FakeCatalog:
    """Databases by lower-case name."""

    trees: dict[str, Database] = field(default_factory=dict)
    following: set[str] = field(default_factory=set)

    def get(self, name: str) -> Database:
        try:
            return self.trees[name.lower()]
        except KeyError:
            raise DatabaseNotFoundError(f"no database '{name}'") from None

    def is_following(self, name: str) -> bool:
        return self.get(name).name.lower() in self.following

    def put(self, item: Table, database: str = "db") -> None:
        """Adds or replaces a table."""
        tree = self.get(database)
        self.trees[database] = replace(tree, tables={**tree.tables, item.name: item})

    def drop(self, name: str, database: str = "db") -> None:
        """Drops a table."""
        tree = self.get(database)
        tables = {key: value for key, value in tree.tables.items() if key != name}
        self.trees[database] = replace(tree, tables=tables)

    def _tables(self) -> Iterator[Table]:
        for tree in self.trees.values():
            yield from tree.tables.values()

    def schema_of(self, key: RowStoreKey, version: int) -> pa.Schema | None:
        """For the row store."""
        for item in self._tables():
            if key in item.keys and version < len(item.schemas):
                return arrow_schema(item.schemas[version])
        return None

    def store_of(self, key: RowStoreKey) -> int | None:
        """For the row stores."""
        found = [r.row_store for item in self._tables() for r in item.references if r.key == key]
        return found[0] if found else None


@dataclass
class World:
    """One node's ingestion. Nothing is committed before :meth:`start_committing`."""

    catalog: FakeCatalog
    row_store: RowStores
    pipeline: IngestPipeline
    nursery: trio.Nursery
    disk: FakeDisk
    clock: TestClock
    capability: bool = True

    async def start_committing(self) -> None:
        """Starts the group commit."""
        await self.nursery.start(self.row_store.run)

    def rows(self, name: str = "People") -> list[tuple[Any, ...]]:
        """The visible rows of a table."""
        keys = self.catalog.get("db").tables[name].keys
        batches = [batch for key in keys for batch in self.row_store.rows(key).batches]
        return [row for batch in batches for row in batch_rows(batch)]


def people(*rows: str, source_id: str = "", **changes: Any) -> IngestPayload:
    """A CSV request for db.People with these lines."""
    payload = "".join(f"{row}\n" for row in rows).encode()
    request = IngestPayload("db", "People", DataFormat.CSV, payload, source_id=source_id)
    return replace(request, **changes)


@asynccontextmanager
async def ingest_world(
    *,
    limits: Limits = LIMITS,
    cores: int = 1,
    committing: bool = True,
    running: bool = True,
    updates: UpdatePolicies | None = None,
    on_streamed: Callable[[StreamedRequest], None] | None = None,
) -> AsyncIterator[World]:
    """Tables db.People, db.Everything (all types), db.Quiet (no policy); a followed database."""
    catalog = FakeCatalog()
    catalog.trees["db"] = Database("db", "id-db")
    catalog.put(table("People", 1))
    catalog.put(table("Everything", 2, ALL_TYPES))
    catalog.put(table("Quiet", 3, policy=None))
    catalog.put(table("Off", 4, policy=DISABLED))
    catalog.trees["copied"] = replace(catalog.get("db"), name="copied")
    catalog.following.add("copied")
    clock = TestClock()
    disk = FakeDisk()
    row_store = await RowStores.open(
        Path("/data"),
        disk=disk,
        clock=clock,
        limits=limits,
        schema_of=catalog.schema_of,
        sealed_of=lambda _: START,
        store_of=catalog.store_of,
    )
    async with trio.open_nursery() as nursery:
        world = World(catalog, row_store, None, nursery, disk, clock)  # type: ignore[arg-type]
        world.pipeline = IngestPipeline(
            row_store,
            catalog,
            streaming_capability=lambda: world.capability,
            limits=limits,
            cores=cores,
            clock=clock,
            updates=updates,
            on_streamed=on_streamed,
        )
        if committing:
            await world.start_committing()
        if running:
            await nursery.start(world.pipeline.run)
        yield world
        nursery.cancel_scope.cancel()
