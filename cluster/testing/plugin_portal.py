"""A trio loop in a thread of its own, which sync, asyncio and trio tests call alike.

Channels to nodes belong to one trio loop. A test has another loop, or none, so they live here for
as long as the processes do, whatever the test is written with.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

Value = TypeVar("Value")
Given = ParamSpec("Given")


class Portal:
    """The loop and its thread. Open it with :meth:`open`, end it with :meth:`close`."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        # A daemon: a process that ends in a hurry does not wait for a call that never returns.
        self._thread = threading.Thread(target=self._run, name="remora-portal", daemon=True)
        self._token: trio.lowlevel.TrioToken
        self._nursery: trio.Nursery

    def open(self) -> None:
        """Starts the thread; returns when it takes calls."""
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """Cancels what is still called, and ends the thread."""
        self._token.run_sync_soon(self._nursery.cancel_scope.cancel)
        self._thread.join()

    def submit(
        self,
        function: Callable[Given, Awaitable[Value]],
        *arguments: Given.args,
        **named: Given.kwargs,
    ) -> Future[Value]:
        """Calls it in the loop. Cancelling the future cancels the call."""
        future: Future[Value] = Future()
        scope = trio.CancelScope()

        async def call() -> None:
            # A future that was cancelled meanwhile takes no result: nobody waits for one.
            try:
                with scope:
                    value = await function(*arguments, **named)
                    with contextlib.suppress(InvalidStateError):
                        future.set_result(value)
            except Exception as error:
                with contextlib.suppress(InvalidStateError):
                    future.set_exception(error)
            finally:
                future.cancel()

        def begin() -> None:
            self._nursery.start_soon(call)

        def ended(done: Future[Value]) -> None:
            if done.cancelled():
                self._later(self._token, scope.cancel)

        future.add_done_callback(ended)
        self._token.run_sync_soon(begin)
        return future

    def run(
        self,
        function: Callable[Given, Awaitable[Value]],
        *arguments: Given.args,
        **named: Given.kwargs,
    ) -> Value:
        """Calls it from any thread but its own, and blocks until it returns."""
        future = self.submit(function, *arguments, **named)
        try:
            return future.result()
        finally:
            future.cancel()  # of a caller who was interrupted; else it is done

    async def run_async(
        self,
        function: Callable[Given, Awaitable[Value]],
        *arguments: Given.args,
        **named: Given.kwargs,
    ) -> Value:
        """Calls it from a task of trio or asyncio; being cancelled there cancels it here."""
        if not trio.lowlevel.in_trio_run():
            return await asyncio.wrap_future(self.submit(function, *arguments, **named))
        future = self.submit(function, *arguments, **named)
        done = trio.Event()
        token = trio.lowlevel.current_trio_token()
        future.add_done_callback(lambda _: self._later(token, done.set))
        try:
            await done.wait()
        finally:
            future.cancel()
        return future.result()

    def enter(
        self, manager: AbstractAsyncContextManager[Value]
    ) -> tuple[Value, Callable[[], None]]:
        """Enters it in a task of its own. Returns what it gives, and what leaves it again."""
        leave, left = trio.Event(), Future[None]()

        async def hold(
            task_status: trio.TaskStatus[Value] = trio.TASK_STATUS_IGNORED,
        ) -> None:
            try:
                async with manager as value:
                    task_status.started(value)
                    await leave.wait()
            except Exception as error:
                if not leave.is_set():
                    raise  # it could not be entered: start() raises this
                left.set_exception(error)
            else:
                left.set_result(None)

        async def begin() -> Value:
            value: Value = await self._nursery.start(hold)
            return value

        def end() -> None:
            self._token.run_sync_soon(leave.set)
            left.result()

        return self.run(begin), end

    @staticmethod
    def _later(token: trio.lowlevel.TrioToken, function: Callable[[], object]) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(function)

    def _run(self) -> None:
        trio.run(self._main)

    async def _main(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            await trio.sleep_forever()
