"""The whole storage of a node against a dictionary, by random histories with every kind of failure.

The catalog (SQLite), row stores, writer, files, keeper, pins, ingestion pipeline and query engine
are the real ones; disk, storage root, clock and threads are not. After every step, whatever failed:
acknowledged rows are there once, with their values under the schema in force; nothing else is;
cursors never go back; what a tree names is on the root, and nothing is left behind unasked.

The histories are the same each time. ``STORAGE_SEED`` gives others, ``STORAGE_EXAMPLES`` and
``STORAGE_STEPS`` more and longer ones; ``STORAGE_SHRINK=0`` shows a failure as it was found. A
failure prints its steps and a ``reproduce_failure`` line.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import trio
from followed_life import FollowedLife
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from portal import Portal
from storage_life import Life
from storage_node import Crash, StepClock, StorageNode, in_place
from storage_steps import NAMES, arm, kinds_of, perform, reach

from cluster.extents.keeping import CrashPoint
from cluster.limits import LIMITS
from cluster.query.driver import QueryEngine
from cluster.query.process import TranslatorStatistics
from cluster.query.translate import translate

EXAMPLES = int(os.environ.get("STORAGE_EXAMPLES", "18"))
FEW_EXAMPLES = min(6, EXAMPLES)
SEED = os.environ.get("STORAGE_SEED")
STEPS = int(os.environ.get("STORAGE_STEPS", "30"))

PHASES = [Phase.generate] if os.environ.get("STORAGE_SHRINK") == "0" else list(Phase)

SHARES = {
    "stream": 8, "stage": 3, "chain": 2, "batch": 3, "grow": 4, "seal": 5, "seal all": 2,
    "merge": 4, "merge by policy": 2, "retag": 2, "drop extents": 2, "move": 3, "replace": 2,
    "clear": 1, "create": 2, "drop": 1, "undo": 2, "rename": 1, "swap": 1, "alter": 4,
    "retention": 1, "retain": 1, "collect": 2, "sweep": 1, "hold": 2, "look again": 2, "ask": 3,
}  # fmt: skip
"""How often each action happens, in proportion."""
KIND = st.sampled_from([kind for kind, share in SHARES.items() for _ in range(share)])
WAIT_FOR = {"seal": ("seal", "seal all", "grow"), "merge": ("merge", "merge by policy")}
"""What may wait until a seal or a merge is done."""
NAME = st.sampled_from(NAMES)
PICK = st.integers(0, 2**12)
HOW = st.sampled_from(["kill", "crash", "stop"])
FAULT = st.one_of(
    st.tuples(st.just("point"), st.sampled_from(CrashPoint)),
    st.tuples(st.just("catalog"), st.sampled_from(["before", "after"])),
    st.tuples(
        st.just("root"),
        st.sampled_from(["put", "delete", "list"]),
        st.integers(0, 2),
        st.booleans(),
    ),
    st.tuples(st.just("power"), st.sampled_from([0, 0, 0, 1, 3]), st.integers(0, 1500)),
    st.tuples(
        st.just("disk"),
        st.sampled_from(["append", "datasync", "create", "remove", "sync_folder"]),
        st.integers(0, 3),
        st.integers(0, 400),
        st.sampled_from([errno.EIO, errno.ENOSPC]),
    ),
    st.tuples(st.just("full"), st.integers(0, 2000)),
)
CHANGES = ("clear", "move", "replace", "retag", "drop extents", "batch", "drop")


class InPlace:
    """Translates queries in this process; the process has its own tests."""

    async def translate(self, query):
        await trio.lowlevel.checkpoint()
        return translate(query, LIMITS)

    async def aclose(self):
        """Nothing to free."""

    def statistics(self):
        return TranslatorStatistics(None, 0, 0, 0, 0, 0.0, 0)


class StorageMachine(RuleBasedStateMachine):
    """See the module."""

    base: Path
    engine: QueryEngine
    totals: dict[str, int]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=self.base))
        self.portal = Portal().__enter__()
        self.life = self.new_life()
        self.is_over = False

    def new_life(self) -> Life:
        return Life(StorageNode(self.folder), self.portal, self.engine)

    @initialize(pick=PICK)
    def begin(self, pick):
        self.portal.call(self.life.start)
        for name in NAMES[:2]:
            self.act(self.life.create, name, kinds_of(pick), NAMES.index(name))

    def teardown(self) -> None:
        try:
            if not self.is_over and self.life.node.is_up:
                self.portal.call(self.life.finish)
        finally:
            for what, count in self.life.counts.items():
                self.totals[what] = self.totals.get(what, 0) + count
            self.portal.__exit__()
            shutil.rmtree(self.folder, ignore_errors=True)

    def act(self, action, *arguments, **named) -> None:
        """One action; if the process dies in it, the next life begins at once."""

        async def run() -> bool:
            try:
                await action(*arguments, **named)
            except Crash:
                return False
            return True

        try:
            if not self.portal.call(run):
                self.life.counts[f"died at {self.life.node.reached[-1]}"] += 1
                self.portal.call(self.life.restart, "kill")
        except BaseException:
            self.is_over = True
            raise

    @invariant()
    def holds(self) -> None:
        if self.life.node.is_up and not self.is_over:
            self.act(self.life.check)

    @rule(kind=KIND, name=NAME, pick=PICK)
    def do(self, kind, name, pick):
        self.act(perform, self.life, kind, name, pick)

    @rule(
        kind=st.sampled_from(["seal", "merge"]),
        step=st.sampled_from(["pinned", "written", "committed"]),
        name=NAME,
        meanwhile=KIND,
        pick=PICK,
    )
    def do_in_the_middle(self, kind, step, name, meanwhile, pick):
        """Something happens while a seal or a merge is at a certain point."""
        life = self.life

        async def at(point):
            if point == f"{kind}.{step}" and meanwhile not in WAIT_FOR[kind]:
                life.node.on_point = None
                life.counts["in the middle"] += 1
                async with trio.open_nursery() as nursery:  # another task: whoever asks for it
                    nursery.start_soon(perform, life, meanwhile, name, pick)

        async def run():
            await perform(life, "grow", name, pick)
            await life.check()
            life.node.on_point = at
            try:
                await perform(life, kind, name, 0)
            finally:
                life.node.on_point = None

        self.act(run)

    @rule(
        fault=FAULT,
        kinds=st.lists(KIND, min_size=1, max_size=3),
        name=NAME,
        pick=PICK,
        how=HOW,
        kept_bytes=st.integers(0, 3000),
        sweeps=st.booleans(),
    )
    def fail(self, fault, kinds, name, pick, how, kept_bytes, sweeps):
        """Something fails while things go on; then the process ends, one way or another."""
        life = self.life
        if fault[0] == "point":
            self.die_at(fault[1], name, pick)
            return
        if fault[0] == "power":
            kinds = [("chain", "stream", "stage")[pick % 3], *kinds[:1]]
        elif fault[0] == "catalog":
            kinds = [CHANGES[pick % 7], *kinds[:1]]
        arm(life, fault)
        for kind in kinds:
            lives = life.node.lives
            self.act(perform, life, kind, name, pick)
            if life.node.lives != lives:
                return
            self.act(life.check)
        self.act(life.restart, how, kept_bytes, sweeps=sweeps)

    def die_at(self, point, name, pick):
        """Does what leads to a crash point; the process dies there if it is reached."""
        life = self.life
        life.counts["fault point"] += 1
        for kind in ("create", "create", "grow"):
            self.act(perform, life, kind, name, pick)
        self.act(life.check)
        lives = life.node.lives
        self.act(reach, life, point, self.life_table(name), pick)
        if life.node.lives == lives:
            self.act(life.restart, "kill")

    def life_table(self, name: str) -> str:
        """The table of that name, or the first one."""
        tables = self.life.model.tables
        return name if name in tables else min(tables)

    @rule(kinds=st.lists(KIND, max_size=3), name=NAME, pick=PICK)
    def ask_for_long(self, kinds, name, pick):
        """A query goes on while its table is merged or dropped and garbage is collected."""

        async def run():
            await perform(self.life, "grow", name, pick)
            await self.life.hold()
            await perform(self.life, ("merge", "drop extents", "clear")[pick % 3], name, 0)
            for kind in (*kinds, "collect"):
                await perform(self.life, kind, name, pick)
            await self.life.look_again()

        self.act(run)

    @rule(how=HOW, kept_bytes=st.integers(0, 3000), sweeps=st.booleans())
    def restart(self, how, kept_bytes, sweeps):
        self.act(self.life.restart, how, kept_bytes, sweeps=sweeps)


class FollowedMachine(StorageMachine):
    """The same histories, and a follower that shows them."""

    def new_life(self) -> Life:
        return FollowedLife(self.folder, self.portal, self.engine, shares_root=False)

    @rule(how=HOW, kept_bytes=st.integers(0, 3000))
    def restart_follower(self, how, kept_bytes):
        self.act(self.life.restart_follower, how, kept_bytes)

    @rule(kinds=st.lists(KIND, min_size=1, max_size=4), name=NAME, pick=PICK, how=HOW)
    def go_on_without_follower(self, kinds, name, pick, how):
        """The follower is away for a while, and what it misses is sealed and trimmed."""

        async def run():
            await self.life.follower.end(how)
            self.life.is_following = False
            for kind in ("grow", *kinds):
                await perform(self.life, kind, name, pick)
            await self.life.follow()

        self.act(run)

    @rule()
    def flip(self):
        self.act(self.life.flip)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(trio.to_thread, "run_sync", in_place)
    StorageMachine.base = tmp_path
    StorageMachine.totals = {}
    StorageMachine.engine = QueryEngine(
        clock=StepClock(), cores=1, limits=LIMITS, translator=InPlace(), folders=[tmp_path]
    )
    yield StorageMachine
    print("storage machine:", StorageMachine.totals)  # noqa: T201 - figures, seen with -s
    StorageMachine.engine.database.close()


@pytest.fixture
def both(machine):
    """A machine that a test drives itself, with tables A and B."""
    driven = machine()
    driven.portal.call(driven.life.start)
    for name in NAMES[:2]:
        driven.act(driven.life.create, name, kinds_of(1))
    yield driven
    driven.teardown()


def test_a_crash_at_every_named_point(both):
    """Whatever is done when the process dies there, the next life has every row once."""
    for pick in range(7):
        for point in CrashPoint:
            both.die_at(point, "A", pick)
            both.act(both.life.check)
    died = {what.removeprefix("died at ") for what in both.life.counts if "died at" in what}
    assert died == set(CrashPoint)


def test_a_chain_torn_anywhere_is_there_whole_or_not_at_all(both):
    life = both.life
    found = set()
    for kept_bytes in range(0, 2000, 40):
        for name in NAMES[:2]:
            both.act(life.clear, name)
        both.act(life.stage, "A", 1, 0)  # the log has a segment
        arm(life, ("power", 0, kept_bytes))
        both.act(life.stage, "A", 2, 0, other="B")
        both.act(life.restart, "kill")
        counts = tuple(len(life.model.tables[name].rows) for name in NAMES[:2])
        assert counts in ((1, 0), (3, 2))
        found.add(counts)
    assert len(found) == 2, "torn in the middle, and behind it"


@pytest.mark.timeout(120 + 4 * EXAMPLES)
@pytest.mark.parametrize("examples", [FEW_EXAMPLES, pytest.param(EXAMPLES, marks=pytest.mark.slow)])
def test_the_storage_is_a_dictionary(machine, examples):
    run(machine, examples)


@pytest.mark.timeout(120 + 4 * EXAMPLES)
@pytest.mark.parametrize("examples", [FEW_EXAMPLES, pytest.param(EXAMPLES, marks=pytest.mark.slow)])
def test_a_follower_shows_what_its_leader_has(machine, examples):
    run(FollowedMachine, examples // 3)


def run(machine, examples: int) -> None:
    """Random histories of a machine."""
    if SEED is not None:
        machine = seed(int(SEED))(machine)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            derandomize=SEED is None,
            database=None,
            print_blob=True,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        ),
    )
