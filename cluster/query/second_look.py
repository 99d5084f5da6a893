"""What the representation has lost, read from the parse tree again. Only odd queries pay for it.

Two things the library answers silently wrong are visible only here:

- ``f(1, c=2)`` loses the argument's name (reference/kql.md 4.2 no. 3): refused.
- ``sort by Description asc`` sorts descending, because it looks for "asc" and "desc" anywhere in
  the key's text: the direction really written is found here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import lower as lowering
from duckdb_kql.errors import KqlError
from duckdb_kql.parser import parse

from cluster.errors import NotSupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

Direction = tuple[bool, bool | None]
"""(ascending, nulls first or None for the default)."""

_DIRECTION: Final = re.compile(r"asc|desc|nullsfirst|nullslast", re.IGNORECASE)
_WORD: Final = re.compile(r"\w*(?:asc|desc|nullsfirst|nullslast)\w*", re.IGNORECASE)
_KEYWORDS: Final = frozenset(["asc", "desc"])
_SORTS: Final = re.compile(r"\b(?:sort|order|top)\b")


def sort_may_be_misread(kql: str) -> bool:
    """False if every "asc" and "desc" of the text is certainly the keyword."""
    return bool(_SORTS.search(kql)) and any(word not in _KEYWORDS for word in _WORD.findall(kql))


class SecondLook:
    """The parse tree of one query, looked at again."""

    def __init__(self, kql: str) -> None:
        self._tree = parse(kql).tree

    def refuse_named_arguments(self) -> None:
        """Raises NotSupportedError if a call names an argument, but for those of plugins."""
        plugins = {
            id(argument)
            for node in _nodes(self._tree, "EvaluateOperator")
            for call in lowering._rule_children(node)
            for argument in lowering._rule_children(lowering._collapse(call))
        }
        for node in _nodes(self._tree, "ArgumentExpression"):
            if id(node) in plugins:
                continue
            if any(True for _ in _nodes(node, "NamedExpressionNameClause")):
                raise NotSupportedError(
                    f"Named arguments are not supported: {node.getText()}.",
                    remedy="Give the arguments by position.",
                )

    def sort_directions(self) -> dict[Any, set[Direction]]:
        """Every sort key's lowered expression with the directions written for it."""
        directions: dict[Any, set[Direction]] = {}
        for operator in ("SortOperator", "TopOperator"):
            for node in _nodes(self._tree, operator):
                keys = lowering._rule_children(node)
                for key in keys[1:] if operator == "TopOperator" else keys:
                    collapsed = lowering._collapse(key)
                    children = lowering._rule_children(collapsed)
                    expression = children[0] if children else collapsed
                    ordering = collapsed.getText()[len(expression.getText()) :].lower()
                    try:
                        expr = lowering._lower_expr(expression)
                    except KqlError:
                        continue  # what cannot be lowered is refused by the translation itself
                    directions.setdefault(expr, set()).add(_direction(ordering))
        return directions


def is_ambiguous(text: str) -> bool:
    """True if the library may have taken a direction from this name or text."""
    return _DIRECTION.search(text) is not None


def _direction(ordering: str) -> Direction:
    nulls = None
    if "nullsfirst" in ordering:
        nulls = True
    elif "nullslast" in ordering:
        nulls = False
    return ordering.startswith("asc"), nulls


def _nodes(node: Any, kind: str) -> Iterator[Any]:
    pending = [node]
    while pending:
        current = pending.pop()
        if lowering._cls(current) == kind:
            yield current
        pending.extend(lowering._rule_children(current))
