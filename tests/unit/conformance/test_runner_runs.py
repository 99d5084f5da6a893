"""Whole runs on the toy: complete histories, the same ones for the same seed, and an end."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from toy_run import run_toy
from toy_system import PROFILE, ToySystem

from cluster.conformance.calls import (
    Answer,
    Attach,
    Changed,
    Command,
    Detach,
    Ingest,
    Ingested,
    Ran,
    Read,
    Refused,
    SetCapability,
    Unknown,
)
from cluster.conformance.faults import Fault, FaultKind, Schedule
from cluster.conformance.generate import generate_plan
from cluster.conformance.notes import FaultBegan, FaultEnded, Phase
from cluster.conformance.runner import run
from cluster.errors import UnavailableError
from cluster.testing.sim.scheduling import run_virtual

SEEDS = range(8)
INVOCATIONS = Ingest | Read | SetCapability | Attach | Detach | Command
OUTCOMES = Ingested | Answer | Changed | Ran | Refused | Unknown
FITTING = {
    Ingest: Ingested, Read: Answer, SetCapability: Changed, Attach: Changed, Detach: Changed,
    Command: Ran,
}  # fmt: skip


@pytest.fixture(scope="module")
def histories():
    return {seed: run_toy(seed).history for seed in SEEDS}


def phases(history):
    return [(event.what.name, event.number) for event in history if isinstance(event.what, Phase)]


def test_every_call_has_one_outcome_of_its_kind(histories):
    for history in histories.values():
        begun = {e.call: e for e in history if isinstance(e.what, INVOCATIONS)}
        ended = [e for e in history if isinstance(e.what, OUTCOMES)]
        assert sorted(begun) == list(range(1, len(begun) + 1))
        assert sorted(e.call for e in ended) == sorted(begun)
        for event in ended:
            start = begun[event.call]
            assert event.number > start.number
            assert event.who == start.who
            fitting = FITTING[type(start.what)]
            assert isinstance(event.what, fitting | Refused | Unknown)


def test_nobody_does_two_things_at_once(histories):
    for history in histories.values():
        busy = set()
        for event in history:
            if isinstance(event.what, INVOCATIONS):
                assert event.who not in busy
                busy.add(event.who)
            elif isinstance(event.what, OUTCOMES):
                busy.discard(event.who)


def test_phases_come_in_order_and_the_last_event_is_the_end(histories):
    for history in histories.values():
        names = [name for name, _number in phases(history)]
        assert names == ["safety", "liveness", "quiet", "end"]
        assert phases(history)[-1][1] == len(history) - 1
        assert history.events[0].what == Phase(name="safety")


def test_nobody_changes_anything_in_the_quiet_but_to_seal(histories):
    for history in histories.values():
        quiet = dict(phases(history))["quiet"]
        changes = [
            event.what for event in history.events[quiet:]
            if isinstance(event.what, INVOCATIONS) and not isinstance(event.what, Read)
            and not getattr(event.what, "verb", "").startswith("show-")
        ]  # fmt: skip
        assert {(type(change), change.verb) for change in changes} == {(Command, "seal")}


def test_faults_begin_and_end_before_the_liveness_phase_is_over(histories):
    struck = 0
    for history in histories.values():
        liveness = dict(phases(history))["liveness"]
        began = [e for e in history if isinstance(e.what, FaultBegan)]
        ended = [e for e in history if isinstance(e.what, FaultEnded)]
        assert sorted(e.what.number for e in began) == sorted(e.what.number for e in ended)
        assert all(event.number < liveness for event in began)
        struck += len(began)
    assert struck > 30


def test_everything_is_read_everywhere_in_the_quiet(histories):
    for seed, history in histories.items():
        quiet = dict(phases(history))["quiet"]
        reads = Counter(
            (event.what.cluster, event.what.database, event.what.table)
            for event in history.events[quiet:]
            if isinstance(event.what, Read)
        )
        for home in generate_plan(seed, PROFILE).homes:
            for table in home.tables:
                for cluster in ("leader", "follower1", "follower2"):
                    assert reads[cluster, home.database, table] >= 2


def test_a_calm_follower_has_every_row_in_the_end(histories):
    for history in histories.values():
        calls = {e.call: e.what for e in history if isinstance(e.what, Read)}
        last: dict[tuple[str, str, str], list[int]] = {}
        for event in history:
            if isinstance(event.what, Answer):
                read = calls[event.call]
                last[read.database, read.table, read.cluster] = sorted(event.what.ids)
        followed = [key for key in last if key[2] == "follower1"]
        assert followed
        for database, table, cluster in followed:
            assert last[database, table, cluster] == last[database, table, "leader"]


def test_rows_are_acknowledged_and_refused_and_doubted(histories):
    kinds = Counter(type(event.what) for history in histories.values() for event in history)
    assert min(kinds[kind] for kind in (Ingested, Answer, Changed, Ran, Refused, Unknown)) > 10


def test_the_same_seed_gives_the_same_bytes(histories):
    for seed in (0, 4):
        assert run_toy(seed).history.digest() == histories[seed].digest()
    assert len({history.digest() for history in histories.values()}) == len(histories)


def test_a_run_ends_when_its_phases_do(histories):
    for history in histories.values():
        at = {event.what.name: event.at for event in history if isinstance(event.what, Phase)}
        assert at["safety"] == 0
        assert 600 <= at["liveness"] < 800
        assert at["end"] < 600 + 400 + 400


def test_a_fault_without_an_end_is_healed():
    kill = Fault(kind=FaultKind.KILL, target="follower1/0", at=100.0)
    history = run_toy(3, schedule=Schedule(faults=(kill,))).history
    (ended,) = [event for event in history if isinstance(event.what, FaultEnded)]
    assert ended.at >= 600
    assert phases(history)[-1][0] == "end"


def test_a_follower_that_never_comes_back_does_not_stop_the_run():
    cut = Fault(kind=FaultKind.PARTITION, target="leader->follower1", at=50.0, duration=60.0)
    history = run_toy(1, breaks=frozenset({"L1"}), schedule=Schedule(faults=(cut,))).history
    at = {event.what.name: event.at for event in history if isinstance(event.what, Phase)}
    assert at["quiet"] - at["liveness"] > 300
    assert "end" in at


@pytest.mark.parametrize("where", ["begin", "end", "heal"])
def test_a_fault_that_cannot_be_driven_fails_the_run(where):
    async def main():
        system = ToySystem(1)

        async def hang(*_arguments):
            await trio.sleep_forever()

        setattr(system, where, hang)
        kill = Fault(kind=FaultKind.KILL, target="follower1/0", at=30.0, duration=5.0)
        await run(system, generate_plan(1, PROFILE), Schedule(faults=(kill,)))

    with pytest.raises((ExceptionGroup, trio.TooSlowError)) as caught:
        run_virtual(main, 1)
    assert trio.TooSlowError in leaves(caught.value)


def leaves(error):
    if isinstance(error, ExceptionGroup):
        return {kind for inner in error.exceptions for kind in leaves(inner)}
    return {type(error)}


def test_a_run_that_cannot_be_set_up_says_so():
    async def main():
        system = ToySystem(1)
        dead = Fault(kind=FaultKind.KILL, target="leader/0")
        await system.begin(0, dead)
        await run(system, generate_plan(1, PROFILE), Schedule())

    with pytest.raises(UnavailableError, match="could not be set up"):
        run_virtual(main, 1)
