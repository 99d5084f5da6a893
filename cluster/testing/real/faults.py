"""Faults of a run on real processes: signals through the launcher, the rest by the coordinator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from cluster.conformance.faults import FaultKind
from cluster.conformance.notes import FaultBegan, FaultEnded, ProcessBegan, ProcessEnded
from cluster.errors import NotSupportedError, RemoraError
from cluster.launcher.identity import ProcessState, state_of
from cluster.launcher.topology import COORDINATOR
from cluster.rpc.v1 import faults_pb2, faults_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.conformance.faults import Fault
    from cluster.conformance.history import History
    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import ProcessRecord
    from cluster.transport.api import Channel

WHO: Final = "faults"

SIGNALS: Final = frozenset({FaultKind.KILL, FaultKind.PAUSE})
"""Kinds that the launcher does: SIGKILL, SIGSTOP."""

TOOLS: Final = frozenset(
    {
        FaultKind.PARTITION,
        FaultKind.ONE_WAY,
        FaultKind.DELAY,
        FaultKind.BANDWIDTH,
        FaultKind.STALL,
        FaultKind.RESET,
        FaultKind.DISK_FULL,
        FaultKind.SLOW_FSYNC,
    }
)
"""Kinds that the coordinator's FaultService does; those of ``remora fault`` that a run can undo.

A failed fsync and a leap of the monotonic clock are not: what follows lasts longer than they do.
"""

_RETRY_SECONDS: Final = 0.1
_ENOUGH_SECONDS: Final = 20.0
_LONGEST_SECONDS: Final = 60.0


class RealFaults:
    """Faults by their number in the schedule. ``channel`` is the coordinator's, open.

    A fault that cannot begin, because the coordinator or the process it strikes is down already,
    has not happened: it is not noted.
    """

    def __init__(
        self, launcher: Launcher, channel: Channel, history: History, now: Callable[[], float]
    ) -> None:
        self._launcher = launcher
        self._stub = faults_pb2_grpc.FaultServiceStub(channel)
        self._history = history
        self._now = now
        self._added: dict[int, tuple[str, Fault]] = {}
        self._signalled: dict[int, Fault] = {}
        self._launching = trio.Lock()

    async def begin(self, number: int, fault: Fault) -> None:
        """Lets a fault happen. Raises NotSupportedError for a kind that is in neither set."""
        if fault.kind not in SIGNALS | TOOLS:
            raise NotSupportedError(f"{fault.kind.value} cannot be done to real processes")
        try:
            if fault.kind in SIGNALS:
                self._signalled[number] = fault  # before: whoever finds it gone knows why
                await self._signal(fault)
            else:
                response = await self._stub.AddFault(
                    faults_pb2.AddFaultRequest(
                        fault=_message(fault), duration_seconds=fault.duration
                    ),
                    timeout=_ENOUGH_SECONDS,
                )
                self._added[number] = (response.fault.id, fault)
        except RemoraError:
            self._signalled.pop(number, None)
            return  # see the class: nobody who could do it is there
        began = FaultBegan(number=number, kind=fault.kind.value, target=fault.target)
        self._history.add(self._now(), WHO, began)

    async def end(self, number: int) -> None:
        """Ends it, and returns when the process it struck serves again."""
        signalled, added = self._signalled.pop(number, None), self._added.pop(number, None)
        if signalled is not None:
            await self._restore(self._record(signalled.target))
        elif added is not None:
            identity, fault = added
            await self._clear(identity)
            if fault.kind is FaultKind.DISK_FULL:
                await self._restart(self._record(fault.target))
        else:
            return
        self._history.add(self._now(), WHO, FaultEnded(number=number))

    async def heal(self) -> None:
        """Ends everything; every process runs."""
        faults = self._signalled | {number: fault for number, (_, fault) in self._added.items()}
        for number in sorted(faults, key=lambda item: (faults[item].target != COORDINATOR, item)):
            await self.end(number)
        setup = self._launcher.home.load(self._launcher.name)
        for record in setup.processes.values():  # the coordinator is the first
            await self._restore(record)

    def _record(self, target: str) -> ProcessRecord:
        setup = self._launcher.home.load(self._launcher.name)
        return setup.process(target)

    def _state(self, process: str) -> ProcessState:
        return state_of(self._record(process).identity)

    async def _signal(self, fault: Fault) -> None:
        record = self._record(fault.target)
        if record.id == COORDINATOR:
            # A node that is starting waits for it, and whoever starts it is waited for.
            async with self._launching:
                await self._strike(record, fault)
        else:
            await self._strike(record, fault)

    async def _strike(self, record: ProcessRecord, fault: Fault) -> None:
        if fault.kind is FaultKind.PAUSE:
            await self._launcher.pause(record.id)
            return
        await self._launcher.kill(record.id)
        self._history.add(self._now(), WHO, ProcessEnded(process=record.id, how="kill"))

    async def _restore(self, record: ProcessRecord) -> None:
        if record.id != COORDINATOR:
            # A node is up when it has a lease.
            while self._state(COORDINATOR) is not ProcessState.RUNNING:  # noqa: ASYNC110
                await trio.sleep(_RETRY_SECONDS)
        # One at a time: starting a process rewrites the setup's state.
        async with self._launching:
            state = self._state(record.id)
            if state is ProcessState.PAUSED:
                self._launcher.resume(record.id)
            elif state is ProcessState.DOWN:
                await self._launcher.start(record.id)
                self._history.add(self._now(), WHO, ProcessBegan(process=record.id))

    async def _restart(self, record: ProcessRecord) -> None:
        """A log that could not be written takes nothing more in this life of its process."""
        async with self._launching:
            if self._state(record.id) is not ProcessState.DOWN:
                await self._launcher.kill(record.id)
            self._history.add(self._now(), WHO, ProcessEnded(process=record.id, how="kill"))
        await self._restore(record)

    async def _clear(self, identity: str) -> None:
        """Clears a fault. A coordinator that was killed finds its faults again: it is waited for.

        One whose own disk was struck has ended by itself, and is started.
        """
        with trio.fail_after(_LONGEST_SECONDS):
            while True:
                taken = any(fault.target == COORDINATOR for fault in self._signalled.values())
                if self._state(COORDINATOR) is ProcessState.DOWN and not taken:
                    await self._restore(self._record(COORDINATOR))
                try:
                    await self._stub.ClearFaults(
                        faults_pb2.ClearFaultsRequest(id=identity), timeout=_ENOUGH_SECONDS
                    )
                except RemoraError as error:
                    if error.permanent:
                        return
                    await trio.sleep(_RETRY_SECONDS)
                else:
                    return


def _message(fault: Fault) -> faults_pb2.Fault:
    return faults_pb2.Fault(
        kind=fault.kind.value,
        target=fault.target,
        seconds=fault.seconds,
        jitter_seconds=fault.jitter_seconds,
        ratio=fault.ratio,
        bytes_per_second=fault.bytes_per_second,
    )
