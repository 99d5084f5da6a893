"""What is on its way to the log: records, and the rows that become visible with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey
    from cluster.rowstore.disk import Buffer
    from cluster.rowstore.keys import KeyState
    from cluster.rowstore.record import RequestSpan


class Entry(NamedTuple):
    """Rows of one key that become visible when their group is durable.

    ``ordinals``, ``lsns``, ``times_us`` and ``lengths`` are the first ordinal, the LSN, the
    ingestion time and the bytes of each record they came in; ``byte_count`` is their sum.
    """

    state: KeyState
    batch: pa.RecordBatch
    schema_version: int
    byte_count: int
    end_ordinal: int
    checksum: int
    ordinals: Sequence[int]
    lsns: Sequence[int]
    times_us: Sequence[int]
    lengths: Sequence[int]
    spans: Sequence[RequestSpan]


class LogRecord(NamedTuple):
    """One record on its way to the log; ``raw`` is its bytes."""

    lsn: int
    key: RowStoreKey
    end_ordinal: int
    raw: Buffer
