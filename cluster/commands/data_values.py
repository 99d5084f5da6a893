"""Kinds of values that commands about data use; see ``values``. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.commands.lexer import TokenKind

if TYPE_CHECKING:
    from cluster.commands.interpreter import Matcher

_OPERATORS: Final = ("has", "contains")
_NO_ROW_STORES: Final = ("transactions", "seals")
"""Words that follow ``.show rowstore`` and are not names."""


@dataclass(frozen=True, slots=True)
class TagTerm:
    """``tags has|contains|!has|!contains 'text'``: whole tags, or parts of them in any case."""

    text: str
    is_part: bool
    is_negated: bool

    def holds(self, tags: tuple[str, ...]) -> bool:
        """Whether an extent with these tags is meant."""
        if self.is_part:
            part = self.text.lower()
            found = any(part in tag.lower() for tag in tags)
        else:
            found = self.text in tags
        return found is not self.is_negated


def number(matcher: Matcher, position: int, what: str) -> tuple[int, int] | None:
    """A whole number that is not negative."""
    token = matcher.at(position)
    if token.kind is TokenKind.NUMBER and token.value.isdecimal():
        return int(token.value), token.end
    matcher.fail(position, f"the {what} as a whole number")
    return None


def label(matcher: Matcher, position: int, what: str) -> tuple[str, int] | None:
    """A name, bare, in brackets or as a string, where clients write all of them."""
    token = matcher.at(position)
    if token.kind in (TokenKind.BRACKETED, TokenKind.STRING, TokenKind.WORD):
        return token.value, token.end
    matcher.fail(position, f"a {what} name")
    return None


def row_store(matcher: Matcher, position: int, what: str) -> tuple[str, int] | None:
    """The name of a row store, which has a dash in it and may be bare: ``RowStore-0``."""
    del what
    token = matcher.at(position)
    if token.kind in (TokenKind.BRACKETED, TokenKind.STRING):
        return token.value, token.end
    if token.kind is TokenKind.WORD and token.value not in _NO_ROW_STORES:
        return token.value, token.end
    matcher.fail(position, "the name of a row store")
    return None


def tag_terms(matcher: Matcher, position: int, what: str) -> tuple[tuple[TagTerm, ...], int] | None:
    """``tags has 'a' and tags !contains 'b' ...``: all of them must hold."""
    del what
    terms: list[TagTerm] = []
    while True:
        found = _term(matcher, position)
        if found is None:
            return None
        terms.append(found[0])
        position = found[1]
        word = matcher.at(position)
        if word.kind is not TokenKind.WORD or word.value != "and":
            return tuple(terms), position
        position = word.end


def _term(matcher: Matcher, position: int) -> tuple[TagTerm, int] | None:
    tags = matcher.at(position)
    if tags.kind is not TokenKind.WORD or tags.value != "tags":
        matcher.fail(position, "'tags'")
        return None
    operator = matcher.at(tags.end)
    is_negated = operator.kind is TokenKind.SYMBOL and operator.value == "!"
    if is_negated:
        operator = matcher.at(operator.end)
    if operator.kind is not TokenKind.WORD or operator.value not in _OPERATORS:
        for name in (*_OPERATORS, *(f"!{name}" for name in _OPERATORS)):
            matcher.fail(tags.end, f"'{name}'")
        return None
    text = matcher.at(operator.end)
    if text.kind is not TokenKind.STRING:
        matcher.fail(operator.end, "a tag as a quoted string")
        return None
    return TagTerm(text.value, operator.value == "contains", is_negated), text.end
