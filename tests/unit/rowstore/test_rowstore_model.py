"""Random lives of a leader's row store and a copy of it, against a model of four lists.

The model: rows acknowledged must survive anything; rows staged and not acknowledged may survive,
but only whole records, in order, without a gap; nothing else is ever visible.
"""

from __future__ import annotations

from contextlib import suppress

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from rowstore_world import CPU, LOGS, World, numbers, put

from cluster.errors import RowStoreReadOnlyError
from cluster.rowstore.record import source_digest

KEYS = (CPU, LOGS)
STEPS = st.one_of(
    st.tuples(st.just("stage"), st.sampled_from(KEYS), st.integers(1, 4)),
    st.tuples(st.just("commit"), st.none(), st.none()),
    st.tuples(st.just("follow"), st.none(), st.integers(1, 900)),
    st.tuples(st.just("reset copy"), st.sampled_from(KEYS), st.none()),
    st.tuples(st.just("crash"), st.none(), st.integers(0, 1500)),
    st.tuples(st.just("crash copy"), st.none(), st.integers(0, 1500)),
    st.tuples(st.just("kill"), st.none(), st.none()),
    st.tuples(st.just("fail"), st.sampled_from(["append", "datasync"]), st.integers(0, 400)),
    st.tuples(st.just("stop"), st.none(), st.none()),
)


class Life:
    """A leader, its copy, and what the model says about them."""

    def __init__(self) -> None:
        limits = {"row_store_segment_bytes": 900, "row_store_tail_bytes": 700}
        self.leader_world, self.copy_world = World(**limits), World(**limits)
        self.acknowledged = dict.fromkeys(KEYS, 0)
        self.staged: dict[int, list[int]] = {key: [] for key in KEYS}
        self.sources: dict[str, tuple[int, int, int]] = {}
        self.pending: list[tuple[object, str, tuple[int, int, int]]] = []
        self.count = 0

    async def live(self, steps) -> None:
        left = list(steps)
        while True:
            async with (
                self.leader_world.running() as self.leader,
                self.copy_world.running(sync=False) as self.copy,
            ):
                self.check_after_opening()
                while left:
                    kind, what, amount = left.pop(0)
                    if await self.step(kind, what, amount) == "restart":
                        break
                    self.check()
                else:
                    await self.follow_to_the_end()
                    if not self.leader.statistics().read_only_reason:
                        await self.commit()
                        await self.follow_to_the_end()
                        assert self.copy.position_of(KEYS) == self.leader.position_of(KEYS)
                    return
            self.pending.clear()
            # The process has ended, and with it a fault that was armed and never struck.
            self.leader_world.disk.kill()

    async def step(self, kind, what, amount) -> str | None:
        match kind:
            case "stage":
                with suppress(RowStoreReadOnlyError):
                    self.stage(what, amount)
            case "commit":
                await self.commit()
            case "follow":
                await self.follow(amount)
            case "reset copy":
                self.copy.reset(what)
                assert numbers(self.copy, what) == []
            case "fail":
                self.leader_world.disk.fail(what, kept_bytes=amount)
            case "stop":
                return "restart"
            case "kill" | "crash":
                # What was staged never reaches the disk, except what is on its way right now.
                await trio.lowlevel.checkpoint()
                disk = self.leader_world.disk
                disk.kill() if kind == "kill" else disk.crash(kept_bytes=amount)
                return "restart"
            case "crash copy":
                self.copy_world.disk.crash(kept_bytes=amount)
                return "restart"
        return None

    def stage(self, key, amount) -> None:
        self.count += 1
        source = f"request {self.count}"
        staged = put(self.leader, amount, key=key, source=source)
        place = (key, staged.first_ordinal, amount)
        assert staged.first_ordinal == self.acknowledged[key] + sum(self.staged[key])
        self.staged[key].append(amount)
        self.pending.append((staged, source, place))

    async def commit(self) -> None:
        try:
            for staged, source, place in self.pending:
                await staged.committed()
                self.acknowledged[place[0]] += self.staged[place[0]].pop(0)
                self.sources[source] = place
            self.pending.clear()
        except RowStoreReadOnlyError:
            assert self.leader.statistics().read_only_reason

    async def follow_to_the_end(self) -> None:
        # One read may end where the records in memory begin.
        while await self.follow(10**6):
            pass

    async def follow(self, max_bytes: int) -> int:
        cursors = {key: at.ordinal for key, at in self.copy.position_of(KEYS).items()}
        start = self.leader.start_lsn_for(cursors, KEYS)
        chunk = await self.leader.read(start, set(KEYS), cursors, max_bytes)
        if chunk.count:
            assert len(await self.copy.apply(chunk.records)) == chunk.count
            assert await self.copy.apply(chunk.records) == ()
        else:
            behind = [self.leader.position_of(KEYS)[key].ordinal > cursors[key] for key in KEYS]
            assert not any(behind)
        return chunk.count

    def check(self) -> None:
        for key in KEYS:
            found = numbers(self.leader, key)
            assert found == list(range(len(found)))
            assert self.may_be_visible(key, len(found))
            copied = numbers(self.copy, key)
            assert copied == found[: len(copied)]
            same = self.copy.rows(key).position.ordinal == len(found)
            if same:
                assert self.copy.rows(key).position == self.leader.rows(key).position

    def may_be_visible(self, key, count: int) -> bool:
        total = self.acknowledged[key]
        allowed = {total}
        for amount in self.staged[key]:
            total += amount
            allowed.add(total)
        return count in allowed

    def check_after_opening(self) -> None:
        self.check_copy_is_a_prefix()
        for key in KEYS:
            assert self.may_be_visible(key, len(numbers(self.leader, key)))
            self.acknowledged[key] = len(numbers(self.leader, key))
            self.staged[key].clear()
        for source, (key, first, amount) in self.sources.items():
            outcome = self.leader.outcome_of(source_digest(key, source))
            assert (outcome.key, outcome.first_ordinal, outcome.row_count) == (key, first, amount)
        assert not self.leader.statistics().read_only_reason

    def check_copy_is_a_prefix(self) -> None:
        # A copy shows only what was durable on the leader, so it is never ahead of it.
        for key in KEYS:
            copied = numbers(self.copy, key)
            assert copied == numbers(self.leader, key)[: len(copied)]


@settings(max_examples=120)
@given(steps=st.lists(STEPS, max_size=40))
def test_random_lives(steps) -> None:
    trio.run(Life().live, steps)
