"""The coordinator's side: which faults there are, who has confirmed them, what passes where.

A fault of a link comes in two steps. First the link's dialer is sent through the proxy, which
forwards everything, and has confirmed that; then the proxy is told of the fault. So what is asked
for is in effect when it is answered, and a fault between a node and the coordinator strikes a link
that goes through the proxy already. After the last fault of a link is cleared, its dialer connects
directly again.

Changes are made one after the other. Time is of the clock that no fault moves.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

import trio

from cluster.coordinator.events import Republish, Republished
from cluster.errors import RemoraError, UnavailableError
from cluster.faults.active import ActiveFault, ActiveFaults
from cluster.faults.kinds import check_fault, kind_name
from cluster.faults.messages import actives_to_messages
from cluster.faults.routing import Pair, addresses, dialed, known, routed_pairs
from cluster.faults.store import load_faults, save_faults
from cluster.faults.targets import COORDINATOR
from cluster.rpc.v1 import faults_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cluster.conformance.faults import Fault
    from cluster.coordinator.driver import CoordinatorDriver
    from cluster.faults.opening import Proxies, ProxyClient
    from cluster.faults.process import ProcessFaults
    from cluster.limits import Limits
    from cluster.rpc.v1 import coordinator_pb2

logger = logging.getLogger(__name__)

CONFIRM_SECONDS: Final = 3.0
"""How long a change waits for those it concerns; one that is down or paused never confirms."""


@dataclass(slots=True)
class FaultStatistics:
    """Counters since the start, and how many there are now.

    ``routed`` links pass through the proxy, ``watchers`` processes listen.
    """

    added: int = 0
    cleared: int = 0
    expired: int = 0
    active: int = 0
    routed: int = 0
    watchers: int = 0


class FaultDriver:
    """Owns the faults. :meth:`run` must be running.

    ``own`` are the coordinator process's own; ``folder`` is its data folder.
    """

    def __init__(
        self,
        coordinator: CoordinatorDriver,
        own: ProcessFaults,
        proxies: Proxies,
        *,
        folder: Path,
        limits: Limits,
    ) -> None:
        self._coordinator = coordinator
        self._own = own
        self._proxies = proxies
        self._address = ""
        self._folder = folder
        self._limits = limits
        self._active = ActiveFaults()
        self._routes: dict[Pair, str] = {}
        self._struck: frozenset[str] = frozenset()  # ids of link faults that are in effect
        self._plans: dict[str, int] = {}  # by process: revision of its newest plan
        self._confirmed: dict[str, int] = {}  # by process that listens
        self._revision = 0
        self._proxy: ProxyClient | None = None
        self._turn = trio.Lock()
        self._moved = trio.Event()
        self._heard = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery | None = None
        self._counters = FaultStatistics()

    # -- what people ask for --------------------------------------------------------------------

    async def add(self, fault: Fault) -> ActiveFault:
        """Makes it go wrong; returns when that is in effect, or after :data:`CONFIRM_SECONDS`.

        Raises InvalidRequestError, EntityNotFoundError, LimitExceededError, UnavailableError.
        """
        async with self._turn:
            fault = check_fault(fault, known(self._coordinator.state.durable))
            active, added = self._active.add(fault, self._now(), self._limits.faults)
            await self._change(active)
            self._counters.added += 1
            logger.info("fault %s: %s on %s", added.id, kind_name(fault.kind), fault.target)
            return added

    async def clear(self, fault_id: str) -> tuple[tuple[ActiveFault, ...], bool]:
        """Ends one, or all (empty id); returns what was ended, and whether that is confirmed.

        Raises EntityNotFoundError.
        """
        async with self._turn:
            active, gone = self._active.clear(fault_id)
            confirmed = await self._change(active)
            self._counters.cleared += len(gone)
            logger.info("faults cleared: %s", ", ".join(one.id for one in gone) or "none")
            return gone, confirmed

    def messages(self, faults: Iterable[ActiveFault] | None = None) -> list[faults_pb2.ActiveFault]:
        """These faults, or all, as they are now."""
        shown = self._active.faults if faults is None else tuple(faults)
        effective = {one.id for one in shown if self._in_effect(one)}
        return actives_to_messages(shown, self._now(), effective)

    def _in_effect(self, active: ActiveFault) -> bool:
        if active.is_link:
            return active.id in self._struck
        process = active.fault.target
        confirmed = self._confirmed.get(process, -1)
        return process == COORDINATOR or confirmed >= self._plans.get(process, 0)

    # -- what processes ask for -----------------------------------------------------------------

    def reroute(self, view: coordinator_pb2.NodeView, cluster: str) -> coordinator_pb2.NodeView:
        """Puts the proxy's addresses into the view of a cluster's node; returns it."""
        if self._routes:
            for grant in view.following:
                direct = grant.leader_address
                grant.leader_address = self._routes.get((cluster, grant.leader_cluster), direct)
            view.coordinator_address = self._routes.get((cluster, COORDINATOR), "")
        return view

    def heard(self) -> None:
        """A node has said which revision it has applied."""
        self._heard.unpark_all()

    def plan(self, process: str) -> faults_pb2.WatchFaultsResponse:
        """What a process is to suffer now."""
        faults = actives_to_messages(self._active.of_process(process), self._now())
        return faults_pb2.WatchFaultsResponse(revision=self._plans.get(process, 0), faults=faults)

    async def wait_plan(self, process: str, revision: int) -> None:
        """Returns when the plan of a process is newer than ``revision``."""
        while self._plans.get(process, 0) <= revision:
            await self._moved.wait()

    def confirm(self, process: str, revision: int) -> None:
        """A process listens, and has this plan in effect."""
        self._confirmed[process] = revision
        self._heard.unpark_all()

    def lost(self, process: str) -> None:
        """A process listens no more; what it suffers, it goes on to suffer."""
        self._confirmed.pop(process, None)

    # -- changes --------------------------------------------------------------------------------

    async def run(
        self, address: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Takes up what a killed predecessor left, then ends what has run out, until cancelled.

        Stopped, it leaves neither faults nor a proxy. ``address`` is the coordinator's own.
        """
        self._address = address
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._own.run)
                await self._take_up()
                task_status.started()
                nursery.start_soon(self._watch_addresses)
                while True:
                    moved = self._moved
                    left = self._active.next_end - self._now()
                    with trio.move_on_after(max(0.0, left)):
                        await moved.wait()
                    await self._expire()
        finally:
            self._nursery = None
            with trio.CancelScope(shield=True):
                await self._proxies.end()
            self._active = ActiveFaults()
            self._save()

    async def _take_up(self) -> None:
        try:
            active = load_faults(self._folder, self._now(), self._wall_seconds())
        except ValueError as error:
            logger.warning("faults from before are forgotten: %s", error)
            active = ActiveFaults()
        if not active.links:
            await self._proxies.end()
        if active.faults:
            logger.info("%d faults from before go on", len(active.faults))
            # Not here: nodes must be able to connect, for that they wait for the start.
            assert self._nursery is not None, "run() has opened it"
            self._nursery.start_soon(self._restore, active)

    async def _restore(self, active: ActiveFaults) -> None:
        async with self._turn:
            try:
                await self._become(active)
            except RemoraError as error:
                logger.warning("faults of links from before are over: %s", error)
                await self._become_anyhow(active.without_links())

    async def _expire(self) -> None:
        async with self._turn:
            active = self._active.expire(self._now())
            if active == self._active:
                return
            over = len(self._active.faults) - len(active.faults)
            self._counters.expired += over
            logger.info("%d faults have run out", over)
            await self._become_anyhow(active)

    async def _change(self, active: ActiveFaults) -> bool:
        """:meth:`_become` for somebody who asked: failed or given up, it is as it was before."""
        try:
            return await self._become(active)
        except BaseException:
            if self._nursery is not None:
                self._nursery.start_soon(self._tidy)
            raise

    async def _tidy(self) -> None:
        async with self._turn:
            await self._become_anyhow(self._active)

    async def _become_anyhow(self, active: ActiveFaults) -> None:
        """:meth:`_become` where there is no way back: the proxy ends faults by itself, too."""
        try:
            await self._become(active)
        except RemoraError as error:
            logger.warning("the link proxy was not told: %s", error)
            await self._become_at_processes(active)

    async def _become(self, active: ActiveFaults) -> bool:
        """Makes these the faults there are; returns whether all concerned have confirmed.

        Raises UnavailableError or TimedOutError if the proxy fails; then nothing has changed.
        """
        routed = True
        if active.links or self._active.links or self._routes:
            routed = await self._become_links(active)
        confirmed = await self._become_at_processes(active)
        if routed:
            self._struck = frozenset(one.id for one in active.links)
        return routed and confirmed

    async def _become_at_processes(self, active: ActiveFaults) -> bool:
        before, self._active = self._active, active
        concerned = {one.fault.target for one in {*before.faults} ^ {*active.faults}}
        self._revision += 1
        for process in concerned:
            self._plans[process] = self._revision
        self._own.suffer(active.of_process(COORDINATOR))
        self._moved.set()
        self._moved = trio.Event()
        self._save()
        listening = concerned & self._confirmed.keys()
        revision = self._revision
        return await self._wait(
            lambda: all(self._confirmed.get(one, revision) >= revision for one in listening)
        )

    def _save(self) -> None:
        try:
            save_faults(self._folder, self._active, self._now(), self._wall_seconds())
        except OSError as error:
            logger.warning("faults would be forgotten after a crash: %s", error)

    async def _become_links(self, active: ActiveFaults) -> bool:
        """First who must go through the proxy does, then the links suffer, then others leave."""
        pairs = routed_pairs(active.faults, self._coordinator.state.durable.clusters)
        moved = True
        if fresh := pairs - self._routes.keys():
            self._routes = await self._set_links(pairs | self._routes.keys(), self._active)
            moved = await self._publish(fresh)
        await self._set_links(pairs | self._routes.keys(), active)
        if gone := self._routes.keys() - pairs:
            self._routes = {pair: self._routes[pair] for pair in sorted(pairs)}
            moved = await self._publish(gone) and moved
        return moved

    async def _set_links(self, pairs: Iterable[Pair], active: ActiveFaults) -> dict[Pair, str]:
        """Tells the proxy; returns its addresses by pair."""
        if self._proxy is None:
            if self._nursery is None:
                raise UnavailableError("the coordinator is stopping")
            self._proxy = await self._nursery.start(self._keep_proxy)
        request = faults_pb2.SetLinksRequest(
            links=[
                faults_pb2.ProxiedLink(dialer=dialer, acceptor=acceptor, address=address)
                for dialer, acceptor, address in dialed(pairs, self._addresses())
            ],
            faults=actives_to_messages(active.links, self._now()),
        )
        response = await self._proxy.set_links(request)
        return {(link.dialer, link.acceptor): link.address for link in response.links}

    async def _keep_proxy(
        self, *, task_status: trio.TaskStatus[ProxyClient] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with self._proxies.opened() as proxy:
            task_status.started(proxy)
            await proxy.wait_exit()
        self._proxy = None
        async with self._turn:
            if self._routes or self._active.links:
                logger.warning("the link proxy is gone, and with it every fault of a link")
                gone = self._routes.keys()
                self._routes = {}
                try:
                    await self._publish(gone)
                except RemoraError as error:
                    logger.warning("nobody is told: %s", error)
                await self._become_at_processes(self._active.without_links())

    async def _publish(self, pairs: Iterable[Pair]) -> bool:
        """Tells the dialers of these pairs where to connect; returns whether all have heard."""
        answer = await self._coordinator.request(Republish)
        revision = cast("Republished", answer).revision
        dialers = {dialer for dialer, _ in pairs}
        return await self._wait(lambda: self._have_applied(dialers, revision))

    def _have_applied(self, clusters: set[str], revision: int) -> bool:
        state = self._coordinator.state
        return all(
            state.sessions[node.node].applied_revision >= revision
            for name in clusters
            for node in state.durable.cluster_nodes(name)
            if state.sessions[node.node].heard_at is not None
        )

    async def _wait(self, is_so: Callable[[], bool]) -> bool:
        with trio.move_on_after(CONFIRM_SECONDS):
            while not is_so():
                await self._heard.park()
        return is_so()

    async def _watch_addresses(self) -> None:
        """A node that is started again may serve elsewhere: the proxy must know."""
        told = self._addresses()
        while True:
            changed = self._coordinator.changed
            present = self._addresses()
            if present != told:
                told = present
                async with self._turn:
                    await self._tell_addresses()
            await changed.wait()

    async def _tell_addresses(self) -> None:
        if self._proxy is None or not self._routes:
            return
        try:
            await self._set_links(self._routes.keys(), self._active)
        except RemoraError as error:
            logger.warning("the link proxy was not told of new addresses: %s", error)

    def _addresses(self) -> dict[str, str]:
        return addresses(self._coordinator.state.durable, self._address)

    def _now(self) -> float:
        return self._own.base.monotonic()

    def _wall_seconds(self) -> float:
        return self._own.base.now_ns() / 1e9

    def statistics(self) -> FaultStatistics:
        """Counters since the start."""
        return replace(
            self._counters,
            active=len(self._active.faults),
            routed=len(self._routes),
            watchers=len(self._confirmed),
        )
