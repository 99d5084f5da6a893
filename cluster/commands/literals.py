"""Timespans, datetimes and strings as commands write them. Pure.

``scalar-data-types/timespan.md`` and ``datetime.md``. Ticks are 100 ns there; microseconds are the
resolution here, so a timespan's seventh fractional digit is dropped.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS_US: Final[Mapping[str, float]] = {
    "d": 86_400e6, "day": 86_400e6, "days": 86_400e6,
    "h": 3_600e6, "hr": 3_600e6, "hrs": 3_600e6, "hour": 3_600e6, "hours": 3_600e6,
    "m": 60e6, "min": 60e6, "minute": 60e6, "minutes": 60e6,
    "s": 1e6, "sec": 1e6, "second": 1e6, "seconds": 1e6,
    "ms": 1e3, "milli": 1e3, "millis": 1e3, "millisecond": 1e3, "milliseconds": 1e3,
    "micro": 1.0, "micros": 1.0, "microsecond": 1.0, "microseconds": 1.0,
    "tick": 0.1, "ticks": 0.1,
}  # fmt: skip

_PERIOD: Final = r"-?\d+(?:\.\d+)?(?:[a-z]+)(?!\w)"
_CLOCK: Final = r"-?(?:\d+\.)?\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,7})?)?(?![\w:])"
_WRAPPED: Final = r"(?:time|timespan)\(\s*[^)'\"]*\)"
TIMESPAN: Final = re.compile(f"{_WRAPPED}|{_CLOCK}|{_PERIOD}")
"""What may be a timespan; :func:`read_timespan` tells whether it is one."""

_DATE: Final = r"\d{4}-\d{1,2}-\d{1,2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,7})?)?Z?)?(?![\w-])"
DATETIME: Final = re.compile(rf"datetime\(\s*[^)]*\)|{_DATE}")
"""What may be a datetime; :func:`read_datetime` tells whether it is one."""

_CLOCK_PARTS: Final = re.compile(
    r"(?P<sign>-?)(?:(?P<days>\d+)\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{2})"
    r"(?::(?P<seconds>\d{2})(?:\.(?P<fraction>\d{1,7}))?)?"
)
_PERIOD_PARTS: Final = re.compile(r"(-?\d+(?:\.\d+)?)\s*([a-z]*)")
_DATE_PARTS: Final = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})"
    r"(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?)?\s*(Z|[+-]\d{2}:\d{2})?"
)


def read_timespan(text: str) -> timedelta | None:
    """``7d``, ``1.5h``, ``01:00:00``, ``10.00:00:00.5``, ``time(...)``; None: it is none."""
    text = _unwrapped(text, ("timespan", "time"))
    clock = _CLOCK_PARTS.fullmatch(text)
    try:
        if clock is not None:
            hours, minutes = int(clock["hours"]), int(clock["minutes"])
            seconds = int(clock["seconds"] or 0)
            if hours > 23 or minutes > 59 or seconds > 59:
                return None
            span = timedelta(
                days=int(clock["days"] or 0),
                hours=hours,
                minutes=minutes,
                seconds=seconds,
                microseconds=_microseconds(clock["fraction"]),
            )
            return -span if clock["sign"] else span
        period = _PERIOD_PARTS.fullmatch(text)
        if period is None:
            return None
        unit = period[2]
        # A bare number is a number of days, as in a policy's "SoftDeletePeriod": "7".
        if unit and unit not in _UNITS_US:
            return None
        return timedelta(microseconds=float(period[1]) * _UNITS_US[unit or "d"])
    except (OverflowError, ValueError):
        return None


def read_datetime(text: str) -> datetime | None:
    """``2024-01-31``, ``2024-01-31T10:00:00.5Z``, ``datetime(...)``, in UTC; None: it is none."""
    found = _DATE_PARTS.fullmatch(_unwrapped(text, ("datetime",)))
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[index] or 0) for index in range(1, 7))
    zone = UTC
    try:
        if found[8] and found[8] != "Z":
            return datetime.fromisoformat(
                f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{found[8]}"
            ).astimezone(UTC) + timedelta(microseconds=_microseconds(found[7]))
        return datetime(
            year, month, day, hour, minute, second, _microseconds(found[7]), tzinfo=zone
        )
    except (OverflowError, ValueError):
        return None


def _unwrapped(text: str, names: tuple[str, ...]) -> str:
    for name in names:
        if text.startswith(f"{name}(") and text.endswith(")"):
            return text[len(name) + 1 : -1].strip()
    return text


def _microseconds(fraction: str | None) -> int:
    return int((fraction or "").ljust(7, "0")[:6] or 0)


def string_text(text: str) -> str:
    """The text as a quoted literal of a command."""
    escaped = "".join(_ESCAPED.get(character, character) for character in text)
    return f'"{escaped}"'


_ESCAPED: Final[Mapping[str, str]] = {
    "\\": "\\\\",
    '"': '\\"',
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
