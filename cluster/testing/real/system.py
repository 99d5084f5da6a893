"""Real processes as a :class:`cluster.conformance.system.System`: the default topology, once a run.

What is seen here is what any client sees, and what the launcher does to processes; nobody looks
inside. So rules about frames and extents are not judged by these runs.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

import trio

from cluster.conformance.doors_grpc import GrpcControl, GrpcDoor
from cluster.conformance.notes import ProcessBegan
from cluster.conformance.schedule import FaultMenu
from cluster.conformance.system import Feature, Profile
from cluster.launcher.lifecycle import Launcher
from cluster.launcher.setup import Home
from cluster.testing.local import default_topology
from cluster.testing.real.faults import SIGNALS, TOOLS, WHO, RealFaults
from cluster.transport.select import transport_from_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cluster.conformance.faults import Fault
    from cluster.conformance.history import History
    from cluster.launcher.lifecycle import Commands
    from cluster.launcher.setup import Setup
    from cluster.transport.api import Channel, Transport

LIMITS: Final = {"lease_seconds": 2.0, "heartbeat_seconds": 0.25, "upkeep_check_seconds": 0.5}
"""Short waits, so that runs of seconds see leases end and seals happen."""

CALL_SECONDS: Final = 10.0
"""Deadline of a request."""

FEATURES: Final = frozenset(
    {
        Feature.CAPABILITY,
        Feature.ATTACH,
        Feature.SHARING,
        Feature.POSITIONS,
        Feature.AT_LEAST,
        Feature.STALENESS,
        Feature.HIDDEN_REASON,
        Feature.SOURCE_IDS,
        Feature.SEAL,
        Feature.FAULTS,
        Feature.COMMANDS,
    }
)

MENU: Final = FaultMenu(kinds=SIGNALS | TOOLS, bit_flips=())
"""What these processes can be made to suffer."""

PROFILE: Final = Profile(
    leaders=("leader",),
    followers=("follower1", "follower2"),
    streaming=frozenset({"leader", "follower1"}),
    features=FEATURES,
)


class RealSystem:
    """A setup that was launched for one run."""

    def __init__(
        self,
        launcher: Launcher,
        setup: Setup,
        transport: Transport,
        coordinator: Channel,
        history: History,
    ) -> None:
        self._history = history
        self._began = trio.current_time()
        self._transport = transport
        self._addresses = {
            record.id.partition("/")[0]: record.grpc for record in setup.processes.values()
        }
        self._control = GrpcControl(
            transport.connect(self._addresses["coordinator"]), timeout_seconds=CALL_SECONDS
        )
        self._doors: dict[tuple[str, str], GrpcDoor] = {}
        self._faults = RealFaults(launcher, coordinator, self._history, self.now)
        for process in setup.processes:
            self._history.add(self.now(), WHO, ProcessBegan(process=process))

    @classmethod
    @asynccontextmanager
    async def launched(
        cls, folder: Path, name: str, history: History, commands: Commands | None = None
    ) -> AsyncIterator[Self]:
        """Starts the processes in ``folder``; kills them and deletes their data on the way out.

        What happens is added to ``history``.
        """
        launcher = Launcher(Home(folder / "home"), name, commands=commands)
        try:
            setup = await launcher.up(default_topology(LIMITS), folder / "data")
            transport = transport_from_environment()
            async with transport.connect(setup.coordinator.grpc) as coordinator:
                system = cls(launcher, setup, transport, coordinator, history)
                try:
                    yield system
                finally:
                    with trio.CancelScope(shield=True):
                        await system._close()
        finally:
            with trio.CancelScope(shield=True):
                if launcher.exists():
                    await launcher.destroy()

    @property
    def profile(self) -> Profile:
        """The default topology, seen from outside."""
        return PROFILE

    @property
    def control(self) -> GrpcControl:
        """The coordinator."""
        return self._control

    @property
    def history(self) -> History:
        """What has happened so far."""
        return self._history

    def now(self) -> float:
        """Real seconds since the run began."""
        return trio.current_time() - self._began

    async def sleep(self, seconds: float) -> None:
        """Waits in real time."""
        await trio.sleep(seconds)

    def door(self, cluster: str, client: str) -> GrpcDoor:
        """A connection of that client's own, kept for the run."""
        door = self._doors.get((cluster, client))
        if door is None:
            channel = self._transport.connect(self._addresses[cluster])
            door = self._doors[cluster, client] = GrpcDoor(channel, timeout_seconds=CALL_SECONDS)
        return door

    async def begin(self, number: int, fault: Fault) -> None:
        """See :class:`RealFaults`."""
        await self._faults.begin(number, fault)

    async def end(self, number: int) -> None:
        """See :class:`RealFaults`."""
        await self._faults.end(number)

    async def heal(self) -> None:
        """See :class:`RealFaults`."""
        await self._faults.heal()

    async def _close(self) -> None:
        await self._control.aclose()
        for door in self._doors.values():
            await door.aclose()
