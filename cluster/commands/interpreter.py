"""Matches a command's tokens against the table of grammars. Pure.

Every form is tried; backtracking is bounded by the few optional parts of a one-line grammar. What
was expected at the furthest token any form reached is what the error reports, with the form that
came nearest.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog.model import Column
from cluster.commands.grammar import COMMANDS, CommandSpec, Kind
from cluster.commands.lexer import Token, TokenKind, iter_tokens, without_secrets
from cluster.commands.notation import Choice, Keyword, Node, Sequence, Value
from cluster.commands.scalar_names import scalar_type
from cluster.errors import LimitExceededError, NotSupportedError, SyntaxRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cluster.limits import Limits

Captured = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class EntityName:
    """A name that may be qualified by its database."""

    database: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command that parsed.

    ``words`` are the keywords that were there, ``values`` the values by their names in the
    grammar; a part that was left out is missing from both. ``text`` has secrets masked.
    """

    spec: CommandSpec
    words: frozenset[str]
    values: Mapping[str, Any]
    text: str


def parse_command(text: str, limits: Limits) -> Command:
    """The command in ``text``; one trailing semicolon is tolerated.

    Raises LimitExceededError (longer than ``limits.command_text_bytes``), SyntaxRefusedError
    (with position, what was expected and the nearest form), NotSupportedError (a form that Kusto
    has and we do not, or a result piped into KQL).
    """
    _check_text(text, limits)
    matcher = _Matcher(text)
    for spec in COMMANDS:
        command = matcher.match(spec)
        if command is None:
            continue
        if spec.kind is Kind.REFUSE:
            raise NotSupportedError(f"{spec.usage}: {spec.refusal}")
        return command
    raise matcher.error()


def _check_text(text: str, limits: Limits) -> None:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise SyntaxRefusedError(
            f"Syntax error: the command is not valid Unicode at character {error.start + 1}."
        ) from None
    if size > limits.command_text_bytes:
        raise LimitExceededError(
            f"The command has {size} bytes, the limit is {limits.command_text_bytes}.",
            metadata={"limit": "command_text_bytes", "maximum": str(limits.command_text_bytes)},
        )


class _Matcher:
    """One text, matched against one form after the other."""

    def __init__(self, text: str) -> None:
        self.text = text
        # Read as far as a form asks for: a long text that matches nothing costs little.
        self._unread = iter_tokens(text)
        self._tokens: list[Token] = []
        self._furthest = 0
        self._expected: dict[str, None] = {}
        self._reached: list[tuple[int, CommandSpec]] = []
        self._reach = 0

    # For kinds of values

    def at(self, index: int) -> Token:
        """The token; END beyond the last one."""
        while index >= len(self._tokens):
            token = next(self._unread, None)
            if token is None:
                return self._tokens[-1]
            self._tokens.append(token)
        return self._tokens[index]

    def is_symbol(self, index: int, symbol: str) -> bool:
        """Whether that symbol is there; noted as expected if not."""
        token = self.at(index)
        if token.kind is TokenKind.SYMBOL and token.value == symbol:
            return True
        return self.fail(index, f"'{symbol}'")

    def follows(self, index: int, symbol: str) -> bool:
        """Whether that symbol and a word after it are there; nothing is noted."""
        token = self.at(index)
        return (
            token.kind is TokenKind.SYMBOL
            and token.value == symbol
            and self.at(index + 1).kind is TokenKind.WORD
        )

    def fail(self, index: int, expected: str) -> bool:
        """Notes what would have matched here. Always False."""
        self._reach = max(self._reach, index)
        if index > self._furthest:
            self._furthest = index
            self._expected.clear()
        if index == self._furthest:
            self._expected[expected] = None
        return False

    # Matching

    def match(self, spec: CommandSpec) -> Command | None:
        """The command, if the whole text has this form."""
        self._reach = 0
        first = self.at(0)
        if first.kind is not TokenKind.SYMBOL or first.value != ".":
            self.fail(0, "a command, which starts with a dot")
            return None
        for end, captured in self._match(spec.tree, 1, ()):
            if self._ends(end, spec):
                return Command(
                    spec,
                    frozenset(name for name, value in captured if value is None),
                    {name: value for name, value in captured if value is not None},
                    without_secrets(self.text, self._tokens),
                )
        self._reached.append((self._reach, spec))
        return None

    def _ends(self, index: int, spec: CommandSpec) -> bool:
        token = self.at(index)
        if token.kind is TokenKind.SYMBOL and token.value == ";":
            index += 1
            token = self.at(index)
        if token.kind is TokenKind.PIPE and spec.kind is Kind.SHOW:
            raise NotSupportedError(
                "Piping the result of a command into KQL is not supported yet: "
                f"'|' {self._position(token)}.",
                remedy="Run the command without the part after the pipe.",
            )
        return token.kind is TokenKind.END or self.fail(index, "the end of the command")

    def _match(self, node: Node, index: int, captured: Captured) -> Iterator[tuple[int, Captured]]:
        match node:
            case Keyword(text):
                token = self.at(index)
                if token.kind is TokenKind.WORD and token.value == text:
                    yield index + 1, (*captured, (text, None))
                else:
                    self.fail(index, f"'{text}'")
            case Value(name, kind):
                found = _KINDS[kind](self, index, name)
                if found is not None:
                    value, end = found
                    yield end, (*captured, (name, value))
            case Choice(items):
                for item in items:
                    yield from self._match(item, index, captured)
            case Sequence(items):
                yield from self._match_all(items, index, captured)

    def _match_all(
        self, items: tuple[Node, ...], index: int, captured: Captured
    ) -> Iterator[tuple[int, Captured]]:
        if not items:
            yield index, captured
            return
        for end, more in self._match(items[0], index, captured):
            yield from self._match_all(items[1:], end, more)

    # Errors

    def error(self) -> SyntaxRefusedError:
        """Why no form matched."""
        token = self.at(self._furthest)
        found = _shown(self.text, token)
        expected = _either(list(self._expected))
        message = f"Syntax error {self._position(token)}: expected {expected}, found {found}."
        nearest = self._nearest()
        if nearest is not None:
            message += f" The nearest command is: {nearest.usage}"
        line, column = self._line_and_column(token)
        return SyntaxRefusedError(
            message, metadata={"line": str(line), "column": str(column), "expected": expected}
        )

    def _nearest(self) -> CommandSpec | None:
        words = [token.value for token in map(self.at, range(8)) if token.kind is TokenKind.WORD]
        text = " ".join(words)[:100]
        best: tuple[int, float] = (0, 0.0)
        nearest = None
        for reach, spec in self._reached:
            likeness = difflib.SequenceMatcher(None, text, _keywords(spec.tree)).ratio()
            # Reach 1 is the first word: nothing of the form matched, likeness alone decides.
            score = (max(reach, 1), likeness)
            if score > best and (reach > 1 or likeness >= _LIKE):
                best, nearest = score, spec
        return nearest

    def _position(self, token: Token) -> str:
        line, column = self._line_and_column(token)
        return f"at line {line}, column {column}"

    def _line_and_column(self, token: Token) -> tuple[int, int]:
        before = self.text[: token.start]
        return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


_LIKE: Final = 0.5
_SHOWN_CHARACTERS: Final = 40


def _shown(text: str, token: Token) -> str:
    if token.kind in (TokenKind.END, TokenKind.INVALID):
        return token.value
    source = text[token.start : token.end]
    if token.secret:
        return "a string"
    if len(source) > _SHOWN_CHARACTERS:
        source = f"{source[:_SHOWN_CHARACTERS]}..."
    return f"'{source}'" if source.isprintable() else ascii(source)


def _either(items: list[str]) -> str:
    if len(items) == 1:
        return items[0]
    return f"{', '.join(items[:-1])} or {items[-1]}"


def _keywords(node: Node) -> str:
    match node:
        case Keyword(text):
            return text
        case Sequence(items):
            return " ".join(filter(None, map(_keywords, items)))
        case Choice(items):
            return _keywords(items[0])
        case Value():
            return ""


# Kinds of values: each gives the value and the index after it, or notes what it expected.


def _name(matcher: _Matcher, index: int, what: str) -> tuple[str, int] | None:
    token = matcher.at(index)
    if token.kind is TokenKind.BRACKETED:
        return token.value, index + 1
    if token.kind is TokenKind.WORD:
        if "-" not in token.value:
            return token.value, index + 1
        matcher.fail(index, f"a {what} name (with dashes it is written ['{token.value}'])")
        return None
    matcher.fail(index, f"a {what} name")
    return None


def _entity(matcher: _Matcher, index: int, what: str) -> tuple[EntityName, int] | None:
    first = _name(matcher, index, what)
    if first is None:
        return None
    name, index = first
    if not matcher.is_symbol(index, "."):
        return EntityName(None, name), index
    second = _name(matcher, index + 1, what)
    return None if second is None else (EntityName(name, second[0]), second[1])


def _string(matcher: _Matcher, index: int, what: str) -> tuple[str, int] | None:
    token = matcher.at(index)
    if token.kind is TokenKind.STRING:
        return token.value, index + 1
    matcher.fail(index, f"the {what} as a quoted string")
    return None


def _list_of(
    item: Callable[[_Matcher, int, str], tuple[Any, int] | None],
) -> Callable[[_Matcher, int, str], tuple[tuple[Any, ...], int] | None]:
    def match_list(matcher: _Matcher, index: int, what: str) -> tuple[tuple[Any, ...], int] | None:
        items: list[Any] = []
        if not matcher.is_symbol(index, "("):
            return None
        while True:
            found = item(matcher, index + 1, what.removesuffix("s"))
            if found is None:
                return None
            value, index = found
            items.append(value)
            if matcher.is_symbol(index, ")"):
                return tuple(items), index + 1
            if not matcher.is_symbol(index, ","):
                return None

    return match_list


def _column(matcher: _Matcher, index: int, what: str) -> tuple[Column, int] | None:
    named = _name(matcher, index, what)
    if named is None or not matcher.is_symbol(named[1], ":"):
        return None
    name, index = named[0], named[1] + 1
    first, parts = index, [matcher.at(index).value]
    while matcher.follows(index + 1, "."):
        parts.append(matcher.at(index + 2).value)
        index += 2
    kind = scalar_type(".".join(parts))
    if kind is None:
        matcher.fail(first, "a scalar type (bool, datetime, decimal, dynamic, guid, int, long, "
                     "real, string or timespan)")  # fmt: skip
        return None
    return Column(name, kind), index + 1


def _property(matcher: _Matcher, index: int, what: str) -> tuple[tuple[str, str], int] | None:
    named = _name(matcher, index, what)
    if named is None or not matcher.is_symbol(named[1], "="):
        return None
    token = matcher.at(named[1] + 1)
    if token.kind in (TokenKind.STRING, TokenKind.NUMBER, TokenKind.GUID, TokenKind.WORD):
        return (named[0], token.value), named[1] + 2
    matcher.fail(named[1] + 1, "a property value")
    return None


_KINDS: Final[Mapping[str, Callable[[_Matcher, int, str], tuple[Any, int] | None]]] = {
    "name": _name,
    "names": _list_of(_name),
    "entity": _entity,
    "string": _string,
    "strings": _list_of(_string),
    "columns": _list_of(_column),
    "properties": _list_of(_property),
}
"""Kinds of values a grammar may use."""
