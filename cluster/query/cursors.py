"""Database cursors as text: opaque to clients, the number of 100 ns ticks since the year 1. Pure.

Apart from :mod:`cluster.query.hidden`, so that a node need not load the translator, which has a
process of its own.
"""

from __future__ import annotations

from typing import Final

TICKS_A_MICROSECOND: Final = 10
TICKS_TO_1970: Final = 621_355_968_000_000_000
_MOST_DIGITS: Final = 18


def cursor_text(cursor_us: int) -> str:
    """A database cursor as clients see it."""
    return str(cursor_us * TICKS_A_MICROSECOND + TICKS_TO_1970)


def cursor_us(text: str) -> int | None:
    """The cursor a client gives back; None if it never was one."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        return None
    return (int(text) - TICKS_TO_1970) // TICKS_A_MICROSECOND
