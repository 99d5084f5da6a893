"""Random lives of a node's row stores and of a copy: seals, chains, jumps, and broken disks.

The model is a number for each key: how many rows were acknowledged. They survive anything, in a
row store or below its floor; what was staged and not acknowledged may survive, in whole records,
in order, and a chain only whole.
"""

from __future__ import annotations

import errno
from contextlib import suppress

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from rowstore_world import World, batch
from test_rowstore_stores import KEYS, Stores

from cluster.errors import RowStoreReadOnlyError
from cluster.rowstore.record import RequestSpan, source_digest

USED = KEYS[:2] + KEYS[4:6]
"""Two keys in each of two row stores."""

LIMITS = {"row_stores": 2, "row_store_segment_bytes": 900, "row_store_tail_bytes": 700}
KEY = st.sampled_from(USED)
STEPS = st.one_of(
    st.tuples(st.just("stage"), KEY, st.integers(1, 4)),
    st.tuples(st.just("chain"), KEY, st.integers(1, 4)),
    st.tuples(st.just("commit"), st.none(), st.none()),
    st.tuples(st.just("seal"), KEY, st.none()),
    st.tuples(st.just("follow"), st.none(), st.integers(1, 900)),
    st.tuples(st.just("tell"), st.none(), st.none()),
    st.tuples(st.just("crash"), st.none(), st.integers(0, 1500)),
    st.tuples(st.just("crash copy"), st.none(), st.integers(0, 1500)),
    st.tuples(st.just("kill"), st.none(), st.none()),
    st.tuples(
        st.just("fail"),
        st.sampled_from(["append", "datasync", "create", "remove", "sync_folder"]),
        st.integers(0, 400),
    ),
    st.tuples(st.just("stop"), st.none(), st.none()),
)


class TwoStores(Stores):
    def store_of(self, key):
        return key % 4 if key in USED else None


class Life:
    """The row stores of a leader, a copy of all keys, and what the model says about them."""

    def __init__(self) -> None:
        self.world, self.copy_world = TwoStores(**LIMITS), World(**LIMITS)
        self.copy_world.known = set(USED)
        self.acknowledged = dict.fromkeys(USED, 0)
        self.bounds = {key: {0} for key in USED}
        self.chains: list[tuple[tuple[int, int], tuple[int, int]]] = []
        self.sources: dict[bytes, tuple[int, int, int]] = {}
        self.pending: list[tuple[object, bytes, tuple[int, int, int]]] = []
        self.count = 0

    async def live(self, steps) -> None:
        left = list(steps)
        while True:
            async with (
                self.world.all_running() as self.leader,
                self.copy_world.running(sync=False) as self.copy,
            ):
                self.check_after_opening()
                self.cursor_us, self.seen = 0, dict(self.next)
                while left:
                    kind, what, amount = left.pop(0)
                    if await self.step(kind, what, amount):
                        break
                    self.check()
                else:
                    await self.end()
                    return
            self.pending.clear()
            self.world.disk.kill()  # a fault that was armed and never struck is over

    async def end(self) -> None:
        await self.commit()
        self.tell()
        while await self.follow(10**6):
            pass
        assert self.copy.position_of(USED) == self.leader.position_of(USED)

    async def step(self, kind, what, amount) -> bool:
        disk = self.world.disk
        match kind:
            case "stage":
                with suppress(RowStoreReadOnlyError):
                    self.stage(what, amount)
            case "chain":
                self.chain(what, amount)
            case "commit":
                await self.commit()
            case "seal":
                position = self.leader.position_of([what])[what]
                self.world.seal(self.leader, what, position)
            case "follow":
                await self.follow(amount)
            case "tell":
                self.tell()
            case "fail":
                number = (errno.EIO, errno.ENOSPC)[amount % 2]
                disk.fail(what, number=number, kept_bytes=amount)
            case "kill" | "crash":
                await trio.lowlevel.checkpoint()
                disk.kill() if kind == "kill" else disk.crash(kept_bytes=amount)
            case "crash copy":
                self.copy_world.disk.crash(kept_bytes=amount)
        return kind in ("stop", "kill", "crash", "crash copy")

    def stage(self, key, amount, *, with_next: bool = False) -> tuple[int, int]:
        self.count += 1
        source = source_digest(key, str(self.count))
        first = self.next[key]
        spans = [RequestSpan(source, amount)]
        staged = self.leader.stage(key, 0, batch(first, amount), spans, with_next=with_next)
        assert staged.first_ordinal == first
        self.next[key] = first + amount
        self.bounds[key].add(first + amount)
        self.pending.append((staged, source, (key, first, amount)))
        return key, first + amount

    def chain(self, key, amount) -> None:
        other = USED[(USED.index(key) + 2) % 4]
        with suppress(RowStoreReadOnlyError):
            self.chains.append((self.stage(key, amount, with_next=True), self.stage(other, 1)))

    async def commit(self) -> None:
        pending, self.pending = self.pending, []
        for staged, source, place in pending:
            with suppress(RowStoreReadOnlyError):
                await staged.committed()
                key, first, amount = place
                self.acknowledged[key] = max(self.acknowledged[key], first + amount)
                self.sources[source] = place

    def tell(self) -> None:
        self.copy_world.sealed.update(self.world.sealed)
        for key, position in self.world.sealed.items():
            self.copy.advance(key, position)

    async def follow(self, max_bytes: int) -> int:
        at = self.copy.position_of(USED)
        floors = self.world.sealed
        if any(key in floors and floors[key].ordinal > at[key].ordinal for key in USED):
            self.tell()  # metadata comes first, and with it the floors
        cursors = {key: at.ordinal for key, at in self.copy.position_of(USED).items()}
        start = self.leader.start_lsn_for(cursors, USED)
        chunk = await self.leader.read(start, set(USED), cursors, max_bytes)
        ends = self.leader.position_of(USED)
        assert len(await self.copy.apply(chunk.records)) == chunk.count
        if not chunk.count:
            assert all(ends[key].ordinal <= cursors[key] for key in USED)
        return chunk.count

    def visible(self, key) -> int:
        rows = self.leader.rows(key)
        floor = self.world.sealed_of(key).ordinal
        numbers = [n for item in rows.batches for n in item.column("n").to_pylist()]
        assert numbers == list(range(rows.first_ordinal, rows.position.ordinal))
        assert rows.first_ordinal == floor
        return rows.position.ordinal

    def check(self) -> None:
        for key in USED:
            visible = self.visible(key)
            assert visible in self.bounds[key]
            assert visible >= self.acknowledged[key]
            times = self.leader.rows(key).ingestion_times().cast("int64").to_pylist()
            assert times == sorted(times)
            fresh = max(0, self.seen[key] - self.leader.rows(key).first_ordinal)
            assert all(time > self.cursor_us for time in times[fresh:])
            self.seen[key] = visible
            rows = self.copy.rows(key)
            copied = [n for item in rows.batches for n in item.column("n").to_pylist()]
            assert copied == list(range(rows.first_ordinal, rows.position.ordinal))
            assert rows.position.ordinal <= visible
            if rows.position.ordinal == visible:
                assert rows.position == self.leader.rows(key).position
        for (key, end), (other, other_end) in self.chains:
            assert (self.visible(key) >= end) == (self.visible(other) >= other_end)
        self.cursor_us = self.leader.times.cursor_us()

    def check_after_opening(self) -> None:
        self.next = {key: self.visible(key) for key in USED}
        for key in USED:
            assert self.next[key] in self.bounds[key]
            assert self.next[key] >= self.acknowledged[key]
            self.acknowledged[key] = self.next[key]
            self.bounds[key] = {n for n in self.bounds[key] if n <= self.next[key]}
        self.chains = [
            chain for chain in self.chains if all(end <= self.next[key] for key, end in chain)
        ]
        for source, place in self.sources.items():
            outcome = self.leader.outcome_of(source)
            assert (outcome.key, outcome.first_ordinal, outcome.row_count) == place


@settings(max_examples=150)
@given(steps=st.lists(STEPS, max_size=50))
def test_random_lives_of_several_row_stores(steps) -> None:
    trio.run(Life().live, steps)
