"""Trio in a thread, so that a synchronous test can drive it step by step.

A call returns when every task of the simulation is blocked, so nothing moves between two calls and
the same calls always do the same. Time stands still but for :meth:`Portal.sleep`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Portal:
    """Use as ``with Portal() as portal``. ``portal.nursery`` is where lasting tasks live."""

    nursery: trio.Nursery

    def __enter__(self) -> Self:
        self._clock = MockClock(rate=0.0)
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def call(self, function: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        """Runs an async function to its end and until nothing moves; returns what it returns."""
        try:
            return trio.from_thread.run(self._settled, function, arguments, trio_token=self._token)
        except trio.RunFinishedError:
            if self._failure is not None:
                raise self._failure from None
            raise

    async def sleep(self, seconds: float, *, step_seconds: float = 0.25) -> None:
        """Lets virtual time pass; to be called in the simulation."""
        while seconds > 0:
            self._clock.jump(min(step_seconds, seconds))
            seconds -= step_seconds
            await wait_all_tasks_blocked()

    @staticmethod
    async def _settled(function: Callable[..., Awaitable[Any]], arguments: tuple[Any, ...]) -> Any:
        try:
            return await function(*arguments)
        finally:
            await wait_all_tasks_blocked()

    def _run(self) -> None:
        try:
            trio.run(self._main, clock=self._clock)
        except BaseException as error:  # handed to the thread that drives
            self._failure = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        async with trio.open_nursery() as self.nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            await trio.sleep_forever()

    def _stop(self) -> None:
        try:
            trio.from_thread.run_sync(self.nursery.cancel_scope.cancel, trio_token=self._token)
        except trio.RunFinishedError:
            return  # it ended by itself; _failure says why
