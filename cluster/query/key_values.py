"""``parse-kv``: by delimiters, and by a regular expression. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from duckdb_kql import ir
from duckdb_kql import lower as lowering
from duckdb_kql.translate import quote_ident, quote_string

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import nodes as own
from cluster.query.calls import Fragment
from cluster.query.native.runs import RUN_SQL
from cluster.query.pairs import SQL_NAME, Reading
from cluster.query.plugins import row_schema
from cluster.query.spellings import PATTERN

if TYPE_CHECKING:
    from cluster.query.expressions import Columns
    from cluster.query.operators import OperatorResolver

_FOUND: Final = "$pairs"
_CONVERTED: Final = {
    "bool": "tobool", "datetime": "todatetime", "decimal": "todecimal", "dynamic": "parse_json",
    "guid": "toguid", "int": "toint", "long": "tolong", "real": "todouble",
    "timespan": "totimespan",
}  # fmt: skip
_SETTINGS: Final = frozenset(
    ["pair_delimiter", "kv_delimiter", "quote", "escape", "greedy", "regex"]
)
_REPEATED: Final = frozenset(["quote", "escape"])


def lower_parse_kv(node: Any) -> own.ParseKv:
    """The expression, the keys and the settings."""
    expression, *clauses = lowering._rule_children(node)
    settings: list[tuple[str, Any]] = []
    for one in lowering._find_all(node, "QueryOperatorProperty"):
        name, _, value = lowering._children(one)
        said = name.getText().replace(PATTERN, "regex")
        settings.append((said, lowering._lower_expr(value)))
    keys = row_schema(clauses[0])
    return own.ParseKv(lowering._lower_expr(expression), keys, tuple(settings))


def parse_kv(step: OperatorResolver, op: own.ParseKv) -> tuple[list[Any], Columns]:
    """The columns there are, and one for each key."""
    text = step.expression(op.expression)
    if text.type not in (None, "string"):
        raise SemanticError(
            f"Semantic error: 'parse-kv' operator: the expression must be a string, not {text.type}"
        )
    for name, kind in op.keys:
        if name in step.columns:
            raise NotSupportedError(
                f"'parse-kv' operator: a column named '{name}' exists already: not supported by "
                "Remora.",
                remedy="Put project-away or project-rename before it.",
            )
        if kind != "string" and kind not in _CONVERTED:
            raise SemanticError(f"Semantic error: 'parse-kv' operator: '{kind}' is not a type.")
    if not op.keys:
        return [], step.columns
    settings = _settings(op)
    plain: tuple[Any, ...] = ("coalesce(CAST(", text.expr, " AS VARCHAR), '')")
    if "regex" in settings:
        found, value = _by_pattern(settings, plain)
    else:
        reading = msgspec.json.encode(_reading(settings, tuple(name for name, _ in op.keys)))
        found = (f"{SQL_NAME}({RUN_SQL}, ", *plain, f", {quote_string(reading.decode())})")
        value = f"json_extract_string({quote_ident(_FOUND)}, '$[{{index}}]')"
    parts: list[Any] = ["SELECT "]
    parts += [f"{quote_ident(name)}, " for name in step.columns]
    for index, (name, kind) in enumerate(op.keys):
        read = f"coalesce({value.format(index=index, key=quote_string(name))}, '')"
        parts += [", " if index else "", _converted(read, kind), f" AS {quote_ident(name)}"]
    parts += [" FROM (SELECT *, ", *found, f" AS {quote_ident(_FOUND)} FROM ", own.PREVIOUS, ")"]
    columns = {**step.columns, **dict(op.keys)}
    return [own.Rows(tuple(parts), tuple(columns))], columns


def _converted(text: str, kind: str) -> Any:
    if kind == "string":
        return text
    return ir.FunctionCall(_CONVERTED[kind], (Fragment((f"nullif({text}, '')",)),))


def _settings(op: own.ParseKv) -> dict[str, list[Any]]:
    settings: dict[str, list[Any]] = {}
    for name, value in op.settings:
        kind = "bool" if name == "greedy" else "string"
        if name not in _SETTINGS or (name in settings and name not in _REPEATED):
            raise SemanticError(f"Semantic error: 'parse-kv' operator: '{name}' is not expected.")
        if not (isinstance(value, ir.Literal) and value.kind == kind):
            raise SemanticError(
                f"Semantic error: 'parse-kv' operator: {name} must be a literal of type {kind}."
            )
        settings.setdefault(name, []).append(value.value)
    return settings


def _reading(settings: dict[str, list[Any]], keys: tuple[str, ...]) -> Reading:
    """How texts are read by delimiters. Raises NotSupportedError if there are none."""
    if "pair_delimiter" not in settings or "kv_delimiter" not in settings:
        raise NotSupportedError(
            "'parse-kv' without pair_delimiter and kv_delimiter is not supported by Remora.",
            remedy="Give both, or a regex with two groups: with (regex=@'(\\w+):(\\w+)').",
        )
    pair, between = settings["pair_delimiter"][0], settings["kv_delimiter"][0]
    quotes, escapes = settings.get("quote", []), settings.get("escape", [])
    if not pair or not between or pair == between:
        raise SemanticError(
            "Semantic error: 'parse-kv' operator: the delimiters must differ and not be empty."
        )
    if any(len(quote) not in (1, 2) for quote in quotes):
        raise SemanticError("Semantic error: 'parse-kv' operator: quote has one character or two.")
    if any(len(escape) != 1 for escape in escapes):
        raise SemanticError("Semantic error: 'parse-kv' operator: escape has one character.")
    greedy = bool(settings.get("greedy", [False])[0])
    return Reading(keys, pair, between, tuple(quotes), tuple(escapes), greedy)


def _by_pattern(
    settings: dict[str, list[Any]], text: tuple[Any, ...]
) -> tuple[tuple[Any, ...], str]:
    """All that a pattern with two groups finds, and the first value of a key in it."""
    if len(settings) > 1:
        raise NotSupportedError("'parse-kv' with regex takes no other setting.")
    pattern = str(settings["regex"][0])
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise SemanticError(
            "Semantic error: 'parse-kv' operator: the pattern cannot be read."
        ) from error
    if groups != 2:
        raise SemanticError(
            "Semantic error: 'parse-kv' operator: the pattern must have exactly two groups."
        )
    quoted = quote_string(pattern)
    one = ("list_transform(regexp_extract_all(", *text, f", {quoted}, 1), lambda _k: trim(_k))")
    other = ("regexp_extract_all(", *text, f", {quoted}, 2)")
    name = quote_ident(_FOUND)
    value = f"trim({name}.v[list_position({name}.k, {{key}})])"
    return ("{'k': ", *one, ", 'v': ", *other, "}"), value
