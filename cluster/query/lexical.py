"""The text of a query before it is parsed: literals, names, constructs refused by their spelling.

duckdb-kql decodes some string literals wrongly and without a word: ``\\u0041`` becomes ``u0041``,
multi-line strings keep their back-ticks, obfuscated strings (``h'...'``) keep their prefix and
quotes. Such literals are rewritten here into an equal literal that it reads correctly. Everything
else keeps its bytes, so positions in error messages stay those of the caller's text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.errors import SyntaxRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cluster.catalog.model import Function
    from cluster.query.messages import FunctionText

TOKEN: Final = re.compile(
    r"""(?P<comment>//[^\n]*)
      | (?P<multiline>[hH]?(?:```(?P<ticks>[\s\S]*?)```|~~~(?P<tildes>[\s\S]*?)~~~))
      | (?P<verbatim>[hH]?@(?:'(?:''|[^'\n])*'|"(?:""|[^"\n])*"))
      | (?P<plain>[hH]?(?:'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))
      | (?P<word>\w+)""",
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(
    r"\\(?:u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|x(?P<x>[0-9a-fA-F]{2})"
    r"|(?P<octal>[0-3]?[0-7]{1,2})|(?P<char>.))",
    re.DOTALL,
)
_CHARACTERS: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"',
}  # fmt: skip
_READ_CORRECTLY: Final = frozenset("nrt\\'\"")
"""Escapes that the translator decodes as Kusto does."""

_BRACKETED: Final = re.compile(r"\[\s*[hH@]*['\"`~]")
_NAMED: Final = re.compile(r"[()]|(?:^|(?<=[(,]))\s*[A-Za-z_]\w*\s*=(?![=~>])")


DECIMAL_MARK: Final = "\ue000decimal:"
"""Begins a string literal that stands for a decimal one. Private use: no text has it by chance."""

_DECIMAL: Final = re.compile(r"decimal\s*\(\s*([^()'\"]*)\)")
"""A decimal literal, which the translator would read as ``real``."""


@dataclass(frozen=True, slots=True)
class NormalText:
    """A query text the translator reads as Kusto would."""

    text: str
    changed: bool
    """True if a literal was rewritten: positions behind it have moved."""
    may_name_arguments: bool
    """False if there is certainly no ``f(name=value)``; True needs a look at the parse tree."""


def normalise(kql: str) -> NormalText:
    """Rewrites the literals the translator misreads.

    A ``decimal(...)`` literal becomes the conversion of its text, because it would compute as
    ``real``. Raises SyntaxRefusedError for an escape Kusto does not have.
    """
    if DECIMAL_MARK in kql:
        raise syntax_refused(DECIMAL_MARK[0], *position(kql, kql.index(DECIMAL_MARK)))
    pieces: list[str] = []
    skeleton: list[str] = []
    changed = False
    end = 0
    for match in TOKEN.finditer(kql):
        if match.start() < end:
            continue  # within a decimal literal
        between = kql[end : match.start()]
        end = match.end()
        pieces.append(between)
        skeleton.append(between)
        text = match[0]
        if match.lastgroup == "word":
            literal = _DECIMAL.match(kql, match.start()) if text == "decimal" else None
            if literal is not None:
                end = literal.end()
                text = f'"{DECIMAL_MARK}{literal[1].strip()}"'
                changed = True
            skeleton.append(text)
        elif match.lastgroup != "comment":
            rewritten = _rewrite(match, kql)
            changed |= rewritten != text
            text = rewritten
            skeleton.append("''")
        pieces.append(text)
    pieces.append(kql[end:])
    skeleton.append(kql[end:])
    return NormalText("".join(pieces), changed, _may_name_arguments("".join(skeleton)))


def _may_name_arguments(skeleton: str) -> bool:
    depth = 0
    for match in _NAMED.finditer(skeleton):
        if match[0] == "(":
            depth += 1
        elif match[0] == ")":
            depth -= 1
        elif depth > 0:
            return True
    return False


def _rewrite(match: re.Match[str], kql: str) -> str:
    text = match[0]
    if match["multiline"] is not None:
        return encoded(match["ticks"] if match["ticks"] is not None else match["tildes"])
    body = text.lstrip("hH")
    if match["verbatim"] is not None:
        return body  # only the h prefix is misread
    escapes = _ESCAPE.finditer(body)
    if all((escape["char"] or "?") in _READ_CORRECTLY for escape in escapes):
        return body
    return encoded(_ESCAPE.sub(lambda escape: _decode(escape, match.start(), kql), body[1:-1]))


def _decode(escape: re.Match[str], start: int, kql: str) -> str:
    for group, base in (("u", 16), ("U", 16), ("x", 16), ("octal", 8)):
        if escape[group] is not None:
            code = int(escape[group], base)
            if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
                return chr(code)
            break
    character = _CHARACTERS.get(escape["char"] or "")
    if character is None:
        raise syntax_refused(escape[0], *position(kql, start))
    return character


def literal_string(text: str) -> str | None:
    """What a text says that is nothing but one string literal of KQL; None if it is not one.

    Raises SyntaxRefusedError for an escape Kusto does not have.
    """
    match = TOKEN.fullmatch(text.strip())
    if match is None or match.lastgroup in ("comment", "word"):
        return None
    if match["multiline"] is not None:
        return match["ticks"] if match["ticks"] is not None else match["tildes"]
    body = match[0].lstrip("hH")
    if match["verbatim"] is not None:
        quote = body[1]
        return body[2:-1].replace(quote * 2, quote)
    return _ESCAPE.sub(lambda escape: _decode(escape, 0, text), body[1:-1])


def encoded(value: str) -> str:
    """A value as a string literal that the translator reads correctly."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return f'"{escaped}"'


def position(kql: str, offset: int) -> tuple[int, int]:
    """Line and column of ``offset``, both from 1."""
    return kql.count("\n", 0, offset) + 1, offset - kql.rfind("\n", 0, offset)


def syntax_refused(token: str, line: int, column: int) -> SyntaxRefusedError:
    """SYN0002 in Kusto's words; ``line`` and ``column`` count from 1."""
    return SyntaxRefusedError(
        f"Syntax error: SYN0002: Query could not be parsed at '{token}' on line [{line},{column}]",
        metadata={"token": token, "line": str(line), "column": str(column)},
    )


def names_mentioned(kql: str, names: Collection[str]) -> set[str]:
    """Those of ``names`` the text may refer to: a superset of those it does refer to.

    Only their schemas travel to the translator, so its cost does not grow with the database.
    """
    if "*" in kql or "search" in kql or _BRACKETED.search(kql):
        return set(names)  # a wildcard, every table, or a name written as a string
    return words_among(kql, names)


def words_among(text: str, names: Collection[str]) -> set[str]:
    """Those of ``names`` that stand in the text as words: what a call of a function looks like."""
    words = set(re.findall(r"\w+", text))
    return {word for word in words if word in names}


def functions_mentioned(kql: str, functions: Mapping[str, Function]) -> tuple[FunctionText, ...]:
    """The stored functions a text may call, and those that they may call: name, parameters, body.

    A function comes after those its text mentions, unless they mention each other.
    """
    found: dict[str, FunctionText] = {}
    begun: set[str] = set()

    def visit(text: str) -> None:
        for name in sorted(words_among(text, functions) - begun):
            begun.add(name)
            function = functions[name]
            visit(f"{function.parameters} {function.body}")
            found[name] = (name, function.parameters, function.body)

    if functions:
        visit(kql)
    return tuple(found.values())


def may_call(text: str, name: str) -> bool:
    """Whether ``name`` stands in the text in front of a parenthesis."""
    return re.search(rf"\b{re.escape(name)}\s*\(", text) is not None


def is_command(kql: str) -> bool:
    """True if the text is a control command (its first character after comments is a dot)."""
    for line in kql.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("//"):
            return stripped.startswith(".")
    return False
