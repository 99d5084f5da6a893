"""The shape of a JSON document, measured without parsing it: how deep, how many property bags.

Parsers recurse, so depth is refused before they see it. The measure is exact for valid JSON: it
knows which brackets are inside strings. For invalid JSON it is some number; the parser refuses
such a document anyway, or fails with RecursionError, which callers turn into the same refusal.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final

_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def _brackets(document: bytes) -> bytes:
    """The brackets that are not inside strings, in order."""
    # An escaped backslash ends before the next character; only then is \" an escaped quote.
    if b"\\" in document:
        document = document.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(document.split(b'"')[::2]).translate(None, _NOT_BRACKETS)


def nesting_depth(document: bytes) -> int:
    """Levels of arrays and objects in one document, or the most in several in a row."""
    return max(accumulate(map(_STEPS.__getitem__, _brackets(document))), default=0)


def is_deeper_than(document: bytes, limit: int) -> bool:
    """Whether arrays and objects are nested in more than ``limit`` levels.

    Almost free when there are few brackets, else about 50 ns a bracket.
    """
    # Each level needs an opening and a closing bracket.
    if len(document) <= 2 * limit or sum(map(document.count, (b"[", b"{"))) <= limit:
        return False
    return nesting_depth(document) > limit


def record_count(document: bytes) -> int:
    """Property bags that stand for a record: at the top, or one level below a top-level array."""
    brackets = _brackets(document)
    record_level = 2 if brackets.startswith(b"[") else 1
    levels = accumulate(map(_STEPS.__getitem__, brackets))
    return sum(
        code == ord("{") and level == record_level
        for code, level in zip(brackets, levels, strict=True)
    )
