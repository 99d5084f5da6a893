"""Random histories with crashes against a set of numbers for each table.

Whatever was done, and wherever the process died: a table has the rows the model says, each once.
What was under way at a crash has happened or has not; nothing in between is accepted.
"""

from __future__ import annotations

import random

import pytest
import trio
from keeper_world import DATABASE, DAY_US, World

from cluster.catalog.changes import AppendColumns, RenameTables
from cluster.catalog.model import Column, ScalarType
from cluster.extents.garbage import referenced_files
from cluster.extents.keeping import CrashPoint
from cluster.extents.operations import Selection, TagChange

STEPS = 40
TABLES = ("A", "B")


@pytest.fixture(autouse=True)
def _threads(monkeypatch):
    """Worker threads add nothing here but time."""

    async def run_sync(function, *arguments, **_):
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)


class Campaign:
    """One history. ``model`` is what each table has; ``after`` what it has if a step happens."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.model = {name: [] for name in TABLES}
        self.after = self.model
        self.columns = 2

    def plan(self, **changed: list[int]) -> None:
        self.after = {**self.model, **{name: sorted(rows) for name, rows in changed.items()}}

    async def step(self) -> None:
        """Does one thing; :attr:`after` says what the tables have when it is done."""
        name, other = self.rng.sample(TABLES, 2)
        self.plan()
        kinds = {
            self.stream: 8,
            self.seal: 5,
            self.merge: 2,
            self.merge_named: 2,
            self.retag: 1,
            self.move: 1,
            self.drop: 1,
            self.clear: 1,
            self.swap: 1,
            self.alter: 1,
            self.collect: 2,
        }
        (kind,) = self.rng.choices(list(kinds), list(kinds.values()))
        await kind(name, other)
        self.model = self.after

    async def stream(self, name, other):
        references = self.world.table(name).references
        place = self.rng.randrange(len(references))
        first = next(self.world.numbers)
        count = self.rng.randint(1, 9)
        numbers = [first + 1 + n for n in range(count)]
        self.plan(**{name: self.model[name] + numbers})
        assert await self.world.stream(count, name, reference=place) == numbers

    async def seal(self, name, other):
        await self.world.keeper.seal(DATABASE, self.rng.choice([name, None]))

    async def merge(self, name, other):
        await self.world.keeper.merge(DATABASE)

    async def merge_named(self, name, other):
        ids = self.some_extents(name)
        tags = {frozenset(self.world.table(name).extents[item].tags) for item in ids}
        if len(ids) > 1 and len(tags) == 1:
            await self.world.keeper.merge_extents(DATABASE, name, ids)

    async def retag(self, name, other):
        tags = [self.rng.choice(["drop-by:x", "y"])]
        change = self.rng.choice(list(TagChange))
        ids = self.some_extents(name)
        await self.world.keeper.retag(DATABASE, name, ids, change, tags)

    async def move(self, name, other):
        ids = self.some_extents(name)
        moved = await self.rows_of(name, ids)
        left = [n for n in self.model[name] if n not in moved]
        self.plan(**{name: left, other: self.model[other] + list(moved)})
        await self.world.keeper.move_extents(DATABASE, [(name, ids)], other)

    async def drop(self, name, other):
        ids = self.some_extents(name)[:1]
        gone = await self.rows_of(name, ids)
        self.plan(**{name: [n for n in self.model[name] if n not in gone]})
        await self.world.keeper.drop_extents(DATABASE, Selection(table=name, extent_ids=ids))

    async def clear(self, name, other):
        if self.rng.random() < 0.5:
            self.plan(**{name: []})
            await self.world.keeper.clear_table(DATABASE, name)

    async def swap(self, name, other):
        self.plan(**{name: self.model[other], other: self.model[name]})
        await self.world.commit(RenameTables(((name, other), (other, name))))

    async def alter(self, name, other):
        column = Column(f"c{self.columns}", ScalarType.REAL)
        self.columns += 1
        await self.world.commit(AppendColumns(name, (column,)), AppendColumns(other, (column,)))

    async def collect(self, name, other):
        self.world.clock.us += self.rng.choice([1, 400_000_000, DAY_US])
        await self.world.keeper.retain()
        await self.world.keeper.collect_garbage()
        await self.world.keeper.sweep()

    def some_extents(self, name):
        ids = sorted(self.world.table(name).extents)
        return tuple(self.rng.sample(ids, self.rng.randint(0, len(ids))))

    async def rows_of(self, name, ids):
        table = self.world.table(name)
        return set(await self.world.numbers_in([table.extents[item] for item in ids], name))

    async def check(self) -> None:
        for name in TABLES:
            assert await self.world.rows(name) == self.model[name]

    async def check_after_crash(self) -> None:
        found = {name: await self.world.rows(name) for name in TABLES}
        assert found in (self.model, self.after)
        self.model = found


async def life(campaign: Campaign, *, power_loss: bool) -> bool:
    """One life of the process; False if it died before the history was over."""
    world, rng = campaign.world, campaign.rng
    async with world.running(power_loss=power_loss) as keeper:
        if DATABASE not in [tree.name for tree in world.catalog.databases()]:
            await world.create(*TABLES)
        await campaign.check_after_crash()
        await keeper.sweep(at_start=True)
        await campaign.check()
        if rng.random() < 0.8:
            world.crash_at = rng.choice(list(CrashPoint))
        for _ in range(STEPS):
            with world.may_die() as dead:
                await campaign.step()
            if dead:
                return False
            await campaign.check()
        world.crash_at = None
        await keeper.drain()
        await campaign.check()
        await keeper.collect_garbage()
        world.clock.us += DAY_US
        await keeper.collect_garbage()
        named = referenced_files(world.catalog.get(DATABASE))
        assert await world.files_in_root() == sorted(named), "nothing is left over"
    return True


@pytest.mark.parametrize("seed", range(6))
async def test_every_row_once_whatever_happens(tmp_path, seed):
    campaign = Campaign(World(tmp_path), seed)
    lives = 1
    while not await life(campaign, power_loss=campaign.rng.random() < 0.5):
        lives += 1
        assert lives < 100
