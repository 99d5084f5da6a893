"""Functions of encodings: base64, URLs, compressed texts, hashes. Pure."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

import xxhash

from cluster.query.native.spec import Native, is_whole
from cluster.query.translation import TOO_LONG

if TYPE_CHECKING:
    import uuid

_URL_PLAIN: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!*()"
)
_COMPONENT_PLAIN: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"
)
_GZIP_HEADER: Final = b"\x1f\x8b\x08\x00"
_GZIP_HEADER_BYTES: Final = 10
_MOST_INFLATED_BYTES: Final = 16 * 2**20
"""Far above what a string may have, far below what hurts."""

_BYTES: Final = range(256)
_SIGN: Final = 2**63


def _decoded(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def base64_decode_tostring(text: str) -> str:
    """The string ``text`` encodes; '' if it is no base64 or no UTF-8."""
    data = _decoded(text)
    try:
        return "" if data is None else data.decode()
    except UnicodeDecodeError:
        return ""


def base64_decode_toarray(text: str) -> list[int] | None:
    """The bytes ``text`` encodes, as numbers."""
    data = _decoded(text)
    return None if data is None else list(data)


def base64_encode_fromarray(values: Any) -> str | None:
    """Base64 of bytes given as numbers."""
    if not isinstance(values, list):
        return None
    if not all(is_whole(one) and one in _BYTES for one in values):
        return None
    return base64.b64encode(bytes(values)).decode()


def base64_encode_fromguid(value: uuid.UUID | None) -> str | None:
    """Base64 of the bytes of a guid, its first three groups from their lowest byte on."""
    return None if value is None else base64.b64encode(value.bytes_le).decode()


def zlib_decompress(text: str) -> str:
    """The string whose compressed bytes ``text`` is the base64 of; '' if it is not that."""
    return _inflated(_decoded(text), zlib.MAX_WBITS)


def gzip_decompress(text: str) -> str:
    """The same of gzip, whose header must be plain (gzip-base64-decompress.md)."""
    data = _decoded(text)
    if data is None or not data.startswith(_GZIP_HEADER):
        return ""
    return _inflated(data, zlib.MAX_WBITS | 16)


def _inflated(data: bytes | None, window_bits: int) -> str:
    if data is None:
        return ""
    inflate = zlib.decompressobj(window_bits)
    try:
        result = inflate.decompress(data, _MOST_INFLATED_BYTES)
        if inflate.unconsumed_tail:
            raise ValueError(TOO_LONG)
        return result.decode() if inflate.eof else ""
    except (zlib.error, UnicodeDecodeError):
        return ""


def _percent(text: str, plain: frozenset[str], space: str) -> str:
    return "".join(
        one
        if one in plain
        else space
        if one == " "
        else "".join(f"%{byte:02x}" for byte in one.encode())
        for one in text
    )


def url_encode(text: str) -> str:
    """``text`` for the query of a URL; a space is ``+``."""
    return _percent(text, _URL_PLAIN, "+")


def url_encode_component(text: str) -> str:
    """``text`` for any part of a URL; a space is ``%20``."""
    return _percent(text, _COMPONENT_PLAIN, "%20")


def url_decode(text: str) -> str:
    """What :func:`url_encode` was given."""
    return unquote_plus(text)


def hash_text(text: str, modulus: int | None = None) -> int | None:
    """xxHash64 of the UTF-8 of ``text`` as a long, or what is left of it by ``modulus``."""
    return _hashed(text.encode(), modulus)


def hash_ticks(ticks: int | None, modulus: int | None = None) -> int | None:
    """xxHash64 of a datetime, given as its ticks of 100 ns since the year 1."""
    if ticks is None:
        return None
    return _hashed(ticks.to_bytes(8, "little", signed=True), modulus)


def _hashed(data: bytes, modulus: int | None) -> int | None:
    digest = xxhash.xxh64_intdigest(data)
    signed = digest - 2 * _SIGN if digest >= _SIGN else digest
    if modulus is None:
        return signed
    return None if modulus <= 0 else signed % modulus


NATIVES: Final = (
    Native("base64_decode_tostring", base64_decode_tostring, "s", "string", 1),
    Native("base64_decodestring", base64_decode_tostring, "s", "string", 1),
    Native("base64_decode_toarray", base64_decode_toarray, "s", "dynamic", 1),
    Native("base64_encode_fromarray", base64_encode_fromarray, "d", "string", 1),
    Native("base64_encode_fromguid", base64_encode_fromguid, "g", "string", 1),
    Native("zlib_decompress_from_base64_string", zlib_decompress, "s", "string", 1),
    Native("gzip_decompress_from_base64_string", gzip_decompress, "s", "string", 1),
    Native("url_encode", url_encode, "s", "string", 1),
    Native("url_encode_component", url_encode_component, "s", "string", 1),
    Native("url_decode", url_decode, "s", "string", 1),
    Native("$hash_text", hash_text, "sl", "long", 1),
    Native("$hash_ticks", hash_ticks, "ll", "long", 1),
)
