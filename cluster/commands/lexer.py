"""Words, names and literals of management commands. Pure.

Rules from the scalar data type pages and the published grammar:

- strings ``'..'`` and ``".."`` with backslash escapes on one line; ``@'..'`` and ``@".."`` verbatim
  with the quote doubled; three backticks around any lines, nothing escaped. Neighbouring literals
  are one. A prefix ``h`` or ``H`` marks a secret: it is kept out of logs and journals;
- names bare, or ``['my name']``, ``["my name"]``, ``[my name]``;
- keywords may contain dashes (``alter-merge``), bare names may not;
- ``//`` starts a comment.

Lexing never raises: what cannot be read becomes one INVALID token that says why, so that the
interpreter can report the first thing that is wrong, be it a word or a quote. It stops at the first
``|``: what follows is KQL.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

OBFUSCATED: Final = "******"
"""Stands for an obfuscated literal wherever a command's text is kept."""


class TokenKind(enum.Enum):
    """What a token is."""

    WORD = "word"
    BRACKETED = "bracketed name"
    STRING = "string"
    NUMBER = "number"
    GUID = "guid"
    SYMBOL = "symbol"
    PIPE = "pipe"
    INVALID = "invalid"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One token. ``text[start:end]`` is its source, ``value`` its meaning.

    The value of an INVALID token says what is wrong with it.
    """

    kind: TokenKind
    value: str
    start: int
    end: int
    secret: bool = False


_SPACE: Final = re.compile(r"\s*(?://[^\n]*\s*)*")
_GUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?!\w)")
_WORD: Final = re.compile(r"[^\W\d]\w*(?:-\w+)*")
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_BRACKETED: Final = re.compile(r"\[([^\[\]'\"@`\r\n]+)\]")
_PREFIX: Final = re.compile(r"[hH]?@?(?=['\"])|(?=```)")
_ESCAPED: Final[Mapping[str, re.Pattern[str]]] = {
    quote: re.compile(rf"{quote}([^{quote}\\\r\n]*(?:\\.[^{quote}\\\r\n]*)*){quote}")
    for quote in "'\""
}
_VERBATIM: Final[Mapping[str, re.Pattern[str]]] = {
    quote: re.compile(rf"{quote}([^{quote}]*(?:{quote}{quote}[^{quote}]*)*){quote}(?!{quote})")
    for quote in "'\""
}
_LINES: Final = re.compile(r"```(.*?)```", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES: Final[Mapping[str, str]] = {
    "'": "'",
    '"': '"',
    "\\": "\\",
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}


class _LiteralError(Exception):
    """A literal cannot be read. Stays inside this module."""


def iter_tokens(text: str) -> Iterator[Token]:
    """The tokens of a command one by one, read as they are asked for; the last one is END."""
    literals: list[Token] = []  # neighbours, which are one
    at = _skip(text, 0)
    while at < len(text):
        token = _next(text, at)
        at = _skip(text, token.end)
        if token.kind is TokenKind.STRING:
            literals.append(token)
            continue
        if literals:
            yield _joined(literals)
            literals = []
        yield token
        if token.kind in (TokenKind.PIPE, TokenKind.INVALID):
            break
    if literals:
        yield _joined(literals)
    yield Token(TokenKind.END, "the end of the command", at, at)


def _joined(literals: list[Token]) -> Token:
    return Token(
        TokenKind.STRING,
        "".join(token.value for token in literals),
        literals[0].start,
        literals[-1].end,
        secret=any(token.secret for token in literals),
    )


def lex(text: str) -> list[Token]:
    """All tokens of a command; the last one is END."""
    return list(iter_tokens(text))


def without_secrets(text: str, tokens: Sequence[Token]) -> str:
    """The text with obfuscated literals masked, fit for a log or journal."""
    parts: list[str] = []
    at = 0
    for token in tokens:
        if token.secret:
            parts += text[at : token.start], OBFUSCATED
            at = token.end
    return "".join((*parts, text[at:]))


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _next(text: str, at: int) -> Token:
    if prefix := _PREFIX.match(text, at):
        return _string_token(text, at, prefix)
    if text[at] == "[":
        return _bracketed(text, at)
    for kind, pattern in (
        (TokenKind.GUID, _GUID),
        (TokenKind.WORD, _WORD),
        (TokenKind.NUMBER, _NUMBER),
    ):
        if found := pattern.match(text, at):
            return Token(kind, found.group(), at, found.end())
    kind = TokenKind.PIPE if text[at] == "|" else TokenKind.SYMBOL
    return Token(kind, text[at], at, at + 1)


def _string_token(text: str, at: int, prefix: re.Match[str]) -> Token:
    try:
        value, end = _string(text, prefix)
    except _LiteralError as error:
        return Token(TokenKind.INVALID, str(error), at, len(text))
    return Token(TokenKind.STRING, value, at, end, secret=prefix.group()[:1] in ("h", "H"))


def _string(text: str, prefix: re.Match[str]) -> tuple[str, int]:
    at = prefix.end()
    quote = text[at]
    if quote == "`":
        found = _LINES.match(text, at)
    elif prefix.group().endswith("@"):
        found = _VERBATIM[quote].match(text, at)
    else:
        found = _ESCAPED[quote].match(text, at)
    if found is None:
        raise _LiteralError("a string that is never closed")
    value = found.group(1)
    if quote != "`":
        verbatim = prefix.group().endswith("@")
        value = value.replace(quote * 2, quote) if verbatim else _unescape(value)
    return value, found.end()


def _unescape(value: str) -> str:
    if "\\" not in value:
        return value
    value = _ESCAPE.sub(_escape, value)
    try:
        # Two \u escapes may be the halves of one character; half of one is no text.
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise _LiteralError("a string with half of a surrogate pair") from None


def _escape(found: re.Match[str]) -> str:
    code = found.group(1)
    if code[0] in "uUx" and len(code) > 1:
        number = int(code[1:], 16)
        if number > 0x10FFFF:
            raise _LiteralError(f"a string with the escape '\\{code}', which is no character")
        return chr(number)
    if code not in _ESCAPES:
        raise _LiteralError(f"a string with the unknown escape '\\{code}'")
    return _ESCAPES[code]


def _bracketed(text: str, at: int) -> Token:
    if found := _BRACKETED.match(text, at):
        return Token(TokenKind.BRACKETED, found.group(1).strip(), at, found.end())
    inside = _skip(text, at + 1)
    prefix = _PREFIX.match(text, inside)
    if prefix is not None and not prefix.group().lower().startswith("h"):
        literal = _string_token(text, inside, prefix)
        if literal.kind is TokenKind.INVALID:
            return literal
        end = _skip(text, literal.end)
        if text[end : end + 1] == "]":
            return Token(TokenKind.BRACKETED, literal.value, at, end + 1)
    return Token(TokenKind.INVALID, "a bracketed name that is never closed", at, len(text))
