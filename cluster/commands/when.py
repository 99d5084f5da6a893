"""Times and durations as columns of results hold them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, overload

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@overload
def moment(since_epoch_us: int) -> datetime: ...


@overload
def moment(since_epoch_us: int | None) -> datetime | None: ...


def moment(since_epoch_us: int | None) -> datetime | None:
    """Microseconds since 1970 UTC as a datetime."""
    return None if since_epoch_us is None else EPOCH + timedelta(microseconds=since_epoch_us)


def moment_ns(since_epoch_ns: int) -> datetime:
    """Nanoseconds since 1970 UTC as a datetime."""
    return moment(since_epoch_ns // 1000)


def micros_of(when: datetime | None) -> int | None:
    """A datetime, UTC unless it says otherwise, as microseconds since 1970 UTC."""
    if when is None:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return (when - EPOCH) // _MICROSECOND


def span(seconds: float) -> timedelta:
    """A duration."""
    return timedelta(seconds=seconds)


def span_ns(nanoseconds: int) -> timedelta:
    """A duration."""
    return timedelta(microseconds=nanoseconds // 1000)
