"""Spellings Kusto has and the library's grammar does not, written so that it reads them. Pure.

Each is put in the place of one of the same length, so positions in messages stay those of the text:

- ``parse-kv e as (a:long)``: the grammar has no ``as`` there.
- ``with (regex=...)`` behind it: ``regex`` is no property there, but :data:`PATTERN` may be one.
- ``evaluate f() : (*, a:long)``: a list that begins with a comma stands for one with ``*``.
- ``count as n``: a parameter of ``count``, which Kusto has none of.
"""

from __future__ import annotations

import re
from typing import Final

from cluster.query import lexical

_MAY_BE_ODD: Final = re.compile(r"\bparse-kv\b|\bevaluate\b|\bcount\s+\w")
PATTERN: Final = "rege_"
"""A word of the length of ``regex``."""

_PATTERN: Final = re.compile(r"\bwith\s*\(\s*(regex)\s*=")
_PARSE_KV: Final = re.compile(r"\bparse-kv\b")
_KEYS: Final = re.compile(r"[()]|\bas\b(?=\s*\()")
_SCHEMA: Final = re.compile(r"\)\s*:\s*\(\s*(?P<first>[*,])(?P<rest>\s*[,)])?")
_COUNT: Final = re.compile(r"\|\s*count\s+(?:(?P<name>as)\s+(?=[A-Za-z_])|(?P<odd>\w+)\s*=)")
_NOT_A_LINE_END: Final = re.compile(r"[^\n]")


def respelled(kql: str) -> str:
    """``kql`` as the library reads it, of the same length.

    Raises SyntaxRefusedError for what the library would take for such a spelling and is none.
    """
    if _MAY_BE_ODD.search(kql) is None:
        return kql
    bare = lexical.TOKEN.sub(_blank, kql)
    changed = list(kql)
    for match in _PARSE_KV.finditer(bare):
        depth = 0
        for found in _KEYS.finditer(bare, match.end()):
            if found[0] == "as" and depth == 0:
                changed[found.start() : found.end()] = "  "
                end = bare.find("|", found.end())
                pattern = _PATTERN.search(bare, found.end(), end if end >= 0 else len(bare))
                if pattern is not None:
                    changed[pattern.start(1) : pattern.end(1)] = PATTERN
                break
            depth += {"(": 1, ")": -1}.get(found[0], 0)
            if depth < 0:
                break
    if "evaluate" in bare:
        for match in _SCHEMA.finditer(bare):
            place = match.start("first")
            if match["first"] == "," or match["rest"] is None:
                raise lexical.syntax_refused(match["first"], *lexical.position(kql, place))
            changed[place] = "," if match["rest"].strip() == ")" else " "
    for match in _COUNT.finditer(bare):
        if match["odd"] is not None:
            place = match.start("odd")
            raise lexical.syntax_refused(match["odd"], *lexical.position(kql, place))
        changed[match.start("name") : match.end("name")] = "a="
    return "".join(changed)


def _blank(match: re.Match[str]) -> str:
    """Words as they are, literals and comments without what they say."""
    return match[0] if match.lastgroup == "word" else _NOT_A_LINE_END.sub(" ", match[0])
