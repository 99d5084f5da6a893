"""A command, and queries that follow it in the same text. Pure.

``.show databases | project DatabaseName; T | count`` is a command and a query, with a result each.
Only commands that show can be followed by anything: a semicolon in any other belongs to it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN: Final = re.compile(
    r"""(?P<skipped>//[^\n]*
          | ```[\s\S]*?``` | ~~~[\s\S]*?~~~
          | @'(?:''|[^'])*' | @"(?:""|[^"])*"
          | '(?:\\.|[^'\\\n])*' | "(?:\\.|[^"\\\n])*")
      | (?P<open>[(\[{]) | (?P<close>[)\]}]) | (?P<end>;)""",
    re.VERBOSE,
)
_BLANK: Final = re.compile(r"(?:\s|//[^\n]*(?:\n|\Z))*")
_SHOWS: Final = re.compile(r"\.\s*show\b")


def is_command(text: str) -> bool:
    """Whether the first thing in a text, after comments, is a dot."""
    return text.startswith(".", _start(text))


def shows(text: str) -> bool:
    """Whether a text begins with a ``.show`` command."""
    return _SHOWS.match(text, _start(text)) is not None


def statements(text: str) -> list[str]:
    """The commands of a batch in order; its last element may be a query instead.

    One element, the text itself, unless it begins with ``.show`` and has a semicolon with
    something behind it.
    """
    found = []
    while shows(text):
        end = next(_ends(text), len(text))
        rest = text[end + 1 :]
        if not rest[_start(rest) :]:
            break
        found.append(text[:end])
        text = rest
    return [*found, text]


def _start(text: str) -> int:
    found = _BLANK.match(text)
    return found.end() if found is not None else 0


def _ends(text: str) -> Iterator[int]:
    """Where semicolons are that are in no brackets."""
    depth = 0
    for token in _TOKEN.finditer(text):
        if token["open"]:
            depth += 1
        elif token["close"]:
            depth = max(0, depth - 1)
        elif token["end"] and not depth:
            yield token.start()
