"""What several faults on one thing come to. Pure.

Delays add up, the narrowest bandwidth counts, a cut is a cut, and of shares the chance that none
of them strikes is the product of each one's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.conformance.faults import FaultKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.conformance.faults import Fault
    from cluster.faults.active import ActiveFault


@dataclass(frozen=True, slots=True)
class DirectionFaults:
    """What happens to bytes of one direction of a link.

    ``is_cut``: nothing passes. ``is_stalled``: the same, but connections can be made.
    ``bytes_per_second`` 0 is without bound. ``break_ratio``: share of pieces that break their
    connection. ``resets``: ids of the faults that reset what is connected when they begin.
    """

    is_cut: bool = False
    is_stalled: bool = False
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    bytes_per_second: int = 0
    break_ratio: float = 0.0
    resets: frozenset[str] = frozenset()

    @property
    def is_held(self) -> bool:
        """Nothing passes."""
        return self.is_cut or self.is_stalled


@dataclass(frozen=True, slots=True)
class DiskFaults:
    """What happens to a disk. ``fail_once`` are ids of faults that fail one fsync each."""

    is_full: bool = False
    fsync_seconds: float = 0.0
    fsync_error_ratio: float = 0.0
    fail_once: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClockFaults:
    """What happens to clocks: how far the wall clock is ahead, and each leap by its fault's id."""

    wall_seconds: float = 0.0
    leaps: tuple[tuple[str, float], ...] = ()


NO_DIRECTION_FAULTS = DirectionFaults()
NO_DISK_FAULTS = DiskFaults()
NO_CLOCK_FAULTS = ClockFaults()


def direction_faults(faults: Iterable[ActiveFault], source: str, target: str) -> DirectionFaults:
    """What happens to bytes that ``source`` sends to ``target``."""
    cut = stalled = False
    delay = jitter = 0.0
    bandwidths: list[int] = []
    passes = 1.0
    resets = set()
    for active in faults:
        fault = active.fault
        if fault.link != (source, target):
            # A partition cuts both directions, whichever it names.
            cut = cut or (fault.kind is FaultKind.PARTITION and fault.link == (target, source))
            continue
        match fault.kind:
            case FaultKind.PARTITION | FaultKind.ONE_WAY:
                cut = True
            case FaultKind.STALL:
                stalled = True
            case FaultKind.DELAY:
                delay += fault.seconds
                jitter += fault.jitter_seconds
            case FaultKind.BANDWIDTH:
                bandwidths.append(fault.bytes_per_second)
            case FaultKind.DROP | FaultKind.RESET:
                passes *= 1.0 - fault.ratio
                if fault.kind is FaultKind.RESET:
                    resets.add(active.id)
            case _:
                raise AssertionError(f"{fault.kind} is no fault of a link")
    return DirectionFaults(
        is_cut=cut,
        is_stalled=stalled,
        delay_seconds=delay,
        jitter_seconds=jitter,
        bytes_per_second=min(bandwidths, default=0),
        break_ratio=1.0 - passes,
        resets=frozenset(resets),
    )


def disk_faults(faults: Iterable[ActiveFault]) -> DiskFaults:
    """What happens to the disk of a process that suffers these."""
    full = False
    seconds = 0.0
    succeeds = 1.0
    once = set()
    for active in faults:
        fault = active.fault
        match fault.kind:
            case FaultKind.DISK_FULL:
                full = True
            case FaultKind.SLOW_FSYNC:
                seconds += fault.seconds
            case FaultKind.FSYNC_ERROR if fault.ratio:
                succeeds *= 1.0 - fault.ratio
            case FaultKind.FSYNC_ERROR:
                once.add(active.id)
            case _:
                continue
    return DiskFaults(full, seconds, 1.0 - succeeds, frozenset(once))


def clock_faults(faults: Iterable[ActiveFault], born_at: float) -> ClockFaults:
    """What happens to the clocks of a process that began at ``born_at``.

    A leap happens once: to processes that were there, not to those that begin later.
    """
    jumps = [active for active in faults if active.fault.kind is FaultKind.CLOCK_JUMP]
    leaps = tuple(
        (active.id, active.fault.monotonic_seconds)
        for active in jumps
        if active.fault.monotonic_seconds and active.began_at >= born_at
    )
    return ClockFaults(sum(active.fault.seconds for active in jumps), leaps)


def struck_links(faults: Iterable[ActiveFault]) -> frozenset[tuple[str, str]]:
    """The pairs of ends that some fault is between, each both ways round."""
    pairs = set()
    for active in faults:
        fault: Fault = active.fault
        if fault.link is not None:
            source, target = fault.link
            pairs |= {(source, target), (target, source)}
    return frozenset(pairs)
