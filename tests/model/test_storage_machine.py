"""The whole storage of a node against a dictionary, by random histories with every kind of failure.

The catalog (SQLite), row stores, writer, files, keeper, pins, ingestion pipeline and query engine
are the real ones; disk, storage root, clock and threads are not. After every step, whatever failed:
acknowledged rows are there once, with their values under the schema in force; nothing else is;
cursors never go back; what a tree names is on the root, and nothing is left behind unasked.

``STORAGE_EXAMPLES`` and ``STORAGE_STEPS`` make it longer. A failure prints its steps and a
``reproduce_failure`` line.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from portal import Portal
from storage_life import Life, in_place
from storage_node import Crash, StepClock, StorageNode
from storage_values import TYPES

from cluster.extents.keeping import CrashPoint
from cluster.extents.operations import TagChange
from cluster.limits import LIMITS
from cluster.query.driver import QueryEngine
from cluster.query.process import TranslatorStatistics
from cluster.query.translate import translate

EXAMPLES = int(os.environ.get("STORAGE_EXAMPLES", "20"))
STEPS = int(os.environ.get("STORAGE_STEPS", "40"))

PHASES = [Phase.generate] if os.environ.get("STORAGE_SHRINK") == "0" else list(Phase)

NAMES = ("A", "B", "C")
PICK = st.integers(0, 2**12)
NAME = st.sampled_from(NAMES)
KIND = st.sampled_from(TYPES)
SEAL_POINTS = (
    CrashPoint.SEAL_PINNED,
    CrashPoint.SEAL_WRITTEN,
    CrashPoint.SEAL_COMMITTED,
    CrashPoint.SEAL_ADVANCED,
)
MERGE_POINTS = (CrashPoint.MERGE_PINNED, CrashPoint.MERGE_WRITTEN, CrashPoint.MERGE_COMMITTED)


class InPlace:
    """Translates queries in this process; the process has its own tests."""

    async def translate(self, kql, database, schemas, others, functions=()):
        await trio.lowlevel.checkpoint()
        return translate(
            kql, database, schemas, others=others, functions=functions, limits=LIMITS
        )

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
        self.life = Life(StorageNode(self.folder), self.portal, self.engine)
        self.is_over = False

    @initialize(kinds=st.lists(KIND, min_size=1, max_size=3))
    def begin(self, kinds):
        self.portal.call(self.life.start)
        self.act(self.life.create, "A", kinds)
        self.act(self.life.create, "B", kinds)

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
                self.life.counts["crashes at points"] += 1
                self.portal.call(self.life.restart, "kill")
        except BaseException:
            self.is_over = True
            raise

    def present(self, name: str) -> str | None:
        """The table of that name, or another one."""
        tables = self.life.model.tables
        return name if name in tables else next(iter(sorted(tables)), None)

    def two(self, name: str, pick: int) -> tuple[str, str]:
        tables = sorted(self.life.model.tables)
        first = self.present(name)
        others = [each for each in tables if each != first]
        return first, others[pick % len(others)]

    @property
    def tables(self) -> int:
        return len(self.life.model.tables)

    @invariant()
    def holds(self) -> None:
        if self.life.node.is_up and not self.is_over:
            self.act(self.life.check)

    # Tables

    @precondition(lambda self: self.tables < len(NAMES))
    @rule(kinds=st.lists(KIND, max_size=3))
    def create(self, kinds):
        name = next(each for each in NAMES if each not in self.life.model.tables)
        self.act(self.life.create, name, kinds)

    @precondition(lambda self: self.tables > 1)
    @rule(name=NAME)
    def drop(self, name):
        self.act(self.life.drop, self.present(name))

    @precondition(lambda self: self.life.model.dropped)
    @rule(pick=PICK, new_name=st.sampled_from(["", *NAMES]))
    def undo(self, pick, new_name):
        self.act(self.life.undo, pick, new_name)

    @precondition(lambda self: self.tables > 1)
    @rule(name=NAME, pick=PICK, swaps=st.booleans())
    def rename(self, name, pick, swaps):
        first, second = self.two(name, pick)
        free = [each for each in NAMES if each not in self.life.model.tables]
        if swaps or not free:
            self.act(self.life.rename, [(first, second), (second, first)])
        else:
            self.act(self.life.rename, [(first, free[0])])

    @precondition(lambda self: self.tables)
    @rule(
        name=NAME,
        how=st.sampled_from(["add", "drop", "rename", "retype", "reorder"]),
        pick=PICK,
    )
    def alter(self, name, how, pick):
        self.act(self.life.alter, self.present(name), how, pick)

    # Rows

    @precondition(lambda self: self.tables)
    @rule(
        name=NAME,
        counts=st.lists(st.integers(1, 6), min_size=1, max_size=4),
        source=st.sampled_from(["", "", "s1", "s2", "s3"]),
    )
    def stream(self, name, counts, source):
        self.act(self.life.stream, self.present(name), counts, source)

    @precondition(lambda self: self.tables)
    @rule(name=NAME, count=st.integers(1, 6), pick=PICK)
    def stage(self, name, count, pick):
        self.act(self.life.stage, self.present(name), count, pick)

    @precondition(lambda self: self.tables > 1)
    @rule(name=NAME, count=st.integers(1, 6), pick=PICK)
    def stage_chain(self, name, count, pick):
        first, second = self.two(name, pick)
        self.act(self.life.stage, first, count, pick, other=second)

    @precondition(lambda self: self.tables)
    @rule(
        name=NAME,
        count=st.integers(1, 6),
        tag=st.sampled_from(["", "x", "y"]),
        replaces=st.booleans(),
    )
    def batch(self, name, count, tag, replaces):
        self.act(self.life.batch, self.present(name), count, tag=tag, replaces=replaces)

    # Extents

    @precondition(lambda self: self.tables)
    @rule(name=st.sampled_from([*NAMES, None]))
    def seal(self, name):
        self.act(self.life.seal, None if name is None else self.present(name))

    @precondition(lambda self: self.tables)
    @rule(name=NAME, pick=PICK)
    def merge(self, name, pick):
        name = self.present(name)
        self.act(self.life.merge, name, self.life.extent_ids(name, pick))

    @rule()
    def merge_by_policy(self):
        self.act(self.life.merge_by_policy)

    @precondition(lambda self: self.tables)
    @rule(
        name=NAME,
        pick=PICK,
        how=st.sampled_from(TagChange),
        tag=st.sampled_from(["drop-by:d", "ingest-by:x", "z"]),
    )
    def retag(self, name, pick, how, tag):
        name = self.present(name)
        self.act(self.life.retag, name, self.life.extent_ids(name, pick), how, tag)

    @precondition(lambda self: self.tables)
    @rule(name=NAME, pick=PICK)
    def drop_extents(self, name, pick):
        name = self.present(name)
        self.act(self.life.drop_extents, name, self.life.extent_ids(name, pick))

    @precondition(lambda self: self.tables > 1)
    @rule(name=NAME, pick=PICK, dropped=st.none() | PICK)
    def move(self, name, pick, dropped):
        source, target = self.two(name, pick)
        ids = self.life.extent_ids(source, pick)
        gone = None if dropped is None else self.life.extent_ids(target, dropped)
        self.act(self.life.move, source, ids, target, gone)

    @precondition(lambda self: self.tables)
    @rule(name=NAME)
    def clear(self, name):
        self.act(self.life.clear, self.present(name))

    # Time

    @precondition(lambda self: self.tables)
    @rule(name=NAME, days=st.integers(1, 20))
    def set_retention(self, name, days):
        self.act(self.life.set_retention, self.present(name), days)

    @rule(seconds=st.sampled_from([0, 1, 301, 3601, 86_400, 15 * 86_400]))
    def upkeep(self, seconds):
        self.life.node.clock.us += seconds * 1_000_000
        self.act(self.life.retain)
        self.act(self.life.collect)
        self.act(self.life.sweep)

    # Queries

    @rule()
    def hold(self):
        self.act(self.life.hold)

    @precondition(lambda self: self.life.pins)
    @rule()
    def look_again(self):
        self.act(self.life.look_again)

    @precondition(lambda self: self.tables)
    @rule(name=NAME)
    def ask(self, name):
        self.act(self.life.ask, self.present(name))

    # What happens in the middle of something else

    @precondition(lambda self: self.tables)
    @rule(
        name=NAME,
        point=st.sampled_from(SEAL_POINTS + MERGE_POINTS),
        what=st.sampled_from(
            ["stream", "clear", "drop", "alter", "swap", "seal", "retag", "merge", "collect"]
        ),
        pick=PICK,
    )
    def in_the_middle(self, name, point, what, pick):
        life, name = self.life, self.present(name)

        async def meanwhile(reached):
            if reached != point:
                return
            life.node.on_point = None
            life.counts["in the middle"] += 1
            tables = sorted(life.model.tables)
            if what == "stream":
                await life.stream(name, [2, 1])
            elif what == "clear":
                await life.clear(name)
            elif what == "drop" and len(tables) > 1:
                await life.drop(name)
            elif what == "alter":
                how = ["add", "drop", "rename", "retype", "reorder"][pick % 5]
                await life.alter(name, how, pick)
            elif what == "swap" and len(tables) > 1:
                other = next(each for each in tables if each != name)
                await life.rename([(name, other), (other, name)])
            elif what == "seal" and not point.startswith("seal"):
                await life.seal(name)
            elif what == "retag":
                ids = life.extent_ids(name, pick)
                await life.retag(name, ids, TagChange.MERGE, "z")
            elif what == "merge" and not point.startswith("merge"):
                await life.merge_by_policy()
            elif what == "collect":
                await life.collect()
                await life.sweep()

        async def outer():
            life.node.on_point = meanwhile
            try:
                if point.startswith("seal"):
                    await life.seal(name)
                else:
                    await life.merge(name, life.extent_ids(name, pick))
            finally:
                life.node.on_point = None

        self.act(outer)

    # Failures

    @rule(point=st.sampled_from(CrashPoint), later=st.integers(0, 2))
    def die_at(self, point, later):
        self.life.node.crash_at = (point, later)

    @rule(
        kind=st.sampled_from(["append", "datasync", "create", "remove", "sync_folder"]),
        after=st.integers(0, 3),
        kept_bytes=st.integers(0, 400),
        number=st.sampled_from([errno.EIO, errno.ENOSPC]),
    )
    def disk_fails(self, kind, after, kept_bytes, number):
        self.life.faults.add("disk")
        self.life.node.disk.fail(kind, number=number, after=after, kept_bytes=kept_bytes)

    @rule(after=st.integers(0, 6), kept_bytes=st.integers(0, 1500))
    def power_fails(self, after, kept_bytes):
        """At some operation soon; the next restart finds what was durable then, and a bit more."""
        self.life.faults.add("disk")
        disk = self.life.node.disk
        disk.halt_at(len(disk.operations) + after, kept_bytes=kept_bytes)

    @rule(
        kind=st.sampled_from(["put", "delete", "list"]),
        after=st.integers(0, 2),
        takes_effect=st.booleans(),
    )
    def root_fails(self, kind, after, takes_effect):
        self.life.faults.add("root")
        self.life.node.root.fail(kind, after=after, takes_effect=takes_effect)

    @rule(how=st.sampled_from(["before", "after"]))
    def catalog_fails(self, how):
        self.life.faults.add("catalog")
        self.life.node.catalog_fault = how

    @rule(
        how=st.sampled_from(["stop", "kill", "crash"]),
        kept_bytes=st.integers(0, 3000),
        sweeps=st.booleans(),
    )
    def restart(self, how, kept_bytes, sweeps):
        async def again():
            await self.life.restart(how, kept_bytes, sweeps=sweeps)

        self.act(again)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(trio.to_thread, "run_sync", in_place)
    StorageMachine.base = tmp_path
    StorageMachine.totals = {}
    StorageMachine.engine = QueryEngine(
        clock=StepClock(), cores=1, limits=LIMITS, translator=InPlace(), folders=[tmp_path]
    )
    yield StorageMachine
    print("storage machine:", StorageMachine.totals)
    StorageMachine.engine.database.close()


def test_the_storage_is_a_dictionary(machine):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            print_blob=True,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        ),
    )
