"""The simulated setup as a system under test: doors, control, faults, notes."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

import trio

from cluster.conformance.doors_grpc import GrpcControl, GrpcDoor
from cluster.conformance.history import History
from cluster.conformance.notes import (
    FaultBegan,
    FaultEnded,
    ProcessBegan,
    ProcessEnded,
    Reached,
)
from cluster.conformance.system import Feature, Profile
from cluster.testing.sim.copies import StateCopies
from cluster.testing.sim.faults import Injector
from cluster.testing.sim.lives import AFTER_FILE, BEFORE_FILE, LIFE
from cluster.testing.sim.observing import Observer
from cluster.testing.sim.process import blames_disk
from cluster.testing.sim.scheduling import collect_now_and_then
from cluster.testing.sim.settings import COORDINATOR
from cluster.testing.sim.taps import Taps
from cluster.testing.sim.world import World, address_of

if TYPE_CHECKING:
    import logging
    from pathlib import Path

    from cluster.conformance.faults import Fault
    from cluster.conformance.notes import Note
    from cluster.testing.sim.process import Process
    from cluster.testing.sim.settings import Settings

FEATURES: Final = frozenset(Feature)
"""Everything can be done here, and looked at."""

WHO: Final = "world"

_RESTART_SECONDS: Final = 5.0
"""After so long somebody starts a process again that has ended by itself."""


def profile_of(settings: Settings) -> Profile:
    """What a run may do with a world."""
    return Profile(
        leaders=settings.leaders,
        followers=settings.followers,
        streaming=settings.streaming,
        features=FEATURES,
        strict=settings.strict,
    )


class SimulatedSystem:
    """:class:`cluster.conformance.system.System` of a :class:`World`.

    :meth:`start` before anything else. ``failures`` are texts of what must not happen: processes
    that ended by themselves, handlers that raised what is no answer.
    """

    def __init__(self, settings: Settings, folder: Path, nursery: trio.Nursery) -> None:
        self.failures: list[str] = []
        self.world = World(settings, folder, nursery, self, self._at_point)
        self._nursery = nursery
        self._history = History()
        self._reached: set[str] = set()
        self._is_closed = False
        self._backups = StateCopies(folder / COORDINATOR)
        self.injector = Injector(self.world, self._backups)
        self._observer = Observer(self.world, self._note, self._note_reached)
        self.world.network.tap = Taps(
            self._note, self._note_reached, self.now, settings.limits.garbage_follower_seconds
        )
        self._control = GrpcControl(
            self.world.transport(self.world.control_host).connect(address_of(COORDINATOR))
        )

    # The system under test

    @property
    def profile(self) -> Profile:
        """See :class:`cluster.conformance.system.System`."""
        return profile_of(self.world.settings)

    @property
    def control(self) -> GrpcControl:
        """See :class:`cluster.conformance.system.System`."""
        return self._control

    @property
    def history(self) -> History:
        """See :class:`cluster.conformance.system.System`."""
        return self._history

    def now(self) -> float:
        """See :class:`cluster.conformance.system.System`."""
        return trio.current_time()

    async def sleep(self, seconds: float) -> None:
        """See :class:`cluster.conformance.system.System`."""
        await trio.sleep(seconds)

    def door(self, cluster: str, client: str) -> GrpcDoor:
        """See :class:`cluster.conformance.system.System`; the client's host has its name."""
        return GrpcDoor(self.world.transport(client).connect(address_of(cluster)))

    async def begin(self, number: int, fault: Fault) -> None:
        """See :class:`cluster.conformance.system.System`."""
        kind, target, detail = fault.kind.value, fault.target, fault.detail
        self._note(WHO, FaultBegan(number=number, kind=kind, target=target, detail=detail))
        await self.injector.begin(number, fault)

    async def end(self, number: int) -> None:
        """See :class:`cluster.conformance.system.System`."""
        if number in self.injector.active:
            await self.injector.end(number)
            self._note(WHO, FaultEnded(number=number))
        else:
            await trio.lowlevel.checkpoint()

    async def heal(self) -> None:
        """See :class:`cluster.conformance.system.System`."""
        for number in self.injector.active:
            await self.end(number)
        for process in self.world.processes.values():
            await process.start()

    # Its life

    async def start(self) -> None:
        """Starts every process; returns when all serve."""
        await self.world.start()
        self._nursery.start_soon(self._observer.run)
        self._nursery.start_soon(self._backups.run)
        self._nursery.start_soon(collect_now_and_then)

    def close(self) -> None:
        """The run is over: one more look, then whatever happens is not noted."""
        self._observer.look()
        self._is_closed = True

    # What is told

    def began(self, process: Process, *, lost_disk: bool) -> None:
        """See :class:`cluster.testing.sim.process.Watcher`."""
        self._note(process.name, ProcessBegan(process=process.name, lost_disk=lost_disk))

    def ended(self, process: Process, how: str, error: BaseException | None) -> None:
        """See :class:`cluster.testing.sim.process.Watcher`."""
        if self._is_closed:
            return
        message = "" if error is None else _short(error)
        self._note(process.name, ProcessEnded(process=process.name, how=how, message=message))
        if how != "crash":
            return
        if error is None or not (blames_disk(error) and process.name in self.injector.struck):
            self._failed(f"{process.name} ended by itself", error)
        self._nursery.start_soon(self._start_again, process)

    async def _start_again(self, process: Process) -> None:
        await trio.sleep(_RESTART_SECONDS)
        if not self.injector.keeps_down(process):
            await process.start()

    def _at_point(self, name: str, point: str) -> None:
        """A process has reached a named point; perhaps it is the one where it is to die."""
        if name == COORDINATOR and point in (BEFORE_FILE, AFTER_FILE):
            self._backups.written()
        process = self.world.processes.get(name)
        life = LIFE.get()
        if process is None or life is None or life.is_over:
            return
        if self.injector.armed.get(name) == point:
            del self.injector.armed[name]
            process.strike("kill")

    def emit(self, record: logging.LogRecord) -> None:
        """An error was logged. With a traceback it is a defect, unless its process is dead."""
        life = LIFE.get()
        if record.exc_info and not (life is not None and life.is_over) and not self._is_closed:
            who = WHO if life is None else life.process
            self._failed(f"{who}: {record.getMessage()}", record.exc_info[1])

    def _failed(self, what: str, error: BaseException | None) -> None:
        lines = "" if error is None else "".join(traceback.format_exception(error))
        self.failures.append(f"at {self.now():.3f} s: {what}\n{lines}")

    def _note_reached(self, state: str) -> None:
        if state not in self._reached:
            self._note(WHO, Reached(state=state))

    def _note(self, who: str, what: Note) -> None:
        if self._is_closed:
            return
        if isinstance(what, Reached):
            if what.state in self._reached:
                return
            self._reached.add(what.state)
        self._history.add(self.now(), who, what)


def _short(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_short(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"
