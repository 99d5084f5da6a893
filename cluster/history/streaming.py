"""Statistics of streaming ingestion, in one-minute buckets. Pure.

``streaming-ingestion-statistics.md``: requests are grouped in short time buckets by database,
table, principal, status and ingestion properties; ``streaming-ingestion-failures.md``: failures are
grouped by what they have in common, without time. Requests throttled at the door are in neither.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.history.records import StreamedRequest

BUCKET_NS: Final = 60 * 1_000_000_000


@dataclass(slots=True)
class StreamedBucket:
    """Requests alike within one minute. ``sample`` is the first of them."""

    sample: StreamedRequest
    start_ns: int
    end_ns: int
    count: int = 0
    seconds_min: float = float("inf")
    seconds_max: float = 0.0
    seconds_total: float = 0.0
    bytes_min: int = 2**63 - 1
    bytes_max: int = 0
    bytes_total: int = 0
    rows_min: int = 2**63 - 1
    rows_max: int = 0
    rows_total: int = 0

    def add(self, request: StreamedRequest) -> None:
        """Counts one more."""
        self.count += 1
        self.end_ns = max(self.end_ns, request.ended_ns)
        seconds, size, rows = request.duration_seconds, request.byte_count, request.row_count
        self.seconds_min = min(self.seconds_min, seconds)
        self.seconds_max = max(self.seconds_max, seconds)
        self.seconds_total += seconds
        self.bytes_min = min(self.bytes_min, size)
        self.bytes_max = max(self.bytes_max, size)
        self.bytes_total += size
        self.rows_min = min(self.rows_min, rows)
        self.rows_max = max(self.rows_max, rows)
        self.rows_total += rows


@dataclass(slots=True)
class StreamingFailures:
    """Failures alike. ``sample`` is the newest of them."""

    sample: StreamedRequest
    count: int
    first_ns: int
    last_ns: int


class StreamingHistory:
    """The newest ``entries`` buckets and groups of failures."""

    def __init__(self, entries: int, retention_ns: int) -> None:
        self._entries = entries
        self._retention_ns = retention_ns
        self._buckets: OrderedDict[tuple[object, ...], StreamedBucket] = OrderedDict()
        self._failures: OrderedDict[tuple[object, ...], StreamingFailures] = OrderedDict()

    def add(self, request: StreamedRequest) -> None:
        """Takes one decided request."""
        alike = (
            request.database,
            request.table,
            request.principal,
            request.error_code,
            request.format,
            request.mapping,
            request.is_compressed,
        )
        minute = request.ended_ns // BUCKET_NS
        key = (minute, *alike)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = StreamedBucket(request, request.ended_ns, request.ended_ns)
            self._buckets[key] = bucket
            if len(self._buckets) > self._entries:
                self._buckets.popitem(last=False)
        bucket.add(request)
        if request.error_code:
            self._add_failure(alike, request)

    def _add_failure(self, alike: tuple[object, ...], request: StreamedRequest) -> None:
        now = request.ended_ns
        present = self._failures.pop(alike, None)
        if present is None:
            present = StreamingFailures(request, 0, now, now)
        present.sample = request
        present.count += 1
        present.last_ns = now
        self._failures[alike] = present
        if len(self._failures) > self._entries:
            self._failures.popitem(last=False)

    def buckets(self, now_ns: int) -> Iterator[StreamedBucket]:
        """Oldest first."""
        return (b for b in self._buckets.values() if now_ns - b.end_ns < self._retention_ns)

    def failures(self, now_ns: int) -> Iterator[StreamingFailures]:
        """By the time of the newest failure, oldest first."""
        return (f for f in self._failures.values() if now_ns - f.last_ns < self._retention_ns)
