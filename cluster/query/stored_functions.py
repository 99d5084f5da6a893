"""Stored functions of a database, put where the library finds them. Pure.

Functions with a tabular body are handed to the library, which expands them where they are called
and refuses recursion. It knows no stored scalar functions; such a one is declared by ``let`` in
front of the text, which is how Kusto explains them too (``functions/index.md``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from duckdb_kql.stored_functions import parse_functions

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import lexical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.query.messages import FunctionText

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_SCALAR: Final = "scalar stored function"


@dataclass(frozen=True, slots=True)
class Prepared:
    """``prefix`` goes in front of the text, ``tabular`` to the library."""

    prefix: str = ""
    tabular: Any = None


def prepare(kql: str, functions: Sequence[FunctionText]) -> Prepared:
    """Sorts functions into tabular and scalar ones.

    A name that the text binds with ``let`` stands for that. Raises NotSupportedError for a
    function that is neither, SemanticError for scalar ones that call themselves.
    """
    if not functions:
        return Prepared()
    tabular: dict[str, Any] = {}
    prefix: list[str] = []
    declared: set[str] = set()
    scalar = {name for name, parameters, body in functions if _is_scalar(name, parameters, body)}
    for name, parameters, body in functions:
        if _bound_by_let(name, kql):
            continue
        normal = lexical.normalise(body).text
        if name not in scalar:
            tabular.update(_parse(name, parameters, normal)[None])
            continue
        declared.add(name)
        if lexical.names_mentioned(body, scalar - declared | {name}):
            raise SemanticError(
                f"Semantic error: SEM0057: function '{name}' calls itself, which is not allowed."
            )
        prefix.append(f"let {name} = {parameters} {normal}; ")
    return Prepared("".join(prefix), {None: tabular} if tabular else None)


def _is_scalar(name: str, parameters: str, body: str) -> bool:
    try:
        _parse(name, parameters, lexical.normalise(body).text)
    except ValueError as error:
        if _SCALAR in str(error):
            return True
        raise NotSupportedError(
            f"The stored function '{name}' is not supported: its text cannot be read."
        ) from error
    return False


def _parse(name: str, parameters: str, body: str) -> Any:
    if _PLAIN_NAME.fullmatch(name) is None:
        raise NotSupportedError(f"The stored function '{name}' needs a plain name to be called.")
    return parse_functions([f"function {name}{parameters} {body}"])


def _bound_by_let(name: str, kql: str) -> bool:
    return re.search(rf"\blet\s+{re.escape(name)}\b", kql) is not None
