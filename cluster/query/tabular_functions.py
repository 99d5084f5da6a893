"""Functions declared by ``let`` that give rows or take them. Pure.

The library expands stored functions with a tabular body where they are called, and refuses such a
body in a ``let``. Here a ``let`` of one joins the stored functions of the query it stands in, and
a tabular argument of either becomes a ``let`` within what the call expands to. What nests deeper
than :data:`MOST_CALLS` is refused; a function that calls itself is (SEM0057), but its name without
parentheses is in its body what it is outside: the table.
"""

from __future__ import annotations

from typing import Any, Final

from duckdb_kql import ir
from duckdb_kql import lower as lowering
from duckdb_kql.errors import KqlUnsupportedError
from duckdb_kql.stored_functions import StoredFunction

from cluster.errors import LimitExceededError, NotSupportedError

MOST_CALLS: Final = 64
"""Calls within calls."""

MOST_EXPANSIONS: Final = 512
"""Calls of functions with rows that one query makes, those in functions included."""

_LIBRARY_DECLARE: Final = lowering._declare_let_function
_LIBRARY_EXPAND: Final = lowering._expand
_LIBRARY_ARGUMENTS: Final = lowering._bind_stored_arguments
_LIBRARY_CALL: Final = lowering._stored_call_source
_LIBRARY_QUALIFIED_CALL: Final = lowering._stored_qualified_source
_LIBRARY_BARE: Final = lowering._stored_bare_source
_LIBRARY_STORED: Final = lowering._stored
_LIBRARY_QUALIFIED: Final = lowering._stored_qualified_bare
_LIBRARY_TABULAR: Final = lowering._is_tabular_value


def register() -> None:
    """Puts the functions here in the places of the library's. Repeating it changes nothing."""
    lowering._declare_let_function = declare
    lowering._expand = expand
    lowering._bind_stored_arguments = bind
    lowering._stored_call_source = call_source
    lowering._stored_bare_source = bare_source
    lowering._stored_qualified_bare = qualified_bare
    lowering._stored_qualified_source = qualified_source
    lowering._stored = stored
    lowering._is_tabular_value = is_tabular_value


def declare(declaration: Any, scalars: Any) -> None:
    """``let f = (...) { ... }``."""
    name = lowering._find_names(lowering._rule_children(declaration)[0])[0]
    scope = lowering._FN_STATE.get()
    if _is_tabular(declaration, scalars):
        functions = {None: {}, **(scope.functions or {})}
        function = StoredFunction(name, None, "", "", "", "", "", declaration)
        scope.functions = {**functions, None: {**functions[None], name: function}}
    if not _is_tabular(declaration, scalars) or _tabular_parameters(declaration):
        try:
            _LIBRARY_DECLARE(declaration, scalars)  # for a scalar, and for invoke
        except KqlUnsupportedError:
            if not _is_tabular(declaration, scalars):
                raise


def _is_tabular(declaration: Any, scalars: Any) -> bool:
    """Whether the body of a function gives rows."""
    body = lowering._find_all(declaration, "LetFunctionBody")[0]
    names = dict(scalars)
    for parameter in lowering._find_all(declaration, "ScalarParameter"):
        names[lowering._find_names(parameter)[0]] = None
    last = None
    for child in lowering._rule_children(body):
        if lowering._cls(child) != "LetFunctionBodyStatement":
            last = child
            continue
        for statement in lowering._find_all(child, "LetVariableDeclaration"):
            named, *_, value = lowering._rule_children(statement)
            if not lowering._is_tabular_value(lowering._collapse(value), names):
                names[lowering._find_names(named)[0]] = None
    return last is not None and bool(
        lowering._is_tabular_value(lowering._collapse(last), names)
        or lowering._cls(lowering._unparenthesize(last)) in ("UnionOperator", "SearchOperator")
    )


def _taking_rows(node: Any) -> Any:
    """The function a call names if it takes rows, which ``invoke`` could call too."""
    names = lowering._find_names(node)
    declared = lowering._LET_FUNCTIONS_STATE.get().get(names[0]) if names else None
    if declared is None or declared.tabular is None:
        return None
    return lowering._stored(names[0], None)


def call_source(node: Any) -> Any:
    """A call in the place of rows, None if it names no function here."""
    function = _taking_rows(node)
    if function is None:
        return _LIBRARY_CALL(node)
    return lowering._expand(node, function, lowering._rule_children(node)[1:])


def bare_source(node: Any, name: str, database: str | None = None) -> Any:
    """A name in the place of rows, None if it names no function here: its own body says the table.

    As Kusto binds it: ``function T() { T | where ... }`` stands in front of the table T. Not for a
    ``let``: in its body the name may be of a stored function.
    """
    scope = lowering._FN_STATE.get()
    if scope is not None and scope.expanding:
        function = lowering._stored(name, database)
        is_stored = function is not None and function.body != ""
        if is_stored and (function.database, function.name) == scope.expanding[-1]:
            return None
    return _LIBRARY_BARE(node, name, database)


def qualified_bare(node: Any, table: Any) -> Any:
    """``database('d').F`` without parentheses; a table of another cluster is no function here."""
    return None if table.cluster is not None else _LIBRARY_QUALIFIED(node, table)


def stored(name: str, database: str | None) -> Any:
    """The definition of a function; names of other databases have no case."""
    scope = lowering._FN_STATE.get()
    where = database if database is not None else scope.context if scope is not None else None
    if where is None or scope is None:
        return _LIBRARY_STORED(name, database)
    return (scope.functions or {}).get(where.casefold(), {}).get(name)


def qualified_source(node: Any) -> Any:
    """``database('d').f(...)``."""
    if node.getText().casefold().startswith("cluster("):
        raise NotSupportedError(
            "A function of another cluster is not supported by Remora.",
            remedy="Read the tables it reads: cluster('c').database('d').Table.",
        )
    return _LIBRARY_QUALIFIED_CALL(node)


def is_tabular_value(node: Any, scalars: Any) -> bool:
    """Whether a ``let`` binds rows."""
    found = lowering._unparenthesize(node)
    if lowering._cls(found) == "NamedFunctionCallExpression" and _taking_rows(found) is not None:
        return True
    return bool(_LIBRARY_TABULAR(node, scalars))


def _tabular_parameters(declaration: Any) -> list[str]:
    found = lowering._find_all(declaration, "TabularParameter")
    return [lowering._find_names(parameter)[0] for parameter in found]


def bind(node: Any, function: Any, arguments: list[Any]) -> Any:
    """Scalar arguments of a call; those for tabular parameters are bound by :func:`expand`."""
    lists = lowering._find_all(function.declaration, "LetFunctionParameterList")
    kinds = [
        lowering._cls(lowering._collapse(parameter))
        for parameter in (lowering._rule_children(lists[0]) if lists else [])
    ]
    if "TabularParameter" not in kinds:
        return _LIBRARY_ARGUMENTS(node, function, arguments)
    if any(kind == "TabularParameter" for kind in kinds[len(arguments) :]):
        raise KqlUnsupportedError(
            f"function:{function.name}", hint="a tabular argument is missing (Kusto: SEM0219)"
        )
    parameters = lowering._stored_parameters(function)
    scope = lowering._FN_STATE.get()
    binding = {}
    for index, (name, default) in enumerate(parameters):
        if kinds[index] == "TabularParameter":
            continue
        if index >= len(arguments) and default is None:
            raise KqlUnsupportedError(
                f"function:{function.name}", hint="an argument is missing (Kusto: SEM0219)"
            )
        value = default
        if index < len(arguments):
            value = lowering._substitute(lowering._lower_expr(arguments[index]), scope.scalars)
        binding[name] = value
    return binding


def expand(node: Any, function: Any, arguments: list[Any]) -> Any:
    """A call in the place of rows: a reference to what it expands to."""
    scope = lowering._FN_STATE.get()
    if len(scope.expanding) >= MOST_CALLS or scope.counter >= MOST_EXPANSIONS:
        raise LimitExceededError(
            f"Functions call each other more than {MOST_CALLS} deep, or the query calls more than "
            f"{MOST_EXPANSIONS} in all.",
            metadata={"limit": "query_sql_bytes"},
        )
    names = _tabular_parameters(function.declaration)
    given: list[tuple[str, Any]] = []
    if names:
        lists = lowering._find_all(function.declaration, "LetFunctionParameterList")
        order = lowering._rule_children(lists[0])
        for parameter, argument in zip(order, arguments, strict=False):
            if lowering._cls(lowering._collapse(parameter)) == "TabularParameter":
                query = lowering._lower_query_node(lowering._collapse(argument))
                query = lowering._substitute_query(query, lowering._pipeline_scope(scope.scalars))
                given.append((lowering._find_names(parameter)[0], query))
    visible = scope.visible
    scope.visible = visible | set(names)
    try:
        reference = _LIBRARY_EXPAND(node, function, arguments)
    finally:
        scope.visible = visible
    if given:
        name, query = scope.pending[-1].pop()
        lets = [*given, *query.lets]
        scope.pending[-1].append((name, ir.Query(query.source, query.operators, lets)))
    return reference
