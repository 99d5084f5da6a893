"""One record of the log: the unit of writing, of visibility and of replication.

A record holds one group of requests for one row store key. It is atomic, so each of its requests
is. The same bytes are written to disk, kept in memory for followers, shipped to them and written
to their disks. Little-endian; see ``DESIGN.md`` for the layout byte by byte::

    magic | header check | record check | fields | request table | padding | Arrow IPC body

Two checks, because they answer two questions. The header check makes the *length* trustworthy
before anything is read by it; the record check covers every byte after itself.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from xxhash import xxh3_64_intdigest, xxh3_128_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from cluster.catalog.model import RowStoreKey

    Buffer: TypeAlias = bytes | bytearray | memoryview

MAGIC: Final = b"RMR\x01"
"""First bytes of every record; the last one is the version of the format."""

SOURCE_BYTES: Final = 16
NO_SOURCE: Final = bytes(SOURCE_BYTES)
"""Digest of a request that named no source id; it is never remembered."""

FLAG_DURABLE_BEFORE: Final = 1
"""When this record was written, every byte before it in its log had been synced."""

FLAG_RESET: Final = 2
"""Not rows but a mark: earlier records of this key are void, its ordinals start again.

At 0, or at the key's floor in the catalog.
"""

FLAG_WITH_NEXT: Final = 4
"""This record and the one after it in its log are recovered together or not at all."""

FLAG_OUTCOMES: Final = 8
"""Not rows but remembered requests (``checkpoint.py``)."""

_PREFIX: Final = struct.Struct("<4sIQ")
_FIELDS: Final = struct.Struct("<QQQQqIIIHBx")
_REQUEST: Final = struct.Struct(f"<{SOURCE_BYTES}sI")
_HEADER_CHECK: Final = struct.Struct("<I")
_HEADER_CHECK_AT: Final = len(MAGIC)
_RECORD_CHECK: Final = struct.Struct("<Q")
_RECORD_CHECK_AT: Final = _HEADER_CHECK_AT + _HEADER_CHECK.size

HEADER_BYTES: Final = _PREFIX.size + _FIELDS.size
_CHECKED_BY_HEADER: Final = 8  # the header check covers everything after itself
_CHECKED_BY_RECORD: Final = _PREFIX.size
_ALIGNMENT: Final = 8
_REQUESTS_MAX: Final = 0xFFFF
_DIGEST_SIZES: Final = frozenset((0, SOURCE_BYTES))
LENGTH_MAX: Final = 0xFFFF_FFFF - _ALIGNMENT

FLAGS_AT: Final = 70
"""Offset of the flags in a record."""

assert HEADER_BYTES == 72, "DESIGN.md documents 72 bytes"
assert HEADER_BYTES % _ALIGNMENT == 0, "bodies are aligned for Arrow"


class RequestSpan(NamedTuple):
    """One request of a record: the digest of its source id (16 bytes) and its number of rows.

    Spans are in row order. An empty ``source`` means :data:`NO_SOURCE`.
    """

    source: bytes
    rows: int


class RecordHeader(NamedTuple):
    """The fields of a record, in the order of the layout.

    ``lsn`` is the record's place in the log it was first written to; followers keep it verbatim.
    ``checksum`` is the rolling checksum of its key after this record. ``ingest_time_ns`` is the
    leader's wall clock when the record was staged. ``length`` is in bytes, header included.
    """

    lsn: int
    key: RowStoreKey
    first_ordinal: int
    checksum: int
    ingest_time_ns: int
    length: int
    row_count: int
    schema_version: int
    request_count: int
    flags: int

    @property
    def end_ordinal(self) -> int:
        """Ordinal of the first row after this record."""
        return self.first_ordinal + self.row_count


class Record(NamedTuple):
    """A checked record inside a buffer. The views hold the buffer; nothing is copied."""

    header: RecordHeader
    start: int
    raw: memoryview
    body: memoryview

    @property
    def spans(self) -> tuple[RequestSpan, ...]:
        """The requests, in row order."""
        return spans_of(spans_view(self))


def spans_view(record: Record) -> memoryview:
    """The bytes of a record's request table."""
    return record.raw[HEADER_BYTES : HEADER_BYTES + _REQUEST.size * record.header.request_count]


def has_sources(table: Buffer) -> bool:
    """Whether some request of a request table names a source id."""
    return any(source != NO_SOURCE for source, _ in _REQUEST.iter_unpack(table))


def spans_of(table: Buffer) -> tuple[RequestSpan, ...]:
    """The requests of a request table, in row order."""
    return tuple(map(RequestSpan._make, _REQUEST.iter_unpack(table)))


class DamageKind(enum.Enum):
    """How a record fails its checks."""

    INCOMPLETE = "incomplete"  # the buffer ends before the record does
    CHANGED = "changed"  # all bytes are there and they are wrong


class RecordDamageError(Exception):
    """The bytes at ``offset`` are not a whole record. Callers turn it into an error of the tree.

    ``extent`` is the number of bytes known to belong to the record: the header when that is
    damaged, else the whole record, cut at the end of the buffer.
    """

    def __init__(self, kind: DamageKind, offset: int, extent: int, detail: str) -> None:
        super().__init__(f"{detail} at offset {offset}")
        self.kind = kind
        self.offset = offset
        self.extent = extent
        self.detail = detail


def source_digest(key: RowStoreKey, source_id: str | bytes) -> bytes:
    """The 16 bytes that stand for a source id of one table.

    The key is the seed, so equal source ids of different tables, or of a table dropped and
    created again, differ. Ids that hash to zero are as good as impossible (2^-128).
    """
    data = source_id.encode() if isinstance(source_id, str) else source_id
    return xxh3_128_digest(data, seed=key)


def next_checksum(checksum: int, body: Buffer) -> int:
    """The rolling checksum of a key after one more record."""
    return xxh3_64_intdigest(body, seed=checksum)


def record_length(request_count: int, body_bytes: int) -> int:
    """Length in bytes of a record with this many requests and a body of this size."""
    return _body_offset(request_count) + body_bytes


def _body_offset(request_count: int) -> int:
    table = _REQUEST.size * request_count
    return HEADER_BYTES + table + -table % _ALIGNMENT


def encode_record(header: RecordHeader, spans: Sequence[RequestSpan], body: Buffer) -> bytearray:
    """The bytes of a record.

    ``header.length`` and ``header.request_count`` are computed here, whatever they are. Raises
    ValueError if the spans do not add up to ``row_count``, or a bound of the format is broken.
    """
    if len(spans) > _REQUESTS_MAX:
        raise ValueError(f"a record holds at most {_REQUESTS_MAX} requests, not {len(spans)}")
    offset = _body_offset(len(spans))
    length = record_length(len(spans), len(body))
    if length > LENGTH_MAX or len(body) % _ALIGNMENT:
        raise ValueError(
            f"a record holds at most {LENGTH_MAX} bytes and its body a multiple of {_ALIGNMENT}, "
            f"not {length} and {len(body)}"
        )
    _check_spans(spans, header.row_count)
    record = bytearray(length)
    pack_into, at = _REQUEST.pack_into, HEADER_BYTES
    for source, rows in spans:
        pack_into(record, at, source, rows)
        at += _REQUEST.size
    record[offset:] = body
    _FIELDS.pack_into(
        record,
        _PREFIX.size,
        header.lsn,
        header.key,
        header.first_ordinal,
        header.checksum,
        header.ingest_time_ns,
        length,
        header.row_count,
        header.schema_version,
        len(spans),
        header.flags,
    )
    view = memoryview(record)
    _PREFIX.pack_into(record, 0, MAGIC, 0, xxh3_64_intdigest(view[_CHECKED_BY_RECORD:]))
    _HEADER_CHECK.pack_into(record, _HEADER_CHECK_AT, _header_check(view))
    return record


def mark_durable_before(record: Buffer) -> None:
    """Sets FLAG_DURABLE_BEFORE in a record that was encoded here; checks match again.

    Shipped records are kept as they came.
    """
    if isinstance(record, bytearray):
        record[FLAGS_AT] |= FLAG_DURABLE_BEFORE
        view = memoryview(record)
        _RECORD_CHECK.pack_into(
            record, _RECORD_CHECK_AT, xxh3_64_intdigest(view[_CHECKED_BY_RECORD:])
        )
        _HEADER_CHECK.pack_into(record, _HEADER_CHECK_AT, _header_check(view))


def _check_spans(spans: Sequence[RequestSpan], row_count: int) -> None:
    counts = [rows for _, rows in spans]
    if spans and (min(counts) <= 0 or not _DIGEST_SIZES.issuperset([len(s) for s, _ in spans])):
        raise ValueError(f"a request has rows and a digest of 16 bytes, not {spans}")
    if sum(counts) != row_count:
        raise ValueError(f"requests hold {sum(counts)} rows, the record {row_count}")


def encode_reset(lsn: int, key: RowStoreKey, now_ns: int, *, flags: int = 0) -> bytearray:
    """A mark that voids the earlier records of a key; ``flags`` are added to its own."""
    fields = RecordHeader(lsn, key, 0, 0, now_ns, 0, 0, 0, 0, FLAG_RESET | flags)
    return encode_record(fields, (), b"")


def _header_check(header: memoryview) -> int:
    return xxh3_64_intdigest(header[_CHECKED_BY_HEADER:HEADER_BYTES]) & 0xFFFF_FFFF


def parse_header(view: memoryview, offset: int) -> tuple[RecordHeader, int]:
    """The header at ``offset`` and the record check it promises.

    Raises :class:`RecordDamageError`. The length returned is trustworthy but may reach beyond the
    buffer.
    """
    left = len(view) - offset
    if left < HEADER_BYTES:
        raise RecordDamageError(DamageKind.INCOMPLETE, offset, left, "the header is cut short")
    magic, header_check, record_check = _PREFIX.unpack_from(view, offset)
    if magic != MAGIC or header_check != _header_check(view[offset : offset + HEADER_BYTES]):
        raise RecordDamageError(
            DamageKind.CHANGED, offset, HEADER_BYTES, "the header does not match its check"
        )
    header = RecordHeader._make(_FIELDS.unpack_from(view, offset + _PREFIX.size))
    if header.length < _body_offset(header.request_count) or header.length % _ALIGNMENT:
        # The check matches, so this was written wrong or forged; it is not a torn write.
        raise RecordDamageError(
            DamageKind.CHANGED, offset, HEADER_BYTES, f"a record of {header.length} bytes"
        )
    return header, record_check


def parse_record(view: memoryview, offset: int) -> Record:
    """The record at ``offset``, checked. Raises :class:`RecordDamageError`."""
    header, record_check = parse_header(view, offset)
    end = offset + header.length
    if end > len(view):
        raise RecordDamageError(
            DamageKind.INCOMPLETE, offset, len(view) - offset, "the record is cut short"
        )
    raw = view[offset:end]
    if record_check != xxh3_64_intdigest(raw[_CHECKED_BY_RECORD:]):
        raise RecordDamageError(
            DamageKind.CHANGED, offset, header.length, "the record does not match its check"
        )
    return Record(header, offset, raw, raw[_body_offset(header.request_count) :])


def iter_records(data: Buffer, offset: int = 0) -> Iterator[Record]:
    """Yields the records from ``offset`` to the end of ``data``, each checked.

    Raises :class:`RecordDamageError` at the first byte that is not a whole record.
    """
    view = memoryview(data)
    while offset < len(view):
        record = parse_record(view, offset)
        yield record
        offset += record.header.length
