"""Matches a command's text against the table of grammars. Pure.

The forms that begin with the command's first two words are tried; backtracking is bounded by the
few optional parts of a one-line grammar. If none fits, all that would be executed are tried: what
was expected at the furthest token any of them reached is what the error reports, with the form
that came nearest.

Positions are offsets into the text, so that a value can take raw text (a function's body, the data
of an ingestion) and the next token is read right after it.
"""

from __future__ import annotations

import difflib
import heapq
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from cluster.commands.credentials import without_credentials
from cluster.commands.grammar import COMMANDS, CommandSpec, Kind, candidates
from cluster.commands.lexer import OBFUSCATED, Token, TokenKind, masked, secrets_in, token_at
from cluster.commands.notation import Choice, Keyword, Node, Sequence, Symbol, Value
from cluster.commands.values import KINDS
from cluster.errors import LimitExceededError, NotSupportedError, SyntaxRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cluster.limits import Limits

Captured = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Command:
    """A command that parsed.

    ``words`` are the keywords and symbols that were there, ``values`` the values by their names in
    the grammar; a part that was left out is missing from both. ``text`` has secrets masked.
    ``pipe`` is the KQL its result goes through, from the ``|`` on; empty if there is none.
    """

    spec: CommandSpec
    words: frozenset[str]
    values: Mapping[str, Any]
    text: str
    pipe: str = ""


def parse_command(text: str, limits: Limits) -> Command:
    """The command in ``text``; one trailing semicolon is tolerated.

    Raises LimitExceededError (longer than ``limits.command_text_bytes``), SyntaxRefusedError
    (with position, what was expected and the nearest form), NotSupportedError (a form that Kusto
    has and we do not).
    """
    _check_text(text, limits)
    matcher = Matcher(text)
    command = matcher.first(candidates(*matcher.opening()))
    if command is None:
        raise _error(text)
    if command.spec.kind is Kind.REFUSE:
        raise NotSupportedError(command.spec.refused, metadata={"fidelity_row": command.spec.name})
    return command


def _error(text: str) -> SyntaxRefusedError:
    """Why no form fits. Only forms that would be executed are suggested."""
    matcher = Matcher(text)
    matcher.first(spec for spec in COMMANDS if spec.kind is not Kind.REFUSE)
    return matcher.error()


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


class Matcher:
    """One text, matched against one form after the other."""

    def __init__(self, text: str) -> None:
        self.text = text
        # Read as far as a form asks for: a long text that matches nothing costs little.
        self._tokens: dict[int, Token] = {}
        self._raw: set[tuple[int, int]] = set()
        self._values: dict[tuple[str, str, int], tuple[tuple[Any, int] | None, int]] = {}
        self._furthest = 0
        self._expected: dict[str, None] = {}
        self._reached: list[tuple[int, CommandSpec]] = []
        self._reach = 0

    # For kinds of values

    def at(self, position: int) -> Token:
        """The token at or after a position; END beyond the last one."""
        token = self._tokens.get(position)
        if token is None:
            token = self._tokens[position] = token_at(self.text, position)
        return token

    def is_symbol(self, position: int, symbol: str) -> bool:
        """Whether that symbol is there; noted as expected if not."""
        token = self.at(position)
        if token.kind is TokenKind.SYMBOL and token.value == symbol:
            return True
        return self.fail(position, f"'{symbol}'")

    def follows(self, position: int, symbol: str) -> bool:
        """Whether that symbol and a word after it are there; nothing is noted."""
        token = self.at(position)
        return (
            token.kind is TokenKind.SYMBOL
            and token.value == symbol
            and self.at(token.end).kind is TokenKind.WORD
        )

    def fail(self, position: int, expected: str) -> bool:
        """Notes what would have matched here. Always False."""
        start = self.at(position).start
        self._reach = max(self._reach, start)
        if start > self._furthest:
            self._furthest = start
            self._expected.clear()
        if start == self._furthest:
            self._expected[expected] = None
        return False

    def took_raw(self, start: int, end: int) -> None:
        """Notes that ``text[start:end]`` was taken as it is, so that its secrets are masked."""
        self._raw.add((start, end))

    # Matching

    def opening(self) -> tuple[str, str]:
        """The first two words; empty where there is none."""
        dot = self.at(0)
        first = self.at(dot.end)
        second = self.at(first.end)
        words = [token.value if token.kind is TokenKind.WORD else "" for token in (first, second)]
        return words[0], words[1]

    def first(self, specs: Iterable[CommandSpec]) -> Command | None:
        """The command, if the whole text has one of these forms."""
        found = (self._match_spec(spec) for spec in specs)
        return next((command for command in found if command is not None), None)

    def _match_spec(self, spec: CommandSpec) -> Command | None:
        self._reach = 0
        first = self.at(0)
        if first.kind is not TokenKind.SYMBOL or first.value != ".":
            self.fail(0, "a command, which starts with a dot")
            return None
        for end, captured in self._match(spec.tree, first.end, ()):
            pipe = self._ends(end, spec)
            if pipe is not None:
                return Command(
                    spec,
                    frozenset(name for name, value in captured if value is None),
                    {name: value for name, value in captured if value is not None},
                    self._masked(),
                    self.text[pipe:],
                )
        self._reached.append((self._reach, spec))
        return None

    def _ends(self, position: int, spec: CommandSpec) -> int | None:
        """Where the KQL begins, the end of the text if there is none; None: more is there."""
        token = self.at(position)
        if token.kind is TokenKind.PIPE and spec.kind is Kind.SHOW:
            self.took_raw(token.start, len(self.text))
            return token.start
        more = "the end of the command"
        if token.kind is TokenKind.SYMBOL and token.value == ";":
            token = self.at(token.end)
            more = "the end of the text (several commands are one .execute database script)"
        if token.kind is TokenKind.END:
            return len(self.text)
        self.fail(token.start, more)
        return None

    def _masked(self) -> str:
        secrets = [(token.start, token.end) for token in self._tokens.values() if token.secret]
        for start, end in self._raw:
            secrets += secrets_in(self.text, start, end)
        return without_credentials(masked(self.text, secrets))

    def _match(
        self, node: Node, position: int, captured: Captured
    ) -> Iterator[tuple[int, Captured]]:
        match node:
            case Keyword(text):
                token = self.at(position)
                if token.kind is TokenKind.WORD and token.value == text:
                    yield token.end, (*captured, (text, None))
                else:
                    self.fail(position, f"'{text}'")
            case Symbol(text):
                start = self.at(position).start
                if self.text.startswith(text, start):
                    yield start + len(text), (*captured, (text, None))
                else:
                    self.fail(position, f"'{text}'")
            case Value(name, kind):
                found = self._value(kind, name, position)
                if found is not None:
                    value, end = found
                    yield end, (*captured, (name, value))
            case Choice(items):
                for item in items:
                    yield from self._match(item, position, captured)
            case Sequence(items):
                yield from self._match_all(items, position, captured)

    def _value(self, kind: str, name: str, position: int) -> tuple[Any, int] | None:
        """The value there, which many forms may ask for: it is read once.

        What was expected instead was noted then; how far it got counts for each form.
        """
        key = (kind, name, position)
        known = self._values.get(key)
        if known is None:
            before, self._reach = self._reach, 0
            found = KINDS[kind](self, position, name)
            known = self._values[key] = found, self._reach
            self._reach = before
        self._reach = max(self._reach, known[1])
        return known[0]

    def _match_all(
        self, items: tuple[Node, ...], position: int, captured: Captured
    ) -> Iterator[tuple[int, Captured]]:
        if not items:
            yield position, captured
            return
        for end, more in self._match(items[0], position, captured):
            yield from self._match_all(items[1:], end, more)

    # Errors

    def error(self) -> SyntaxRefusedError:
        """Why no form matched."""
        token = self.at(self._furthest)
        found = _shown(self.text, token)
        expected = _either(list(self._expected))
        line, column = self._line_and_column(token)
        message = (
            f"Syntax error at line {line}, column {column}: expected {expected}, found {found}."
        )
        nearest = self._nearest()
        remedy = f"expected {expected}"
        if nearest is not None:
            remedy = f"The nearest command is: {nearest.usage}"
            message += f" {remedy}"
        # The remedy is part of the message: doors that send both say it once, before the caret.
        return SyntaxRefusedError(
            f"{message}\n{self._excerpt(token)}",
            remedy=remedy,
            metadata={"line": str(line), "column": str(column), "expected": expected},
        )

    def _nearest(self) -> CommandSpec | None:
        text = " ".join(self._first_words(8))[:100].lower()
        beginning = self.at(self.at(0).end).start
        furthest = max((reach for reach, _ in self._reached), default=0)
        reached = [spec for reach, spec in self._reached if reach == furthest]
        pairs = _pairs(text)
        likely = heapq.nlargest(_COMPARED, reached, key=lambda spec: _shared(pairs, spec))
        likeness, nearest = max(
            ((_likeness(text, spec), spec) for spec in likely),
            key=lambda found: found[0],
            default=(0.0, None),
        )
        # At the first word nothing of the form matched: likeness alone decides.
        return nearest if furthest > beginning or likeness >= _LIKE else None

    def _first_words(self, count: int) -> list[str]:
        words: list[str] = []
        token = self.at(0)
        for _ in range(count):
            if token.kind in (TokenKind.END, TokenKind.INVALID, TokenKind.PIPE):
                break
            if token.kind is TokenKind.WORD:
                words.append(token.value)
            token = self.at(token.end)
        return words

    def _excerpt(self, token: Token) -> str:
        """The line up to the token, secrets masked, and a caret under the token's beginning."""
        start = self.text.rfind("\n", 0, token.start) + 1
        secrets = [
            (max(first - start, 0), last - start)
            for first, last in secrets_in(self.text, 0, token.start)
            if last > start
        ]
        before = without_credentials(masked(self.text[start : token.start], secrets))
        if len(before) > _EXCERPT_CHARACTERS:
            before = f"...{before[-_EXCERPT_CHARACTERS:]}"
        source = "" if token.kind is TokenKind.INVALID else self.text[token.start : token.end]
        shown = OBFUSCATED if token.secret else source[:_SHOWN_CHARACTERS].split("\n")[0]
        line = "".join(c if c.isprintable() else " " for c in f"{before}{shown}")
        return f"  {line.rstrip()}\n  {' ' * len(before)}^"

    def _line_and_column(self, token: Token) -> tuple[int, int]:
        before = self.text[: token.start]
        return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


_LIKE: Final = 0.5
_COMPARED: Final = 12
"""So many forms are compared in earnest for the nearest one."""

_SHOWN_CHARACTERS: Final = 40
_EXCERPT_CHARACTERS: Final = 60


def _likeness(text: str, spec: CommandSpec) -> float:
    """How alike text and form are, from 0 to 1; what the text goes on with counts half."""
    return max(
        sum(
            difflib.SequenceMatcher(None, part, keywords).ratio() / 2
            for part in (text, text[: len(keywords) + 1])
        )
        for keywords, _ in _TEXTS[spec.name]
    )


def _shared(pairs: frozenset[str], spec: CommandSpec) -> float:
    """How many neighbours of characters text and form share, from 0 to 1: a quick look."""
    return max(
        2 * len(pairs & of_form) / (len(pairs) + len(of_form) + 1)
        for _, of_form in _TEXTS[spec.name]
    )


def _pairs(text: str) -> frozenset[str]:
    return frozenset(map("".join, pairwise(text)))


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


def _keywords(node: Node, *, is_short: bool = False) -> str:
    """The keywords of a form, one space between them; a short one has no optional parts."""
    match node:
        case Keyword(text):
            return text
        case Sequence(items):
            found = (_keywords(item, is_short=is_short) for item in items)
            return " ".join(filter(None, found))
        case Choice(items):
            return _keywords(items[-1 if is_short else 0], is_short=is_short)
        case Symbol() | Value():
            return ""


_TEXTS: Final[Mapping[str, tuple[tuple[str, frozenset[str]], ...]]] = {
    spec.name: tuple(
        (text, _pairs(text)) for text in {_keywords(spec.tree), _keywords(spec.tree, is_short=True)}
    )
    for spec in COMMANDS
    if spec.kind is not Kind.REFUSE
}
"""The keywords of each form, with and without its optional parts, by its name."""
