"""Runs what ``.show operations`` lists: commands that work for a while, waited for or not.

Everything runs in the node's thread, in the nursery of :meth:`OperationRunner.run`, so a command
whose caller has gone still ends in one of the documented states.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from cluster.errors import CanceledError, RemoraError, ThrottledError, UnavailableError
from cluster.history.records import Operation, OperationState
from cluster.limits import LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cluster.clock import Clock
    from cluster.history.log import History

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class _Running(Generic[Result]):
    """An operation under way and, when ``done``, what came of it."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.done = trio.Event()
        self.is_decided = False
        self.result: Result | None = None
        self.failure: Exception | None = None


@dataclass(frozen=True, slots=True)
class Ended(Generic[Result]):
    """An operation that was waited for."""

    operation_id: str
    result: Result


@dataclass(frozen=True, slots=True)
class RunnerStatistics:
    """``running`` now; since the start: ``started``, ``failed``, ``canceled``, ``throttled``."""

    running: int
    started: int
    failed: int
    canceled: int
    throttled: int


class OperationRunner(Generic[Result]):
    """Starts operations and tells the history of each change of state.

    ``Result`` is whatever an operation gives; of those started in the background the newest are
    kept for ``.show operation ID details``.
    """

    def __init__(
        self,
        history: History,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        limits: Limits = LIMITS,
    ) -> None:
        self._history = history
        self._clock = clock
        self._new_id = new_id
        self._limits = limits
        self._nursery: trio.Nursery | None = None
        self._running: dict[str, _Running[Result]] = {}
        self._results: OrderedDict[str, Result] = OrderedDict()
        self._started = self._failed = self._canceled = self._throttled = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs operations until cancelled; what is under way then ends as canceled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def start(
        self,
        kind: str,
        database: str,
        text: str,
        work: Callable[[], Awaitable[Result]],
        *,
        operation_id: str = "",
        principal: str = "",
    ) -> str:
        """Starts an operation in the background; returns its id.

        ``kind`` is the name the service gives such commands (``TableAppend``); ``operation_id``
        a new one, if ``work`` must know it; ``principal`` who asked for it. Raises
        ThrottledError over ``limits.background_operations``, UnavailableError if :meth:`run` is
        not running.
        """
        return self._start(kind, database, text, work, operation_id, principal)[0]

    async def execute(
        self,
        kind: str,
        database: str,
        text: str,
        work: Callable[[], Awaitable[Result]],
        *,
        operation_id: str = "",
        principal: str = "",
    ) -> Ended[Result]:
        """Like :meth:`start`, but waits. Raises what ``work`` raises; cancelling cancels it."""
        operation_id, running = self._start(kind, database, text, work, operation_id, principal)
        try:
            await running.done.wait()
        except BaseException:
            running.scope.cancel()
            raise
        if running.failure is not None:
            raise running.failure
        result = self._results.pop(operation_id)
        return Ended(operation_id, result)

    def cancel(self, operation_id: str) -> bool:
        """Cancels an operation; False if it is not running (any more)."""
        running = self._running.get(operation_id)
        if running is None:
            return False
        running.scope.cancel()
        return True

    def result(self, operation_id: str) -> Result | None:
        """What a completed operation gave, while it is remembered."""
        return self._results.get(operation_id)

    def statistics(self) -> RunnerStatistics:
        """Counts of this moment."""
        return RunnerStatistics(
            len(self._running), self._started, self._failed, self._canceled, self._throttled
        )

    def _start(
        self,
        kind: str,
        database: str,
        text: str,
        work: Callable[[], Awaitable[Result]],
        operation_id: str,
        principal: str,
    ) -> tuple[str, _Running[Result]]:
        operation_id = operation_id or self._new_id()
        now = self._clock.now_ns()
        state = OperationState.IN_PROGRESS
        operation = Operation(
            operation_id, kind, database, text, now, now, state, principal=principal
        )
        if self._nursery is None:
            raise UnavailableError("the node is not running operations")
        self._history.operation(operation)
        if len(self._running) >= self._limits.background_operations:
            self._throttled += 1
            message = (
                "The management command was aborted due to throttling. Retrying after some "
                f"backoff might succeed. CommandType: '{kind}', Capacity: "
                f"{self._limits.background_operations}, Origin: 'limits.background_operations'."
            )
            self._history.operation_changed(
                operation_id, OperationState.THROTTLED, message, retry=True
            )
            raise ThrottledError(message, metadata={"limit": "background_operations"})
        self._started += 1
        running = self._running[operation_id] = _Running[Result]()
        self._nursery.start_soon(self._work, operation_id, running, work)
        return operation_id, running

    async def _work(
        self, operation_id: str, running: _Running[Result], work: Callable[[], Awaitable[Result]]
    ) -> None:
        try:
            with running.scope:
                await self._attempt(operation_id, running, work)
        finally:
            if not running.is_decided:
                self._canceled += 1
                running.failure = CanceledError("The operation was canceled.")
                self._history.operation_changed(operation_id, OperationState.CANCELED)
            del self._running[operation_id]
            running.done.set()

    async def _attempt(
        self, operation_id: str, running: _Running[Result], work: Callable[[], Awaitable[Result]]
    ) -> None:
        try:
            running.result = await work()
            running.is_decided = True
        except Exception as error:
            if not isinstance(error, RemoraError):
                logger.exception("operation %s failed", operation_id)
            self._failed += 1
            running.is_decided = True
            running.failure = error
            retry = isinstance(error, RemoraError) and not error.permanent
            self._history.operation_changed(
                operation_id, OperationState.FAILED, str(error), retry=retry
            )
        else:
            self._results[operation_id] = running.result
            if len(self._results) > self._limits.history_entries:
                self._results.popitem(last=False)
            self._history.operation_changed(operation_id, OperationState.COMPLETED)
