"""Gzip in, text out, never more than the limits allow. Pure.

Gzip is recognised by its magic bytes. Memory is bounded by what may come out at most, which is
known before anything is decompressed: the request limit, and for archives that grow beyond 1 MiB
a ratio of their own size. A bomb therefore costs no more than an honest payload of its size.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from cluster.errors import InvalidArchiveError
from cluster.ingest.refusals import too_large
from cluster.limits import MIB

if TYPE_CHECKING:
    from cluster.limits import Limits

MAGIC: Final = b"\x1f\x8b"
RATIO_FREE_BYTES: Final = 1 * MIB
"""The ratio limit says nothing about archives that stay below this size."""

_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
# Bytes after a member are copied out by zlib, so they are fed in pieces: copying stays linear.
_PIECE_BYTES: Final = 64 * 1024


def is_compressed(payload: bytes) -> bool:
    """True if the payload starts like gzip."""
    return payload.startswith(MAGIC)


def check_size(payload: bytes, limits: Limits) -> None:
    """Raises PayloadTooLargeError if the payload as sent is too large."""
    size = len(payload)
    if size > limits.ingest_wire_bytes:
        raise too_large(
            "the payload as sent", str(size), "ingest_wire_bytes", limits.ingest_wire_bytes
        )
    if size > limits.ingest_request_bytes and not is_compressed(payload):
        raise too_large(
            "the payload", str(size), "ingest_request_bytes", limits.ingest_request_bytes
        )


def unpack(payload: bytes, limits: Limits) -> bytes:
    """The text inside: ``payload`` itself unless it is gzip.

    Raises InvalidArchiveError for a damaged or cut archive, for anything after its last member and
    for more than ``limits.ingest_gzip_members`` members; PayloadTooLargeError over
    ``ingest_request_bytes`` or ``ingest_gzip_ratio``.
    """
    if not is_compressed(payload):
        return payload
    by_ratio = max(RATIO_FREE_BYTES, limits.ingest_gzip_ratio * len(payload))
    allowed = min(limits.ingest_request_bytes, by_ratio)
    text = _inflate(payload, allowed + 1, limits.ingest_gzip_members)
    if len(text) <= allowed:
        return text
    if allowed == limits.ingest_request_bytes:
        raise too_large(
            "the payload after decompression",
            f"more than {allowed}",
            "ingest_request_bytes",
            limits.ingest_request_bytes,
        )
    raise too_large(
        f"the payload of {len(payload)} compressed bytes",
        f"more than {allowed} decompressed",
        "ingest_gzip_ratio (decompressed for each compressed byte)",
        limits.ingest_gzip_ratio,
    )


def unpack_small(payload: bytes, limits: Limits, size_bytes: int) -> bytes | None:
    """Like :func:`unpack`, but None instead of a text of more than ``size_bytes``.

    For callers that cannot afford to decompress more: the work stops at that size.
    """
    if not is_compressed(payload):
        return payload if len(payload) <= size_bytes else None
    if len(payload) > size_bytes:
        return None
    text = _inflate(payload, size_bytes + 1, limits.ingest_gzip_members)
    return text if len(text) <= size_bytes else None


def _inflate(payload: bytes, size_bytes: int, member_count: int) -> bytes:
    """At most ``size_bytes`` of what is inside; less only if that is all there is."""
    view = memoryview(payload)
    parts: list[bytes] = []
    room = size_bytes
    at = 0
    for _ in range(member_count):
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            while not member.eof and room:
                piece = view[at : at + _PIECE_BYTES]
                if not piece:
                    raise InvalidArchiveError("the gzip archive ends before its data does")
                at += len(piece)
                part = member.decompress(piece, room)
                room -= len(part)
                parts.append(part)
        except zlib.error as error:
            raise InvalidArchiveError(f"the gzip archive is damaged: {error}") from None
        at -= len(member.unused_data)
        if not room or at == len(view):
            return b"".join(parts)
        if bytes(view[at : at + len(MAGIC)]) != MAGIC:
            raise InvalidArchiveError(f"there are bytes after the gzip archive, at offset {at}")
    raise InvalidArchiveError(
        f"the gzip archive has more members than ingest_gzip_members, {member_count}",
        metadata={"limit": "ingest_gzip_members", "limit_value": str(member_count)},
    )
