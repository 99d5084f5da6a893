"""A node's link to the coordinator: register, heartbeat, watch; feeds the node's Authority.

Two streams of news meet in :class:`cluster.replication.authority.Authority`: answers to heartbeats,
which carry a view and a lease, and the watch, which carries views only and is there to be quick.
Either may be late, lost or out of order; the authority keeps the newest view, and only a heartbeat
extends the lease, counted from when it was sent.

While the coordinator is away the link tries again with a capped back-off; nothing has to be done
when it comes back. Nor when it is in doubt who the coordinator is: then there is no lease, the
reason is in the statistics and at every gate, and the link goes on asking. Only a permanent refusal
ends it, such as another process having registered as this node.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import trio

from cluster.coordinator.messages import database_to_message, following_to_message
from cluster.errors import EntityNotFoundError, RemoraError, UnavailableError
from cluster.limits import LIMITS, Limits
from cluster.node.asking import Asking, said
from cluster.node.dialing import Dialer
from cluster.node.pauses import Pauses
from cluster.rpc.convert import issuer_to_message, view_from_message
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from cluster.clock import Clock
    from cluster.coordinator.reports import Report
    from cluster.replication.authority import Authority
    from cluster.transport.api import Transport

logger = logging.getLogger(__name__)

LOOK_PAUSE_SECONDS = 0.02
"""Pause after looks for news that found none. A report of thousands of tables takes milliseconds,
and every seal of any of them pokes."""

LOOKS_AT_ONCE = 3
"""Looks after a heartbeat that no pause follows: news that come soon after it are told at once."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the node is: the fields of ``RegisterNodeRequest``. ``instance`` is of one process."""

    cluster: str
    node: str
    instance: str
    grpc_address: str
    pid: int
    data: str
    initial_streaming_ingestion: bool
    strict: bool = False
    location: str = ""


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """Counters since the start, and where the link stands now.

    ``stale_views`` were ignored because a newer one was known; ``lapses`` is how often the lease
    ran out. ``last_error`` is the last failed call's, empty when the last call went well.
    """

    registrations: int
    heartbeats: int
    heartbeat_failures: int
    watch_views: int
    watch_failures: int
    stale_views: int
    lapses: int
    lease_left_seconds: float
    round_trip_seconds: float
    last_error: str
    doubt: str = ""


class CoordinatorLink:
    """The link of one node process. :meth:`run` must be running.

    ``report`` is called before each heartbeat; what it says about applied epochs is a promise (see
    :class:`cluster.coordinator.reports.FollowingReport`), and it must name every attachment of the
    view. ``on_change`` is called after every change of the authority: a new view, a lease that was
    extended, a lease that ran out. It may call :meth:`poke`.
    """

    def __init__(
        self,
        address: str,
        transport: Transport,
        *,
        clock: Clock,
        identity: Identity,
        authority: Authority,
        report: Callable[[], Report],
        on_change: Callable[[], None],
        rng: random.Random,
        limits: Limits = LIMITS,
    ) -> None:
        self._address = address
        self._transport = transport
        self._clock = clock
        self._identity = identity
        self._authority = authority
        self._report = report
        self._on_change = on_change
        self._rng = rng
        self._dialer = Dialer(address, transport)
        self._heartbeat_seconds = min(limits.heartbeat_seconds, limits.lease_seconds / 3)
        self._longest_pause = limits.lease_seconds / 3
        self._poked = trio.Event()
        self._renewed = trio.Event()
        self._beating = trio.Event()
        self._said: object = None
        self._registration = 0
        self._asking = Asking()
        self._registrations = 0
        self._heartbeats = 0
        self._heartbeat_failures = 0
        self._watch_views = 0
        self._watch_failures = 0
        self._stale_views = 0
        self._lapses = 0
        self._round_trip = 0.0
        self._last_error = ""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps the link until cancelled. Started once the first lease is there.

        Raises the coordinator's refusal if it is permanent: ConflictError when another process has
        registered as this node, InvalidRequestError or LimitExceededError when it may not register.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_lease)
            nursery.start_soon(self._announce, task_status)
            refusal = await self._dialer.keep(
                lambda channel: self._stay_registered(
                    coordinator_pb2_grpc.CoordinatorServiceStub(channel)
                )
            )
            nursery.cancel_scope.cancel()
        logger.error("the coordinator refuses this node: %s", refusal)
        raise refusal

    def poke(self) -> None:
        """Something the report says has changed: heartbeat now instead of in a while.

        Cheap, and without effect if the report says what the last heartbeat said.
        """
        self._poked.set()

    async def refresh(self) -> None:
        """Returns when a heartbeat sent from now on has been answered.

        So what the coordinator has answered anybody before is known then, unless the authority is
        in doubt who the coordinator is. Waits for as long as nobody answers.
        """
        number = self._asking.want()
        self._poked.set()
        await self._asking.until_answered(number)

    async def _announce(self, task_status: trio.TaskStatus[None]) -> None:
        await self._beating.wait()
        task_status.started()

    async def _stay_registered(
        self, stub: coordinator_pb2_grpc.CoordinatorServiceStub
    ) -> RemoraError:
        """Registers whenever the coordinator does not know the node; returns the refusal."""
        pauses = Pauses(self._longest_pause, self._rng)
        while True:
            refusal = await self._register(stub, pauses)
            if refusal is not None:
                return refusal
            heartbeats = self._heartbeats
            ended = await self._session(stub)
            if not isinstance(ended, EntityNotFoundError):
                return ended
            if self._heartbeats > heartbeats:
                pauses.reset()
            await trio.sleep(pauses.take())

    async def _register(
        self, stub: coordinator_pb2_grpc.CoordinatorServiceStub, pauses: Pauses
    ) -> RemoraError | None:
        request = coordinator_pb2.RegisterNodeRequest(**asdict(self._identity))
        while True:
            try:
                response = await stub.RegisterNode(request, timeout=self._longest_pause)
            except RemoraError as error:
                if error.permanent:
                    return error
                self._failed(error)
                await trio.sleep(pauses.take())
            else:
                self._registrations += 1
                self._last_error = ""
                self._heard(response.view)
                if response.view.issuer.instance == self._authority.issuer.instance:
                    # Whom it obeys compares the number with its own: another's means nothing there.
                    self._registration = response.registration
                return None

    async def _session(self, stub: coordinator_pb2_grpc.CoordinatorServiceStub) -> RemoraError:
        """Heartbeats and watches until one of them is refused for good; returns that refusal."""
        ended: list[RemoraError] = []
        async with trio.open_nursery() as nursery:

            async def keep(
                loop: Callable[
                    [coordinator_pb2_grpc.CoordinatorServiceStub], Awaitable[RemoraError]
                ],
            ) -> None:
                ended.append(await loop(stub))
                nursery.cancel_scope.cancel()

            nursery.start_soon(keep, self._heartbeat)
            nursery.start_soon(keep, self._watch)
        return ended[0]

    async def _heartbeat(self, stub: coordinator_pb2_grpc.CoordinatorServiceStub) -> RemoraError:
        pauses = Pauses(self._longest_pause, self._rng)
        while True:
            self._poked = trio.Event()
            sent_at = self._clock.monotonic()
            request, says = self._compose()
            try:
                response = await stub.Heartbeat(request, timeout=self._longest_pause)
            except RemoraError as error:
                if error.permanent:
                    return error
                self._heartbeat_failures += 1
                self._failed(error)
                pause = pauses.take()
            else:
                self._said = says
                self._renew(response, sent_at)
                self._asking.answer()
                pauses.reset()
                pause = self._heartbeat_seconds
            await self._until_due(pause)

    def _compose(self) -> tuple[coordinator_pb2.HeartbeatRequest, object]:
        """A heartbeat, and the part of it somebody may be waiting for."""
        report = self._report()
        request = coordinator_pb2.HeartbeatRequest(
            **self._who(),
            sequence=self._asking.send(),
            following=map(following_to_message, report.following),
            databases=map(database_to_message, report.databases),
            newest_epoch=max(self._authority.newest_epoch, report.newest_epoch),
            drained_revision=report.drained_revision,
            drain_trouble=report.drain_trouble,
        )
        return request, said(self._revision(), report)

    def _who(self) -> dict[str, Any]:
        """Which process calls, and what it has heard."""
        return {
            "cluster": self._identity.cluster,
            "node": self._identity.node,
            "instance": self._identity.instance,
            "registration": self._registration,
            "obeys": issuer_to_message(replace(self._authority.issuer, past=())),
            "applied_revision": self._revision(),
        }

    async def _until_due(self, pause: float) -> None:
        """Until the next heartbeat is due: after ``pause``, or when there is news to tell."""
        looks = 0
        with trio.move_on_after(pause):
            while True:
                await self._poked.wait()
                if self._asking.is_due or said(self._revision(), self._report()) != self._said:
                    return
                self._poked = trio.Event()
                looks += 1
                if looks >= LOOKS_AT_ONCE:
                    await trio.sleep(LOOK_PAUSE_SECONDS)

    def _revision(self) -> int:
        return self._authority.view.revision if self._authority.view else 0

    def _renew(self, response: coordinator_pb2.HeartbeatResponse, sent_at: float) -> None:
        self._heartbeats += 1
        self._round_trip = self._clock.monotonic() - sent_at
        self._last_error = ""
        view = view_from_message(response.view)
        lease_seconds = response.lease.ToNanoseconds() / 1e9
        is_newer = self._authority.is_newer(view)
        if not is_newer:
            # Granted before the coordinator changed its mind: it renews nothing. Ask again.
            self._stale_views += 1
            self._said = None
        now = self._clock.monotonic()
        had_doubt = self._authority.doubt
        changed = self._authority.renew(view, sent_at, lease_seconds, now=now, doubt=response.doubt)
        self._note_doubt(had_doubt)
        if is_newer:
            self._dialer.call_at(response.view.coordinator_address)
        if is_newer or changed:
            self._renewed.set()
            self._on_change()
        if self._authority.doubt:
            # There is nothing new to ask for until the next heartbeat is due.
            self._said = said(self._revision(), self._report())
        elif is_newer:
            self._beating.set()
        if changed or not is_newer:
            self.poke()

    def _heard(self, message: coordinator_pb2.NodeView) -> None:
        """Takes a view that carries no lease."""
        view = view_from_message(message)
        is_newer = self._authority.is_newer(view)
        self._stale_views += not is_newer
        had_doubt = self._authority.doubt
        changed = self._authority.apply(view, self._clock.monotonic())
        if is_newer:
            self._dialer.call_at(message.coordinator_address)
        if changed:
            self._note_doubt(had_doubt)
            self._on_change()
            self.poke()

    def _note_doubt(self, before: str) -> None:
        doubt = self._authority.doubt
        if doubt and doubt != before:
            logger.error("streaming rows are closed: %s", doubt)
        elif before and not doubt:
            logger.info("no doubt any more who the coordinator is")

    async def _watch(self, stub: coordinator_pb2_grpc.CoordinatorServiceStub) -> RemoraError:
        pauses = Pauses(self._longest_pause, self._rng)
        while True:
            request = coordinator_pb2.WatchRequest(**self._who())
            ended: RemoraError = UnavailableError("the coordinator ended the watch")
            try:
                async with stub.Watch(request) as stream:
                    async for message in stream:
                        self._watch_views += 1
                        pauses.reset()
                        self._heard(message.view)
            except RemoraError as error:
                ended = error
            if ended.permanent:
                return ended
            self._watch_failures += 1
            self._failed(ended)
            await trio.sleep(pauses.take())

    def _failed(self, error: RemoraError) -> None:
        if not self._last_error:
            logger.warning("the coordinator at %s does not answer: %s", self._address, error)
        self._last_error = str(error)
        self._dialer.failed()

    async def _watch_lease(self) -> None:
        """Tells the node when its lease has run out."""
        held = False
        while True:
            self._renewed = trio.Event()
            left = self._authority.lease_left(self._clock.monotonic())
            if left > 0:
                held = True
                await trio.sleep(min(left, self._longest_pause))
                continue
            if held:
                held = False
                self._lapses += 1
                logger.warning("the lease has run out: streaming rows are closed")
                self._on_change()
            await self._renewed.wait()

    def statistics(self) -> LinkStatistics:
        """Counters since the start."""
        return LinkStatistics(
            registrations=self._registrations,
            heartbeats=self._heartbeats,
            heartbeat_failures=self._heartbeat_failures,
            watch_views=self._watch_views,
            watch_failures=self._watch_failures,
            stale_views=self._stale_views,
            lapses=self._lapses,
            lease_left_seconds=self._authority.lease_left(self._clock.monotonic()),
            round_trip_seconds=self._round_trip,
            last_error=self._last_error,
            doubt=self._authority.doubt,
        )
