"""What commands about data need of a node: row stores without files, a keeper without a root."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

from cluster.catalog.model import Extent, Provenance, RowStoreKey
from cluster.commands.doors import NodeLoad
from cluster.extents.driver import ExtentKeeper
from cluster.history.records import Operation, OperationState
from cluster.query.binding import QuerySnapshot
from cluster.replication.position import START, KeyPosition
from cluster.rowstore.model import (
    KeyStatistics,
    RecoveryReport,
    Rows,
    RowStoreStatistics,
    Unsealed,
)

MIB = 1 << 20
LOAD = NodeLoad(
    queries_running=1,
    queries_most=20,
    operations_running=2,
    hot_bytes=30,
    hot_extents=4,
    hot_rows=50,
    hot_failures=0,
    copies_bytes=60,
    copies_files=7,
    copies_hits=8,
    copies_misses=9,
    disk_bytes=1000,
    disk_free_bytes=250,
)


def row_store(number, *, read_only_reason="", live_bytes=0):
    """Counters of a row store."""
    return RowStoreStatistics(
        store_id=number + 1,
        folder=f"/data/rowstore-{number}",
        keys=1,
        segments=1,
        first_lsn=10,
        log_bytes=2000,
        live_bytes=live_bytes,
        waiting_bytes=3,
        visible_rows=5 if live_bytes else 0,
        live_batches=1,
        tail_bytes=0,
        end_lsn=2010,
        commits=4,
        committed_records=8,
        committed_requests=16,
        group_requests_max=6,
        commit_seconds_total=2.0,
        commit_seconds_max=1.0,
        source_ids=0,
        disk_reads=0,
        trim_failures=0,
        read_only_reason=read_only_reason,
        recovery=RecoveryReport(),
    )


class FakeRowStores:
    """``positions`` and ``waiting`` by key; ``advanced`` is what was freed."""

    def __init__(self):
        self.positions = {}
        self.waiting = {}
        self.advanced = []
        self.stores = [row_store(0), row_store(1)]
        self.keys = {0: (), 1: ()}
        self.times = SimpleNamespace(stamp=self.stamp)
        self.stamps = []

    @contextmanager
    def stamp(self):
        self.stamps.append(7_000_000)
        yield 7_000_000

    def unsealed(self, keys):
        return {key: self.waiting[key] for key in keys if key in self.waiting}

    def position_of(self, keys):
        return {key: self.positions.get(key, START) for key in keys}

    def advance(self, key, position):
        self.advanced.append((key, position))

    def rows(self, key, from_ordinal=0):
        position = self.positions.get(key, START)
        return Rows((), (), position, min(from_ordinal, position.ordinal))

    def end_lsn(self):
        return 0

    def key_statistics(self, number):
        return self.keys[number]

    def statistics(self):
        return SimpleNamespace(stores=tuple(self.stores))

    def hold(self, key, first, end, number=0):
        """So many rows of a key are in a row store."""
        key = RowStoreKey(key)
        position = KeyPosition(end, 99)
        self.positions[key] = position
        self.waiting[key] = Unsealed(end - first, 100, 5_000_000, position, 640)
        self.stores[number] = row_store(number, live_bytes=100)
        self.keys[number] = (KeyStatistics(key, first, end, 100, 12, 6_000_000),)
        return Rows((), (), position, first)


class FakeDatabases:
    """``rows`` by key are what queries see."""

    def __init__(self):
        self.rows = {}
        self.asked = []

    def snapshot(self, database, text):
        self.asked.append((database, text))
        return QuerySnapshot(database, {})

    def streamed(self, database):
        return self.rows


def keeper_of(catalog, node):
    """Operations of a real keeper that need no file."""
    return ExtentKeeper(
        catalog,
        node.row_stores,
        writer=None,
        files=SimpleNamespace(is_pinned=lambda _: False, forget=None),
        root_of=lambda _: None,
        clock=node.clock,
    )


def sealed(extent_id, *, created_us=1, rows=10, tags=(), columns=(0,), sources=()):
    """An extent of a table, with no file."""
    return Extent(
        extent_id=extent_id,
        file=f"{extent_id}.parquet",
        file_bytes=MIB,
        file_checksum=0xAB,
        column_ids=columns,
        row_count=rows,
        original_bytes=3 * MIB,
        created_min_us=created_us,
        created_max_us=created_us,
        ingested_min_us=created_us,
        ingested_max_us=created_us,
        tags=tags,
        sources=tuple(Provenance(RowStoreKey(key), *span) for key, *span in sources),
    )


def ended_operation(operation_id):
    """One that has completed and was waited for."""
    return Operation(
        operation_id, "ExtentsDrop", "Sales", "text", 1000, 2000, OperationState.COMPLETED
    )
