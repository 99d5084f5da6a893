"""Threads of a node keep to one processor; what computes without the lock uses all."""

from __future__ import annotations

import os
import threading

import pytest

from cluster.processors import keep_to_one, on_all, usable

pytestmark = pytest.mark.skipif(len(usable()) < 2, reason="this machine lets us use one processor")


def in_thread(function):
    """Runs in a thread of its own: the affinity of this one stays as it is."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_nodes_spread_over_the_usable_processors_and_round_again() -> None:
    def kept(number: int) -> set[int]:
        keep_to_one(number)
        return os.sched_getaffinity(0)

    every = usable()
    chosen = [in_thread(lambda n=n: kept(n)) for n in range(len(every) + 1)]
    assert chosen == [{processor} for processor in (*every, every[0])]
    assert usable() == every


def test_threads_started_afterwards_keep_to_it_too() -> None:
    def child_of_kept() -> set[int]:
        keep_to_one(1)
        return in_thread(lambda: os.sched_getaffinity(0))

    assert in_thread(child_of_kept) == {usable()[1]}


def test_on_all_spreads_for_the_time_of_the_call_even_if_it_fails() -> None:
    def fail() -> None:
        seen.append(usable())
        raise ValueError

    def run() -> tuple[int, ...]:
        every = keep_to_one(0)
        seen.append(on_all(every, usable)())
        with pytest.raises(ValueError):  # noqa: PT011
            on_all(every, fail)()
        return usable()

    seen: list[tuple[int, ...]] = []
    every = usable()
    assert in_thread(run) == every[:1]
    assert seen == [every, every]


def test_on_all_of_one_processor_is_the_function_itself() -> None:
    assert on_all((0,), usable) is usable
    assert on_all((), usable) is usable
