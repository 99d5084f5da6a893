"""Remembered requests whose records are about to leave the log, written to its end once more.

The body of such a record is not rows but entries of 36 bytes, oldest first, then zeros up to a
multiple of 8: source digest (16), key (8), first ordinal (8), rows (4). Its fields: key 0, no rows,
``first_ordinal`` the LSN below which it covers everything remembered, ``checksum`` the number of
entries. A later one takes the place of all before it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from cluster.catalog.model import RowStoreKey
from cluster.rowstore.record import (
    FLAG_OUTCOMES,
    SOURCE_BYTES,
    RecordHeader,
    encode_record,
)

if TYPE_CHECKING:
    from cluster.rowstore.record import Record

_ENTRY: Final = struct.Struct(f"<{SOURCE_BYTES}sQQI")
_ALIGNMENT: Final = 8


class RememberedRequest(NamedTuple):
    """Where the rows of a request are."""

    source: bytes
    key: RowStoreKey
    first_ordinal: int
    row_count: int


class OutcomeCheckpoint(NamedTuple):
    """Everything remembered of the log below an LSN, oldest first."""

    below_lsn: int
    requests: tuple[RememberedRequest, ...]


def encode_checkpoint(lsn: int, checkpoint: OutcomeCheckpoint, now_ns: int) -> bytearray:
    """The record that holds a checkpoint."""
    pack = _ENTRY.pack
    body = b"".join([pack(*request) for request in checkpoint.requests])
    body += bytes(-len(body) % _ALIGNMENT)
    fields = RecordHeader(
        lsn=lsn,
        key=RowStoreKey(0),
        first_ordinal=checkpoint.below_lsn,
        checksum=len(checkpoint.requests),
        ingest_time_ns=now_ns,
        length=0,
        row_count=0,
        schema_version=0,
        request_count=0,
        flags=FLAG_OUTCOMES,
    )
    return encode_record(fields, (), body)


def decode_checkpoint(record: Record) -> OutcomeCheckpoint:
    """What a record with FLAG_OUTCOMES holds. Raises ValueError if it was written wrong."""
    header, body = record.header, record.body
    size = _ENTRY.size * header.checksum
    if len(body) != size + -size % _ALIGNMENT:
        raise ValueError(f"{header.checksum} remembered requests in {len(body)} bytes")
    requests = tuple(map(RememberedRequest._make, _ENTRY.iter_unpack(body[:size])))
    return OutcomeCheckpoint(header.first_ordinal, requests)
