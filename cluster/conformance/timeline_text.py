"""Events in words, short enough for a tooltip. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cluster.conformance import calls
from cluster.conformance.values import At

if TYPE_CHECKING:
    from collections.abc import Iterable

    import msgspec

    from cluster.conformance.faults import Fault
    from cluster.conformance.notes import FaultBegan
    from cluster.conformance.values import Value

LONGEST: Final = 240
"""Characters of a description; what is left out is shown as ``…``."""


def describe(what: Value) -> str:
    """A call or a note: what it is, then its fields that are not empty."""
    return cut(" ".join([_tag(what), *_fields(what)]))


def describe_outcome(what: Value) -> str:
    """An outcome, beginning with what it means."""
    if isinstance(what, calls.Refused):
        return cut(" ".join(["refused", *_fields(what, ("permanent",))]))
    if isinstance(what, calls.Unknown):
        return cut(" ".join(["nobody knows", *_fields(what)]))
    return cut(" ".join(["ok", *_fields(what)]))


def describe_fault(began: FaultBegan, planned: Fault | None) -> str:
    """A fault with how strong it was planned to be."""
    head = f"fault {began.number}: {began.kind} {began.target}"
    if planned is None:
        return head
    strength = _fields(planned, ("kind", "target", "at", "duration"))
    duration = f"for {planned.duration:g} s" if planned.duration else "for good"
    return cut(" ".join([head, duration, *strength]))


def short(what: Value) -> str:
    """A few characters for the inside of a bar."""
    if isinstance(what, calls.Ingest):
        return f"ingest {ranges(what.ids)}"
    if isinstance(what, calls.Read):
        return f"read {what.cluster}"
    if isinstance(what, calls.SetCapability):
        return f"{what.cluster} {'on' if what.on else 'off'}"
    if isinstance(what, calls.Command):
        return f"{what.verb} {what.table}".strip()
    return _tag(what)


def ranges(numbers: Iterable[int]) -> str:
    """``1-3 7 9-12``: runs in the order in which they come."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def cut(text: str) -> str:
    """At most :data:`LONGEST` characters."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _tag(what: Value) -> str:
    return str(what.__struct_config__.tag or type(what).__name__.lower())


def _fields(what: msgspec.Struct, without: tuple[str, ...] = ()) -> list[str]:
    words = []
    for name in what.__struct_fields__:
        value = getattr(what, name)
        if name in without or value is None or value in ("", (), {}, 0) or value is False:
            continue
        words.append(f"{name.replace('_', ' ')} {_value(name, value)}")
    return words


def _value(name: str, value: Any) -> str:
    if isinstance(value, At):
        keys = " ".join(f"{key}:{ordinal}" for key, (ordinal, _) in value.keys.items())
        return f"{value.version[0]}.{value.version[1]}" + (f" @ {keys}" if keys else "")
    if name == "ids":
        return f"({len(value)}) {ranges(value)}"
    if isinstance(value, tuple) and value and all(isinstance(item, int) for item in value):
        return ".".join(map(str, value))
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return " ".join(f"{key}:{item}" for key, item in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
