"""The notation of one-line grammars: from text to a tree the interpreter walks. Pure.

::

    create                  a keyword
    '='                     a symbol
    <table:entity>          a value: its name, and its kind in the interpreter's table
    [ ... ]                 may be left out
    ( ... | ... )           exactly one of them
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Keyword:
    """A word that must be there as written."""

    text: str


@dataclass(frozen=True, slots=True)
class Symbol:
    """Characters that must be there, nothing between them."""

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


Node = Keyword | Symbol | Value | Sequence | Choice
_Piece = Keyword | Symbol | Value | str

_NOTHING: Final = Sequence(())
_PIECE: Final = re.compile(r"\s*(?:<(\w+):(\w+)>|([\w-]+)|'([^']+)'|([\[\]()|]))")


def parse_notation(text: str) -> Sequence:
    """The tree of a one-line grammar. Raises ValueError if the notation itself is wrong."""
    pieces: list[_Piece] = []
    at = 0
    while at < len(text.rstrip()):
        found = _PIECE.match(text, at)
        if found is None:
            raise ValueError(f"cannot read the grammar {text!r} at {at}")
        name, kind, word, symbol, structure = found.groups()
        if name:
            pieces.append(Value(name, kind))
        elif word:
            pieces.append(Keyword(word))
        else:
            pieces.append(Symbol(symbol) if symbol else structure)
        at = found.end()
    pieces.reverse()
    tree = _sequence(pieces)
    if pieces:
        raise ValueError(f"{pieces[-1]!r} is out of place in the grammar {text!r}")
    return tree


def display(text: str) -> str:
    """A one-line grammar as people read it: kinds and quotes left out."""
    return re.sub(r"<(\w+):\w+>", r"<\1>", re.sub(r"'([^']+)'", r"\1", text))


def openings(tree: Sequence, count: int) -> frozenset[tuple[str | None, ...]]:
    """With what keywords a text of this form may begin: tuples of ``count``.

    None where the form has no keyword but a value or symbol, or has ended.
    """
    found = set(_openings(tree, (), count))
    return frozenset(opening + (None,) * (count - len(opening)) for opening in found)


def _openings(
    node: Node, opening: tuple[str | None, ...], count: int
) -> Iterator[tuple[str | None, ...]]:
    if len(opening) == count:
        yield opening
        return
    match node:
        case Keyword(text):
            yield (*opening, text)
        case Symbol() | Value():
            yield (*opening, None)
        case Choice(items):
            for item in items:
                yield from _openings(item, opening, count)
        case Sequence(items):
            reached = {opening}
            for item in items:
                reached = {more for one in reached for more in _openings(item, one, count)}
            yield from reached


def _sequence(pieces: list[_Piece]) -> Sequence:
    items: list[Node] = []
    while pieces and pieces[-1] not in ("]", ")", "|"):
        piece = pieces.pop()
        if isinstance(piece, str):
            items.append(_choice(pieces, piece))
        else:
            items.append(piece)
    return Sequence(tuple(items))


def _choice(pieces: list[_Piece], opening: str) -> Choice:
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
