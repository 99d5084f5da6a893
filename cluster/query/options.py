"""Options of a query: those beside the text and its ``set`` statements, which win. Pure.

Rules: request-properties.md, query-limits.md, set-statement.md. Options Kusto does not know are
ignored, there and here (wire contract 2). Whoever encodes answers reads ``results_*`` itself.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.errors import InvalidRequestError, NotSupportedError
from cluster.query.lexical import literal_string

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.limits import Limits

_EPOCH: Final = dt.datetime(1970, 1, 1)  # no zone: Kusto datetimes are UTC by definition
_WRAPPED: Final = re.compile(r"\w+\s*\((.*)\)", re.DOTALL)
_CLOCK: Final = re.compile(
    r"(?:(?P<days>\d+)(?:\.|\s+days?,\s*))?(?P<hours>\d{1,2}):(?P<minutes>\d{1,2})"
    r"(?::(?P<seconds>\d{1,2}(?:\.\d{1,7})?))?"
)
_UNITS: Final = {
    "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3,
    "microsecond": 1e-6, "tick": 1e-7,
}  # fmt: skip
_SHORT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|m|s|ms|microsecond|tick)")
_LANGUAGES: Final = frozenset(["kql", "csl", "kusto", ""])
_CONSISTENCIES: Final = frozenset(
    [
        "strongconsistency", "weakconsistency", "affinitizedweakconsistency",
        "databaseaffinitizedweakconsistency", "weakconsistency_by_query",
        "weakconsistency_by_database", "weakconsistency_by_session_id",
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """What holds for one text. Every bound is there, whatever was asked for."""

    seconds: float
    """For all its results together."""
    rows: int
    """Of one result; more is E_QUERY_RESULT_SET_TOO_LARGE."""
    result_bytes: int
    take: int | None = None
    """Rows of a result to return, the rest left out without a word."""
    now_us: int | None = None
    """What ``now()`` is, microseconds since 1970; None: the clock's time."""


def options_of(
    given: Mapping[str, object], settings: Sequence[tuple[str, str | None]], limits: Limits
) -> QueryOptions:
    """Reads the options of a request and the ``set`` statements of its text.

    ``notruncation`` and the ``truncationmax...`` options lift ``query_rows`` and
    ``query_result_bytes`` up to ``ingest_query_bytes``, the most this node holds of any result;
    ``servertimeout`` is at most ``query_seconds``. Raises InvalidRequestError for a value that
    cannot be read, NotSupportedError for ``query_language=sql``.
    """
    values = _values(given, settings)
    language = str(values.get("query_language") or "").lower()
    if language not in _LANGUAGES:
        raise NotSupportedError(
            f"query_language={language}: not supported by Remora, which answers KQL only.",
            remedy="Write the query in KQL and leave query_language out, or set it to 'kql'.",
        )
    consistency = str(values.get("queryconsistency") or "strongconsistency").lower()
    if consistency not in _CONSISTENCIES:
        raise _unreadable("queryconsistency", consistency, "strongconsistency or weakconsistency")
    unlimited = _flag(values, "notruncation")
    rows = _number(values, "truncationmaxrecords", limits.query_rows)
    size = _number(values, "truncationmaxsize", limits.query_result_bytes)
    if unlimited:
        rows, size = 2**62, limits.ingest_query_bytes
    seconds = limits.query_seconds
    if values.get("servertimeout") is not None and not _flag(values, "norequesttimeout"):
        seconds = min(seconds, timeout_seconds(values["servertimeout"]))
    take = values.get("query_take_max_records")
    now = values.get("query_now")
    return QueryOptions(
        seconds=seconds,
        rows=rows,
        result_bytes=min(size, limits.ingest_query_bytes),
        take=None if take is None else _number(values, "query_take_max_records", 0),
        now_us=None if now is None else _moment_us(now),
    )


def forces_row_level_security(
    given: Mapping[str, object], settings: Sequence[tuple[str, str | None]]
) -> bool:
    """Whether policies of row level security count although they are disabled.

    Raises InvalidRequestError for a value that cannot be read.
    """
    return _flag(_values(given, settings), "query_force_row_level_security")


def _values(
    given: Mapping[str, object], settings: Sequence[tuple[str, str | None]]
) -> dict[str, object]:
    values: dict[str, object] = {name.lower(): value for name, value in given.items()}
    values.update((name, True if text is None else _plain(text)) for name, text in settings)
    return values


def _plain(text: str) -> str:
    """The value of a literal of a ``set`` statement as text."""
    string = literal_string(text)
    if string is not None:
        return string
    wrapped = _WRAPPED.fullmatch(text)
    return text if wrapped is None else wrapped[1].strip()


def _flag(values: Mapping[str, object], name: str) -> bool:
    value = values.get(name)
    if isinstance(value, str):
        if value.lower() not in ("true", "false", "1", "0"):
            raise _unreadable(name, value, "true or false")
        return value.lower() in ("true", "1")
    return bool(value)


def _number(values: Mapping[str, object], name: str, default: int) -> int:
    value = values.get(name)
    if value is None:
        return default
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise _unreadable(name, value, "a whole number that is not negative")
    return int(text)


def timeout_seconds(value: object) -> float:
    """A ``servertimeout`` as any SDK spells it. Raises InvalidRequestError."""
    text = str(value).strip()
    wrapped = _WRAPPED.fullmatch(text)
    text = text if wrapped is None else wrapped[1].strip().strip("'\"")
    clock, short = _CLOCK.fullmatch(text), _SHORT.fullmatch(text)
    seconds = 0.0
    if clock is not None:
        hours, minutes = int(clock["hours"]), int(clock["minutes"])
        seconds = int(clock["days"] or 0) * 86400.0 + hours * 3600.0 + minutes * 60.0
        seconds += float(clock["seconds"] or 0)
    elif short is not None:
        seconds = float(short[1]) * _UNITS[short[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if seconds <= 0:
        raise _unreadable("servertimeout", value, "a timespan such as 00:01:00")
    return seconds


def _moment_us(value: object) -> int:
    text = str(value).strip()
    wrapped = _WRAPPED.fullmatch(text)
    text = text if wrapped is None else wrapped[1].strip().strip("'\"")
    text = re.sub(r"(\.\d{6})\d+", r"\1", text)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise _unreadable("query_now", value, "a datetime such as 2024-01-01T00:00:00Z") from None
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


def _unreadable(name: str, value: object, expected: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"Option '{name}' is {str(value)[:80]!r}: expected {expected}.",
        metadata={"option": name},
    )
