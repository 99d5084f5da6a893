"""Counters of the pipeline, as they are kept and as they are shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Counters:
    """What only grows. The fields are explained in :class:`IngestStatistics`."""

    requests_submitted: int = 0
    requests_committed: int = 0
    requests_duplicate: int = 0
    requests_refused: int = 0
    requests_throttled: int = 0
    rows_committed: int = 0
    groups: int = 0
    group_requests_max: int = 0
    groups_in_threads: int = 0
    groups_decoded_again: int = 0
    decode_seconds_total: float = 0.0

    def snapshot(
        self, *, unary_in_flight: int, bytes_in_flight: int, lanes: int
    ) -> IngestStatistics:
        """The counters now, with what is under way."""
        return IngestStatistics(
            **asdict(self),
            unary_in_flight=unary_in_flight,
            bytes_in_flight=bytes_in_flight,
            lanes=lanes,
        )


@dataclass(frozen=True, slots=True)
class IngestStatistics:
    """Counters since the start, and what is under way now.

    A request is submitted, then committed, refused or (``requests_duplicate``) acknowledged with
    the outcome of an earlier one. ``requests_throttled`` were turned away at the door and count
    nowhere else. ``decode_seconds_total`` is time spent decoding, in any thread.
    """

    requests_submitted: int
    requests_committed: int
    requests_duplicate: int
    requests_refused: int
    requests_throttled: int
    rows_committed: int
    groups: int
    group_requests_max: int
    groups_in_threads: int
    groups_decoded_again: int
    decode_seconds_total: float
    unary_in_flight: int
    bytes_in_flight: int
    lanes: int
