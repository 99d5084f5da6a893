"""One trio loop in a thread, called from blocking code, asyncio and trio alike."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from cluster.testing.plugin_portal import Portal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    portal.open()
    yield portal
    portal.close()


async def double(number: int) -> int:
    await trio.lowlevel.checkpoint()
    return 2 * number


async def fail() -> None:
    raise LookupError("no such thing")


class Parked:
    """A call that ends only by being cancelled."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.ended = threading.Event()

    async def park(self) -> None:
        self.began.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended.set()


def test_blocking_code_gets_values_and_errors(portal: Portal) -> None:
    assert portal.run(double, 4) == 8
    with pytest.raises(LookupError, match="no such thing"):
        portal.run(fail)
    assert portal.run(double, number=5) == 10


async def test_trio_gets_values_and_errors_and_cancels(portal: Portal) -> None:
    parked = Parked()
    assert await portal.run_async(double, 4) == 8
    with pytest.raises(LookupError):
        await portal.run_async(fail)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(portal.run_async, parked.park)
        await trio.to_thread.run_sync(parked.began.wait)
        nursery.cancel_scope.cancel()
    assert await trio.to_thread.run_sync(parked.ended.wait, 10)
    assert await portal.run_async(double, 1) == 2


def test_asyncio_gets_values_and_errors_and_cancels(portal: Portal) -> None:
    parked = Parked()

    async def main() -> None:
        assert await portal.run_async(double, 4) == 8
        with pytest.raises(LookupError):
            await portal.run_async(fail)
        task = asyncio.create_task(portal.run_async(parked.park))
        await asyncio.to_thread(parked.began.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert parked.ended.wait(10)
    assert portal.run(double, 1) == 2


def test_what_was_entered_is_left_in_the_loop(portal: Portal) -> None:
    threads = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[str]:
        threads.append(threading.current_thread())
        yield "entered"
        threads.append(threading.current_thread())

    value, leave = portal.enter(manager())
    assert (value, len(threads)) == ("entered", 1)
    leave()
    assert len(threads) == 2
    assert threading.current_thread() not in threads


@pytest.mark.parametrize("when", ["enter", "leave"])
def test_a_manager_that_fails_raises_where_it_was_called(portal: Portal, when: str) -> None:
    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        if when == "enter":
            await fail()
        yield
        await fail()

    if when == "enter":
        with pytest.raises(LookupError):
            portal.enter(manager())
    else:
        _, leave = portal.enter(manager())
        with pytest.raises(LookupError):
            leave()
    assert portal.run(double, 1) == 2


def test_closing_cancels_what_is_still_called() -> None:
    portal, parked = Portal(), Parked()
    portal.open()
    future = portal.submit(parked.park)
    parked.began.wait()
    portal.close()
    assert parked.ended.is_set()
    assert future.cancelled()
