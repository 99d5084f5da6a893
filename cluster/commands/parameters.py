"""The parameters of a stored function, as the schema's JSON lists them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.commands.lexer import TokenKind, block_end, token_at
from cluster.commands.scalar_names import CLR_NAMES, scalar_type

if TYPE_CHECKING:
    from cluster.commands.lexer import Token


def input_parameters(text: str) -> list[dict[str, object]]:
    """``(a:long, b:string='x', T:(c:int))`` as a list of objects.

    A scalar has ``Type`` and ``CslType`` (and ``CslDefaultValue``), a table ``Columns``, which are
    empty for ``(*)``. What cannot be read as a parameter is left out: the text is what counts.
    """
    parameters: list[dict[str, object]] = []
    for item in _split(text.strip()[1:-1]):
        name, _, declared = item.partition(":")
        found = token_at(name, 0)
        if found.kind not in (TokenKind.WORD, TokenKind.BRACKETED):
            continue
        declared = declared.strip()
        shown: dict[str, object] = {"Name": found.value}
        if declared.startswith("("):
            shown["Columns"] = [
                column for column in input_parameters(declared) if "Columns" not in column
            ]
        else:
            kind_text, equals, default = declared.partition("=")
            kind = scalar_type(kind_text.strip())
            if kind is None:
                continue
            shown |= {"Type": CLR_NAMES[kind], "CslType": kind.value}
            if equals:
                shown["CslDefaultValue"] = default.strip()
        parameters.append(shown)
    return parameters


def _split(text: str) -> list[str]:
    """At the commas that are in no parentheses and no string."""
    parts: list[str] = []
    start = at = 0
    while True:
        token: Token = token_at(text, at)
        if token.kind is TokenKind.END:
            break
        at = token.end
        if token.kind is TokenKind.SYMBOL and token.value in "({":
            at = block_end(text, token.start) or len(text)
        elif token.kind is TokenKind.SYMBOL and token.value == ",":
            parts.append(text[start : token.start])
            start = token.end
        elif token.kind is TokenKind.INVALID:
            at = len(text)
    parts.append(text[start:])
    return [part for part in parts if part.strip()]
