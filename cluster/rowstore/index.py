"""Where the records of one key lie, how large they are and when they came."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

INGESTION_TIME: Final = pa.timestamp("us")
"""Type of an ingestion time: microseconds since 1970 UTC, as every stored ``datetime``."""


class IngestionRuns:
    """When the rows of a key came: one time for each record. Immutable.

    Holds the arrays of a :class:`RecordIndex`, of which it looks at a part that never changes.
    """

    __slots__ = ("_end_ordinal", "_ordinals", "_start", "_stop", "_times_us")

    def __init__(
        self,
        ordinals: array[int],
        times_us: array[int],
        start: int,
        stop: int,
        end_ordinal: int,
    ) -> None:
        self._ordinals = ordinals
        self._times_us = times_us
        self._start = start
        self._stop = stop
        self._end_ordinal = end_ordinal

    def times(self, first_ordinal: int, count: int) -> pa.Array:
        """The time of each of ``count`` rows from ``first_ordinal`` on (``timestamp[us]``).

        Raises ValueError for rows that are not held.
        """
        if not count:
            return pa.array([], INGESTION_TIME)
        low = self._ordinals[self._start] if self._start < self._stop else self._end_ordinal
        end = first_ordinal + count
        if count < 0 or first_ordinal < low or end > self._end_ordinal:
            raise ValueError(
                f"rows {first_ordinal} to {end} are not among {low} to {self._end_ordinal}"
            )
        ordinals = self._ordinals
        start = bisect_right(ordinals, first_ordinal, self._start, self._stop) - 1
        stop = bisect_left(ordinals, end, start + 1, self._stop)
        run_ends = array("q", ordinals[start + 1 : stop])
        run_ends.append(end)
        ends = pc.subtract(_int64(run_ends), first_ordinal)
        times = _int64(self._times_us[start:stop]).view(INGESTION_TIME)
        return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(ends, times))


def _int64(values: array[int]) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


NO_RUNS: Final = IngestionRuns(array("Q"), array("q"), 0, 0, 0)
"""Of no rows."""


class RecordIndex:
    """The visible records of a key, oldest first; 28 bytes a record.

    Trimmed from the front in amortized constant time a record: arrays are replaced when half of
    them is unused, so what :meth:`runs` gave out does not change.
    """

    __slots__ = ("_head", "_lengths", "_lsns", "_ordinals", "_times_us")

    def __init__(self) -> None:
        self._ordinals = array("Q")
        self._lsns = array("Q")
        self._times_us = array("q")
        self._lengths = array("I")
        self._head = 0

    def __len__(self) -> int:
        return len(self._ordinals) - self._head

    def extend(
        self,
        ordinals: Sequence[int],
        lsns: Sequence[int],
        times_us: Sequence[int],
        lengths: Sequence[int],
    ) -> None:
        """Adds records: first ordinals and LSNs (ascending), ingestion times, bytes."""
        self._ordinals.extend(ordinals)
        self._lsns.extend(lsns)
        self._times_us.extend(times_us)
        self._lengths.extend(lengths)

    @property
    def first_lsn(self) -> int | None:
        """LSN of the oldest record; None without one."""
        return self._lsns[self._head] if len(self) else None

    @property
    def oldest_us(self) -> int | None:
        """Ingestion time of the oldest record; None without one."""
        return self._times_us[self._head] if len(self) else None

    @property
    def latest_us(self) -> int | None:
        """Ingestion time of the newest record; None without one."""
        return self._times_us[-1] if len(self) else None

    def lsn_of(self, ordinal: int) -> int:
        """LSN of the record that holds an ordinal; of the oldest one for those before it.

        There must be one.
        """
        at = bisect_right(self._ordinals, ordinal, self._head) - 1
        return self._lsns[max(at, self._head)]

    def starts_at(self, ordinal: int) -> bool:
        """Whether some record begins with this row."""
        at = bisect_left(self._ordinals, ordinal, self._head)
        return at < len(self._ordinals) and self._ordinals[at] == ordinal

    def runs(self, end_ordinal: int) -> IngestionRuns:
        """Ingestion times of the records as of now, whose rows end at ``end_ordinal``."""
        return IngestionRuns(
            self._ordinals, self._times_us, self._head, len(self._ordinals), end_ordinal
        )

    def trim(self, ordinal: int) -> int:
        """Forgets the records that begin below ``ordinal``; returns their bytes."""
        stop = bisect_left(self._ordinals, ordinal, self._head)
        freed = sum(self._lengths[self._head : stop])
        self._head = stop
        if self._head * 2 >= len(self._ordinals):
            self._ordinals = self._ordinals[stop:]
            self._lsns = self._lsns[stop:]
            self._times_us = self._times_us[stop:]
            self._lengths = self._lengths[stop:]
            self._head = 0
        return freed
