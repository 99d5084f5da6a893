"""The hot cache: what it takes, what it keeps when memory is short, and what it lets go."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import immutables
import pytest
import trio

from cluster.catalog.model import Database, Extent, RowStoreKey, RowStoreReference, Table
from cluster.catalog.policies import CachingPolicy
from cluster.errors import UnavailableError
from cluster.limits import LIMITS
from cluster.query.binding import BoundTable
from cluster.query.hot.driver import HotCache
from cluster.query.hot.relations import LOADS_A_PLAN, HotRelations, Relation, member_of

ALWAYS = CachingPolicy(None)
DATABASE = Database("Home", "d")


def extent(number, created_us, rows=10, file_bytes=100):
    return Extent(
        f"id{number}", f"f{number}", file_bytes, 0, (0,), rows, 1, created_us, created_us, 1, 1
    )


def table(*extents, key=1):
    known = immutables.Map({one.extent_id: one for one in extents})
    return Table(f"T{key}", "t", (RowStoreReference(0, RowStoreKey(key)),), extents=known,
                 schemas=((),), column_ids=((),))  # fmt: skip


def relation(name, of, *extents, byte_count=100):
    return Relation(
        name,
        of.key,
        tuple(member_of(of, one) for one in extents),
        tuple(one.row_count for one in extents),
        frozenset([0]),
        byte_count,
        max(one.created_max_us for one in extents),
    )


@pytest.mark.fidelity("cache-policy.md", "The newest data is kept hot")
@pytest.mark.parametrize(("room", "taken"), [(749, 2), (750, 3), (751, 3)])
def test_the_newest_extents_that_fit_are_taken(room, taken):
    """A file of 100 bytes is taken to need 250 until a load has told better."""
    extents = [extent(n, created_us=n) for n in range(5)]
    relations = HotRelations(replace(LIMITS, hot_cache_bytes=room))
    plan = relations.plan([(DATABASE, table(*extents), ALWAYS)], 10)
    assert [one.extent_id for one in plan.loads[0].extents] == ["id4", "id3", "id2"][:taken]


@pytest.mark.parametrize(("rows", "taken"), [(29, 2), (30, 3), (31, 3)])
def test_a_load_takes_so_many_rows_at_once(rows, taken):
    extents = [extent(n, created_us=n) for n in range(5)]
    relations = HotRelations(replace(LIMITS, hot_load_rows=rows))
    plan = relations.plan([(DATABASE, table(*extents), ALWAYS)], 10)
    assert len(plan.loads[0].extents) == taken


def test_one_plan_is_for_many_tables_the_newest_first():
    """Looking at all of 10,000 tables takes 30 ms of the node's thread: not once a table."""
    tables = [table(extent(n, created_us=n), key=n + 1) for n in range(LOADS_A_PLAN + 1)]
    extra = extent(LOADS_A_PLAN + 2, created_us=0)
    tables[-1] = table(*tables[-1].extents.values(), extra, key=LOADS_A_PLAN + 1)
    plan = HotRelations(LIMITS).plan([(DATABASE, one, ALWAYS) for one in tables], 10**6)
    assert [load.table for load in plan.loads] == tables[:0:-1], "the oldest one is for later"
    assert len(plan.loads[0].extents) == 2


def test_the_caching_policy_decides_what_is_hot():
    extents = [extent(n, created_us=n * 100) for n in range(5)]
    policy = CachingPolicy(150, ((100, 101),))
    relations = HotRelations(LIMITS)
    plan = relations.plan([(DATABASE, table(*extents), policy)], 450)
    assert [one.extent_id for one in plan.loads[0].extents] == ["id4", "id3", "id1"]


def test_a_relation_goes_when_newer_extents_need_its_room_or_nobody_names_it():
    old, new = extent(1, 1), extent(2, 2)
    both = table(old, new)
    relations = HotRelations(replace(LIMITS, hot_cache_bytes=250))
    held = relation("hot1", both, old)
    relations.add(held)
    assert relations.plan([(DATABASE, both, ALWAYS)], 10).loads[0].extents == (new,)
    relations.add(relation("hot2", both, new, byte_count=200))
    plan = relations.plan([(DATABASE, both, ALWAYS)], 10)
    assert (plan.drop, plan.loads) == ((held,), ())
    nothing = relations.plan([(DATABASE, table(), ALWAYS)], 10)
    assert [one.name for one in nothing.drop] == ["hot1", "hot2"]


def test_what_is_there_stays_if_another_of_the_same_age_does_not_fit_beside_it():
    both = table(extent(1, created_us=5), extent(2, created_us=5))
    one, other = both.extents.values()
    relations = HotRelations(replace(LIMITS, hot_cache_bytes=300))
    held = relation("hot1", both, one, byte_count=200)
    relations.add(held)
    plan = relations.plan([(DATABASE, both, ALWAYS)], 10)
    assert (plan.drop, plan.loads) == ((), ()), f"{other.extent_id} would only take turns with it"


def test_relations_of_like_size_are_joined_up_to_a_limit():
    extents = [extent(n, n) for n in range(4)]
    of = table(*extents)
    for rows, joined in ((40, True), (39, False)):
        relations = HotRelations(replace(LIMITS, hot_relation_rows=rows))
        for one in extents:
            relations.add(relation(f"hot{one.extent_id}", of, one))
        join = relations.plan([(DATABASE, of, ALWAYS)], 10).join
        assert (join is not None) is joined


def test_a_relation_of_mostly_dead_rows_is_made_anew():
    extents = [extent(n, n) for n in range(3)]
    relations = HotRelations(LIMITS)
    relations.add(relation("hot1", table(*extents), *extents))
    join = relations.plan([(DATABASE, table(extents[2]), ALWAYS)], 10).join
    assert join.kept == ((2,),)


def test_a_snapshot_finds_only_its_own_extents():
    extents = [extent(n, n) for n in range(4)]
    of = table(*extents)
    relations = HotRelations(LIMITS)
    relations.add(relation("hot1", of, *extents[:3]))
    some = table(extents[0], extents[3])
    coverage = relations.cover(BoundTable(some, (), some.extents))
    (part,) = coverage.hot
    assert (dict(part.members), part.all_members) == ({0: extents[0]}, False)
    assert coverage.cold == (extents[3],)
    twice = table(extents[0], replace(extents[0], extent_id="copy"))
    coverage = relations.cover(BoundTable(twice, (), twice.extents))
    assert (len(coverage.hot[0].members), len(coverage.cold)) == (1, 1)


async def test_what_a_query_reads_stays_until_it_has_ended(world):
    await world.seal((1, "x"))
    await world.warm()
    snapshot = world.snapshot()
    coverage = world.hot.cover(snapshot.tables["T"])
    with world.hot.held([coverage]):
        world.table = replace(world.table, extents=immutables.Map())
        await world.hot.settle()
        assert world.hot.statistics().waiting_drops == 1
        cursor = world.engine.database.cursor()
        assert cursor.execute(f"FROM {coverage.hot[0].relation}").fetchall()
        cursor.close()
    await world.hot.settle()
    statistics = world.hot.statistics()
    assert (statistics.waiting_drops, statistics.drops, statistics.byte_count) == (0, 1, 0)
    assert await world.ask("T | where a > 0 | project a", snapshot) == [(1,)]  # from its file


async def test_what_cannot_be_had_is_tried_again_later_and_read_meanwhile(world, monkeypatch):
    await world.seal((1, "x"))
    acquire = world.files.acquire
    refusals = []

    @contextlib.asynccontextmanager
    async def refuse(database, extents):
        refusals.append(extents)
        raise UnavailableError("the root is away")
        yield

    monkeypatch.setattr(world.files, "acquire", refuse)
    await world.warm()
    await world.hot.settle()
    assert (len(refusals), world.hot.statistics().failures) == (1, 1)
    monkeypatch.setattr(world.files, "acquire", acquire)
    assert await world.ask("T | project a") == [(1,)]
    world.clock.seconds += LIMITS.hot_look_seconds
    await world.hot.settle()
    assert world.hot.statistics().extents == 1


async def test_nothing_is_taken_in_when_relations_turn_out_to_fill_the_room(world, monkeypatch):
    for number in range(5):
        await world.seal((number, "x"))
    tables = [
        replace(
            world.table,
            references=(RowStoreReference(0, RowStoreKey(number + 1)),),
            extents=immutables.Map({one.extent_id: one}),
        )
        for number, one in enumerate(world.table.extents.values())
    ]
    room = 500_000  # a relation takes 256 KiB, however few rows it has
    hot = HotCache(
        world.engine.database,
        files=world.files,
        tables=lambda: [(DATABASE, item, ALWAYS) for item in tables],
        clock=world.clock,
        limits=replace(LIMITS, hot_cache_bytes=room),
    )
    acquire, held = world.files.acquire, []

    def watched(database, extents):
        held.append(hot.statistics().byte_count)
        return acquire(database, extents)

    monkeypatch.setattr(world.files, "acquire", watched)
    await hot.settle()
    assert max(held) < room
    assert hot.statistics().relations == 1


async def test_it_fills_itself_when_it_is_told(world):
    hot = HotCache(
        world.engine.database,
        files=world.files,
        tables=lambda: [(DATABASE, world.table, ALWAYS)],
        clock=world.clock,
        limits=replace(LIMITS, hot_pause_seconds=0.001),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(hot.run)
        await world.seal((1, "x"))
        hot.poke()
        with trio.fail_after(30):
            while not hot.statistics().extents:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
