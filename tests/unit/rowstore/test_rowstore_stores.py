"""Several row stores behind one door: one order for followers, a fate each."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from rowstore_world import TestClock, World, batch
from trio.testing import wait_all_tasks_blocked

from cluster.catalog.model import RowStoreKey, RowStoreReference
from cluster.errors import ConflictError, RowStoreReadOnlyError, TableNotFoundError
from cluster.replication.position import START
from cluster.rowstore.record import RequestSpan, iter_records, source_digest
from cluster.rowstore.stores import RowStores, row_store_folder, row_store_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path("/data")
KEYS = [RowStoreKey(n) for n in range(100, 108)]
"""Key 100 + n is in row store n % 4."""


class Stores(World):
    """A disk with a node's row stores."""

    def __init__(self, **limits: int) -> None:
        super().__init__(**limits)
        self.known = set(KEYS)

    def store_of(self, key: RowStoreKey) -> int | None:
        return key % 4 if key in self.known else None

    async def open_all(self) -> RowStores:
        return await RowStores.open(
            ROOT,
            disk=self.disk,
            clock=TestClock(),
            limits=self.limits,
            schema_of=self.schema_of,
            sealed_of=self.sealed_of,
            store_of=self.store_of,
        )

    @asynccontextmanager
    async def all_running(self) -> AsyncIterator[RowStores]:
        stores = await self.open_all()
        async with trio.open_nursery() as nursery:
            await nursery.start(stores.run)
            try:
                yield stores
            finally:
                nursery.cancel_scope.cancel()


def put(stores: RowStores, key: RowStoreKey, first: int, count: int, **options):
    source = options.pop("source", None)
    span = RequestSpan(source_digest(key, source) if source else b"", count)
    return stores.stage(key, 0, batch(first, count), [span], **options)


def found(stores: RowStores, key: RowStoreKey) -> list[int]:
    return [n for item in stores.rows(key).batches for n in item.column("n").to_pylist()]


async def follow(stores: RowStores, lsn: int | None, cursors: dict, max_bytes: int = 1) -> int:
    """Reads to the end as a session does; checks that each key's records come in order."""
    if lsn is None:
        lsn = stores.start_lsn_for(cursors, cursors)
    while True:
        chunk = await stores.read(lsn, cursors, cursors, max_bytes)
        lsn = chunk.next_lsn
        if not chunk.count:
            assert lsn == stores.end_lsn()
            return lsn
        for record in iter_records(chunk.records):
            assert record.header.first_ordinal == cursors[record.header.key]
            cursors[record.header.key] = record.header.end_ordinal


@pytest.mark.fidelity("white paper", "A table has a key in each row store it uses")
async def test_each_key_lives_in_its_row_store_and_stays_there() -> None:
    world = Stores()
    async with world.all_running() as stores:
        for n, key in enumerate(KEYS):
            await put(stores, key, 0, 1 + n).committed()
        ends = stores.position_of(KEYS)
        with pytest.raises(TableNotFoundError):
            put(stores, RowStoreKey(7), 0, 1)
        assert stores.rows(RowStoreKey(7)).position == START
        assert [store.keys for store in stores.statistics().stores] == [2, 2, 2, 2]
        assert stores.statistics().total("visible_rows") == 36
    assert {path.parent for path in world.disk.paths()} == {
        row_store_folder(ROOT, n) for n in range(4)
    }
    assert row_store_folder(ROOT, 0).name == "rowstore"
    assert row_store_name(3) == "RowStore-3"
    world.limits = Stores(row_stores=1).limits
    async with world.all_running() as stores:
        assert stores.position_of(KEYS) == ends, "all that are there are opened"
        assert [len(found(stores, key)) for key in KEYS] == list(range(1, 9))


async def test_a_listener_is_told_when_rows_can_be_read_and_before_that_not() -> None:
    world = Stores()
    async with world.all_running() as stores:
        ends = []
        stores.tell(lambda: ends.append(stores.end_lsn()))
        staged = put(stores, KEYS[0], 0, 2)
        assert ends == []
        await staged.committed()
        assert ends == [stores.end_lsn()]
        await put(stores, KEYS[1], 0, 2).committed()
        assert ends[1:] == [stores.end_lsn()]
        assert ends[1] > ends[0]


async def test_followers_read_in_commit_order_and_catch_up_by_cursors() -> None:
    for tail_bytes in (0, 500, 2000, 10**6):
        world = Stores(row_store_tail_bytes=tail_bytes, row_store_segment_bytes=900)
        async with world.all_running() as stores:
            for step in range(6):
                for key in KEYS:
                    await put(stores, key, step * 2, 2).committed()
            await follow(stores, None, dict.fromkeys(KEYS, 0))
        async with world.all_running() as stores:
            cursors = dict.fromkeys(KEYS, 0)
            cursors[KEYS[3]] = 4
            lsn = await follow(stores, None, cursors)
            assert set(cursors.values()) == {12}
            woken = []

            async def wait(stores=stores, lsn=lsn, woken=woken) -> None:
                await stores.wait_beyond(lsn)
                woken.append(stores.end_lsn())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await wait_all_tasks_blocked()
                assert not woken
                for step in range(6, 8):
                    for key in KEYS:
                        await put(stores, key, step * 2, 2).committed()
            assert len(woken) == 1
            await follow(stores, lsn, cursors)
            assert set(cursors.values()) == {16}
            half = dict.fromkeys(KEYS[::2], 14)
            await follow(stores, None, half, 10**6)
            assert set(half.values()) == {16}
            assert (stores.statistics().catch_up_reads > 0) is True
            with pytest.raises(ValueError, match="beyond the end"):
                await stores.read(stores.end_lsn() + 1, KEYS, {}, 1)


async def test_a_full_disk_or_failed_sync_stops_one_row_store_only() -> None:
    world = Stores()
    references = [RowStoreReference(key % 4, key) for key in KEYS[:4]]
    async with world.all_running() as stores:
        for key in KEYS:
            await put(stores, key, 0, 1).committed()
        world.disk.fail("datasync")
        with pytest.raises(RowStoreReadOnlyError, match="rowstore-1"):
            await put(stores, KEYS[1], 1, 1).committed()
        with pytest.raises(RowStoreReadOnlyError):
            put(stores, KEYS[5], 1, 1)
        for key in KEYS:
            assert found(stores, key) == [0]
            if key % 4 != 1:
                await put(stores, key, 1, 1).committed()
        assert stores.choose(references[1:]).row_store == 2
        assert stores.choose(references[1:2]).row_store == 1, "staging there says why"
        assert stores.times.cursor_us() < stores.times.mint() - 1_000_000
    async with world.all_running() as stores:
        assert [len(found(stores, key)) for key in KEYS[:4]] == [2, 1, 2, 2]
        await put(stores, KEYS[1], 1, 1).committed()
        assert stores.choose(references[1:]).row_store == 1


async def test_a_trickle_stays_in_one_row_store_and_a_flood_spreads() -> None:
    world = Stores(row_store_spread_bytes=1000)
    references = [RowStoreReference(key % 4, key) for key in KEYS[:4]]
    async with world.all_running() as stores:
        assert stores.choose(references).row_store == 0
        put(stores, KEYS[2], 0, 1)
        assert stores.choose(references).row_store == 2, "it has a group that fills"
        disabled = [RowStoreReference(r.row_store, r.key, is_enabled=False) for r in references]
        assert stores.choose([references[3], *disabled]).row_store == 3
        with pytest.raises(ConflictError, match="no row store takes rows"):
            stores.choose(disabled)
        put(stores, KEYS[2], 1, 100)
        assert stores.choose(references).row_store == 0, "more than 1000 bytes wait in the other"
        together = stores.choose_together((references, references[1:2]))
        assert [reference.row_store for reference in together] == [1, 1]
        with pytest.raises(ConflictError, match="in common"):
            stores.choose_together((references[:1], references[1:]))
        await wait_all_tasks_blocked()
        assert stores.choose(references).row_store == 0


async def test_a_source_id_is_found_in_whichever_row_store_has_it() -> None:
    world = Stores()
    async with world.all_running() as stores:
        await put(stores, KEYS[1], 0, 2, source="a").committed()
        await put(stores, KEYS[6], 0, 3, source="b").committed()
    async with world.all_running() as stores:
        for key, source, rows in ((KEYS[1], "a", 2), (KEYS[6], "b", 3)):
            outcome = stores.outcome_of(source_digest(key, source))
            assert (outcome.key, outcome.row_count, outcome.staged) == (key, rows, None)
        assert stores.outcome_of(source_digest(KEYS[0], "a")) is None


async def test_seals_and_drops_reach_the_right_row_store() -> None:
    world = Stores()
    async with world.all_running() as stores:
        for key in KEYS:
            await put(stores, key, 0, 2).committed()
        unsealed = stores.unsealed(KEYS)
        assert {item.rows for item in unsealed.values()} == {2}
        position = world.sealed[KEYS[3]] = unsealed[KEYS[3]].position
        stores.advance(KEYS[3], position)
        assert stores.unsealed(KEYS).keys() == set(KEYS) - {KEYS[3]}
        assert stores.rows(KEYS[3]).first_ordinal == 2
        world.known.remove(KEYS[4])
        stores.forget(KEYS[4])
        assert found(stores, KEYS[4]) == []
        (statistics,) = (s for s in stores.key_statistics(3) if s.key == KEYS[3])
        assert (statistics.first_ordinal, statistics.end_ordinal, statistics.bytes) == (2, 2, 0)
    async with world.all_running() as stores:
        assert stores.unsealed(KEYS).keys() == set(KEYS) - {KEYS[3], KEYS[4]}
        assert stores.position_of([KEYS[3]]) == {KEYS[3]: position}


async def test_what_moved_is_told_once() -> None:
    world = Stores()
    async with world.all_running() as stores:
        one, two = put(stores, KEYS[0], 0, 2), put(stores, KEYS[1], 0, 1)
        assert stores.take_moved() == set(), "not visible yet"
        await one.committed()
        await two.committed()
        assert stores.take_moved() == {KEYS[0], KEYS[1]}
        assert stores.take_moved() == set()
        await put(stores, KEYS[0], 2, 1).committed()
        world.known.discard(KEYS[0])
        stores.forget(KEYS[0])
        assert stores.take_moved() == set(), "the table was dropped"
