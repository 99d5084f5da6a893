"""``evaluate``: what is called, lowered and resolved; plugins there are, refused by name. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import lower as lowering

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import bags, pivots
from cluster.query import nodes as own

if TYPE_CHECKING:
    from cluster.query.expressions import Columns
    from cluster.query.operators import OperatorResolver

_PLUGINS: Final = {
    "bag_unpack": bags.unpack,
    "pivot": pivots.pivot,
}

_PATTERNS: Final = "Use summarize count() by the columns, then top."
_ELSEWHERE: Final = "Ingest the data and query the table."
_NETWORKS: Final = "Use join with parse_ipv4() and conditions on the ranges."
_SCRIPTS: Final = "Take the result of the query to a program."
REFUSED: Final = {
    "activity_counts_metrics": "Use summarize dcount() by bin().",
    "activity_engagement": "Use summarize dcount() by bin().",
    "activity_metrics": "Use summarize dcount() by bin().",
    "active_users_count": "Use summarize dcount() by bin().",
    "ai_chat_completion": _SCRIPTS,
    "ai_embed_text": _SCRIPTS,
    "ai_embeddings": _SCRIPTS,
    "autocluster": _PATTERNS,
    "azure_digital_twins_query_request": _ELSEWHERE,
    "basket": _PATTERNS,
    "cosmosdb_sql_request": _ELSEWHERE,
    "dcount_intersect": "Use join and summarize dcount().",
    "diffpatterns": _PATTERNS,
    "diffpatterns_text": _PATTERNS,
    "funnel_sequence": "Use sort and prev(), or join, then summarize.",
    "funnel_sequence_completion": "Use sort and prev(), or join, then summarize.",
    "http_request": _ELSEWHERE,
    "http_request_post": _ELSEWHERE,
    "infer_storage_schema": _ELSEWHERE,
    "ipv4_lookup": _NETWORKS,
    "ipv6_lookup": _NETWORKS,
    "mysql_request": _ELSEWHERE,
    "narrow": "Use mv-expand over pack_all(): how narrow() writes nulls is not documented.",
    "new_activity_metrics": "Use summarize dcount() by bin().",
    "postgresql_request": _ELSEWHERE,
    "preview": "Send the query and the query | count, separated by a semicolon.",
    "python": _SCRIPTS,
    "r": _SCRIPTS,
    "rolling_percentile": "Use mv-expand over the bins a row counts in, then percentile() by bin.",
    "rows_near": "Use sort with prev() and next().",
    "schema_merge": "Use getschema.",
    "sequence_detect": "Use sort with prev() and next().",
    "session_count": "Use sort with prev(), then countif().",
    "sliding_window_counts": "Use mv-expand over the bins a row counts in, then count() by bin.",
    "sql_request": _ELSEWHERE,
}
"""Plugins that Kusto has, and what to write in their place."""

_HINTS: Final = frozenset(
    ["hint.distribution", "hint.pass_filters", "hint.pass_filters_column", "hint.remote"]
)


def lower_evaluate(node: Any) -> own.Evaluate:
    """The call, its arguments, and its output schema as ``spellings.py`` left it."""
    schema: tuple[tuple[str, str], ...] | None = None
    with_source = False
    call: Any = None
    for child in lowering._rule_children(node):
        kind = lowering._cls(child)
        if "Parameter" in kind:
            name = child.getText().partition("=")[0]
            if name not in _HINTS:
                raise NotSupportedError(f"evaluate {name} is not supported by Remora.")
        elif kind == "EvaluateOperatorSchemaClause":
            schema = row_schema(child)
            with_source = child.getText()[:3] == ":(,"
        else:
            call = lowering._collapse(child)
    named, *given = lowering._rule_children(call)
    name = named.getText()
    if name not in _PLUGINS:
        raise _refusal(name)
    return own.Evaluate(name, tuple(map(_argument, given)), schema, with_source)


def row_schema(node: Any) -> tuple[tuple[str, str], ...]:
    """Names and types of ``(a:long, ['b c']:string)`` within a node."""
    columns = []
    for one in lowering._find_all(node, "RowSchemaColumnDeclaration"):
        name, kind = lowering._rule_children(one)
        columns.append((lowering._find_names(name)[0], _TYPES.get(kind.getText(), kind.getText())))
    names = [name for name, _ in columns]
    for name in names:
        if names.count(name) > 1:
            raise SemanticError(
                f"Semantic error: SEM0017: a column with the name '{name}' is declared already."
            )
    return tuple(columns)


_TYPES: Final = {"boolean": "bool", "date": "datetime", "double": "real", "time": "timespan"}


def _argument(node: Any) -> tuple[str, Any]:
    found = lowering._collapse(node)
    if lowering._cls(found) == "NamedExpression":
        clause, *rest = lowering._rule_children(found)
        if rest:
            return lowering._find_names(clause)[0], lowering._lower_expr(rest[0])
    return "", lowering._lower_expr(node)


def _refusal(name: str) -> Exception:
    if name in REFUSED:
        return NotSupportedError(
            f"'evaluate {name}' is not supported by Remora.", remedy=REFUSED[name]
        )
    return SemanticError(f"Semantic error: SEM0260: Unknown function: '{name}'.")


def evaluate(step: OperatorResolver, op: own.Evaluate) -> tuple[list[Any], Columns]:
    """What the plugin makes of the rows."""
    return _PLUGINS[op.plugin](step, op)
