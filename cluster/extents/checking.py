"""Whether an extent file is what it was written as, and where it is not.

Nothing here gives unverified bytes to the Parquet library. These functions block.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.parquet as pq
from xxhash import xxh3_64, xxh3_64_intdigest

from cluster.errors import CorruptionError
from cluster.extents.footer import BLOCK_BYTES, Footer, decode_footer

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.catalog.model import Extent

TAIL_BYTES: Final = 64 * 1024
"""Read of a file for its footer; one that is longer is read again, whole."""

_END: Final = b"PAR1"
_END_BYTES: Final = 8
_FOOTER_IN_NAME: Final = re.compile(r"-([0-9a-f]{16})\.parquet$")


def extent_file_name(database_id: str, table_id: str, extent_id: str, footer_checksum: int) -> str:
    """The name of an extent's file below its storage root; it tells the footer's checksum."""
    return f"{database_id}/{table_id}/{extent_id}-{footer_checksum:016x}.parquet"


def checksum_file(path: Path) -> tuple[int, int]:
    """Size in bytes and xxh3_64 of a file, in bounded memory. Raises OSError."""
    hasher = xxh3_64()
    size_bytes = 0
    with path.open("rb") as file:
        while chunk := file.read(BLOCK_BYTES):
            hasher.update(chunk)
            size_bytes += len(chunk)
    return size_bytes, hasher.intdigest()


def checksum_blocks(path: Path, end: int | None = None) -> tuple[int, ...]:
    """xxh3_64 of each block of the first ``end`` bytes of a file, or of all. Raises OSError."""
    left = path.stat().st_size if end is None else end
    checksums = []
    with path.open("rb") as file:
        while block := file.read(min(BLOCK_BYTES, left)):
            checksums.append(xxh3_64_intdigest(block))
            left -= len(block)
    return tuple(checksums)


def checksum_footer(path: Path) -> int:
    """xxh3_64 of a finished file's footer. Raises OSError."""
    return xxh3_64_intdigest(_read_tail(path, path.stat().st_size))


def footer_bytes(tail: bytes, file_bytes: int) -> int | None:
    """How many bytes the footer has, by the end of a file of this size; None if it has none."""
    length = int.from_bytes(tail[-_END_BYTES:-4], "little") + _END_BYTES
    return length if tail[-4:] == _END and length <= file_bytes else None


def _read_tail(path: Path, size_bytes: int) -> bytes:
    """The footer of a file; nothing if it has none."""
    with path.open("rb") as file:
        file.seek(max(0, size_bytes - TAIL_BYTES))
        tail = file.read(TAIL_BYTES)
        length = footer_bytes(tail, size_bytes)
        if length is None:
            return b""
        if length > len(tail):
            file.seek(size_bytes - length)
            tail = file.read(length)
        return tail[len(tail) - length :]


def decode_tail(tail: bytes, extent: Extent, where: str) -> Footer:
    """The footer, from the bytes from its first to the end of the file.

    Raises CorruptionError if they do not match the checksum in the file's name. ``where`` is the
    file, for the message.
    """
    named = _FOOTER_IN_NAME.search(extent.file)
    if named is None or xxh3_64_intdigest(tail) != int(named[1], 16):
        offset = extent.file_bytes - len(tail)
        raise CorruptionError(
            f"the footer of the extent file {where}, at offset {offset}, is damaged",
            metadata={"file": where, "offset": str(offset), "extent": extent.extent_id},
        )
    footer = decode_footer(pq.read_metadata(pa.BufferReader(tail)).metadata, where)
    if footer.statistics.row_count != extent.row_count:
        raise CorruptionError(
            f"the extent file {where} has {footer.statistics.row_count} rows, its metadata say "
            f"{extent.row_count}",
            metadata={"file": where, "extent": extent.extent_id},
        )
    return footer


def read_footer(path: Path, extent: Extent) -> Footer:
    """What the file says of itself, verified. Raises CorruptionError, OSError."""
    return decode_tail(_read_tail(path, path.stat().st_size), extent, str(path))


def verify_file(path: Path, extent: Extent) -> None:
    """Raises CorruptionError unless the whole file is as the metadata say.

    The error names the file and, if the file has kept its size, the offset of the first damaged
    block of BLOCK_BYTES, or that of the footer. Raises OSError if it cannot be read at all.
    """
    size_bytes, checksum = checksum_file(path)
    if (size_bytes, checksum) == (extent.file_bytes, extent.file_checksum):
        return
    metadata = {"file": str(path), "extent": extent.extent_id}
    if size_bytes != extent.file_bytes:
        raise CorruptionError(
            f"the extent file {path} has {size_bytes} bytes instead of {extent.file_bytes}",
            metadata=metadata,
        )
    tail = _read_tail(path, size_bytes)
    before = decode_tail(tail, extent, str(path)).blocks
    now = checksum_blocks(path, size_bytes - len(tail))
    pairs = enumerate(zip(before, now, strict=False))
    damaged = [number for number, (then, today) in pairs if then != today]
    what = f"the extent file {path} is damaged"
    if damaged:
        metadata["offset"] = str(damaged[0] * BLOCK_BYTES)
        what += f" in the {BLOCK_BYTES} bytes at offset {metadata['offset']}"
    raise CorruptionError(f"{what}: its checksum is {checksum:016x}", metadata=metadata)
