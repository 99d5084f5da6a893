"""Which kinds of faults there are, what each strikes and which values it takes. Pure.

:data:`KINDS` is the table; :func:`check_fault` is the door every fault comes through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from cluster.conformance.faults import Fault, FaultKind
from cluster.errors import InvalidRequestError
from cluster.faults.quantities import rate_text, seconds_text
from cluster.faults.targets import LinkTarget, parse_target

if TYPE_CHECKING:
    from cluster.faults.targets import Known, Target

LONGEST_SECONDS: Final = 86_400.0
"""Of a duration and of every delay: a day."""

LONGEST_LEAP_SECONDS: Final = 10 * 365 * 86_400.0
"""Of a leap of a clock: ten years."""

VALUES: Final = ("seconds", "jitter_seconds", "ratio", "bytes_per_second", "monotonic_seconds")
"""Fields of :class:`Fault` that are values of a kind."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: where it strikes, the values it needs, at least one of them, and may have."""

    strikes_links: bool
    does: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


KINDS: Final = {
    FaultKind.PARTITION: Kind(True, "nothing passes, either way, and nothing new connects"),
    FaultKind.ONE_WAY: Kind(True, "nothing passes this way, and nothing new connects"),
    FaultKind.DELAY: Kind(
        True,
        "everything is late by --delay, up to --jitter more",
        ("seconds",),
        ("jitter_seconds",),
    ),
    FaultKind.DROP: Kind(
        True, "a piece is lost with --ratio; TCP loses nothing silently: it breaks", ("ratio",)
    ),
    FaultKind.BANDWIDTH: Kind(True, "at most --bandwidth passes", ("bytes_per_second",)),
    FaultKind.STALL: Kind(True, "nothing is read this way: the sender's window fills"),
    FaultKind.RESET: Kind(
        True, "connections are reset, once, and with --ratio of pieces", (), ("ratio",)
    ),
    FaultKind.DISK_FULL: Kind(False, "writes fail with ENOSPC"),
    FaultKind.SLOW_FSYNC: Kind(False, "every fsync takes --seconds more", ("seconds",)),
    FaultKind.FSYNC_ERROR: Kind(
        False, "fsync fails with EIO, once, or with --ratio", (), ("ratio",)
    ),
    FaultKind.CLOCK_JUMP: Kind(
        False,
        "the wall clock is ahead by --seconds, the monotonic clock leaps by --leap",
        ("seconds", "monotonic_seconds"),
    ),
}
"""The kinds of this tool. Killing and pausing are verbs of their own."""

NAMES: Final = {FaultKind.CLOCK_JUMP: "clock"}
"""How people call kinds that have another name in a schedule."""

OPTIONS: Final = {
    "seconds": "--seconds",
    "jitter_seconds": "--jitter",
    "ratio": "--ratio",
    "bytes_per_second": "--bandwidth",
    "monotonic_seconds": "--leap",
}
"""How the command line calls each value."""

ELSEWHERE: Final = {
    FaultKind.KILL: "Use remora kill, and remora start.",
    FaultKind.PAUSE: "Use remora pause, and remora resume.",
    FaultKind.RESTART: "Use remora kill, and remora start.",
}
"""Kinds that are other commands."""


def parse_kind(text: str) -> FaultKind:
    """The kind of that name. Raises InvalidRequestError naming those there are."""
    kind = next((kind for kind, name in NAMES.items() if name == text), None)
    if kind is None:
        try:
            kind = FaultKind(text)
        except ValueError:
            raise InvalidRequestError(
                f"there is no kind of fault '{text[:40]}'", remedy=_kinds_there_are()
            ) from None
    if kind not in KINDS:
        raise InvalidRequestError(
            f"'{kind_name(kind)}' is not a fault of a running setup",
            remedy=ELSEWHERE.get(kind, _kinds_there_are()),
        )
    return kind


def kind_name(kind: FaultKind) -> str:
    """How people call it."""
    return NAMES.get(kind, kind.value)


def check_fault(fault: Fault, known: Known) -> Fault:
    """The fault with its target as it is called: a node for a cluster, a link without spaces.

    Raises InvalidRequestError (kind, target or values do not fit each other), EntityNotFoundError
    (no such target).
    """
    target = parse_target(fault.target, known)
    _check_fit(fault.kind, target)
    _check_values(fault)
    if not 0 <= fault.duration <= LONGEST_SECONDS:
        raise InvalidRequestError(
            f"a fault lasts up to {LONGEST_SECONDS:g} s, not {fault.duration:g} s; 0 is until it "
            "is cleared"
        )
    return msgspec.structs.replace(fault, target=str(target))


def _check_fit(kind: FaultKind, target: Target) -> None:
    is_link = isinstance(target, LinkTarget)
    if kind not in KINDS or KINDS[kind].strikes_links != is_link:
        what = "link" if is_link else "process"
        fitting = [kind_name(k) for k, row in KINDS.items() if row.strikes_links == is_link]
        raise InvalidRequestError(
            f"'{kind_name(kind)}' does not fit the {what} {target}",
            remedy=ELSEWHERE.get(kind, f"For a {what} there are: {', '.join(fitting)}."),
        )


def _check_values(fault: Fault) -> None:
    row = KINDS[fault.kind]
    name = kind_name(fault.kind)
    for value in VALUES:
        given = getattr(fault, value)
        if not math.isfinite(given):
            raise InvalidRequestError(f"{OPTIONS[value]} of '{name}' must be a number, not {given}")
        if given and value not in (*row.needs, *row.takes):
            takes = ", ".join(OPTIONS[v] for v in (*row.needs, *row.takes)) or "no value"
            raise InvalidRequestError(
                f"'{name}' does not take {OPTIONS[value]}", remedy=f"It takes {takes}."
            )
    if row.needs and not any(getattr(fault, value) for value in row.needs):
        needed = " or ".join(OPTIONS[value] for value in row.needs)
        raise InvalidRequestError(f"'{name}' needs {needed}")
    if not 0 <= fault.ratio <= 1:
        raise InvalidRequestError(f"--ratio must be from 0 to 1, not {fault.ratio:g}")
    if fault.bytes_per_second < 0:
        raise InvalidRequestError("--bandwidth must be more than 0")
    _check_times(fault)


def _check_times(fault: Fault) -> None:
    if fault.kind is FaultKind.CLOCK_JUMP:
        if not 0 <= fault.monotonic_seconds <= LONGEST_LEAP_SECONDS:
            raise InvalidRequestError(
                f"--leap must be from 0 to {LONGEST_LEAP_SECONDS:g} s, not "
                f"{fault.monotonic_seconds:g} s: a monotonic clock never goes back"
            )
        if abs(fault.seconds) > LONGEST_LEAP_SECONDS:
            raise InvalidRequestError(
                f"--seconds of a clock must be within {LONGEST_LEAP_SECONDS:g} s, not "
                f"{fault.seconds:g} s"
            )
        return
    for value in ("seconds", "jitter_seconds"):
        given = getattr(fault, value)
        if not 0 <= given <= LONGEST_SECONDS:
            raise InvalidRequestError(
                f"{OPTIONS[value]} must be from 0 to {LONGEST_SECONDS:g} s, not {given:g} s"
            )


def _kinds_there_are() -> str:
    links = ", ".join(kind_name(kind) for kind, row in KINDS.items() if row.strikes_links)
    processes = ", ".join(kind_name(kind) for kind, row in KINDS.items() if not row.strikes_links)
    return f"For links: {links}. For processes: {processes}. See also remora kill and remora pause."


def values_text(fault: Fault) -> str:
    """The values of a fault, for people: ``50 ms, up to 10 ms more``."""
    parts = []
    if fault.kind is FaultKind.CLOCK_JUMP:
        if fault.seconds:
            parts.append(f"wall {'+' if fault.seconds > 0 else ''}{seconds_text(fault.seconds)}")
        if fault.monotonic_seconds:
            parts.append(f"monotonic +{seconds_text(fault.monotonic_seconds)}")
    elif fault.seconds:
        parts.append(seconds_text(fault.seconds))
    if fault.jitter_seconds:
        parts.append(f"up to {seconds_text(fault.jitter_seconds)} more")
    if fault.ratio:
        parts.append(f"ratio {fault.ratio:g}")
    if fault.bytes_per_second:
        parts.append(rate_text(fault.bytes_per_second))
    return ", ".join(parts)
