"""Tables of functions: how many arguments each takes, and what makes a call of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from cluster.errors import SemanticError


@dataclass(frozen=True, slots=True)
class Argument:
    """A resolved argument and its Kusto type, None if not known."""

    expr: Any
    type: str | None


Called: TypeAlias = tuple[Any, str | None]
"""The expression of a call and its Kusto type, None if not known."""

CallTable: TypeAlias = Mapping[str, tuple[int, int, Callable[[Sequence[Argument]], Called | None]]]
"""Least and most arguments of a function, and what makes the call or leaves it to others."""


def made(table: CallTable, name: str, arguments: Sequence[Argument]) -> Called | None:
    """The call as ``table`` has it, None if it is to be made otherwise.

    Raises SemanticError for a number of arguments it does not take.
    """
    entry = table.get(name)
    if entry is None:
        return None
    least, most, make = entry
    require_count(name, len(arguments), least, most)
    return make(arguments)


def require_count(name: str, count: int, least: int, most: int) -> None:
    """Raises SemanticError (SEM0219) unless ``count`` is a number of arguments it takes."""
    if not least <= count <= most:
        expected = least if least == most else f"[{least}, {most}]"
        raise SemanticError(
            f"Semantic error: SEM0219: {name}(): function expects {expected} argument(s)."
        )
