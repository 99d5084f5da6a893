"""Avro object container files, never more of them in memory than the limits allow. Pure.

The container is read here and only the records are left to fastavro: its own reader decompresses
a block whatever comes out of it, and believes every count. Before a record is read:

- a block is decompressed up to a bound and no further;
- a schema may not refer to itself, nor be deeper than ``limits.json_depth``: readers recurse;
- every record and every array element must take at least one byte, so that a count can be checked
  against the bytes that are there.

Codecs: null, deflate, snappy, zstandard, bzip2, xz (``ingestion-supported-formats.md``).
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import fastavro
import pyarrow as pa

from cluster.errors import MalformedPayloadError
from cluster.ingest import refusals
from cluster.ingest.avro_schema import least_record_bytes
from cluster.ingest.bags import check_row_bytes
from cluster.ingest.refusals import DeclinedError
from cluster.ingest.trees import trees_to_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from cluster.ingest.plan import TablePlan

MAGIC: Final = b"Obj\x01"
_SYNC_BYTES: Final = 16
_POINTER_BYTES: Final = 8
_HEADER_BYTES_MAX: Final = 16 * 1024 * 1024
_VARINT_BYTES_MAX: Final = 10
_NULL_HEADER: Final = b"\x02\x14avro.codec\x08null\x00"
_CODECS: Final = frozenset({"null", "deflate", "snappy", "zstandard", "bzip2", "xz"})


class AvroRows(NamedTuple):
    """The records of one payload."""

    byte_count: int
    records: list[Any]


class AvroFormat:
    """Avro for one table. Payloads are whole container files."""

    def __init__(self, plan: TablePlan) -> None:
        self._plan = plan

    def prepare(self, payload: bytes) -> AvroRows:
        """Reads the container.

        Raises EmptyPayloadError, MalformedPayloadError, PayloadTooLargeError.
        """
        plan = self._plan
        records: list[Any] = []
        row_bytes = len(plan.columns) * _POINTER_BYTES
        size = 0
        for block in read_blocks(
            io.BytesIO(payload), plan.limits.ingest_request_bytes, plan.limits.json_depth
        ):
            size += len(block.data)
            if size > plan.limits.ingest_request_bytes:
                raise refusals.too_large(
                    "the payload after decompression",
                    f"more than {plan.limits.ingest_request_bytes}",
                    "ingest_request_bytes",
                    plan.limits.ingest_request_bytes,
                )
            check_row_bytes((len(records) + block.record_count) * row_bytes, plan.limits)
            records += read_records(block)
        if not records:
            raise refusals.empty_payload(plan.database, plan.table)
        return AvroRows(len(payload), records)

    def decode_together(self, prepared: Sequence[AvroRows]) -> pa.RecordBatch:
        """Always declines: what would be saved is little beside reading the records."""
        raise DeclinedError

    def row_counts(self, prepared: Sequence[AvroRows], row_count: int) -> list[int]:
        """Records of each payload."""
        return [len(rows.records) for rows in prepared]

    def decode_exactly(self, prepared: AvroRows) -> pa.RecordBatch:
        """The records of one payload. Raises as ``trees_to_batch`` does."""
        return trees_to_batch(self._plan, prepared.records)


class Block(NamedTuple):
    """One block of a container, decompressed: records of ``schema`` in ``data``."""

    schema: bytes
    record_count: int
    data: bytes


def read_blocks(stream: BinaryIO, block_bytes: int, depth_limit: int) -> Iterator[Block]:
    """The blocks of a container, one at a time.

    ``block_bytes`` bounds one block, before and after decompression. Raises MalformedPayloadError,
    PayloadTooLargeError.
    """
    if stream.read(len(MAGIC)) != MAGIC:
        raise _damaged("it does not start with Obj and 1")
    header = _read_header(stream)
    sync = _exactly(stream, _SYNC_BYTES)
    schema = header.get("avro.schema", b"")
    codec = header.get("avro.codec", b"null").decode(errors="replace")
    if codec not in _CODECS:
        raise _damaged(f"its codec is {refusals.shorten(codec)}")
    try:
        least = least_record_bytes(schema, depth_limit)
    except ValueError as error:
        raise _damaged(f"its schema is refused: {error}") from None
    while (count := _varint(stream, at_end=True)) is not None:
        size = _varint(stream)
        assert size is not None
        if count < 0 or size < 0 or size > block_bytes:
            raise _too_large(size, block_bytes) if size > 0 else _damaged("a block has no size")
        data = _unpacked(codec, _exactly(stream, size), block_bytes)
        if count * least > len(data):
            raise _damaged(f"a block of {len(data)} bytes says it has {count} records")
        if _exactly(stream, _SYNC_BYTES) != sync:
            raise _damaged("a block does not end with the mark of its file")
        yield Block(schema, count, data)


def read_records(block: Block) -> list[Any]:
    """The records of a block. Raises MalformedPayloadError."""
    sync = bytes(_SYNC_BYTES)
    container = b"".join(
        (
            MAGIC, b"\x04\x16avro.schema", _encoded(len(block.schema)), block.schema,
            _NULL_HEADER[1:], sync, _encoded(block.record_count), _encoded(len(block.data)),
            block.data, sync,
        )
    )  # fmt: skip
    try:
        return list(fastavro.reader(io.BytesIO(container)))
    except Exception as error:  # fastavro raises whatever the bytes lead it to
        raise _damaged(f"{type(error).__name__}: {str(error)[:200]}") from None


def _read_header(stream: BinaryIO) -> dict[str, bytes]:
    header: dict[str, bytes] = {}
    room = _HEADER_BYTES_MAX
    while count := _varint(stream):
        if count < 0:
            _varint(stream)  # the size of the block of the map, which nobody needs
            count = -count
        for _ in range(count):
            pair: list[bytes] = []
            for _ in range(2):
                size = _varint(stream)
                assert size is not None
                room -= size
                if size < 0 or room < 0:
                    raise _damaged("its header is too long")
                pair.append(_exactly(stream, size))
            header[pair[0].decode(errors="replace")] = pair[1]
    return header


def _varint(stream: BinaryIO, *, at_end: bool = False) -> int | None:
    """A zigzag number; None at the end of the stream, where that is allowed."""
    value = 0
    for place in range(_VARINT_BYTES_MAX):
        byte = stream.read(1)
        if not byte:
            if at_end and not place:
                return None
            raise _damaged("it ends before its data does")
        value |= (byte[0] & 0x7F) << (7 * place)
        if not byte[0] & 0x80:
            return (value >> 1) ^ -(value & 1)
    raise _damaged("it has a number that never ends")


def _encoded(value: int) -> bytes:
    value <<= 1
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise _damaged("it ends before its data does")
    return data


def _unpacked(codec: str, data: bytes, limit: int) -> bytes:
    """What a block holds; at most ``limit`` bytes are made, one more proves that there are more."""
    try:
        found = _unpack(codec, data, limit + 1)
    except (zlib.error, OSError, EOFError, ValueError, lzma.LZMAError, pa.ArrowException) as error:
        raise _damaged(f"a {codec} block is damaged: {error}") from None
    if len(found) > limit:
        raise _too_large(limit, limit)
    return found


def _unpack(codec: str, data: bytes, limit: int) -> bytes:
    if codec == "deflate":
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, limit)
    if codec == "bzip2":
        return bz2.BZ2Decompressor().decompress(data, limit)
    if codec == "xz":
        return lzma.LZMADecompressor().decompress(data, limit)
    if codec == "zstandard":
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
            return bytes(stream.read(limit))
    if codec == "snappy":
        if len(data) < 4:
            raise ValueError("it is too short")
        size = _snappy_size(data)
        if size >= limit:
            return bytes(limit)  # the caller refuses it by its size alone
        found: bytes = pa.Codec("snappy").decompress(data[:-4], size, asbytes=True)
        if zlib.crc32(found) != int.from_bytes(data[-4:], "big"):
            raise ValueError("its checksum is wrong")
        return found
    return data


def _snappy_size(data: bytes) -> int:
    size = 0
    for place, byte in enumerate(data[:5]):
        size |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            break
    return size


def _damaged(reason: str) -> MalformedPayloadError:
    return MalformedPayloadError(
        f"the payload is not an Avro container file: {reason}",
        remedy="Send whole container files with a schema that does not refer to itself.",
    )


def _too_large(size: int, limit: int) -> Exception:
    return refusals.too_large("a block of the Avro file", f"{size} or more", "block bytes", limit)
