"""Cuts long input into payloads at record boundaries. Pure.

The cuts depend on nothing but the bytes, so the same input gives the same payloads, and a payload
that is sent again under its number is the same payload.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cluster.errors import MalformedPayloadError, PayloadTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A quote opens a field only at its start; inside, two quotes are one. A record ends as
# cluster/ingest/delimited.py says: with \n, \r\n or \r; a \r at the very end may be half of one.
# A match takes a bounded number of records, because it remembers where each began.
# Nothing here is possessive: Python before 3.11.5 gets possessive groups wrong (gh-106052).
_FIELD: Final = rb'(?:"[^"]*(?:""[^"]*)*"(?!")[^%s\r\n]*|[^"%s\r\n][^%s\r\n]*|)'
_SEPARATORS: Final = {"csv": b",", "tsv": b"\t", "scsv": b";", "psv": b"[|]", "sohsv": b"\x01"}
_RECORDS: Final = {
    name: re.compile(
        rb"(?:(?:"
        + _FIELD.replace(b"%s", separator.strip(b"[]"))
        + separator
        + rb")*"
        + _FIELD.replace(b"%s", separator.strip(b"[]"))
        + rb"(?:\r?\n|\r(?=[^\n]))){1,256}"
    )
    for name, separator in _SEPARATORS.items()
}
# A backslash takes the meaning from the line end behind it.
_ESCAPED_RECORDS: Final = re.compile(
    rb"(?:(?:[^\\\r\n]|\\(?:\r\n|[^\r]|\r(?=[^\n])))*(?:\r?\n|\r(?=[^\n]))){1,256}"
)
_WHOLE: Final = frozenset({"raw", "singlejson", "avro", "apacheavro"})
"""Formats whose input is one payload: there is no place to cut that text alone tells."""
# A string that is cut off reaches to the end: what looks like a bracket in it is none.
_JSON_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_JSON_BLANKS: Final = b" \t\r\n"


class Splitter:
    """Collects bytes; gives back payloads of about ``target_bytes``, each of whole records.

    A single record above ``record_bytes`` raises PayloadTooLargeError.
    """

    def __init__(self, data_format: str, *, target_bytes: int, record_bytes: int) -> None:
        self._last_end = _last_end(data_format)
        self._target_bytes = target_bytes
        self._record_bytes = record_bytes
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Takes more input; yields the payloads that are full."""
        self._buffer += data
        while len(self._buffer) >= self._target_bytes:
            end = self._last_end(self._buffer, self._target_bytes)
            if not end:
                # One record longer than the target: up to the limit it is a payload of its own.
                end = self._last_end(self._buffer, self._record_bytes)
            if not end:
                if len(self._buffer) > self._record_bytes:
                    raise PayloadTooLargeError(
                        f"a record is longer than {self._record_bytes} bytes",
                        remedy="Check the format named and unclosed quotes or brackets.",
                    )
                return
            yield self._take(end)

    def flush(self) -> Iterator[bytes]:
        """Yields the whole records there are, however few; for input that trickles in."""
        end = self._last_end(self._buffer, self._record_bytes)
        if end:
            yield self._take(end)

    def finish(self) -> Iterator[bytes]:
        """Yields what is left when the input has ended, whole or not: the node judges it."""
        rest, self._buffer = self._buffer, b""
        if rest.strip(_JSON_BLANKS):
            yield rest

    def _take(self, end: int) -> bytes:
        payload, self._buffer = self._buffer[:end], self._buffer[end:]
        return payload


class ArraySplitter:
    """The same for MultiJSON whose property bags are the elements of one top-level array.

    Payloads are property bags separated by line feeds, which is MultiJSON too. Raises
    MalformedPayloadError where the array's commas and brackets are not those of an array.
    """

    def __init__(self, *, target_bytes: int, record_bytes: int) -> None:
        self._target_bytes = target_bytes
        self._record_bytes = record_bytes
        self._buffer = b""
        self._bags: list[bytes] = []
        self._bytes = 0
        self._expected = b"["

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Takes more input; yields the payloads that are full."""
        self._buffer += data
        start = 0
        for bag_start, bag_end in _bags(self._buffer):
            self._between(self._buffer[start:bag_start], self._expected)
            self._expected = b","
            bag = self._buffer[bag_start:bag_end]
            start = bag_end
            if self._bytes and self._bytes + len(bag) > self._target_bytes:
                yield from self.flush()
            self._bags.append(bag)
            self._bytes += len(bag) + 1
        self._buffer = self._buffer[start:]
        if len(self._buffer) > self._record_bytes:
            raise PayloadTooLargeError(
                f"a record is longer than {self._record_bytes} bytes",
                remedy="Check the format named and unclosed quotes or brackets.",
            )

    def flush(self) -> Iterator[bytes]:
        """Yields the whole records there are, however few."""
        if self._bags:
            payload = b"\n".join(self._bags) + b"\n"
            self._bags, self._bytes = [], 0
            yield payload

    def finish(self) -> Iterator[bytes]:
        """Yields the last payload; the input must have ended after the array."""
        yield from self.flush()
        rest, self._buffer = self._buffer, b""
        self._between(rest, b"]" if self._expected == b"," else b"[]")

    @staticmethod
    def _between(found: bytes, wanted: bytes) -> None:
        if bytes(byte for byte in found if byte not in _JSON_BLANKS) != wanted:
            raise MalformedPayloadError(
                f"not a JSON array of property bags: {found[:60]!r} where "
                f"{wanted.decode()!r} belongs"
            )


def _last_end(data_format: str) -> Callable[[bytes, int], int]:
    """How to find the last record end at or before an offset; 0 if there is none."""
    if data_format in _RECORDS:
        pattern = _RECORDS[data_format]
        return lambda buffer, limit: _delimited_end(pattern, buffer, limit)
    if data_format == "multijson":
        return _bag_end
    if data_format == "tsve":
        return _escaped_end
    if data_format in _WHOLE:
        return lambda buffer, limit: 0
    return lambda buffer, limit: buffer.rfind(b"\n", 0, limit) + 1


def _delimited_end(records: re.Pattern[bytes], buffer: bytes, limit: int) -> int:
    if b'"' not in buffer[:limit]:
        return buffer.rfind(b"\n", 0, limit) + 1 or buffer.rfind(b"\r", 0, limit - 1) + 1
    end = 0
    while (found := records.match(buffer, end, limit)) is not None:
        end = found.end()
    return end


def _escaped_end(buffer: bytes, limit: int) -> int:
    end = 0
    while (found := _ESCAPED_RECORDS.match(buffer, end, limit)) is not None:
        end = found.end()
    return end


def _bag_end(buffer: bytes, limit: int) -> int:
    end = 0
    for _, bag_end in _bags(buffer):
        if bag_end > limit:
            break
        end = bag_end
    return end


def _bags(buffer: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of every whole outermost property bag."""
    depth = 0
    start = 0
    for match in _JSON_TOKEN.finditer(buffer):
        token = match[0]
        if token == b"{" or (token == b"[" and depth):
            if not depth:
                start = match.start()
            depth += 1
        elif token in (b"}", b"]") and depth:
            depth -= 1
            if not depth:
                yield start, match.end()
