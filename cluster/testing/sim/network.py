"""The simulated network: several faults may strike a link at once, and hosts can stand still."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import trio

from cluster.testing.sim.scheduling import LeapingClock
from cluster.transport.faults import LinkFaults
from cluster.transport.memory_network import Link, MemoryNetwork

if TYPE_CHECKING:
    from cluster.testing.sim.settings import Settings
    from cluster.transport.memory import MemoryServer

_ADDED = frozenset({"delay_seconds", "jitter_seconds"})
"""Fields that add up when several faults strike a link; of the others the worst counts."""


class SimulatedNetwork(MemoryNetwork):
    """A memory network whose links carry any number of faults, each with a number of its own."""

    def __init__(self, settings: Settings) -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, LeapingClock), "simulated worlds are in virtual time"
        super().__init__(seed=settings.seed, timers=clock)
        self._base = LinkFaults(
            delay_seconds=settings.delay_seconds, jitter_seconds=settings.jitter_seconds
        )
        self._faults: dict[tuple[str, str], dict[int, LinkFaults]] = {}
        self._held: dict[str, int] = {}
        self.twins: dict[str, str] = {}
        """Addresses that every other call to another address comes to instead."""
        self._calls_to_twins: dict[tuple[str, str], int] = {}

    def joined(self, link: Link) -> None:
        """A link begins with the delays of the world, and with what strikes it already."""
        self._apply(link.source, link.target)

    def server_at(self, source: str, address: str, method: str) -> MemoryServer | None:
        """Who answers a call.

        A source's calls of one method come to an address and its twin in turn, so that two
        heartbeats of a process are heard by both: who hears neither cannot know of the other.
        """
        twin = self.twins.get(address)
        if twin is not None:
            key = f"{self.seed}\0twin\0{source}\0{method}".encode()
            drawn = hashlib.blake2b(key, digest_size=1).digest()[0]
            number = self._calls_to_twins.get((source, method), drawn) + 1
            self._calls_to_twins[source, method] = number
            if number & 1:
                address = twin
        return super().server_at(source, address, method)

    def add_fault(self, number: int, source: str, target: str, faults: LinkFaults) -> None:
        """From now on this strikes the link too, until :meth:`remove_fault`."""
        self._faults.setdefault((source, target), {})[number] = faults
        self._apply(source, target)

    def remove_fault(self, number: int, source: str, target: str) -> None:
        """It does not any more."""
        self._faults.get((source, target), {}).pop(number, None)
        self._apply(source, target)

    def hold(self, host: str) -> None:
        """A host stands still: nothing comes from it or to it until it is released as often."""
        self._held[host] = self._held.get(host, 0) + 1
        self._apply_all()

    def release(self, host: str) -> None:
        """It goes on, and everything that waited is delivered at once."""
        self._held[host] -= 1
        self._apply_all()

    def _apply_all(self) -> None:
        for source, target in sorted(self._links):
            self._apply(source, target)

    def _apply(self, source: str, target: str) -> None:
        merged = self._base
        for faults in self._faults.get((source, target), {}).values():
            merged = _worse(merged, faults)
        if self._held.get(source) or self._held.get(target):
            merged = _worse(merged, LinkFaults(partitioned=True))
        if merged != self.link(source, target).faults:
            self.set_faults(source, target, merged)


def _worse(one: LinkFaults, other: LinkFaults) -> LinkFaults:
    values: dict[str, Any] = {}
    for item in fields(LinkFaults):
        first, second = getattr(one, item.name), getattr(other, item.name)
        if item.name in _ADDED:
            values[item.name] = first + second
        elif item.name == "bytes_per_second":
            values[item.name] = min(filter(None, (first, second)), default=0)
        else:
            values[item.name] = max(first, second)
    return LinkFaults(**values)
