"""The same seed is the same run: scheduler, threads, clocks, hashes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import trio
import trio._core._run as trio_run
from trio.testing import MockClock

from cluster.conformance.faults import Schedule
from cluster.conformance.request import RunRequest
from cluster.conformance.verdict import Judgement
from cluster.testing.sim import run
from cluster.testing.sim.clock import START_NS, MachineClock
from cluster.testing.sim.lives import run_in_place
from cluster.testing.sim.run import run_seed
from cluster.testing.sim.scheduling import IO_PASSES, pinned, run_virtual

PROGRAM = """
from cluster.conformance.request import RunRequest
from cluster.testing.sim.run import run_seed
result = run_seed(RunRequest(seed=7, safety_seconds=90.0, liveness_seconds=60.0, intensity=3.0))
print(result.history.digest(), len(result.history), len(result.schedule.faults), result.error)
"""


@pytest.mark.parametrize("name", ["_ALLOW_DETERMINISTIC_SCHEDULING", "_r"])
def test_it_says_so_if_trio_has_moved_what_is_pinned(monkeypatch, name):
    monkeypatch.delattr(trio_run, name)
    with pytest.raises(RuntimeError, match="schedules in another way"), pinned(1):
        pass


def test_everything_is_put_back():
    before = (trio.to_thread.run_sync, trio.lowlevel.start_thread_soon)
    state = trio_run._r.getstate()
    with pinned(5):
        assert trio.to_thread.run_sync is not before[0]
    assert (trio.to_thread.run_sync, trio.lowlevel.start_thread_soon) == before
    assert trio_run._r.getstate() == state


def test_a_run_that_never_rests_can_be_interrupted():
    """Sockets are rarely looked at, and through one comes what Ctrl-C leaves behind."""

    @trio.lowlevel.enable_ki_protection
    def interrupted():
        signal.raise_signal(signal.SIGINT)

    passes = []

    async def busy():
        await trio.sleep(1)
        interrupted()  # where trio keeps it for later, as it does in most of its own code
        for number in range(4 * IO_PASSES):
            passes.append(number)
            await trio.lowlevel.checkpoint()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(busy)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of pytest ignore it
    try:
        with pytest.raises(BaseExceptionGroup) as found:
            run_virtual(main, 1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert found.group_contains(KeyboardInterrupt)
    assert len(passes) < 2 * IO_PASSES


def test_tasks_run_in_an_order_that_follows_from_the_seed():
    def order(seed):
        found = []

        async def main():
            async with trio.open_nursery() as nursery:
                for number in range(30):
                    nursery.start_soon(step, number)

        async def step(number):
            await trio.lowlevel.checkpoint()
            found.append(number)

        run_virtual(main, seed)
        return found

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_equal_requests_have_equal_histories_under_any_seed_of_hashes():
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said[0] == said[1]
    assert int(said[0].split()[2]) > 0, "faults are part of it"


def test_a_run_without_faults_breaks_no_rule():
    result = run_seed(
        RunRequest(seed=3, schedule=Schedule(), safety_seconds=120.0, liveness_seconds=100.0)
    )
    assert result.error == ""
    failed = [verdict for verdict in result.verdicts if verdict.judgement is Judgement.FAIL]
    assert failed == []
    assert any(verdict.judgement is Judgement.PASS for verdict in result.verdicts)


def test_clocks_jump_drift_and_stand_still():
    async def main():
        clock = MachineClock(uptime_seconds=100.0)
        assert clock.now_ns() // 1000 == START_NS // 1000
        clock.drift(0.5)
        await trio.sleep(10)
        assert clock.monotonic() == pytest.approx(115.0)
        clock.drift(0.0)
        clock.jump(-3600)
        assert clock.now_ns() / 1e9 == pytest.approx(START_NS / 1e9 + 15 - 3600)
        assert clock.monotonic() == pytest.approx(115.0)
        clock.freeze()
        await trio.sleep(5)
        assert clock.monotonic() == pytest.approx(115.0)
        clock.thaw()
        assert clock.monotonic() == pytest.approx(120.0)
        clock.leap(30.0)
        assert clock.monotonic() == pytest.approx(150.0)
        assert clock.monotonic() < clock.monotonic()

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.timeout(0)  # which would use the same timer
def test_a_run_that_does_not_end_is_ended(monkeypatch):
    async def spin(*_):
        while True:
            try:
                while True:
                    pass
            except Exception:
                continue

    monkeypatch.setattr(run, "REAL_SECONDS", 0.2)
    monkeypatch.setattr(run, "_main", spin)
    result = run_seed(RunRequest(seed=1))
    assert "did not end within 0.2 real seconds" in result.error
    assert trio.to_thread.run_sync is not run_in_place


def test_timers_run_in_order_of_time_then_of_setting_and_after_deadlines():
    async def main():
        clock = trio.lowlevel.current_clock()
        seen = []
        for name, time in (("late", 7.0), ("first", 5.0), ("second", 5.0)):
            clock.at(time, lambda name=name: seen.append((name, trio.current_time())))
        with trio.move_on_at(5.0):
            await trio.sleep_forever()
        seen.append(("deadline", trio.current_time()))
        with trio.move_on_at(9.0):
            await trio.sleep_forever()
        return seen

    assert run_virtual(main, 1) == [
        ("deadline", 5.0),
        ("first", 5.0),
        ("second", 5.0),
        ("late", 7.0),
    ]


def test_a_sleep_is_cancelled_and_what_is_no_time_is_a_checkpoint():
    async def main():
        with trio.move_on_after(2.0) as scope:
            await trio.sleep(1.0)
            await trio.sleep(3.0)
        assert scope.cancelled_caught
        assert trio.current_time() == 2.0
        nothing = 0.0
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep(nothing)
        assert scope.cancelled_caught
        with pytest.raises(ValueError, match="non-negative"):
            await trio.sleep(-1.0)
        await trio.sleep(0.5)  # what is left of the cancelled one does not wake this one
        assert trio.current_time() == 2.5

    before = trio.sleep
    run_virtual(main, 1)
    assert trio.sleep is before


def test_virtual_time_leaps_from_deadline_to_deadline():
    async def main():
        times = []

        async def nap(seconds):
            await trio.sleep(seconds)
            times.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            for seconds in (5.0, 3600.0, 0.25):
                nursery.start_soon(nap, seconds)
        return times

    assert run_virtual(main, 1) == [0.25, 5.0, 3600.0]
