"""Schedules of faults from seeds. Pure.

Each run draws which kinds of faults it has and how many, from none at all to a storm. Whatever is
drawn can be recovered from: every fault ends before the safety phase does, one process has one
trouble at a time, no only copy is destroyed, and clocks drift within what the rule allows for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from cluster.conformance.draw import Draw
from cluster.conformance.faults import Fault, FaultKind, Schedule
from cluster.conformance.system import Feature

if TYPE_CHECKING:
    from cluster.conformance.system import Profile

COORDINATOR: Final = "coordinator"

PROCESS_KINDS: Final = (
    FaultKind.KILL,
    FaultKind.POWER,
    FaultKind.RESTART,
    FaultKind.PAUSE,
    FaultKind.CRASH_POINT,
    FaultKind.REPLACE,
)
LINK_KINDS: Final = (
    FaultKind.PARTITION,
    FaultKind.ONE_WAY,
    FaultKind.DELAY,
    FaultKind.DROP,
    FaultKind.DUPLICATE,
    FaultKind.REORDER,
    FaultKind.BANDWIDTH,
    FaultKind.STALL,
    FaultKind.RESET,
)
DISK_KINDS: Final = (
    FaultKind.DISK_FULL,
    FaultKind.SLOW_FSYNC,
    FaultKind.FSYNC_ERROR,
    FaultKind.BIT_FLIP,
)
CLOCK_KINDS: Final = (FaultKind.CLOCK_JUMP, FaultKind.CLOCK_DRIFT)
COORDINATOR_KINDS: Final = (FaultKind.COORDINATOR_OLD_STATE, FaultKind.COORDINATOR_TWICE)

DRIFT_RATIO: Final = 0.0045
"""Two clocks that drift apart by this much each stay within ``Limits.clock_drift_ratio``, 0.01."""

_FEW_KINDS: Final = 10
_SHARE_OF_FEW: Final = 0.6
_SHARE_OF_MANY: Final = 0.35
"""Share of the kinds on the menu that a run has."""


@dataclass(frozen=True, slots=True)
class FaultMenu:
    """What a system can be made to suffer.

    ``crash_points`` are names for ``CRASH_POINT`` (none: the kind is not drawn). ``bit_flips`` are
    the parts of a *follower's* files that may be hit: on a leader they would be the only copy.
    ``clients`` are host names whose links can fail; ``clock_jump_seconds`` bounds a leap.
    """

    kinds: frozenset[FaultKind] = frozenset(FaultKind)
    crash_points: tuple[str, ...] = ()
    bit_flips: tuple[str, ...] = ("cache",)
    clients: tuple[str, ...] = ()
    clock_jump_seconds: float = 7200.0
    drift_ratio: float = DRIFT_RATIO


def generate_schedule(
    seed: int,
    profile: Profile,
    *,
    menu: FaultMenu | None = None,
    safety_seconds: float = 600.0,
    intensity: float | None = None,
) -> Schedule:
    """The faults of the run of this seed. ``intensity`` None draws it; 0 is none, 1 is usual.

    Windows are within 3 % to 92 % of ``safety_seconds``.
    """
    menu = menu or FaultMenu()
    if Feature.FAULTS not in profile.features:
        return Schedule()
    draw = Draw(seed, "intensity")
    drawn = draw.weighted(((0.0, 0.1), (0.4, 0.3), (1.0, 0.45), (3.0, 0.15)))
    strength = drawn if intensity is None else intensity
    share = _SHARE_OF_MANY if len(menu.kinds) > _FEW_KINDS else _SHARE_OF_FEW
    faults: list[Fault] = []
    for kind in FaultKind:
        own = Draw(seed, f"kind {kind.value}")
        chosen, factor = own.chance(share), own.scale(0.4, 3.0)
        if not chosen or kind not in menu.kinds or not strength:
            continue
        if kind in CLOCK_KINDS and Feature.CLOCKS not in profile.features:
            continue
        for number in range(max(1, round(1.2 * factor * strength))):
            fault = _fault(Draw(seed, f"fault {kind.value} {number}"), kind, profile, menu)
            if fault is not None:
                faults.append(_timed(seed, number, fault, safety_seconds))
    return Schedule(faults=_apart(faults))


def _timed(seed: int, number: int, fault: Fault, safety_seconds: float) -> Fault:
    """Puts a fault into the safety phase; mostly short, sometimes longer than a lease.

    The coordinator is away for longer: nodes do not miss it before their leases end.
    """
    draw = Draw(seed, f"time {fault.kind.value} {number}")
    start, end = safety_seconds * 0.03, safety_seconds * 0.92
    longest = min(end - start, max(1.0, safety_seconds * 0.2))
    shortest = longest / 8 if fault.target == COORDINATOR else min(0.3, longest)
    duration = draw.scale(shortest, longest)
    at = draw.between(start, end - duration)
    return msgspec.structs.replace(fault, at=at, duration=duration)


def _apart(faults: list[Fault]) -> tuple[Fault, ...]:
    """By time; what would strike a process in trouble of the same sort is left out."""
    kept: list[Fault] = []
    for fault in sorted(faults, key=lambda item: (item.at, item.kind.value, item.target)):
        sort = _sort(fault.kind)
        if not any(
            _sort(other.kind) == sort
            and other.target == fault.target
            and other.ends_at + 1.0 > fault.at
            for other in kept
        ):
            kept.append(fault)
    return tuple(kept)


def _sort(kind: FaultKind) -> str:
    if kind in PROCESS_KINDS or kind in COORDINATOR_KINDS:
        return "life"
    if kind in LINK_KINDS:
        return str(kind.value)  # different faults of one link add up
    return "disk" if kind in DISK_KINDS else "clock"


def _fault(draw: Draw, kind: FaultKind, profile: Profile, menu: FaultMenu) -> Fault | None:
    """A fault without its time; None where the system has nothing for it to strike."""
    if kind in LINK_KINDS:
        return _link_fault(draw, kind, _links(profile, menu))
    if kind in COORDINATOR_KINDS:
        return Fault(kind=kind, target=COORDINATOR, seconds=draw.scale(1.0, 120.0))
    nodes = [f"{name}/0" for name in (*profile.leaders, *profile.followers)]
    followers = [f"{name}/0" for name in profile.followers]
    if kind is FaultKind.REPLACE:
        return Fault(kind=kind, target=draw.pick(followers))
    if kind is FaultKind.BIT_FLIP:
        if not menu.bit_flips:
            return None
        return Fault(kind=kind, target=draw.pick(followers), detail=draw.pick(menu.bit_flips))
    if kind is FaultKind.CRASH_POINT:
        if not menu.crash_points:
            return None
        return Fault(kind=kind, target=draw.pick(nodes), detail=draw.pick(menu.crash_points))
    target = draw.pick((*nodes, COORDINATOR))
    if kind is FaultKind.SLOW_FSYNC:
        return Fault(kind=kind, target=target, seconds=draw.scale(0.02, 5.0))
    if kind is FaultKind.FSYNC_ERROR:
        ratio = draw.pick((0.0, 0.05, 0.5))
        return Fault(kind=kind, target=target, ratio=ratio)
    if kind is FaultKind.CLOCK_JUMP:
        seconds = draw.scale(0.5, menu.clock_jump_seconds)
        leap = draw.scale(0.5, menu.clock_jump_seconds) if draw.chance(0.3) else 0.0
        return Fault(
            kind=kind,
            target=target,
            seconds=draw.pick((seconds, -seconds)),
            # The coordinator's would end other processes' leases before their time.
            monotonic_seconds=0.0 if target == COORDINATOR else leap,
        )
    if kind is FaultKind.CLOCK_DRIFT:
        ratio = round(menu.drift_ratio * draw.scale(0.05, 1.0), 6)
        return Fault(kind=kind, target=target, ratio=draw.pick((ratio, -ratio)))
    return Fault(kind=kind, target=target)


def _links(profile: Profile, menu: FaultMenu) -> list[tuple[str, float]]:
    """Every link with its weight: between leaders and followers most of all."""
    pairs: list[tuple[str, str, float]] = []
    for leader in profile.leaders:
        pairs.extend((leader, follower, 6.0) for follower in profile.followers)
    pairs.extend((name, COORDINATOR, 3.0) for name in (*profile.leaders, *profile.followers))
    for client in menu.clients:
        pairs.extend((client, leader, 0.5) for leader in profile.leaders)
    links = []
    for source, target, weight in pairs:
        links.append((f"{source}->{target}", weight))
        links.append((f"{target}->{source}", weight))
    return links


def _link_fault(draw: Draw, kind: FaultKind, links: list[tuple[str, float]]) -> Fault:
    target = draw.weighted(links)
    ratio = draw.scale(0.01, 0.4)
    seconds = draw.scale(0.01, 8.0)
    if kind is FaultKind.DELAY:
        jitter_seconds = draw.scale(0.01, 8.0)
        return Fault(kind=kind, target=target, seconds=seconds, jitter_seconds=jitter_seconds)
    if kind in (FaultKind.DROP, FaultKind.DUPLICATE):
        return Fault(kind=kind, target=target, ratio=ratio)
    if kind is FaultKind.REORDER:
        return Fault(kind=kind, target=target, ratio=ratio, seconds=seconds)
    if kind is FaultKind.BANDWIDTH:
        return Fault(kind=kind, target=target, bytes_per_second=round(draw.scale(200, 100_000)))
    if kind is FaultKind.RESET:
        return Fault(kind=kind, target=target, ratio=draw.pick((0.0, ratio / 10)))
    return Fault(kind=kind, target=target)
