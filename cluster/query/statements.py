"""A text of several statements taken apart. Pure, without the parser: most texts are one query.

``Q1; Q2`` gives two results, ``T | fork (a) n=(b)`` gives two, and ``T | facet by a, b`` one for
each column, behind that of its ``with (...)``; ``let`` statements are in force
in every query behind them, ``set`` and ``declare query_parameters`` in the whole text. Each query
becomes a text of its own in which everything else is blank, so that positions in messages are
those of the caller's text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.errors import LimitExceededError, SemanticError
from cluster.query import lexical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAY_BE_SEVERAL: Final = re.compile(r";|\bfork\b|\bfacet\b")
_NOT_A_LINE_END: Final = re.compile(r"[^\n]")
_SETTING: Final = re.compile(r"\s*set\s+(\w+)\s*(?:=\s*(\S[\s\S]*?))?\s*\Z")
_DECLARATION: Final = re.compile(r"\s*declare\s+query_parameters\s*\(([\s\S]*)\)\s*\Z")
_PARAMETER: Final = re.compile(
    r"\s*(?P<name>\w+|\[\s*(?:'[^'\\]+'|\"[^\"\\]+\")\s*\])\s*:\s*(?P<type>\w+)"
    r"\s*(?:=\s*(?P<default>\S[\s\S]*?))?\s*\Z"
)
_LEG: Final = re.compile(r"\s*(?:(\w+)\s*=\s*)?\(")
_FACET: Final = re.compile(r"facet\s+by\s+")
_FACET_COLUMN: Final = re.compile(r"\s*(\w+|\[\s*(?:'[^'\\]+'|\"[^\"\\]+\")\s*\])\s*(,)?")
_FACET_WITH: Final = re.compile(r"\s*with\s*\(")
_OPENING: Final = "([{"
_CLOSING: Final = ")]}"


@dataclass(frozen=True, slots=True)
class Statement:
    """One query: its text with the ``let`` statements before it, and the name of its result."""

    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Declared:
    """A parameter of ``declare query_parameters``; ``default`` is a literal as written."""

    name: str
    type: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """What a text says. ``settings`` are its ``set`` statements: names in lower case, values as
    written, None if there is none."""

    statements: tuple[Statement, ...]
    settings: tuple[tuple[str, str | None], ...] = ()
    parameters: tuple[Declared, ...] = ()


def take_apart(kql: str, most: int) -> Script:
    """The statements of a text; ``most``: how many queries it may have.

    Raises SyntaxRefusedError for a declaration that cannot be read, SemanticError if there is no
    query, LimitExceededError for more than ``most`` results.
    """
    if _MAY_BE_SEVERAL.search(kql) is None or lexical.is_command(kql):
        return Script((Statement(kql),))
    lets: list[tuple[int, int]] = []
    results: list[Statement] = []
    settings: list[tuple[str, str | None]] = []
    parameters: list[Declared] = []
    for start, end, words, forks in _spans(kql):
        text = kql[start:end]
        kind = words[0] if words else ""
        if kind == "let":
            lets.append((start, end + 1))
        elif kind == "set" and (setting := _SETTING.match(_bare(text))) is not None:
            settings.append((setting[1].lower(), setting[2]))
        elif kind == "declare" and words[1:2] == ["query_parameters"]:
            parameters.extend(_declared(kql, start, end))
        elif words or text.strip():
            kept = [*lets, (start, end)]
            parts: Iterable[Statement] = [Statement(_only(kql, kept))]
            if forks:
                is_fork = kql[forks[0] + 1 : end].lstrip().startswith("fork")
                parts = (_legs if is_fork else _facets)(kql, lets, start, end, forks[0])
            for part in parts:  # counted one by one: each is as long as the text
                if len(results) == most:
                    raise LimitExceededError(
                        f"The text asks for more than {most} results.",
                        remedy="Send the queries in several requests.",
                        metadata={"limit": "query_statements"},
                    )
                results.append(part)
    if not results:
        raise SemanticError("Semantic error: the text has no query, only other statements.")
    return Script(tuple(results), tuple(settings), tuple(parameters))


def _spans(kql: str) -> Iterator[tuple[int, int, list[str], list[int]]]:
    """Start and end of a statement, its first words, and where ``| fork`` or ``facet`` begin."""
    start = depth = 0
    words: list[str] = []
    forks: list[int] = []
    pipe = -1
    for position, character, word in _significant(kql):
        if word:
            if pipe >= 0 and depth == 0 and word in ("fork", "facet"):
                forks.append(pipe)
            if len(words) < 2:
                words.append(word)
            pipe = -1
            continue
        if character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == ";" and depth <= 0:
            yield start, position, words, forks
            start, depth, words, forks, pipe = position + 1, 0, [], [], -1
            continue
        if len(words) < 2 and not character.isspace():
            words.append(character)
        if not character.isspace():
            pipe = position if character == "|" else -1
    if words:
        yield start, len(kql), words, forks


def _significant(kql: str) -> Iterator[tuple[int, str, str]]:
    """Position, character and word of what is not comment: a literal counts as one character."""
    end = 0
    for match in lexical.TOKEN.finditer(kql):
        for position in range(end, match.start()):
            yield position, kql[position], ""
        end = match.end()
        if match.lastgroup == "word":
            yield match.start(), "", match[0]
        elif match.lastgroup != "comment":
            yield match.start(), "'", ""
    for position in range(end, len(kql)):
        yield position, kql[position], ""


def _only(kql: str, kept: list[tuple[int, int]]) -> str:
    """The text with everything blank but the ranges ``kept``, cut off behind the last."""
    pieces = []
    end = 0
    for start, stop in kept:
        pieces.append(_NOT_A_LINE_END.sub(" ", kql[end:start]))
        pieces.append(kql[start:stop])
        end = stop
    return "".join(pieces)


def _legs(
    kql: str, lets: list[tuple[int, int]], start: int, end: int, fork: int
) -> Iterator[Statement]:
    """One statement for each leg of the ``fork`` at ``fork``."""
    position = kql.index("fork", fork) + len("fork")
    while (leg := _LEG.match(kql, position, end)) is not None:
        close = _closing(kql, leg.end(), end)
        before = _only(kql, [*lets, (start, fork + 1)])
        inside = _NOT_A_LINE_END.sub(" ", kql[fork + 1 : leg.end()]) + kql[leg.end() : close]
        yield Statement(before + inside, leg[1] or "")
        position = close + 1
    if position < end and kql[position:end].strip():
        offender = kql[position:end].lstrip()[:1]
        raise lexical.syntax_refused(offender, *lexical.position(kql, position))


def _facets(
    kql: str, lets: list[tuple[int, int]], start: int, end: int, facet: int
) -> Iterator[Statement]:
    """One statement for the ``with`` of the ``facet`` at ``facet``, and one for each column."""
    before = _only(kql, [*lets, (start, facet + 1)])
    head = _FACET.search(kql, facet, end)
    position = facet + 1 if head is None else head.end()
    columns: list[str] = []
    while (column := _FACET_COLUMN.match(kql, position, end)) is not None:
        columns.append(column[1])
        position = column.end()
        if column[2] is None:
            break
    behind = _FACET_WITH.match(kql, position, end)
    inside = ""
    if behind is not None:
        position = _closing(kql, behind.end(), end) + 1
        inside = _NOT_A_LINE_END.sub(" ", kql[facet + 1 : behind.end()])
        inside += kql[behind.end() : position - 1]
    if head is None or not columns or kql[position:end].strip():
        offender = kql[position:end].lstrip()[:1]
        raise lexical.syntax_refused(offender, *lexical.position(kql, position))
    if behind is not None:
        yield Statement(before + inside)
    for name in columns:
        plain = name.strip("[]").strip().strip("'\"")
        counted = f"[{lexical.encoded(f'count_{plain}')}]"
        yield Statement(f"{before} summarize {counted} = count() by {name}")


def _closing(kql: str, start: int, end: int) -> int:
    depth = 1
    for offset, character, _ in _significant(kql[start:end]):
        if character and character in _OPENING:
            depth += 1
        elif character and character in _CLOSING:
            depth -= 1
            if depth == 0:
                return start + offset
    raise lexical.syntax_refused("", *lexical.position(kql, end))


def _declared(kql: str, start: int, end: int) -> Iterator[Declared]:
    found = _DECLARATION.match(_bare(kql[start:end]))
    if found is None:
        raise lexical.syntax_refused("query_parameters", *lexical.position(kql, start))
    for part in _parts(found[1]):
        parameter = _PARAMETER.match(part)
        if parameter is None:
            raise lexical.syntax_refused(part.strip(), *lexical.position(kql, start))
        name = parameter["name"].strip("[]").strip().strip("'\"")
        yield Declared(name, parameter["type"].lower(), parameter["default"])


def _parts(text: str) -> Iterator[str]:
    """What stands between commas that are in no brackets."""
    depth = start = 0
    for position, character, _ in _significant(text):
        if character and character in _OPENING:
            depth += 1
        elif character and character in _CLOSING:
            depth -= 1
        elif character == "," and depth == 0:
            yield text[start:position]
            start = position + 1
    if text[start:].strip():
        yield text[start:]


def _bare(text: str) -> str:
    """The text without its comments."""
    return lexical.TOKEN.sub(lambda m: " " if m.lastgroup == "comment" else m[0], text)
