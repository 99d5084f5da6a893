"""Runs the state machine: events in one at a time, durable before anybody hears of them."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from cluster.coordinator.events import (
    Abandon,
    Attach,
    DeleteConfiguration,
    Detach,
    SetCapability,
    Tick,
)
from cluster.coordinator.machine import handle
from cluster.coordinator.state import restore
from cluster.errors import RemoraError, ThrottledError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.clock import Clock
    from cluster.coordinator.events import Answer, Event, Reply, Request
    from cluster.coordinator.state import Durable, State
    from cluster.limits import Limits

logger = logging.getLogger(__name__)


PATIENT = (SetCapability, Attach, Detach, DeleteConfiguration)
"""Requests that may wait for nodes, and so are limited. Nodes' own requests never wait for anybody
and are never turned away: leases must not run out because people are impatient."""


class Persistence(Protocol):
    """Where the durable state goes."""

    async def save(self, before: Durable, after: Durable) -> None:
        """Makes ``after`` durable. Any error is final."""


@dataclass(frozen=True, slots=True)
class DriverStatistics:
    """Counters since the start. ``pending`` are requests not answered yet."""

    events: int
    saves: int
    pending: int
    changes_waiting: int
    throttled: int


class _Answered:
    """A request that waits for its reply."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.outcome: Answer | RemoraError | None = None


class CoordinatorDriver:
    """Owns the state. :meth:`run` must be running for requests to be answered.

    Everything shown to the outside, by replies, :attr:`state` or :meth:`wait_changed`, is durable.
    If saving fails the driver ends with that error and answers nothing more: leases run out and
    every gate closes.
    """

    def __init__(
        self,
        durable: Durable,
        persistence: Persistence,
        *,
        clock: Clock,
        limits: Limits,
        adopts: bool = False,
    ) -> None:
        self._persistence = persistence
        self._clock = clock
        self._limits = limits
        self._state = restore(durable, clock.monotonic(), limits, adopts=adopts)
        self._queue: deque[Event] = deque((Tick(),))
        self._arrived = trio.Event()
        self._changed = trio.Event()
        self._pending: dict[int, _Answered] = {}
        self._patient = 0
        self._next_request = 1
        self._timer: float | None = None
        self._stopped = False
        self._events = 0
        self._saves = 0
        self._throttled = 0

    @property
    def limits(self) -> Limits:
        """The bounds it keeps to."""
        return self._limits

    @property
    def state(self) -> State:
        """The newest durable state."""
        return self._state

    @property
    def changed(self) -> trio.Event:
        """Set at the next change of ``state.durable``. Take it before looking at the state."""
        return self._changed

    async def request(self, make: Callable[[int], Request]) -> Answer:
        """Sends the event ``make(request number)`` and waits for its answer.

        Raises the refusal, ThrottledError when too many :data:`PATIENT` requests wait,
        UnavailableError when the driver stops first. Cancelling it does not undo what was asked
        for.
        """
        if self._stopped:
            raise UnavailableError("the coordinator is stopping")
        number = self._next_request
        self._next_request += 1
        event = make(number)
        patient = isinstance(event, PATIENT)
        if patient and self._patient >= self._limits.coordinator_requests:
            self._throttled += 1
            raise ThrottledError(
                f"{self._patient} changes are waiting for the coordinator already",
                retry_after_seconds=self._limits.heartbeat_seconds,
            )
        waiter = self._pending[number] = _Answered()
        self._patient += patient
        try:
            self._post(event)
            await waiter.done.wait()
        finally:
            self._patient -= patient
            del self._pending[number]
            if waiter.outcome is None and not self._stopped:
                self._post(Abandon(number))
        if waiter.outcome is None:
            raise UnavailableError("the coordinator is stopping")
        if isinstance(waiter.outcome, RemoraError):
            raise waiter.outcome
        return waiter.outcome

    def _post(self, event: Event) -> None:
        self._queue.append(event)
        self._arrived.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Handles events until cancelled. Ends with the error if saving fails."""
        task_status.started()
        try:
            while True:
                if not self._queue:
                    await self._wait()
                await self._turn()
        finally:
            self._stopped = True
            for waiter in self._pending.values():
                waiter.done.set()

    async def _wait(self) -> None:
        """Until an event arrives; when the timer is due first, that is a Tick."""
        self._arrived = trio.Event()
        if self._timer is None:
            await self._arrived.wait()
            return
        with trio.move_on_after(max(0.0, self._timer - self._clock.monotonic())):
            await self._arrived.wait()
        if not self._queue:
            self._queue.append(Tick())

    async def _turn(self) -> None:
        """Handles what has arrived as one group: one transaction for all of it."""
        state = self._state
        replies: list[Reply] = []
        while self._queue:
            step = handle(state, self._queue.popleft(), self._clock.monotonic(), self._limits)
            state, self._timer = step.state, step.timer
            replies += step.replies
            self._events += 1
        changed = state.durable != self._state.durable
        if changed:
            self._saves += 1
            await self._persistence.save(self._state.durable, state.durable)
        self._note_contest(self._state, state)
        self._state = state
        if changed:
            self._log(state)
            self._changed.set()
            self._changed = trio.Event()
        for reply in replies:
            waiter = self._pending.get(reply.request)
            if waiter is not None:
                waiter.outcome = reply.outcome
                waiter.done.set()

    def _log(self, state: State) -> None:
        durable = state.durable
        logger.info(
            "epoch %d, revision %d: %d clusters, %d nodes, %d attachments, %d pending changes",
            durable.epoch,
            durable.revision,
            len(durable.clusters),
            len(durable.nodes),
            len(durable.attachments),
            len(durable.changes),
        )

    def _note_contest(self, before: State, after: State) -> None:
        reason = after.contest.reason if after.contest else ""
        known = before.contest.reason if before.contest else ""
        if reason and reason != known:
            logger.error("nothing is decided and no lease given: %s", reason)
        elif known and not reason:
            logger.info("no doubt any more who the coordinator is")
        if after.durable.issuer != before.durable.issuer:
            logger.warning("took the place of another: now %s", after.durable.issuer)

    def statistics(self) -> DriverStatistics:
        """Counters since the start."""
        return DriverStatistics(
            events=self._events,
            saves=self._saves,
            pending=len(self._pending),
            changes_waiting=len(self._state.waiting),
            throttled=self._throttled,
        )
