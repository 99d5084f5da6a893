"""A table made again under its name, policies and capabilities flipped: at every single step.

Each story happens once at each moment of a transfer that is under way: after no step of the two
ends, after one, after two and so on, in steps as small as one frame, one read, one duty. Whatever
the moment, no row of the old table is in the new one, and nothing of the new one is lost.
"""

from __future__ import annotations

import pytest
from follow_world import World

from cluster.catalog.changes import SetTableStreamingPolicy
from cluster.catalog.model import StreamingIngestionPolicy

LONGEST = 40
"""More steps than any of these transfers takes; later moments are when all is at rest."""


def one_step(world) -> bool:
    """The next small thing that is due, if any."""
    if world.pending_read is not None:
        world.finish_read()
    elif world.leader_step():
        pass
    elif world.up:
        world.leader_receive()
    elif world.down:
        world.follower_receive()
    else:
        return False
    world.check()
    return True


def under_way(steps: int) -> World:
    """Five records, more than a window, on their way to a follower, after so many steps."""
    world = World()
    world.create_table("T")
    world.tell_leader()
    world.tell_follower()
    for _ in range(5):
        world.ingest("T", rows=2)
    world.connect()
    for _ in range(steps):
        one_step(world)
    return world


def finish(world) -> None:
    """Everybody hears the newest decision and everything arrives."""
    world.tell_leader()
    world.tell_follower()
    if not world.connected:
        world.connect()
    while one_step(world):
        pass
    if not world.connected:
        world.connect()
    while one_step(world):
        pass
    world.check()
    assert world.visible() == world.committed()
    assert {name: table.extents for name, table in world.stored_database.tables.items()} == {
        name: table.extents for name, table in world.database.tables.items()
    }


def set_streaming(world, *, on: bool) -> None:
    world.commit(SetTableStreamingPolicy("T", StreamingIngestionPolicy(is_enabled=on)))


MOMENTS = pytest.mark.parametrize("steps", range(LONGEST))


@MOMENTS
def test_a_table_of_the_same_name_has_none_of_the_rows_of_the_one_before(steps: int) -> None:
    world = under_way(steps)
    old = world.database.tables["T"].key
    world.drop_table("T")
    world.create_table("T")
    new = world.database.tables["T"].key
    world.ingest("T", rows=3)
    finish(world)
    assert new != old
    assert world.visible().keys() == {new}


@MOMENTS
@pytest.mark.parametrize("on_again", [True, False], ids=["on again", "off"])
def test_dropped_and_made_again_while_the_capability_is_off(steps: int, on_again: bool) -> None:
    world = under_way(steps)
    world.decide(follower_on=False)
    world.tell_follower()
    world.check()
    assert not world.visible()
    for _ in range(steps % 5):
        one_step(world)
    world.drop_table("T")
    world.create_table("T")
    world.ingest("T", rows=3)
    if on_again:
        world.decide(follower_on=True)
        finish(world)
        return
    world.tell_leader()
    while one_step(world):
        pass
    assert not world.visible()


@MOMENTS
@pytest.mark.parametrize("first", ["leader", "follower"])
def test_flips_during_a_transfer_lose_nothing_whoever_hears_first(steps: int, first: str) -> None:
    world = under_way(steps)
    for flip in range(4):
        world.decide(follower_on=flip % 2 == 1)
        ends = [world.tell_leader, world.tell_follower]
        for tell in ends if first == "leader" else reversed(ends):
            tell()
            world.check()
            for _ in range((steps + flip) % 4):
                one_step(world)
        world.ingest("T")
    finish(world)


@MOMENTS
@pytest.mark.parametrize("seals", [True, False], ids=["sealed between", "not sealed"])
def test_a_policy_off_and_on_shows_every_row_once(steps: int, seals: bool) -> None:
    """Taking the policy away moves rows into extents; rows after it is back are streamed again."""
    world = under_way(steps)
    set_streaming(world, on=False)
    if seals:
        world.seal("T")
    for _ in range(steps % 7):
        one_step(world)
    set_streaming(world, on=True)
    world.ingest("T", rows=4)
    finish(world)
    sealed = sum(e.row_count for e in world.stored_database.tables["T"].extents.values())
    streamed = sum(s.end - s.first_ordinal for spans in world.visible().values() for s in spans)
    assert (sealed, streamed) == ((10, 4) if seals else (0, 14))


@MOMENTS
def test_a_lost_link_at_any_moment_repeats_and_skips_nothing(steps: int) -> None:
    world = under_way(steps)
    world.drop_table("T")
    world.hang_up()
    world.create_table("T")
    world.ingest("T", rows=3)
    world.restart_follower()
    finish(world)


@MOMENTS
def test_a_dropped_table_that_is_brought_back_has_its_extents_and_new_rows(steps: int) -> None:
    world = under_way(steps)
    world.seal("T", 2)
    world.drop_table("T")
    for _ in range(steps % 9):
        one_step(world)
    assert world.restore_table("T")
    world.ingest("T")
    finish(world)
