"""The bracket form of ``.ingest inline``: a record in each pair of brackets. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.commands.interpreter import Matcher


def records(matcher: Matcher, position: int, what: str) -> tuple[tuple[str, ...], int] | None:
    """``[a,1] [b,2] ...``: the raw text of each record.

    Brackets inside must pair up; those between double quotes do not count, as in CSV and JSON.
    """
    found: list[str] = []
    while True:
        token = matcher.at(position)
        if not matcher.text.startswith("[", token.start):
            break
        end = _end(matcher.text, token.start)
        if end is None:
            matcher.fail(token.start, f"the {what}, each from '[' to ']'")
            return None
        matcher.took_raw(token.start, end)
        found.append(matcher.text[token.start + 1 : end - 1])
        position = end
    if found:
        return tuple(found), position
    matcher.fail(position, "'['")
    return None


def _end(text: str, start: int) -> int | None:
    """Behind the bracket that closes the one at ``start``."""
    depth = 0
    quoted = False
    for at in range(start, len(text)):
        character = text[at]
        if character == '"':
            quoted = not quoted
        elif not quoted and character in "[]":
            depth += 1 if character == "[" else -1
            if not depth:
                return at + 1
    return None
