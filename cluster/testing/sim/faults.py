"""Lets faults happen to a world, each with the way back.

A handler takes a fault and does what it says; what it returns ends the fault. One table says which
handler is whose. What a handler needs of chance is a hash of the seed and the fault's number.
"""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Final

import trio

from cluster.conformance.faults import FaultKind
from cluster.testing.sim.copies import files_in, put_files
from cluster.testing.sim.damage import flip_bit
from cluster.testing.sim.settings import COORDINATOR
from cluster.testing.sim.world import address_of
from cluster.transport.faults import LinkFaults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cluster.conformance.faults import Fault
    from cluster.testing.sim.copies import StateCopies
    from cluster.testing.sim.process import Process
    from cluster.testing.sim.world import World

    Undo = Callable[[], Awaitable[None]]
    Handler = Callable[["Injector", int, Fault], Awaitable[Undo]]

SECOND_COORDINATOR: Final = "coordinator2"
SPLIT: Final = "split"
"""Detail of COORDINATOR_TWICE: each process knows one of the two."""

_SPARE_BYTES: Final = 300
"""What a full disk still takes: enough for a part of a record."""


class Injector:
    """Begins and ends faults of a world."""

    def __init__(self, world: World, backups: StateCopies) -> None:
        self.world = world
        self.backups = backups
        self.armed: dict[str, str] = {}
        """Point at which each process is to be killed."""
        self.struck: set[str] = set()
        """Processes whose disk was damaged or refused writes: they may end and say so."""
        self._active: dict[int, tuple[Fault, Undo]] = {}
        self._seconds = 0

    async def begin(self, number: int, fault: Fault) -> None:
        """Lets a fault happen. ValueError if it has begun already, KeyError: no such target."""
        if number in self._active:
            raise ValueError(f"fault {number} has begun already")
        undo = await _HANDLERS[fault.kind](self, number, fault)
        self._active[number] = fault, undo

    async def end(self, number: int) -> None:
        """Ends it; nothing if it is over."""
        found = self._active.pop(number, None)
        if found is not None:
            await found[1]()
        else:
            await trio.lowlevel.checkpoint()

    @property
    def active(self) -> tuple[int, ...]:
        """Faults that have begun and not ended, in order."""
        return tuple(sorted(self._active))

    def keeps_down(self, process: Process) -> bool:
        """Whether a fault that is not over will start the process again."""
        return any(
            fault.kind in _LIFE_KINDS and self.world.process_at(fault.target) is process
            for fault, _ in self._active.values()
        )

    def chance(self, number: int, what: str) -> float:
        """From 0 to 1, the same for the same fault of the same run."""
        key = f"{self.world.settings.seed}\0fault\0{number}\0{what}".encode()
        digest = hashlib.blake2b(key, digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    # Processes

    async def kill(self, number: int, fault: Fault) -> Undo:
        """KILL."""
        process = self.world.process_at(fault.target)
        await process.end("kill")
        return process.start

    async def power(self, number: int, fault: Fault) -> Undo:
        """POWER: of the unsynced bytes any part may have reached the disk."""
        process = self.world.process_at(fault.target)
        kept = int(self.chance(number, "kept") * (process.disk.unsynced_bytes + 1))
        await process.end("power", kept_bytes=kept)
        return process.start

    async def restart(self, number: int, fault: Fault) -> Undo:
        """RESTART."""
        process = self.world.process_at(fault.target)
        await process.end("stop")
        return process.start

    async def pause(self, number: int, fault: Fault) -> Undo:
        """PAUSE: nothing comes in or out and no time passes; its tasks go on unseen."""
        process = self.world.process_at(fault.target)
        process.clock.freeze()
        self.world.network.hold(process.host)

        async def go_on() -> None:
            process.clock.thaw()
            self.world.network.release(process.host)
            await trio.lowlevel.checkpoint()

        await trio.lowlevel.checkpoint()
        return go_on

    async def crash_point(self, number: int, fault: Fault) -> Undo:
        """CRASH_POINT: armed until it strikes or the fault ends."""
        process = self.world.process_at(fault.target)
        self.armed[process.name] = fault.detail

        async def start() -> None:
            self.armed.pop(process.name, None)
            await process.start()

        await trio.lowlevel.checkpoint()
        return start

    async def replace(self, number: int, fault: Fault) -> Undo:
        """REPLACE: another machine takes its place, with nothing on its disk."""
        process = self.world.process_at(fault.target)
        await process.end("kill")
        process.disk.wipe()
        shutil.rmtree(self.world.programs[process.host].folder, ignore_errors=True)
        return process.start

    # Links

    async def link(self, number: int, fault: Fault) -> Undo:
        """Every kind that strikes a link."""
        assert fault.link is not None, "such a fault names a link"
        source, target = (end.partition("/")[0] for end in fault.link)
        network = self.world.network
        directions = [(source, target)]
        if fault.kind is FaultKind.PARTITION:
            directions.append((target, source))
        if fault.kind is FaultKind.RESET:
            network.reset(source, target)
            network.reset(target, source)
        for one, other in directions:
            network.add_fault(number, one, other, _LINK_FAULTS[fault.kind](fault))

        async def heal() -> None:
            for one, other in directions:
                network.remove_fault(number, one, other)
            await trio.lowlevel.checkpoint()

        await trio.lowlevel.checkpoint()
        return heal

    # Disks

    async def disk_full(self, number: int, fault: Fault) -> Undo:
        """DISK_FULL: of the machine, and of the storage root that is on it."""
        process = self.world.process_at(fault.target)
        disk, root = process.disk, self.world.roots.get(process.host)
        self.struck.add(process.name)
        disk.capacity_bytes = disk.used_bytes() + _SPARE_BYTES
        if root is not None:
            root.capacity_bytes = sum(len(root.content(name)) for name in root.names())

        async def clean_up() -> None:
            disk.capacity_bytes = None
            if root is not None:
                root.capacity_bytes = None
            await self._again(process)

        await trio.lowlevel.checkpoint()
        return clean_up

    async def slow_fsync(self, number: int, fault: Fault) -> Undo:
        """SLOW_FSYNC."""
        disk = self.world.process_at(fault.target).disk
        disk.slow_seconds = fault.seconds

        async def repair() -> None:
            disk.slow_seconds = 0.0
            await trio.lowlevel.checkpoint()

        await trio.lowlevel.checkpoint()
        return repair

    async def fsync_error(self, number: int, fault: Fault) -> Undo:
        """FSYNC_ERROR."""
        process = self.world.process_at(fault.target)
        disk = process.disk
        self.struck.add(process.name)
        if fault.ratio:
            disk.sync_error_ratio = fault.ratio
        else:
            disk.sync_fails_next = True

        async def repair() -> None:
            disk.sync_error_ratio, disk.sync_fails_next = 0.0, False
            await self._again(process)

        await trio.lowlevel.checkpoint()
        return repair

    async def bit_flip(self, number: int, fault: Fault) -> Undo:
        """BIT_FLIP: while the process is down, so that it meets the damage when it starts."""
        process = self.world.process_at(fault.target)
        self.struck.add(process.name)
        await process.end("kill")
        flip_bit(
            process.disk,
            self.world.programs[process.host].folder,
            fault.detail,
            lambda what: self.chance(number, what),
        )
        return process.start

    async def _again(self, process: Process) -> None:
        """Somebody has repaired the disk and starts the process again, as its errors tell."""
        if process.disk.refused:
            process.disk.refused = False
            await process.end("stop")
            await process.start()
        else:
            await trio.lowlevel.checkpoint()

    # Clocks

    async def clock_jump(self, number: int, fault: Fault) -> Undo:
        """CLOCK_JUMP; whoever keeps the time sets the wall clock right in the end."""
        clock = self.world.process_at(fault.target).clock
        clock.jump(fault.seconds)
        if fault.monotonic_seconds > 0:
            clock.leap(fault.monotonic_seconds)

        async def set_right() -> None:
            clock.jump(-fault.seconds)
            await trio.lowlevel.checkpoint()

        await trio.lowlevel.checkpoint()
        return set_right

    async def clock_drift(self, number: int, fault: Fault) -> Undo:
        """CLOCK_DRIFT, so far that two of them stay within the limit."""
        clock = self.world.process_at(fault.target).clock
        most = self.world.settings.limits.clock_drift_ratio * 0.49
        clock.drift(max(-most, min(most, fault.ratio)))

        async def set_right() -> None:
            clock.drift(0.0)
            await trio.lowlevel.checkpoint()

        await trio.lowlevel.checkpoint()
        return set_right

    # The control plane

    async def old_state(self, number: int, fault: Fault) -> Undo:
        """COORDINATOR_OLD_STATE: it runs so until somebody notices and lets it adopt the nodes."""
        process = self.world.coordinator
        await process.end("kill")
        self.backups.restore(fault.seconds)
        await process.start()
        return self._adopt

    async def _adopt(self) -> None:
        """The remedy that nodes in doubt name: the coordinator is restarted to take over."""
        await self.world.coordinator.end("stop")
        self.world.coordinator_program.adopts = True
        await self.world.coordinator.start()

    async def two_coordinators(self, number: int, fault: Fault) -> Undo:
        """COORDINATOR_TWICE: both answer at one address, so that everybody meets both.

        With ``detail`` :data:`SPLIT` each process reaches only one of them, which nobody in the
        setup can find out.
        """
        world, address = self.world, address_of(COORDINATOR)
        self._seconds += 1
        folder = world.folder / f"{SECOND_COORDINATOR}-{self._seconds}"
        put_files(folder, files_in(world.folder / COORDINATOR))
        second = world.add_coordinator(SECOND_COORDINATOR, folder)
        await second.start()
        hosts = [*world.settings.clusters, world.control_host]
        moved = [host for host in hosts if self.chance(number, host) < 0.5]
        if fault.detail == SPLIT:
            for host in moved:
                world.network.redirects[host, address] = address_of(SECOND_COORDINATOR)
        else:
            world.network.twins[address] = address_of(SECOND_COORDINATOR)
        for host in moved:
            world.network.reset(host, COORDINATOR)

        async def only_one() -> None:
            world.network.twins.pop(address, None)
            for host in hosts:
                world.network.redirects.pop((host, address), None)
                world.network.reset(host, COORDINATOR)
            await second.end("stop")
            await self._adopt()

        return only_one


_LINK_FAULTS: Final[Mapping[FaultKind, Callable[[Fault], LinkFaults]]] = {
    FaultKind.PARTITION: lambda _: LinkFaults(partitioned=True),
    FaultKind.ONE_WAY: lambda _: LinkFaults(partitioned=True),
    FaultKind.DELAY: lambda fault: LinkFaults(
        delay_seconds=fault.seconds, jitter_seconds=fault.jitter_seconds
    ),
    FaultKind.DROP: lambda fault: LinkFaults(drop_ratio=fault.ratio),
    FaultKind.DUPLICATE: lambda fault: LinkFaults(duplicate_ratio=fault.ratio),
    FaultKind.REORDER: lambda fault: LinkFaults(
        reorder_ratio=fault.ratio, reorder_seconds=fault.seconds
    ),
    FaultKind.BANDWIDTH: lambda fault: LinkFaults(bytes_per_second=fault.bytes_per_second),
    FaultKind.STALL: lambda _: LinkFaults(stalled=True),
    FaultKind.RESET: lambda fault: LinkFaults(reset_ratio=fault.ratio),
}

_LIFE_KINDS: Final = frozenset(
    {
        FaultKind.KILL,
        FaultKind.POWER,
        FaultKind.RESTART,
        FaultKind.CRASH_POINT,
        FaultKind.REPLACE,
        FaultKind.BIT_FLIP,
        FaultKind.COORDINATOR_OLD_STATE,
    }
)
"""Faults at whose end the process is started."""

_HANDLERS: Final[Mapping[FaultKind, Handler]] = {
    FaultKind.KILL: Injector.kill,
    FaultKind.POWER: Injector.power,
    FaultKind.RESTART: Injector.restart,
    FaultKind.PAUSE: Injector.pause,
    FaultKind.CRASH_POINT: Injector.crash_point,
    FaultKind.REPLACE: Injector.replace,
    **dict.fromkeys(_LINK_FAULTS, Injector.link),
    FaultKind.DISK_FULL: Injector.disk_full,
    FaultKind.SLOW_FSYNC: Injector.slow_fsync,
    FaultKind.FSYNC_ERROR: Injector.fsync_error,
    FaultKind.BIT_FLIP: Injector.bit_flip,
    FaultKind.CLOCK_JUMP: Injector.clock_jump,
    FaultKind.CLOCK_DRIFT: Injector.clock_drift,
    FaultKind.COORDINATOR_OLD_STATE: Injector.old_state,
    FaultKind.COORDINATOR_TWICE: Injector.two_coordinators,
}
