"""Stored functions of a database, put where the library finds them. Pure.

Functions with a tabular body are handed to the library, which expands them where they are called
and refuses recursion. It knows no stored scalar functions; such a one is declared by ``let`` in
front of the text, which is how Kusto explains them too (``functions/index.md``).
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import lower as lowering
from duckdb_kql.errors import KqlSyntaxError
from duckdb_kql.parser import parse
from duckdb_kql.stored_functions import StoredFunction, parse_functions

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import lexical
from cluster.query.known_functions import is_built_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.query.messages import FunctionText

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_ONLY_A_CALL: Final = re.compile(r"\{\s*(\w+)\s*\(.*\)\s*;?\s*\}", re.DOTALL)
_SCALAR: Final = "scalar stored function"
_STAND_IN: Final = "stored"
"""In the place of a name that the library refuses."""
_TAKES_ROWS: Final = "a tabular parameter"


@dataclass(frozen=True, slots=True)
class Prepared:
    """``prefix`` goes in front of the text, ``tabular`` to the library."""

    prefix: str = ""
    tabular: Any = None


def prepare(kql: str, functions: Sequence[FunctionText]) -> Prepared:
    """Sorts functions into tabular and scalar ones.

    A name that the text binds with ``let`` stands for that, and a call of a built-in function is
    of this one. A name may stand in the text for something else, a column perhaps, so a function
    that cannot be used is refused only if some text calls it: NotSupportedError if it cannot be
    read, SemanticError if it calls itself.
    """
    if not functions:
        return Prepared()
    texts = " ".join([kql, *(body for _, _, body in functions)])
    tabular: dict[str, Any] = {}
    scalar: dict[str, FunctionText] = {}
    for function in functions:
        name, parameters, body = function
        if _bound_by_let(name, kql):
            continue
        if is_built_in(name):
            if not lexical.may_call(texts, name):
                tabular.update(_with_rows(function))
            continue
        call = _ONLY_A_CALL.fullmatch(body)
        if call is not None and call[1] in scalar:  # the library takes every call for a table
            scalar[name] = function
            continue
        try:
            tabular.update(_parse(name, parameters, lexical.normalise(body).text)[None])
        except ValueError as error:
            if _SCALAR in str(error):
                scalar[name] = function
            elif lexical.may_call(texts, name) and _is_name(name):
                raise NotSupportedError(
                    f"The stored function '{name}' is not supported: its text cannot be read."
                ) from error
    return Prepared(_declared(scalar, kql), {None: tabular} if tabular else None)


def _declared(scalar: dict[str, FunctionText], kql: str) -> str:
    """Scalar functions as ``let`` statements, each behind those it calls."""
    declared: list[str] = []
    known: set[str] = set()
    for name, parameters, body in scalar.values():
        unknown = lexical.words_among(body, scalar.keys() - known - {name})
        if unknown or lexical.may_call(body, name):
            if lexical.may_call(kql, name):
                raise SemanticError(
                    f"Semantic error: SEM0057: function '{name}' calls itself: not allowed."
                )
            continue
        known.add(name)
        declared.append(f"let {name} = {parameters} {lexical.normalise(body).text}; ")
    return "".join(declared)


def _parse(name: str, parameters: str, body: str) -> Any:
    if _PLAIN_NAME.fullmatch(name) is None:
        raise ValueError(f"'{name}' is no plain name")
    try:
        return parse_functions([f"function {name}{parameters} {body}"])
    except ValueError as error:
        if _TAKES_ROWS not in str(error):
            raise
    text = f"let {name} = {parameters} {body}; print 1"
    declaration = lowering._find_all(parse(text).tree, "LetFunctionDeclaration")[0]
    function = StoredFunction(name, None, parameters, body, "", "", text, declaration)
    return {None: {name: function}}


def _with_rows(function: FunctionText) -> dict[str, Any]:
    """A function with the name of a built-in one, by its name; nothing if it gives no rows."""
    name, parameters, body = function
    try:
        read = _parse(_STAND_IN, parameters, lexical.normalise(body).text)[None][_STAND_IN]
    except ValueError:
        return {}
    return {name: dataclasses.replace(read, name=name)}


def _is_name(name: str) -> bool:
    """Whether a text can call a function of that name so: it is no word of the language's own."""
    try:
        parse(f"let {name} = 1; print 1")
    except KqlSyntaxError:
        return False
    return True


def _bound_by_let(name: str, kql: str) -> bool:
    return re.search(rf"\blet\s+{re.escape(name)}\b", kql) is not None


def of_databases(others: Mapping[str, Sequence[FunctionText]]) -> dict[str, Any]:
    """Functions with a tabular body of other databases, by the folded names of these.

    Those that cannot be read are left out: a call of one is refused.
    """
    found: dict[str, Any] = {}
    for database, functions in others.items():
        known = found.setdefault(database.casefold(), {})
        for name, parameters, body in functions:
            try:
                parsed = _parse(name, parameters, lexical.normalise(body).text)[None]
            except ValueError:
                continue
            known.update(
                {key: dataclasses.replace(one, database=database) for key, one in parsed.items()}
            )
    return found
