"""The notation of one-line grammars: from text to a tree the interpreter walks. Pure.

::

    create                  a keyword
    <table:entity>          a value: its name, and its kind in the interpreter's table
    [ ... ]                 may be left out
    ( ... | ... )           exactly one of them
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Keyword:
    """A word that must be there as written."""

    text: str


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a kind, kept under a name."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of them, tried in order; an empty sequence among them makes it optional."""

    items: tuple[Node, ...]


Node = Keyword | Value | Sequence | Choice

_NOTHING: Final = Sequence(())
_PIECE: Final = re.compile(r"\s*(?:<(\w+):(\w+)>|([\w-]+)|([\[\]()|]))")


def parse_notation(text: str) -> Sequence:
    """The tree of a one-line grammar. Raises ValueError if the notation itself is wrong."""
    pieces: list[Keyword | Value | str] = []
    at = 0
    while at < len(text.rstrip()):
        found = _PIECE.match(text, at)
        if found is None:
            raise ValueError(f"cannot read the grammar {text!r} at {at}")
        name, kind, word, symbol = found.groups()
        pieces.append(Value(name, kind) if name else Keyword(word) if word else symbol)
        at = found.end()
    pieces.reverse()
    tree = _sequence(pieces)
    if pieces:
        raise ValueError(f"{pieces[-1]!r} is out of place in the grammar {text!r}")
    return tree


def display(text: str) -> str:
    """A one-line grammar as people read it: kinds left out."""
    return re.sub(r"<(\w+):\w+>", r"<\1>", text)


def _sequence(pieces: list[Keyword | Value | str]) -> Sequence:
    items: list[Node] = []
    while pieces and pieces[-1] not in ("]", ")", "|"):
        piece = pieces.pop()
        if isinstance(piece, str):
            items.append(_choice(pieces, piece))
        else:
            items.append(piece)
    return Sequence(tuple(items))


def _choice(pieces: list[Keyword | Value | str], opening: str) -> Choice:
    items: list[Node] = [_sequence(pieces)]
    while pieces and pieces[-1] == "|":
        pieces.pop()
        items.append(_sequence(pieces))
    closing = "]" if opening == "[" else ")"
    if not pieces or pieces.pop() != closing:
        raise ValueError(f"{opening!r} is never closed in a grammar")
    if opening == "[":
        items.append(_NOTHING)
    return Choice(tuple(items))
