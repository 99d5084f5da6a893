"""Words, names and literals of management commands. Pure.

Rules from the scalar data type pages and the published grammar:

- strings ``'..'`` and ``".."`` with backslash escapes on one line; ``@'..'`` and ``@".."`` verbatim
  with the quote doubled; three backticks around any lines, nothing escaped. Neighbouring literals
  are one. A prefix ``h`` or ``H`` marks a secret: it is kept out of logs and journals;
- names bare, or ``['my name']``, ``["my name"]``, ``[my name]``;
- keywords may contain dashes (``alter-merge``), bare names may not;
- ``//`` starts a comment. A byte order mark is space.

Lexing never raises: what cannot be read becomes one INVALID token that says why, so that the
interpreter can report the first thing that is wrong, be it a word or a quote. What follows a ``|``
is KQL or data and is not lexed here; :func:`block_end` and :func:`secrets_in` look at such text as
far as strings, comments and brackets go.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.commands.credentials import HIDDEN, holds_credential, without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

OBFUSCATED: Final = HIDDEN
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


_SPACE: Final = re.compile(r"[\s\ufeff]*(?://[^\n]*[\s\ufeff]*)*")
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
_RAW: Final = re.compile(
    r"""//[^\n]*
    | (?P<secret> (?<!\w)[hH](?: @'(?:[^']|'')*' | @"(?:[^"]|"")*"
        | '(?:[^'\\\r\n]|\\.)*' | "(?:[^"\\\r\n]|\\.)*" | ```.*?```) )
    | (?P<plain> @'(?:[^']|'')*' | @"(?:[^"]|"")*"
        | '(?:[^'\\\r\n]|\\.)*' | "(?:[^"\\\r\n]|\\.)*" | ```.*?``` )
    | (?P<bracket> [(){}\[\]] ) | (?P<open> ['"] | ```)""",
    re.DOTALL | re.VERBOSE,
)
"""What matters in text that is not lexed: comments, strings, brackets."""

_OPENS_SECRET: Final = re.compile(r"(?<!\w)[hH]@?\Z")

_CLOSING: Final[Mapping[str, str]] = {"(": ")", "[": "]", "{": "}"}
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


def literal_at(text: str, at: int) -> Token:
    """Like :func:`token_at`, but a string literal ends where it ends: its neighbours are others."""
    at = _skip(text, at)
    if at >= len(text):
        return Token(TokenKind.END, "the end of the command", at, at)
    return _next(text, at)


def token_at(text: str, at: int) -> Token:
    """The first token at or after a position: END if nothing but space and comments is left."""
    token = literal_at(text, at)
    if token.kind is not TokenKind.STRING:
        return token
    literals = [token]  # neighbours, which are one
    while (after := _skip(text, literals[-1].end)) < len(text):
        if not _PREFIX.match(text, after):
            break
        following = _next(text, after)
        if following.kind is not TokenKind.STRING:
            break  # one that is never closed is a token of its own
        literals.append(following)
    return _joined(literals)


def iter_tokens(text: str) -> Iterator[Token]:
    """The tokens of a command up to the first ``|`` or what cannot be read; the last one is END."""
    token = token_at(text, 0)
    while token.kind is not TokenKind.END:
        yield token
        if token.kind in (TokenKind.PIPE, TokenKind.INVALID):
            token = Token(TokenKind.END, "the end of the command", len(text), len(text))
        else:
            token = token_at(text, token.end)
    yield token


def block_end(text: str, at: int) -> int | None:
    """Where the block that opens at ``text[at]`` ends, past its closing bracket.

    Brackets, braces and parentheses inside must pair up; those in strings and comments do not
    count. None: it is never closed.
    """
    closing: list[str] = []
    for piece in _RAW.finditer(text, at):
        bracket = piece.group("bracket")
        if piece.group("open"):
            return None  # a string that is never closed
        if bracket is None:
            continue
        if bracket in _CLOSING:
            closing.append(_CLOSING[bracket])
        elif not closing or closing.pop() != bracket:
            return None
        elif not closing:
            return piece.end()
    return None


def secrets_in(
    text: str, start: int, end: int, *, only_obfuscated: bool = False
) -> list[tuple[int, int]]:
    """Where secret literals are in raw text, which may be KQL: pairs of start and end.

    Those are obfuscated ones, and plain ones with credentials. One that is never closed goes to the
    end: text that is refused is logged too.
    """
    found: list[tuple[int, int]] = []
    for piece in _RAW.finditer(text, start, end):
        if piece.group("secret") or (
            piece.group("plain")
            and not only_obfuscated
            and holds_credential(piece.group().strip("@'\"`"))
        ):
            found.append(piece.span())
        elif piece.group("open") and (opens := _OPENS_SECRET.search(text, start, piece.start())):
            return [*found, (opens.start(), end)]
    return found


def outside(text: str) -> Iterator[tuple[int, int]]:
    """Spans of raw text that are in no brackets, strings or comments.

    Brackets that close nothing do not count, nor do quotes that nothing closes: data may have them.
    """
    depth = start = 0
    for piece in _RAW.finditer(text):
        if not depth:
            yield start, piece.start()
        bracket = piece.group("bracket")
        if bracket is not None:
            depth = depth + 1 if bracket in _CLOSING else max(depth - 1, 0)
        start = piece.end()
    if not depth:
        yield start, len(text)


def _joined(literals: list[Token]) -> Token:
    value = "".join(token.value for token in literals)
    secret = any(token.secret for token in literals) or holds_credential(value)
    return Token(TokenKind.STRING, value, literals[0].start, literals[-1].end, secret=secret)


def lex(text: str) -> list[Token]:
    """All tokens of a command; the last one is END."""
    return list(iter_tokens(text))


def fit_for_logs(text: str) -> str:
    """Raw text with secret literals masked, and with credentials hidden that are in none."""
    if "h" not in text and "H" not in text and not holds_credential(text):
        return text
    return without_credentials(masked(text, secrets_in(text, 0, len(text))))


def masked(text: str, secrets: Iterable[tuple[int, int]]) -> str:
    """The text with ``secrets`` (pairs of start and end) masked."""
    parts: list[str] = []
    at = 0
    for start, end in sorted(secrets):
        if start >= at:
            parts += text[at:start], OBFUSCATED
        at = max(at, end)
    return "".join((*parts, text[at:]))


def without_secrets(text: str) -> str:
    """Raw text with its obfuscated literals masked, and everything else as it is."""
    if "h" not in text and "H" not in text:
        return text
    return masked(text, secrets_in(text, 0, len(text), only_obfuscated=True))


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
    secret = prefix.group()[:1] in ("h", "H") or holds_credential(value)
    return Token(TokenKind.STRING, value, at, end, secret=secret)


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
