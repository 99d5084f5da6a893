"""Segment files: their names, their headers, and what a bad byte in one means.

A log is a row of segment files, each named by the LSN of its first record. An LSN counts the bytes
of all records ever written to the log; segment headers do not count.

The one question of recovery is whether bad bytes are a **torn write**, which was never
acknowledged and is cut off, or **corruption**, which may have been acknowledged and stops the
start. The rules, in order:

1. Only the last segment can be torn: a segment is begun only when the one before it is synced.
2. A torn write *loses* bytes. It leaves the file short or a sector zero (an append that was never
   written back); it never changes bytes. So a record whose bytes are all there, none of its
   sectors zero, and which fails its check, is corrupt. (etcd's log reader has the same rule.)
3. A record flagged DURABLE_BEFORE was written after everything before it was synced. Found
   after the bad bytes, at the LSN it names, it proves that they had been durable: corrupt.
   Whole records without such a flag are of the same unsynced write, whose sectors the disk may
   have written in any order; nothing of that write was acknowledged, so it is cut as a whole.
4. Everything else is torn.

A *copy* (a follower's log, which is never synced) holds nothing that the leader cannot send again,
and the disk may lose any part of it: it is cut at the first bad byte, whatever the cause.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from xxhash import xxh3_64_intdigest

from cluster.errors import CorruptionError
from cluster.rowstore.record import (
    FLAG_DURABLE_BEFORE,
    MAGIC,
    DamageKind,
    RecordDamageError,
    parse_header,
    parse_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

SEGMENT_MAGIC: Final = b"RMRL"
FORMAT_VERSION: Final = 2
"""What new segments are. Version 2 has records with FLAG_WITH_NEXT and FLAG_OUTCOMES."""

OLDEST_VERSION: Final = 1
"""Segments from this version on are read; records are only added to those of the newest."""

SUFFIX: Final = ".wal"

_HEADER: Final = struct.Struct("<4sIQQ")
_CHECK: Final = struct.Struct("<Q")
SEGMENT_HEADER_BYTES: Final = _HEADER.size + _CHECK.size

_SECTOR_BYTES: Final = 512
_NAME_DIGITS: Final = 20


class SegmentHeader(NamedTuple):
    """Which row store a segment belongs to, where in its log it starts, and its format."""

    store_id: int
    start_lsn: int
    version: int = FORMAT_VERSION


class SegmentInfo(NamedTuple):
    """One segment of a log: LSNs from ``start_lsn`` up to, not including, ``end_lsn``."""

    name: str
    start_lsn: int
    end_lsn: int
    version: int = FORMAT_VERSION

    def offset_of(self, lsn: int) -> int:
        """Offset in the file of the record at ``lsn``."""
        return lsn - self.start_lsn + SEGMENT_HEADER_BYTES


def segment_name(start_lsn: int) -> str:
    """File name of the segment that starts at an LSN; names sort like LSNs."""
    return f"{start_lsn:0{_NAME_DIGITS}d}{SUFFIX}"


def start_lsns(names: Iterable[str]) -> list[int]:
    """LSNs of the segments among the names of a folder, ascending.

    Raises :class:`CorruptionError` for a segment whose name is no LSN.
    """
    found = []
    for name in names:
        if not name.endswith(SUFFIX):
            continue
        digits = name.removesuffix(SUFFIX)
        if len(digits) != _NAME_DIGITS or not (digits.isascii() and digits.isdigit()):
            raise corruption(name, 0, "its name is not the LSN of a segment")
        found.append(int(digits))
    return sorted(found)


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The first bytes of a segment file."""
    fields = _HEADER.pack(SEGMENT_MAGIC, header.version, header.store_id, header.start_lsn)
    return fields + _CHECK.pack(xxh3_64_intdigest(fields))


def parse_segment_header(view: memoryview) -> SegmentHeader:
    """The header of a segment file. Raises :class:`RecordDamageError` if it is not whole.

    The caller decides which versions it reads.
    """
    if len(view) < SEGMENT_HEADER_BYTES:
        raise RecordDamageError(
            DamageKind.INCOMPLETE, 0, len(view), "the segment header is cut short"
        )
    magic, version, store_id, start_lsn = _HEADER.unpack_from(view)
    (check,) = _CHECK.unpack_from(view, _HEADER.size)
    if magic != SEGMENT_MAGIC or check != xxh3_64_intdigest(view[: _HEADER.size]):
        raise RecordDamageError(
            DamageKind.CHANGED,
            0,
            SEGMENT_HEADER_BYTES,
            "the segment header does not match its check",
        )
    return SegmentHeader(store_id, start_lsn, version)


def is_torn(data: bytes, damage: RecordDamageError, start_lsn: int) -> bool:
    """Whether bad bytes in the *last* segment are a torn write (rules 2 to 4 above).

    ``data`` is the whole file.
    """
    lost_bytes = damage.kind is DamageKind.INCOMPLETE or _has_zero_sector(
        data, damage.offset, damage.offset + damage.extent
    )
    return lost_bytes and not _is_followed_by_durable(data, damage.offset, start_lsn)


def _has_zero_sector(data: bytes, start: int, end: int) -> bool:
    """Whether some sector is zero throughout the part of it that lies in [start, end)."""
    while start < end:
        sector_end = min(end, start - start % _SECTOR_BYTES + _SECTOR_BYTES)
        if not data[start:sector_end].strip(b"\0"):
            return True
        start = sector_end
    return False


def _is_followed_by_durable(data: bytes, bad: int, start_lsn: int) -> bool:
    view = memoryview(data)
    at = data.find(MAGIC, bad + 1)
    while at >= 0:
        if _proves_durable(view, at, start_lsn + at - SEGMENT_HEADER_BYTES):
            return True
        at = data.find(MAGIC, at + 1)
    return False


def _proves_durable(view: memoryview, offset: int, lsn: int) -> bool:
    # The LSN keeps rows whose values look like records from posing as one.
    try:
        header, _ = parse_header(view, offset)
        if header.lsn != lsn or not header.flags & FLAG_DURABLE_BEFORE:
            return False
        parse_record(view, offset)
    except RecordDamageError:
        return False
    return True


def corruption(name: str, offset: int, detail: str) -> CorruptionError:
    """The refusal to use a damaged file; names the file and the offset."""
    return CorruptionError(
        f"{name} is damaged at offset {offset}: {detail}",
        metadata={"file": name, "offset": str(offset)},
    )
