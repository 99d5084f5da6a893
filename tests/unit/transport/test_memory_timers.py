"""Timers of the in-memory transport: when their functions run, and when they never do."""

from __future__ import annotations

import math

import trio

from cluster.transport.memory import MemoryNetwork
from cluster.transport.memory_timers import Timers


def recorded(timers, *times):
    ran = []
    made = [
        timers.at(time, lambda number=number: ran.append(number))
        for number, time in enumerate(times)
    ]
    return ran, made


def test_they_run_in_order_of_time_then_of_setting():
    timers = Timers()
    ran, _ = recorded(timers, 3.0, 1.0, 3.0, 2.0)
    timers.run_due(2.5)
    assert ran == [1, 3]
    assert timers.next_time() == 3.0
    timers.run_due(3.0)
    assert ran == [1, 3, 0, 2]
    assert timers.next_time() == math.inf


def test_one_that_is_cancelled_never_runs_and_is_not_the_next():
    timers = Timers()
    ran, (first, second, third) = recorded(timers, 1.0, 2.0, 3.0)
    timers.cancel(first)
    timers.cancel(third)
    assert timers.next_time() == 2.0
    timers.run_due(9.0)
    assert ran == [1]
    timers.cancel(second)  # it has run
    assert timers.next_time() == math.inf


def test_what_a_timer_sets_for_now_runs_too_and_what_it_cancels_does_not():
    timers = Timers()
    ran = []

    def first():
        ran.append("first")
        timers.at(1.0, lambda: ran.append("set by the first"))
        timers.cancel(doomed)

    timers.at(1.0, first)
    doomed = timers.at(1.0, lambda: ran.append("doomed"))
    timers.run_due(1.0)
    assert ran == ["first", "set by the first"]


def test_all_are_forgotten_at_once():
    timers = Timers()
    ran, _ = recorded(timers, 1.0)
    timers.clear()
    timers.run_due(2.0)
    assert ran == []


async def test_a_cancelled_timer_of_a_network_leaves_a_virtual_clock_nothing_to_leap_to(
    autojump_clock,
):
    timers = MemoryNetwork().timers
    ran = []
    doomed = timers.at(trio.current_time() + 5, lambda: ran.append("doomed"))
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == 5
    timers.cancel(doomed)
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
    began = trio.current_time()
    timers.at(began + 60, lambda: ran.append(trio.current_time() - began))
    await trio.sleep(61)
    assert ran == [60]
