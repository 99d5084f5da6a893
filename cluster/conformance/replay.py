"""One line that runs a seed again. Pure.

The line is made to be copied: printable ASCII without spaces, quotes, backslashes, ``$`` or ``!``,
so that single quotes carry it through every shell, chat and log. It says itself of what version it
is, and a line of another version, or of another format of histories, is refused with a sentence
instead of being run as something else::

    v=1;history=1;seed=7;rule=R5;hash=9f2c51d0;faults=partition:leader->follower1@12.5+30

Fields that have their usual value are left out. ``plan`` is how the plan was drawn, 1 if it is left
out: ``skip`` counts its operations, so old lines go on with old plans. ``faults`` is one of

- ``drawn:1a2b3c4d``: those that the seed draws, with a hash to notice a build that draws others;
- ``none``;
- faults joined by ``|``, each ``kind:target@begin+duration`` and then ``,name=value``.

``hash`` begins the digest of the recorded history: a replay can say whether it is the same run.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from cluster.conformance.faults import Fault, FaultKind, Schedule
from cluster.conformance.history import HISTORY_FORMAT
from cluster.conformance.request import Ranges, RunRequest
from cluster.conformance.traits import TRAFFIC

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_VERSION: Final = 1
"""Version of the encoding; lines of other versions are refused."""

_FIRST_PLAN: Final = 1
HASH_CHARACTERS: Final = 8
_MAX_SEED: Final = 2**63 - 1
_KNOWN: Final = (
    *("v", "history", "plan", "seed", "system", "mutant", "rule", "hash", "intensity"),
    *("safety", "liveness", "skip", "faults"),
)
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]*")
_FAULT: Final = re.compile(r"(?P<kind>[a-z-]+):(?P<target>[^@]*)@(?P<at>[^+]*)\+(?P<rest>.*)")
_SAFE: Final = "/->_."
_STRENGTHS: Final = {
    "ratio": "ratio",
    "seconds": "seconds",
    "jitter": "jitter_seconds",
    "bytes": "bytes_per_second",
    "monotonic": "monotonic_seconds",
}
"""Fields of a fault that say how strong it is, by their names in a line."""


class ReplayError(ValueError):
    """The line cannot be replayed here; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A run to be run again: what for, and what it was.

    ``drawn`` is :func:`schedule_hash` of the faults if the request draws them, ``digest`` the
    beginning of the recorded history's digest; both may be empty.
    """

    request: RunRequest
    rule: str = ""
    digest: str = ""
    drawn: str = ""


def schedule_hash(schedule: Schedule) -> str:
    """A short hash that tells schedules apart."""
    text = schedule.encode().encode()
    return hashlib.blake2b(text, digest_size=HASH_CHARACTERS // 2).hexdigest()


def encode(replay: Replay) -> str:
    """The line. Raises ReplayError for a run against endpoints: nobody else has those."""
    request = replay.request
    if request.target is not None:
        raise ReplayError("a run against endpoints has no replay line: it needs their profile")
    fields = {
        "v": str(LINE_VERSION),
        "history": str(HISTORY_FORMAT),
        "plan": "" if request.plan_version == _FIRST_PLAN else str(request.plan_version),
        "seed": str(request.seed),
        "system": "" if request.system == "sim" else request.system,
        "mutant": request.mutant,
        "rule": replay.rule,
        "hash": replay.digest[:HASH_CHARACTERS],
        "intensity": "" if request.intensity == 1.0 else _number(request.intensity),
        "safety": "" if request.safety_seconds is None else _number(request.safety_seconds),
        "liveness": "" if request.liveness_seconds is None else _number(request.liveness_seconds),
        "skip": ",".join(f"{first}-{end}" for first, end in request.skipped),
        "faults": _faults(request.schedule, replay.drawn),
    }
    return ";".join(f"{name}={value}" for name, value in fields.items() if value)


def decode(line: str) -> Replay:
    """Reads a line; blanks and quotes around it do not matter. Raises ReplayError."""
    fields = _fields(line.strip().strip("'\"`").strip())
    _check_versions(fields)
    unknown = [name for name in fields if name not in _KNOWN]
    if unknown:
        raise ReplayError(f"a replay line has no field {unknown[0]!r}; is the line complete?")
    schedule, drawn = _parse_faults(fields.get("faults", ""))
    request = RunRequest(
        seed=_seed(fields.get("seed", "")),
        schedule=schedule,
        mutant=_name(fields, "mutant"),
        system=_name(fields, "system") or "sim",
        intensity=_seconds(fields, "intensity", 1.0),
        skipped=_ranges(fields.get("skip", "")),
        safety_seconds=_optional_seconds(fields, "safety"),
        liveness_seconds=_optional_seconds(fields, "liveness"),
        plan_version=_plan(fields.get("plan", str(_FIRST_PLAN))),
    )
    return Replay(request, _name(fields, "rule"), _name(fields, "hash"), drawn)


def command(replay: Replay) -> str:
    """The command to be pasted into a shell."""
    return f"remora conform replay '{encode(replay)}'"


def _number(value: float) -> str:
    """The shortest text that reads back as this very number."""
    text = repr(float(value))
    return text.removesuffix(".0")


def _faults(schedule: Schedule | None, drawn: str) -> str:
    if schedule is None:
        return f"drawn:{drawn}"
    return "|".join(map(_fault, schedule.faults)) or "none"


def _fault(fault: Fault) -> str:
    more = {name: _number(getattr(fault, field)) for name, field in _STRENGTHS.items()}
    more = {name: value for name, value in more.items() if value != "0"}
    if fault.detail:
        more["detail"] = quote(fault.detail, safe=_SAFE)
    target = quote(fault.target, safe=_SAFE)
    head = f"{fault.kind.value}:{target}@{_number(fault.at)}+{_number(fault.duration)}"
    return head + "".join(f",{name}={value}" for name, value in more.items())


def _fields(line: str) -> dict[str, str]:
    if not line:
        raise ReplayError("the replay line is empty")
    fields: dict[str, str] = {}
    for part in line.split(";"):
        name, equals, value = part.partition("=")
        if not equals or name in fields:
            raise ReplayError(
                f"not a replay line: {part!r} is not a new name=value. Quote the whole line with "
                "single quotes: a shell ends a command at each ;"
            )
        fields[name] = value
    return fields


def _check_versions(fields: Mapping[str, str]) -> None:
    if fields.get("v") != str(LINE_VERSION):
        raise ReplayError(
            f"the line has version {fields.get('v', 'none')}, this build replays {LINE_VERSION}: "
            "use the build that printed it"
        )
    if fields.get("history") != str(HISTORY_FORMAT):
        raise ReplayError(
            f"the line was printed by a build with histories of format "
            f"{fields.get('history', 'none')}, this build has {HISTORY_FORMAT}: use that build"
        )


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d{1,19}", text) or int(text) > _MAX_SEED:
        raise ReplayError(f"seed={text!r} is not a number from 0 to 2**63 - 1")
    return int(text)


def _plan(text: str) -> int:
    if text not in map(str, TRAFFIC):
        known = ", ".join(map(str, TRAFFIC))
        raise ReplayError(
            f"the line is of a plan of version {text}, this build draws {known}: "
            "use the build that printed it"
        )
    return int(text)


def _name(fields: Mapping[str, str], field: str) -> str:
    text = fields.get(field, "")
    if not _NAME.fullmatch(text):
        raise ReplayError(f"{field}={text!r} is not a name")
    return text


def _float(text: str, where: str) -> float:
    # float() takes "nan", "inf" and "1_0" as well, which no line has
    if not re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", text):
        raise ReplayError(f"{where}: {text!r} is not a number")
    return float(text)


def _seconds(fields: Mapping[str, str], field: str, usual: float) -> float:
    text = fields.get(field, "")
    value = _float(text, field) if text else usual
    if value < 0:
        raise ReplayError(f"{field}={text} is negative")
    return value


def _optional_seconds(fields: Mapping[str, str], field: str) -> float | None:
    return _seconds(fields, field, 0.0) if fields.get(field) else None


def _ranges(text: str) -> Ranges:
    ranges: list[tuple[int, int]] = []
    for part in text.split(",") if text else ():
        match = re.fullmatch(r"(\d{1,9})-(\d{1,9})", part)
        first, end = (int(match[1]), int(match[2])) if match else (0, 0)
        if first >= end or (ranges and first <= ranges[-1][1]):
            raise ReplayError(f"skip={text}: {part!r} is not a range above the one before it")
        ranges.append((first, end))
    return tuple(ranges)


def _parse_faults(text: str) -> tuple[Schedule | None, str]:
    if text.startswith("drawn:"):
        return None, text.removeprefix("drawn:")
    if text == "none":
        return Schedule(), ""
    if not text:
        raise ReplayError("the line says nothing of faults (faults=...); is it complete?")
    return Schedule(faults=tuple(map(_parse_fault, text.split("|")))), ""


def _parse_fault(text: str) -> Fault:
    match = _FAULT.fullmatch(text)
    if match is None:
        raise ReplayError(f"fault {text!r} is not kind:target@begin+duration")
    duration, *more = match["rest"].split(",")
    values = dict(part.partition("=")[::2] for part in more)
    if wrong := values.keys() - {*_STRENGTHS, "detail"}:
        raise ReplayError(f"fault {text!r} has no field {min(wrong)!r}")
    try:
        kind = FaultKind(match["kind"])
    except ValueError:
        raise ReplayError(f"this build knows no fault {match['kind']!r}") from None

    def number(name: str) -> float:
        return _float(values.get(name, "0"), text)

    return Fault(
        kind=kind,
        target=unquote(match["target"]),
        at=_float(match["at"], text),
        duration=_float(duration, text),
        ratio=number("ratio"),
        seconds=number("seconds"),
        jitter_seconds=number("jitter"),
        bytes_per_second=int(number("bytes")),
        monotonic_seconds=number("monotonic"),
        detail=unquote(values.get("detail", "")),
    )
