"""Functions of the request, such as ``current_principal()``, as constants of a query. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from duckdb_kql import ir

from cluster.access.principals import folded
from cluster.errors import NotSupportedError, SemanticError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def call(name: str, arguments: Sequence[Any], facts: Mapping[str, str]) -> tuple[Any, str]:
    """The expression and Kusto type of a call of ``name``, which is one of ``facts``.

    Raises SemanticError for arguments it does not take, NotSupportedError for names of principals
    that are not constant strings, as Kusto refuses them.
    """
    value = facts[name]
    if name == "current_principal_is_member_of":
        names = frozenset(json.loads(value))
        asked = [folded(text) for argument in arguments for text in _texts(argument)]
        if not asked:
            raise SemanticError(f"Semantic error: SEM0219: {name}(): function expects a principal.")
        return ir.Literal(any(text in names for text in asked), "bool"), "bool"
    if arguments:
        raise SemanticError(f"Semantic error: SEM0219: {name}(): function takes no arguments.")
    text = ir.Literal(value, "string")
    if name == "current_principal_details":
        return ir.FunctionCall("parse_json", (text,)), "dynamic"
    return text, "string"


def _texts(argument: Any) -> list[str]:
    """The strings of one argument: a literal, or ``dynamic([...])`` of literals."""
    if isinstance(argument, ir.Literal) and argument.kind == "string":
        return [str(argument.value)]
    if isinstance(argument, ir.Literal) and argument.kind == "dynamic":
        try:
            items = json.loads(str(argument.value))
        except ValueError:
            items = None
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return items
    raise NotSupportedError(
        "current_principal_is_member_of() takes constant strings, or dynamic([...]) of them."
    )
