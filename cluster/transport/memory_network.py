"""Hosts, directed links and time of the in-memory transport.

A *frame* is one message of a call, or its opening, half-close, cancellation or status. Frames go
over the link from the sender's host to the receiver's, which delays, drops or holds them as its
:class:`.faults.LinkFaults` say. Time is trio's: under ``MockClock`` a delay of an hour passes at
once. Delays are run by a trio system task that starts with the first frame that has to wait, or by
the timers given.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from cluster.transport.faults import NO_FAULTS, LinkFaults, decide, is_duplicated
from cluster.transport.memory_timers import Timer, Timers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.transport.faults import Decision
    from cluster.transport.memory import MemoryServer
    from cluster.transport.memory_call import CallTap, MemoryCall


class Connection(Protocol):
    """What the network can break: a channel's connection to a server."""

    source: str
    target: str

    def broken(self, reason: str) -> None:
        """Ends every call on it with UNAVAILABLE at both ends."""


@dataclass(frozen=True, slots=True)
class NetworkStatistics:
    """What a network has done."""

    frames_carried: int
    """Frames handed to links."""
    frames_dropped: int
    connections_reset: int
    frames_waiting: int
    """Frames held by partitions now."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """A connection that has calls: since when, and how long it bears silence."""

    since: float
    keepalive_seconds: float


class _SystemTimers(Timers):
    """Timers of a system task, which runs while there are any."""

    def __init__(self) -> None:
        super().__init__()
        self._nap = trio.CancelScope()
        self._running = False

    def at(self, time: float, function: Callable[[], None]) -> Timer:
        """See :class:`Timers`."""
        timer = super().at(time, function)
        if not self._running:
            self._running = True
            trio.lowlevel.spawn_system_task(self._run, name="memory network")
        elif time < self._nap.deadline:
            self._nap.deadline = time
        return timer

    def cancel(self, timer: Timer) -> None:
        """See :class:`Timers`."""
        super().cancel(timer)
        # A virtual clock must not leap to a moment at which nothing happens.
        self._nap.deadline = self.next_time()

    async def _run(self) -> None:
        try:
            while (due := self.next_time()) < math.inf:
                if due <= trio.current_time():
                    self.run_due(trio.current_time())
                    continue
                with trio.CancelScope(deadline=due) as self._nap:
                    await trio.sleep_forever()
        finally:
            self._running = False


class Link:
    """One direction between two hosts."""

    def __init__(self, network: MemoryNetwork, source: str, target: str) -> None:
        self._network = network
        self.source = source
        self.target = target
        self.faults = NO_FAULTS
        self.waiting: list[tuple[Connection, Lane, Callable[[], None]]] = []
        self.partitioned_since = math.inf
        self._frames = itertools.count()
        self._unary = itertools.count()
        self._last_due = -math.inf
        self._sent_until = -math.inf

    @property
    def faults(self) -> LinkFaults:
        """What the link does to frames now."""
        return self._faults

    @faults.setter
    def faults(self, faults: LinkFaults) -> None:
        self._faults = faults
        self._certain: Decision | None = None
        if faults.is_certain:
            self._certain = decide(self._network.seed, self.source, self.target, 0, faults)

    def duplicates(self) -> bool:
        """Whether the unary request that is sent now arrives twice."""
        number = next(self._unary)
        return is_duplicated(self._network.seed, self.source, self.target, number, self.faults)

    def carry(
        self,
        connection: Connection,
        lane: Lane,
        deliver: Callable[[], None],
        lost: Callable[[str], None],
        size_bytes: int = 0,
    ) -> None:
        """Takes one frame: ``deliver`` runs when it arrives, ``lost`` when it never will."""
        if self._network.down and not self._network.down.isdisjoint((self.source, self.target)):
            lost(f"the connection to {self.target} was reset")
            return
        fate = self._fate(next(self._frames))
        self._network.frames_carried += 1
        if fate.reset:
            self._network.connections_reset += 1
            connection.broken(f"the connection to {self.target} was reset")
            return
        if fate.dropped:
            self._network.frames_dropped += 1
            lost(f"the connection to {self.target} lost a message")
            return
        if self._faults.holds:
            self.waiting.append((connection, lane, deliver))
            return
        delay_seconds = fate.delay_seconds
        if self._faults.bytes_per_second:
            # What is under way takes its time first.
            began = max(trio.current_time(), self._sent_until)
            self._sent_until = began + size_bytes / self._faults.bytes_per_second
            delay_seconds += self._sent_until - trio.current_time()
        self._deliver(lane, deliver, delay_seconds, overtaken=fate.overtaken)

    def _fate(self, number: int) -> Decision:
        if self._certain is not None:
            return self._certain
        return decide(self._network.seed, self.source, self.target, number, self._faults)

    def _deliver(
        self, lane: Lane, deliver: Callable[[], None], delay_seconds: float, *, overtaken: bool
    ) -> None:
        now = trio.current_time()
        due = max(now + delay_seconds, lane.last_due)
        if not overtaken:
            # Frames of a link keep their order unless one is chosen to be held back alone.
            due = max(due, self._last_due)
            self._last_due = due
        lane.last_due = due
        if due <= now:
            deliver()
        else:
            self._network.timers.at(due, deliver)

    def heal(self) -> None:
        """Delivers what waited."""
        waiting, self.waiting = self.waiting, []
        for _, lane, deliver in waiting:
            self._deliver(lane, deliver, self.faults.delay_seconds, overtaken=False)


class Lane:
    """One direction of one call: its frames never overtake each other."""

    __slots__ = ("last_due",)

    def __init__(self) -> None:
        self.last_due = -math.inf


class MemoryNetwork:
    """Named hosts joined by directed links, perfect until told otherwise. Same seed, same faults.

    A host is the part of an address before the colon; the hosts of clients are named by
    :class:`.memory.MemoryTransport`.

    What links model, and what not: a frame dropped ends its call at both ends with UNAVAILABLE,
    because HTTP/2 streams lose nothing silently; a partition holds frames back and, once the
    keepalive time is over, ends the calls of the connections that cross it, at both ends; frames
    of one call never overtake each other. A host that is off resets its connections at both ends at
    once. The credit a receiver gives back to a sender's window travels at once, even over a
    partition.
    """

    def __init__(self, *, seed: int = 0, timers: Timers | None = None) -> None:
        self.seed = seed
        self.servers: dict[str, MemoryServer] = {}
        self.timers: Timers = timers or _SystemTimers()
        self.frames_carried = 0
        self.frames_dropped = 0
        self.connections_reset = 0
        self._links: dict[tuple[str, str], Link] = {}
        self.down: set[str] = set()
        """Hosts that are off: nothing is taken from them or given to them."""
        self.redirects: dict[tuple[str, str], str] = {}
        """Which address a host reaches instead of the one it dials."""
        self.tap: Callable[[MemoryCall], CallTap | None] | None = None
        """Asked at the start of each call for somebody who looks at its messages."""
        self._connections: dict[Connection, _Opened] = {}
        self._ports: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(50_000))

    def statistics(self) -> NetworkStatistics:
        """What the network has done."""
        return NetworkStatistics(
            frames_carried=self.frames_carried,
            frames_dropped=self.frames_dropped,
            connections_reset=self.connections_reset,
            frames_waiting=sum(len(link.waiting) for link in self._links.values()),
        )

    def link(self, source: str, target: str) -> Link:
        """The link from ``source`` to ``target``."""
        link = self._links.get((source, target))
        if link is None:
            link = self._links[source, target] = Link(self, source, target)
            self.joined(link)
        return link

    def joined(self, link: Link) -> None:
        """Two hosts have a link that is not perfect, for subclasses to say so."""

    def set_faults(self, source: str, target: str, faults: LinkFaults) -> None:
        """Sets what the link from ``source`` to ``target`` does to frames from now on."""
        link = self.link(source, target)
        before, link.faults = link.faults, faults
        if faults.partitioned and not before.partitioned:
            link.partitioned_since = trio.current_time()
            for connection in tuple(self._connections):
                if {connection.source, connection.target} == {source, target}:
                    self._watch(connection)
        elif before.partitioned and not faults.partitioned:
            link.partitioned_since = math.inf
        if before.holds and not faults.holds:
            link.heal()

    def clear_faults(self) -> None:
        """Makes every link perfect again."""
        for source, target in tuple(self._links):
            self.set_faults(source, target, NO_FAULTS)

    def reset(self, source: str, target: str) -> None:
        """Resets the connections from ``source`` to ``target`` now."""
        for connection in tuple(self._connections):
            if (connection.source, connection.target) == (source, target):
                self.connections_reset += 1
                connection.broken(f"the connection to {target} was reset")

    def turn_off(self, host: str) -> None:
        """A host ends at once: its connections are reset, and nothing of it is sent any more."""
        self.down.add(host)
        for connection in tuple(self._connections):
            if host in (connection.source, connection.target):
                self.connections_reset += 1
                connection.broken(f"the connection to {connection.target} was reset")

    def turn_on(self, host: str) -> None:
        """A host is there again."""
        self.down.discard(host)

    def server_at(self, source: str, address: str, method: str) -> MemoryServer | None:
        """Who answers a call of ``method`` at an address, if somebody does."""
        del method
        return self.servers.get(self.redirects.get((source, address), address))

    def free_address(self, host: str) -> str:
        """An address of ``host`` nobody has been given before."""
        return f"{host}:{next(self._ports[host])}"

    def opened(self, connection: Connection, keepalive_seconds: float) -> None:
        """A connection has calls; partitions longer than ``keepalive_seconds`` break it."""
        self._connections[connection] = _Opened(trio.current_time(), keepalive_seconds)
        self._watch(connection)

    def closed(self, connection: Connection) -> None:
        """A connection has no calls any more."""
        self._connections.pop(connection, None)

    def _since(self, connection: Connection) -> float:
        """Since when the connection has been cut in either direction; infinite if it is whole."""
        there = self.link(connection.source, connection.target)
        back = self.link(connection.target, connection.source)
        return min(there.partitioned_since, back.partitioned_since)

    def _watch(self, connection: Connection) -> None:
        if self._since(connection) == math.inf:
            return
        opened = self._connections[connection]
        began = trio.current_time()

        def check() -> None:
            if self._connections.get(connection) is opened and self._since(connection) <= began:
                connection.broken(f"no answer from {connection.target} to keepalive pings")

        self.timers.at(began + opened.keepalive_seconds, check)
