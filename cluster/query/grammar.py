"""Operators the library parses and does not lower, lowered here to nodes of our own.

``register`` puts the functions here in the places of the library's, which they fall back to, so
that the operators are understood wherever one may stand: in the query, a ``let``, a function, a leg
of a ``union``, the right of a ``join``. ``extensions.py`` resolves the nodes, and what is rendered
of them is either nodes of the library or a :class:`Rows`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from duckdb_kql import ir, parser, schema, translate
from duckdb_kql import lower as lowering

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import more_operators, spellings, tabular_functions
from cluster.query.calls import Fragment
from cluster.query.lexical import DECIMAL_MARK
from cluster.query.nodes import (
    PREVIOUS,
    TABLE_COLUMN,
    AnyColumn,
    Apply,
    As,
    Choose,
    DistinctAll,
    OuterKey,
    Partition,
    Render,
    Rows,
    Sample,
    SearchWithin,
    Serialize,
    Written,
)

_LIBRARY_OPERATOR: Final = lowering._lower_operator
_LIBRARY_HEAD: Final = lowering._lower_head
_LIBRARY_LOWER: Final = lowering._lower_expr
_LIBRARY_NAMED: Final = lowering._lower_named
_LIBRARY_SUBSTITUTE: Final = lowering._substitute_operator
_LIBRARY_SUBSTITUTE_ONCE: Final = lowering._substitute_once
_LIBRARY_EXPRESSION: Final = translate.render_expr
_LIBRARY_RENDER: Final = translate.render_operator
_LIBRARY_BUILD: Final = parser._build
_LIBRARY_COLUMNS: Final = schema._operator_columns_unchecked


def register() -> None:
    """Puts the functions here in the places of the library's. Repeating it changes nothing."""
    lowering._lower_operator = lower_operator
    lowering._lower_head = lower_head
    lowering._lower_expr = lower_expression
    lowering._lower_named = lower_named
    lowering._substitute_operator = substitute_operator
    lowering._substitute_once = substitute_once
    translate.render_expr = render_expression
    translate.render_operator = render_operator
    schema._operator_columns_unchecked = operator_columns
    parser._build = build
    tabular_functions.register()


# -- lowering ------------------------------------------------------------------------------------


def build(kql: str) -> Any:
    """The parse tree of a text, with spellings the grammar does not have."""
    return _LIBRARY_BUILD(spellings.respelled(kql))


def lower_operator(node: Any) -> Any:
    """One operator of a pipeline: an operator, a list of them, or None for none."""
    found = inner(node)
    lowered = _LOWERED.get(lowering._cls(found))
    return _LIBRARY_OPERATOR(node) if lowered is None else lowered(found)


def inner(node: Any) -> Any:
    """The operator itself within the nodes around it."""
    while lowering._cls(node) in ("PipedOperator", "AfterPipeOperator"):
        node = lowering._rule_children(node)[0]
    return lowering._collapse(node)


def lower_head(head: Any, rest: list[Any]) -> Any:
    """A query from its first element and the operators piped onto it."""
    found = lowering._collapse(head)
    if lowering._cls(found) != "SearchOperator":
        return _LIBRARY_HEAD(head, rest)
    _refuse_parameters(found)
    sources = [
        lowering._lower_source(table)
        for clause in lowering._find_all(found, "SearchOperatorInClause")
        for table in lowering._rule_children(clause)
    ]
    first, *others = sources or [ir.WildcardTableRef("*")]
    if isinstance(first, ir.TableRef) and not others:
        label = ir.NamedExpr(ir.Literal(first.name, "string"), TABLE_COLUMN)
        named: list[Any] = [ir.Extend((label,)), Choose("reorder", ((TABLE_COLUMN, False, ""),))]
    else:
        branches = tuple(ir.Query(other) for other in others)
        named = [ir.Union(branches, with_source=TABLE_COLUMN)]
    where = ir.Where(_search(lowering._rule_children(found)[-1]))
    return ir.Query(first, [*named, where, *lowering._lower_operators(rest)])


def lower_expression(node: Any) -> Any:
    """One scalar expression."""
    found = lowering._collapse(node)
    if lowering._cls(found) == "StringLiteralExpression" and DECIMAL_MARK in found.getText():
        text = lowering._string_literal(found).removeprefix(DECIMAL_MARK)
        return ir.FunctionCall("todecimal", (ir.Literal(text, "string"),))
    if lowering._cls(found) == "StringStarOperatorExpression":
        operator, value = lowering._rule_children(found)
        return AnyColumn(operator.getText(), lowering._lower_expr(value))
    return _LIBRARY_LOWER(node)


def lower_named(node: Any) -> Any:
    """``name = expression``; the library drops the names of ``(a, b) = ...``."""
    found = lowering._collapse(node)
    if lowering._cls(found) == "NamedExpression":
        clause, *rest = lowering._rule_children(found)
        if rest and lowering._find_all(clause, "NamedExpressionNameList"):
            expression = lowering._lower_expr(rest[0])
            if not (isinstance(expression, ir.FunctionCall) and expression.name == "percentiles"):
                raise NotSupportedError(
                    "(a, b) = ... is not supported by Remora but for percentiles().",
                    remedy="Name the columns with project-rename.",
                )
            names = tuple(ir.ColumnRef(name) for name in lowering._find_names(clause))
            return ir.NamedExpr(ir.FunctionCall("$named", (expression, *names)))
    return _LIBRARY_NAMED(node)


def _render(node: Any) -> Any:
    properties = []
    for kind in ("RenderOperatorProperty", "RenderOperatorLegacyProperty"):
        for one in lowering._find_all(node, kind):
            name, _, value = lowering._children(one)
            properties.append((name.getText().lower(), _property(value)))
    return Render(lowering._children(node)[1].getText(), tuple(properties))


def _property(node: Any) -> str:
    literal = lowering._literal_string(node) if lowering._cls(node).endswith("Expression") else None
    if literal is not None:
        return str(literal)
    names = lowering._find_names(node) if hasattr(node, "children") else []
    return ",".join(names) if names else str(node.getText())


def _choose(kind: str) -> Any:
    def lowered(node: Any) -> Any:
        targets = []
        for child in lowering._rule_children(node):
            order = ""
            named = lowering._collapse(child)
            if lowering._cls(named) == "ProjectReorderExpression":
                order = lowering._children(named)[-1].getText().lower()
                named = lowering._collapse(lowering._rule_children(named)[0])
            if lowering._cls(named) == "WildcardedName":
                targets.append((named.getText(), True, order))
            else:
                targets.append((lowering._name_text(named) or named.getText(), False, order))
        return Choose(kind, tuple(targets))

    return lowered


def _serialize(node: Any) -> Any:
    named = [lowering._lower_named(child) for child in lowering._rule_children(node)]
    return Serialize(tuple(named))


def _as(node: Any) -> Any:
    return As(lowering._find_names(lowering._rule_children(node)[-1])[0])


def _sample(node: Any) -> Any:
    children = lowering._rule_children(node)
    count = lowering._lower_expr(children[0])
    if not (isinstance(count, ir.Literal) and isinstance(count.value, int)):
        raise NotSupportedError("sample takes a constant number of rows.")
    of = lowering._lower_named(children[1]) if len(children) > 1 else None
    return Sample(max(count.value, 0), of)


def _distinct(node: Any) -> Any:
    children = lowering._rule_children(node)
    if [lowering._cls(lowering._collapse(c)) for c in children] == ["DistinctOperatorStarTarget"]:
        return DistinctAll()
    return _LIBRARY_OPERATOR(node)


def _apply(node: Any) -> Any:
    children = lowering._rule_children(node)
    if any("Limit" in lowering._cls(c) or "Parameter" in lowering._cls(c) for c in children):
        raise NotSupportedError(
            "mv-apply with limit or parameters is not supported by Remora.",
            remedy="Use take within the parentheses.",
        )
    *targets, body = children
    body = lowering._collapse(body)
    expand: list[Any] = []
    expanded = []
    for target in targets:
        one, computed = lowering._lower_mv_expand_target(target)
        expanded.append(one)
        expand.extend([] if computed is None else [ir.Extend((computed,))])
    steps = lowering._rule_children(body) if lowering._cls(body) == "PipeSubExpression" else [body]
    operators = lowering._lower_operators(steps)
    return Apply((*expand, ir.MvExpand(tuple(expanded))), ir.Query(ir.TableRef(""), operators))


def _refuse_parameters(node: Any) -> None:
    for child in lowering._rule_children(node):
        text = child.getText()
        if "Parameter" in lowering._cls(child) and text != "kind=case_insensitive":
            raise NotSupportedError(
                f"search {text} is not supported by Remora.",
                remedy='Use where * has_cs "text" on each table.',
            )


def _search_within(node: Any) -> Any:
    _refuse_parameters(node)
    return [SearchWithin(), ir.Where(_search(lowering._rule_children(node)[-1]))]


def _where(node: Any) -> Any:
    """The library takes ``where x = 1`` for ``where 1``."""
    predicate = lowering._collapse(lowering._rule_children(node)[-1])
    if (
        lowering._find_all(predicate, "NamedExpressionNameClause")
        and lowering._cls(predicate) == "NamedExpression"
    ):
        raise SemanticError(
            "Semantic error: 'where' operator: the expression must have the type bool.",
            remedy="Compare with ==.",
        )
    return _LIBRARY_OPERATOR(node)


def _search(node: Any) -> Any:
    """A predicate of ``search``: a string by itself is looked for in every column."""
    node = lowering._collapse(node)
    kind, children = lowering._cls(node), lowering._rule_children(node)
    if kind in ("LogicalAndExpression", "LogicalOrExpression"):
        found = _search(children[0])
        for operation in children[1:]:
            right = _search(lowering._rule_children(operation)[-1])
            found = ir.BinaryOp("and" if "And" in kind else "or", found, right)
        return found
    if kind == "ParenthesizedExpression":
        return _search(children[0])
    if kind == "StringLiteralExpression":
        text = str(lowering._literal_string(node))
        if "*" in text:
            raise NotSupportedError(
                "Wildcards within the text of search are not supported by Remora.",
                remedy='Use search "text" for a term, or where * contains "text".',
            )
        return AnyColumn("has", ir.Literal(text, "string"))
    if kind == "StringBinaryOperatorExpression" and node.getText().find(":") > 0:
        left, operation = children
        parts = lowering._children(operation)
        if parts[0].getText() == ":":
            return ir.BinaryOp("has", lowering._lower_expr(left), lowering._lower_expr(parts[-1]))
    if kind == "StarExpression":
        return ir.Literal(True, "bool")
    return lowering._lower_expr(node)


_LOWERED: Final[dict[str, Any]] = {
    "WhereOperator": _where,
    "RenderOperator": _render,
    "ProjectKeepOperator": _choose("keep"),
    "ProjectAwayOperator": _choose("away"),
    "ProjectReorderOperator": _choose("reorder"),
    "SerializeOperator": _serialize,
    "AsOperator": _as,
    "SampleOperator": _sample,
    "SampleDistinctOperator": _sample,
    "DistinctOperator": _distinct,
    "MvapplyOperator": _apply,
    "SearchOperator": _search_within,
    **more_operators.LOWERED,
}


# -- names bound by let --------------------------------------------------------------------------


def substitute_operator(operator: Any, scalars: Any) -> Any:
    """Puts ``let`` references into the expressions of an operator."""
    if isinstance(operator, Apply):
        expand = tuple(substitute_operator(step, scalars) for step in operator.expand)
        return Apply(expand, lowering._substitute_query(operator.body, scalars))
    if isinstance(operator, Partition):  # its key is in front of what let binds
        scalars = {name: bound for name, bound in scalars.items() if name != operator.column}
    if isinstance(operator, Written):
        changes = {
            field.name: _substituted(getattr(operator, field.name), scalars)
            for field in dataclasses.fields(operator)
        }
        return dataclasses.replace(operator, **changes)
    if isinstance(operator, ir.Parse):
        expression = lowering._substitute(operator.expression, scalars)
        return dataclasses.replace(operator, expression=expression)
    if isinstance(operator, ir.Top):
        keys = tuple(lowering._substitute(key, scalars) for key in operator.keys)
        return dataclasses.replace(operator, keys=keys)
    return _LIBRARY_SUBSTITUTE(operator, scalars)


def _substituted(value: Any, scalars: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_substituted(one, scalars) for one in value)
    if isinstance(value, ir.Query):
        return lowering._substitute_query(value, scalars)
    return lowering._substitute(value, scalars) if isinstance(value, ir.Node) else value


def substitute_once(node: Any, scalars: Any, memo: Any) -> Any:
    """Puts ``let`` references into one expression."""
    if isinstance(node, AnyColumn):
        return AnyColumn(node.op, lowering._substitute_memo(node.value, scalars, memo))
    if isinstance(node, ir.ToScalar) and isinstance(node.query.source, ir.TableRef):
        bound = scalars.get(node.query.source.name)
        if isinstance(bound, ir.LetRef) and isinstance(bound.value, OuterKey):
            return bound.value
    return _LIBRARY_SUBSTITUTE_ONCE(node, scalars, memo)


# -- rendering -----------------------------------------------------------------------------------


def render_expression(node: Any) -> str:
    """SQL of an expression; those of the library are left to it."""
    if isinstance(node, OuterKey):
        return node.sql
    if not isinstance(node, Fragment):
        return str(_LIBRARY_EXPRESSION(node))
    return "".join(p if isinstance(p, str) else translate.render_expr(p) for p in node.parts)


def render_operator(operator: Any, previous: str, columns: list[str] | None = None) -> str:
    """SQL of an operator over the rows named ``previous``."""
    if not isinstance(operator, Rows):
        return str(_LIBRARY_RENDER(operator, previous, columns))
    pieces = []
    for part in operator.parts:
        if part is PREVIOUS:
            pieces.append(previous)
        elif isinstance(part, ir.Query):
            pieces.append(str(translate.to_sql(part, translate._nested_schema())))
        elif isinstance(part, ir.NamedExpr):
            pieces.append(translate.render_aggregate(part))
        else:
            pieces.append(part if isinstance(part, str) else translate.render_expr(part))
    return "".join(pieces)


def operator_columns(operator: Any, columns: list[str], known: Any) -> list[str]:
    """Names an operator gives."""
    if isinstance(operator, Rows):
        return list(operator.names)
    return list(_LIBRARY_COLUMNS(operator, columns, known))
