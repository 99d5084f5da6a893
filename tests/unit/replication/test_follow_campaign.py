"""Long seeded histories of leader and follower: what a guarantee survives, and what was reached.

A failure names its seed; ``test_a_history[SEED]`` repeats it exactly. The hypothesis machine in
``test_follow_histories.py`` tells the same kind of story shorter.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from follow_world import LIMITS, World

from cluster.replication.protocol import FollowerGate, Progress, RowRecords, Snapshot

STEPS = 300
SEEDS = 120
reached: Counter[str] = Counter()


def ingest(world, rng):
    for table in list(world.database.tables):
        if rng.random() < 0.7:
            world.ingest(table, rng.randint(1, 3), rng.randrange(4))


def some_table(world, rng):
    tables = list(world.database.tables)
    return rng.choice(tables) if tables else None


def seal(world, rng):
    table = some_table(world, rng)
    if table is not None and world.seal(table, rng.choice([1, 2, 1 << 30])):
        reached["a seal with the gate " + ("open" if world.gate.open else "closed")] += 1
        reached["a seal with rows on their way"] += any(
            isinstance(frame, RowRecords) for frame in world.down
        )
        reached["a seal while rows are read"] += world.pending_read is not None


def change_extents(world, rng):
    table = some_table(world, rng)
    if table is None:
        return
    if rng.random() < 0.3:
        world.clear(table)
        reached["a clear"] += 1
    elif world.merge(table):
        reached["a merge"] += 1


def move_root(world, rng):
    world.hang_up()
    world.root = f"file:///leader/{rng.randrange(1000)}"


def change_schema(world, rng):
    table = rng.choice("ABC")
    if table not in world.database.tables:
        if rng.random() < 0.5 and world.restore_table(table):
            reached["a drop undone"] += 1
        else:
            world.create_table(table, rng.choice([1, 1, 2, 4]))
    elif (what := rng.random()) < 0.3:
        world.add_column(table)
    elif what < 0.5:
        world.add_key(table)
    else:
        world.drop_table(table)


def ship(world, rng):
    for _ in range(rng.randint(1, 6)):
        if world.pending_read is not None and rng.random() < 0.8:
            world.finish_read()
        else:
            world.leader_step()
    if world.pending_read is not None:
        reached["a read under way"] += 1


def receive_down(world, rng):
    for _ in range(rng.randint(1, 4)):
        if world.down:
            world.follower_receive()
            world.check()


def receive_up(world, rng):
    for _ in range(rng.randint(1, 3)):
        if world.up:
            world.leader_receive()


def decide(world, rng):
    world.decide(follower_on=rng.random() < 0.6)
    if any(isinstance(frame, RowRecords) for frame in world.down):
        reached["a decision with rows on their way"] += 1


def tell_leader(world, rng):
    world.tell_leader()


def tell_follower(world, rng):
    world.tell_follower()


def settle(world, rng):
    world.settle()


def pass_time(world, rng):
    world.pass_time(rng.choice([0.01, 0.05, 0.2, 1.0, 4.0]))


def connect(world, rng):
    if not world.connected:
        if world.positions():
            reached["a resume at a position that is not zero"] += 1
        world.connect()


def hang_up(world, rng):
    world.hang_up()


def restart_follower(world, rng):
    world.restart_follower()


def forget_deltas(world, rng):
    world.kept = len(world.history)


def replace_leader(world, rng):
    world.fresh_leader()
    world.create_table("A")


def distort(world, rng):
    world.distort()


def disturb_link(world, rng):
    frames = world.down if rng.random() < 0.7 else world.up
    if not frames:
        return
    reached["a disturbed link"] += 1
    at = rng.randrange(len(frames))
    what = rng.random()
    if what < 0.4:
        del frames[at]
    elif what < 0.7:
        frames.insert(at, frames[at])
    else:
        frames[at], frames[0] = frames[0], frames[at]


EVERYDAY = {
    ingest: 10,
    ship: 20,
    receive_down: 20,
    receive_up: 15,
    pass_time: 8,
    tell_leader: 5,
    tell_follower: 5,
    connect: 5,
    settle: 3,
    decide: 3,
    change_schema: 2,
    seal: 3,
    change_extents: 1,
}
FAULTS = {
    hang_up: 1,
    restart_follower: 1,
    forget_deltas: 1,
    disturb_link: 3,
    distort: 0.5,
    replace_leader: 0.3,
    move_root: 0.5,
}


def converge(world):
    """Faults end and the coordinator allows: all arrives exactly once, and the lag comes down."""
    world.decide(follower_on=True)
    for _ in range(12):
        world.tell_leader()
        world.tell_follower()
        if not world.connected:
            world.connect()
        world.settle()
        world.check()
        world.pass_time(LIMITS.heartbeat_seconds)
        world.settle()
        world.check()
    assert world.connected, world.errors[-3:]
    assert world.stored_database == replace(world.database, storage_root=world.root)
    assert world.visible() == world.committed()
    assert world.session.lag_seconds(world.now) <= 2 * LIMITS.heartbeat_seconds


def count(world):
    sent = [frame for _, frame in world.notes]
    reached["rows"] += sum(isinstance(frame, RowRecords) for frame in sent)
    reached["a lag answered"] += sum(isinstance(f, Progress) and f.stamp > 0 for f in sent)
    for frame in sent:
        if isinstance(frame, Snapshot):
            reached["a snapshot that resets" if frame.reset_rows else "a snapshot that keeps"] += 1
        elif isinstance(frame, FollowerGate):
            reached["a gate report" if frame.sequence == 1 else "a gate that moved in a call"] += 1
    reached["a key that jumps"] += world.jumps
    reached["rows dropped for an old gate report"] += world.session.statistics().frames_dropped


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_history(seed):
    rng = random.Random(seed)
    world = World()
    world.create_table("A")
    calm = rng.random() < 0.3  # some histories have no faults, to go deep into the everyday
    weights = EVERYDAY if calm else EVERYDAY | FAULTS
    actions = rng.choices(list(weights), list(weights.values()), k=STEPS)
    for action in (tell_leader, tell_follower, connect, *actions):
        action(world, rng)
        world.check()
    converge(world)
    count(world)


def test_the_campaign_reached_every_interesting_state():
    if not reached:
        pytest.skip("no history ran in this process")
    wanted = {
        "rows",
        "a lag answered",
        "a read under way",
        "a decision with rows on their way",
        "a resume at a position that is not zero",
        "a snapshot that resets",
        "a snapshot that keeps",
        "a gate that moved in a call",
        "rows dropped for an old gate report",
        "a disturbed link",
        "a seal with the gate open",
        "a seal with the gate closed",
        "a seal with rows on their way",
        "a seal while rows are read",
        "a key that jumps",
        "a merge",
        "a clear",
        "a drop undone",
    }
    assert wanted <= {name for name, times in reached.items() if times}, reached
