"""Seals, clears and merges seen from a follower: every row once, at every moment."""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest
import trio
from follow_cluster import REFUSAL, running

from cluster.catalog.changes import DropTable, ReplaceExtents
from cluster.errors import DatabaseNotFoundError
from cluster.limits import Limits
from cluster.replication.floors import floors_of
from cluster.replication.position import Position

SMALL = Limits(
    row_store_segment_bytes=4096,  # so that sealing does remove files
    row_store_tail_bytes=2048,  # and the leader does read from its disk
    replication_frame_bytes=2048,
    replication_window_bytes=8192,
)


SEEDS = int(os.environ.get("SEAL_SEEDS", "3"))


def seen(setup, name="T"):
    """What a query at the follower gives, sorted; None before it has the table."""
    try:
        return sorted(setup.follower.numbers(name))
    except (DatabaseNotFoundError, KeyError):
        return None


async def shows_all(setup, numbers, name="T"):
    wanted = sorted(numbers)
    await setup.follower.until(lambda follower: seen(setup, name) == wanted)


async def test_a_result_is_the_same_before_during_and_after_a_seal(autojump_clock, setup):
    for number in range(20):
        await setup.leader.ingest([number], place=number % 4)
    await shows_all(setup, range(20))
    ended, looks = trio.Event(), []

    async def look():
        while not ended.is_set():
            looks.append((seen(setup), sorted(setup.leader.numbers())))
            await trio.sleep(0.0001)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await setup.leader.seal()
        version = setup.leader.catalog.get("db").version
        await setup.follower.until(lambda f: f.database.pin().database.version == version)
        ended.set()
    assert len(looks) > 5
    assert all(follower == leader == list(range(20)) for follower, leader in looks)
    pin = setup.follower.database.pin()
    assert pin.rows == {}
    assert pin.position.keys == floors_of(pin.database)
    (report,) = setup.follower.manager.report()
    assert report.rows_visible == 0, "all are sealed"


@pytest.mark.fidelity("follower.md", "A follower without streaming shows extents only")
async def test_a_closed_gate_hides_rows_and_shows_what_is_sealed(autojump_clock, setup):
    setup.decide(rows=False)
    setup.tell()
    await setup.leader.ingest([1, 2])
    await setup.leader.ingest([3], place=2)
    await setup.leader.seal()
    await shows_all(setup, [1, 2, 3])
    pin = setup.follower.database.pin()
    assert (pin.rows_hidden, pin.hidden_reason, dict(pin.rows)) == (True, REFUSAL, {})
    await setup.leader.ingest([4])
    await trio.sleep(3)
    assert seen(setup) == [1, 2, 3]
    sent = setup.leader.service.statistics().records_sent_total
    assert sent == 0, "no record was needed"
    setup.decide(rows=True)
    setup.tell()
    await shows_all(setup, [1, 2, 3, 4])
    assert setup.leader.service.statistics().records_sent_total == 1


async def test_whoever_waits_for_rows_gets_them_by_their_seal(autojump_clock, setup):
    setup.decide(rows=False)
    setup.tell()
    await setup.leader.ingest([1])
    tree = setup.leader.catalog.get("db")
    at = setup.leader.row_stores.position_of(tree.row_store_keys())
    position = Position(tree.version, at)
    with trio.move_on_after(3) as scope:
        await setup.follower.manager.wait_for("db", position)
    assert scope.cancelled_caught
    await setup.leader.seal()
    with trio.fail_after(5):
        await setup.follower.manager.wait_for("db", position)


async def test_a_follower_that_was_away_needs_no_sealed_record(autojump_clock, setup):
    await setup.leader.ingest([1])
    await shows_all(setup, [1])
    await setup.follower.stop()
    for number in range(2, 30):
        await setup.leader.ingest([number], place=number % 4)
    await setup.leader.seal()
    await setup.leader.ingest([30])
    before = setup.leader.service.statistics().records_sent_total
    await setup.follower.start()
    await shows_all(setup, range(1, 31))
    assert setup.leader.service.statistics().records_sent_total == before + 1


@pytest.mark.parametrize("kept_bytes", [0, 100, 1000])
async def test_a_follower_that_crashes_after_a_seal_has_its_floors_from_its_tree(
    autojump_clock, setup, kept_bytes
):
    for number in range(10):
        await setup.leader.ingest([number], place=number % 2)
    await shows_all(setup, range(10))
    await setup.leader.seal()
    await setup.leader.ingest([10])
    await shows_all(setup, range(11))
    await setup.follower.stop()
    setup.follower.disk.crash(kept_bytes=kept_bytes)
    await setup.follower.start()
    await shows_all(setup, range(11))
    assert setup.follower.database.statistics().copies_dropped == 0


async def test_the_log_of_a_copy_goes_with_what_is_sealed(autojump_clock, tmp_path, no_threads):
    async with running(tmp_path, SMALL) as setup:
        for number in range(100):
            await setup.leader.ingest([number] * 20)
            if number % 10 == 9:
                await setup.leader.seal()
        await shows_all(setup, [number for number in range(100) for _ in range(20)])
        await trio.sleep(1)
        for node in (setup.leader, setup.follower):
            segments = [path for path in node.disk.paths() if path.suffix not in ("", ".sqlite")]
            assert 0 < len(segments) < 5


async def test_a_merge_moves_nothing(autojump_clock, setup):
    first = None
    for number in range(3):
        await setup.leader.ingest([number])
        first = await setup.leader.seal() if first is None else await setup.leader.seal() and first
    await setup.leader.ingest([3])
    await shows_all(setup, range(4))
    table = setup.leader.table()
    merged = replace(first, extent_id=setup.leader.catalog.new_id(), row_count=3)
    setup.leader.sealed[merged.extent_id] = [0, 1, 2]
    change = ReplaceExtents("T", tuple(table.extents), (merged,))
    await setup.leader.catalog.commit("db", [change], text="")
    await setup.follower.until(
        lambda f: merged.extent_id in f.database.pin().database.tables["T"].extents
    )
    assert seen(setup) == [0, 1, 2, 3]


async def test_clear_is_one_moment(autojump_clock, setup):
    await setup.leader.ingest([1, 2])
    await setup.leader.seal()
    await setup.leader.ingest([3], place=1)
    await shows_all(setup, [1, 2, 3])
    await setup.leader.clear()
    looks = []

    def cleared(follower):
        looks.append(seen(setup))
        return looks[-1] == []

    await setup.follower.until(cleared)
    assert all(look in ([1, 2, 3], []) for look in looks)
    await setup.leader.ingest([4])
    await shows_all(setup, [4])


class Campaign:
    """Random histories of a leader with real row stores, and what its follower must show."""

    def __init__(self, setup, rng):
        self.setup = setup
        self.rng = rng
        self.truth = {}  # numbers of each key, by ordinal
        self.trees = {}  # of the leader, by version
        self.next_number = 0
        self.looks = self.hidden_looks = self.sealed_looks = 0

    def remember(self):
        tree = self.setup.leader.catalog.get("db")
        self.trees[tree.version] = tree

    def tables(self):
        return sorted(self.setup.leader.catalog.get("db").tables)

    async def ingest(self):
        for name in self.tables():
            table = self.setup.leader.table(name)
            for _ in range(self.rng.randint(0, 4)):
                numbers = range(self.next_number, self.next_number + self.rng.randint(1, 30))
                self.next_number = numbers.stop
                place = self.rng.randrange(len(table.keys))
                await self.setup.leader.ingest(numbers, name, place)
                self.truth.setdefault(table.keys[place], []).extend(numbers)

    async def seal(self):
        name = self.rng.choice(self.tables())
        at = self.setup.leader.row_stores.position_of(self.setup.leader.table(name).keys)
        floors = self.setup.leader.floors()
        if any(position.ordinal > floors[key].ordinal for key, position in at.items()):
            await self.setup.leader.seal(name, advance=self.rng.random() < 0.8)
            self.remember()

    async def clear(self):
        await self.setup.leader.clear(self.rng.choice(self.tables()))
        self.remember()

    async def change_tables(self):
        name = self.rng.choice("UVW")
        if name not in self.tables():
            await self.setup.leader.create_table(name)
            self.remember()
            return
        keys = self.setup.leader.table(name).keys
        await self.setup.leader.catalog.commit("db", [DropTable(name)], text="")
        self.remember()
        for key in keys:
            self.setup.leader.row_stores.forget(key)

    async def flip(self):
        self.setup.decide(rows=not self.setup.rows)
        nodes = [self.setup.leader, self.setup.follower]
        self.rng.shuffle(nodes)
        self.setup.tell(nodes[0])
        self.check()
        if self.rng.random() < 0.5:
            await trio.sleep(self.rng.random())
        self.setup.tell(nodes[1])

    async def restart_follower(self):
        await self.setup.follower.stop()
        if self.rng.random() < 0.5:
            self.setup.follower.disk.crash(kept_bytes=self.rng.choice([0, 50, 500, 5000]))
        for _ in range(self.rng.randrange(3)):
            await self.ingest()
            await self.seal()
        await self.setup.follower.start()

    async def restart_leader(self):
        await self.setup.leader.stop()
        self.setup.leader.disk.crash()
        await self.setup.leader.start()
        self.setup.leader.advance()

    async def wait(self):
        await trio.sleep(self.rng.choice([0.0, 0.001, 0.05, 0.5, 2.0]))

    async def look(self, ended):
        """Looks whenever anything has happened, as queries do."""
        while not ended.is_set():
            self.check()
            await trio.sleep(self.rng.choice([0.0, 0.0005, 0.003]))

    def check(self):
        """Tree and rows of a pin are one moment of the leader, whole."""
        manager = self.setup.follower.manager
        database = manager.get("db") if manager is not None else None
        if database is None:
            return
        try:
            pin = database.pin()
        except DatabaseNotFoundError:
            return
        self.looks += 1
        self.hidden_looks += pin.rows_hidden
        told = self.trees[pin.database.version]
        assert pin.database == replace(told, storage_root=self.setup.leader.root.url)
        floors = floors_of(told)
        assert not (pin.rows_hidden and pin.rows)
        for name, table in pin.database.tables.items():
            expected = list(self.setup.leader.sealed_numbers(table))
            self.sealed_looks += bool(expected)
            for key in table.keys:
                floor, end = floors[key].ordinal, floors[key].ordinal
                if not pin.rows_hidden and key in pin.position.keys:
                    end = pin.position.keys[key].ordinal
                expected += self.truth.get(key, [])[floor:end]
            assert sorted(self.setup.follower.numbers(name)) == sorted(expected)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_happens_a_pin_is_one_moment_of_the_leader(
    autojump_clock, tmp_path, no_threads, seed
):
    async with running(tmp_path, SMALL) as setup, trio.open_nursery() as nursery:
        campaign = Campaign(setup, random.Random(seed))
        await setup.leader.enable_streaming()
        campaign.remember()
        tree = setup.leader.catalog.get("db")
        ended = trio.Event()
        await setup.follower.until(
            lambda f: (
                f.manager.get("db") is not None
                and f.manager.get("db").copy.database is not None
                and f.manager.get("db").copy.database.version == tree.version
            )
        )
        nursery.start_soon(campaign.look, ended)
        actions = {
            campaign.ingest: 10,
            campaign.wait: 10,
            campaign.seal: 6,
            campaign.flip: 2,
            campaign.clear: 1,
            campaign.change_tables: 1,
            campaign.restart_follower: 1,
            campaign.restart_leader: 0.5,
        }
        for action in campaign.rng.choices(list(actions), list(actions.values()), k=80):
            await action()
            campaign.check()
        setup.decide(rows=True)
        setup.tell()
        for name in campaign.tables():
            await shows_all(setup, setup.leader.numbers(name), name)
            assert sorted(setup.leader.numbers(name)) == sorted(
                setup.leader.sealed_numbers(setup.leader.table(name))
                + [
                    number
                    for key in setup.leader.table(name).keys
                    for number in campaign.truth.get(key, [])[setup.leader.floors()[key].ordinal :]
                ]
            )
        ended.set()
    assert campaign.looks > 100
    assert campaign.hidden_looks
    assert campaign.sealed_looks
