"""A long text in pieces that end where a record does. Pure.

Memory is bounded by the size of a piece, or of the longest record: one over
``limits.row_store_record_bytes`` is refused (``ingestion-supported-formats.md``: 64 MB).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cluster.ingest import refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from cluster.limits import Limits

CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Large enough for readers that work by the column, small beside everything else."""

_MARK: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}"]', re.DOTALL)
_BLANKS: Final = b" \t\r\n"
_SHOWN_BYTES: Final = 60


def chunks(
    stream: BinaryIO, end_of_records: Callable[[bytes], int], limits: Limits
) -> Iterator[bytes]:
    """Pieces of the stream. The last record need not have an end.

    ``end_of_records(data)`` is the offset behind the last record that ends in ``data``.
    Raises PayloadTooLargeError for a record over its limit.
    """
    rest = b""
    while True:
        # A long record is looked at again each time more of it is there: twice as much each time.
        piece = stream.read(max(CHUNK_BYTES, len(rest)))
        if not piece:
            break
        data = rest + piece
        end = end_of_records(data)
        if end:
            yield data[:end]
        rest = data[end:]
        if len(rest) > limits.row_store_record_bytes:
            raise too_long(limits)
    if rest:
        yield rest


def too_long(limits: Limits) -> Exception:
    """The refusal of a record over its limit."""
    limit = limits.row_store_record_bytes
    return refusals.too_large("a record", f"more than {limit}", "row_store_record_bytes", limit)


def end_of_lines(data: bytes) -> int:
    """Behind the last line end."""
    return max(data.rfind(b"\n"), data.rfind(b"\r")) + 1


def end_of_escaped_lines(data: bytes) -> int:
    """Behind the last line end that no backslash takes the meaning of."""
    end = len(data)
    while end := data.rfind(b"\n", 0, end) + 1:
        head = data[: end - 1].removesuffix(b"\r")
        if (len(head) - len(head.rstrip(b"\\"))) % 2 == 0:
            return end
        end -= 1
    return 0


class Documents:
    """Finds the property bags of a long JSON text: an array of them, or one after the other."""

    def __init__(self) -> None:
        self._is_array: bool | None = None
        self._is_closed = False
        self._count = 0

    def bags(self, data: bytes) -> tuple[list[bytes], int]:
        """The bags that end in ``data``, and the offset behind the last.

        Give what lies behind that offset again the next time, with more. What is inside of bags
        is not looked at. Raises MalformedPayloadError for anything else than bags.
        """
        found: list[bytes] = []
        end = 0
        if self._is_array is None:
            text = data.lstrip(_BLANKS)
            if not text:
                return found, 0
            self._is_array = text.startswith(b"[")
            end = len(data) - len(text) + self._is_array
        start, depth = -1, 0
        for match in _MARK.finditer(data, end):
            mark = match[0]
            if mark == b'"':
                break  # a string that goes on in what is not read yet
            if start >= 0:
                depth += (mark in _OPENING) - (mark in _CLOSING)
                if not depth:
                    found.append(data[start : match.end()])
                    end, start = match.end(), -1
                continue
            self._check_gap(data[end : match.start()], is_bag=mark == b"{")
            if mark == b"{":
                start, depth = match.start(), 1
                self._count += 1
            elif mark == b"]" and self._is_array:
                self._is_closed, end = True, match.end()
            else:
                raise refusals.not_json(f"{_shown(mark)} where a property bag is due")
        self._count -= start >= 0  # it is found again
        return found, end

    def finish(self, rest: bytes) -> None:
        """The text has ended with ``rest``. Raises MalformedPayloadError if it is not complete."""
        if rest.strip(_BLANKS) or (self._is_array and not self._is_closed):
            raise refusals.not_json(f"it ends in the middle, with {_shown(rest)}")

    def _check_gap(self, gap: bytes, *, is_bag: bool) -> None:
        text = gap.strip(_BLANKS)
        due = b"," if self._is_array and self._count and is_bag else b""
        if self._is_closed or text != due:
            raise refusals.not_json(f"{_shown(text)} where a property bag is due")


_OPENING: Final = frozenset({b"{", b"["})
_CLOSING: Final = frozenset({b"}", b"]"})


def _shown(text: bytes) -> str:
    return refusals.shorten(text[:_SHOWN_BYTES].decode(errors="replace"))
