"""``evaluate bag_unpack``: the slots of a column of property bags as columns. Pure.

Without an output schema the columns are those of the rows: a first pass finds the slots and the
types of their values, in the order of their names; the second refuses rows that have others. Null
values have no type, so a slot with none but these makes no column. JSON has no points in time:
those within a bag are texts, and come out as ``string``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir
from duckdb_kql.translate import quote_ident, quote_string

from cluster.errors import NotSupportedError, SemanticError
from cluster.query import nodes as own
from cluster.query.calls import Fragment
from cluster.query.run_errors import raising
from cluster.query.translation import HIDDEN

if TYPE_CHECKING:
    from cluster.query.expressions import Columns
    from cluster.query.operators import OperatorResolver

_BAG: Final = "$bag"
_ENTITY: Final = re.compile(r"[\w .\-]{1,1024}")
_PARAMETERS: Final = ("Column", "OutputColumnPrefix", "columnsConflict", "ignoredProperties")
_CONFLICTS: Final = ("error", "replace_source", "keep_source")
_INTEGERS: Final = ("BIGINT", "UBIGINT")
_FROM_JSON: Final = {
    "BOOLEAN": "bool", "BIGINT": "long", "UBIGINT": "long", "DOUBLE": "real", "VARCHAR": "string",
    "NULL": "null",
}  # fmt: skip
"""Types of values that are not dynamic, by DuckDB's names of JSON types."""

_STORED: Final = {
    "bool": ("BOOLEAN", ("BOOLEAN",)),
    "int": ("INTEGER", _INTEGERS),
    "long": ("BIGINT", _INTEGERS),
    "real": ("DOUBLE", (*_INTEGERS, "DOUBLE")),
    "decimal": ("DECIMAL(38,18)", (*_INTEGERS, "DOUBLE")),
}
"""Types read by a cast: that of DuckDB, and the JSON types it is read from."""

_PARSED: Final = {"datetime": "todatetime", "timespan": "totimespan", "guid": "toguid"}
"""Types read from texts, by functions."""


@dataclass(frozen=True, slots=True)
class _Call:
    """The arguments of ``bag_unpack``."""

    column: str
    prefix: str
    conflict: str
    ignored: tuple[str, ...]


def unpack(step: OperatorResolver, op: own.Evaluate) -> tuple[list[Any], Columns]:
    """``evaluate bag_unpack(column [, prefix] [, columnsConflict] [, ignoredProperties])``."""
    call = _call_of(step, op)
    source = {name: kind for name, kind in step.columns.items() if name != call.column}
    bag = quote_ident(_BAG)
    check = ""
    columns: Columns
    if op.schema is None:
        found = step.resolver.discovery.of(step, "bag_unpack", _asking(call))
        slots = {
            call.prefix + name: (name, kind)
            for name, kind in found
            if kind != "null" and name not in call.ignored
        }
        for name in slots:
            _require_name(name)
        columns = {**source, **{name: kind for name, (_, kind) in slots.items()}}
        names = [*(name for name, _ in found), *call.ignored]
        known = ", ".join(map(quote_string, names))
        check = (
            f" WHERE CASE WHEN {bag} IS NULL OR list_has_all(CAST([{known}] AS VARCHAR[]), "
            f"json_keys({bag})) THEN true ELSE {raising('changed', 'bag_unpack')} END"
        )
    else:
        slots = {
            name: (name.removeprefix(call.prefix), kind)
            for name, kind in op.schema
            if name.startswith(call.prefix) and name.removeprefix(call.prefix) not in call.ignored
        }
        made = dict(op.schema)
        stays = (n for n in source if n in HIDDEN or (op.with_source and n not in made))
        columns = {**{name: source[name] for name in stays}, **made}
    if not columns:
        raise SemanticError("Semantic error: evaluate bag_unpack(): the result has no columns.")
    parts: list[Any] = ["SELECT "]
    for index, (name, kind) in enumerate(columns.items()):
        if name in source and not (name in slots and call.conflict == "replace_source"):
            columns[name] = source[name]
            value = [_kept(call, op, name, source[name], slots)]
        else:
            value = _value(*slots[name]) if name in slots else _missing(kind)
        parts += [", " if index else "", *value, f" AS {quote_ident(name)}"]
    column = f"CAST({quote_ident(call.column)} AS JSON)"
    parts.append(f" FROM (SELECT *, CASE WHEN json_type({column}) = 'OBJECT' THEN {column} END ")
    parts += [f"AS {bag} FROM ", own.PREVIOUS, ")", check]
    return [own.Rows(tuple(parts), tuple(columns))], columns


def _kept(
    call: _Call, op: own.Evaluate, name: str, kind: str | None, slots: dict[str, tuple[str, str]]
) -> str:
    """SQL of a column there was, which must not be a slot as well unless the call says so."""
    told = dict(op.schema or ()).get(name)
    if told is not None and kind not in (None, told):
        raise SemanticError(
            f"Semantic error: evaluate bag_unpack(): the column '{name}' is {kind}, and {told} in "
            "the output schema.",
            remedy="Give columnsConflict='replace_source' to have the slot, or another name.",
        )
    plain = str(quote_ident(name))
    if name not in slots or call.conflict == "keep_source":
        return plain
    if op.schema is None:
        raise SemanticError(
            f"Semantic error: evaluate bag_unpack(): a column named '{name}' exists already.",
            remedy="Give a prefix, or columnsConflict='replace_source' or 'keep_source'.",
        )
    slot = quote_string(_pointer(slots[name][0]))
    there = f"json_exists({quote_ident(_BAG)}, {slot})"
    return f"CASE WHEN {there} THEN {raising('slot_conflict', name)} ELSE {plain} END"


def _call_of(step: OperatorResolver, op: own.Evaluate) -> _Call:
    given: dict[str, Any] = {}
    for index, (name, value) in enumerate(op.arguments):
        parameter = name or (_PARAMETERS[index] if index < len(_PARAMETERS) else "")
        if parameter not in _PARAMETERS or parameter in given:
            raise SemanticError(
                "Semantic error: SEM0219: bag_unpack(): function expects [1, 4] argument(s): "
                f"{', '.join(_PARAMETERS)}."
            )
        given[parameter] = value
    column = given.get("Column")
    if isinstance(column, ir.LetRef):  # a column, if there is one of the name
        column = ir.ColumnRef(column.name)
    if not isinstance(column, ir.ColumnRef):
        raise SemanticError("Semantic error: bag_unpack(): the first argument must be a column.")
    step.require([column.name])
    if step.columns[column.name] not in (None, "dynamic"):
        raise SemanticError(
            f"Semantic error: bag_unpack(): the column '{column.name}' is "
            f"{step.columns[column.name]}, and must be dynamic."
        )
    conflict = _text(step, given.get("columnsConflict"), "columnsConflict", "error")
    if conflict not in _CONFLICTS:
        raise SemanticError(
            f"Semantic error: bag_unpack(): columnsConflict must be one of {', '.join(_CONFLICTS)}."
        )
    prefix = _text(step, given.get("OutputColumnPrefix"), "OutputColumnPrefix", "")
    return _Call(column.name, prefix, conflict, _names(step, given.get("ignoredProperties")))


def _text(step: OperatorResolver, value: Any, what: str, default: str) -> str:
    if value is None:
        return default
    expr = step.expression(value).expr
    if not (isinstance(expr, ir.Literal) and expr.kind == "string"):
        raise SemanticError(f"Semantic error: bag_unpack(): {what} must be a constant string.")
    return str(expr.value)


def _names(step: OperatorResolver, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    names = constant_strings(step.expression(value).expr)
    if names is None:
        raise SemanticError(
            "Semantic error: bag_unpack(): ignoredProperties must be a constant list of strings."
        )
    return names


def _asking(call: _Call) -> own.Rows:
    """Every slot once, with the type of its values: null, one that all have, or dynamic."""
    column = f"CAST({quote_ident(call.column)} AS JSON)"
    kinds = " ".join(f"WHEN '{name}' THEN '{kind}'" for name, kind in _FROM_JSON.items())
    shapes = (
        f"SELECT DISTINCT json_structure({column}) AS _shape FROM ",  # noqa: S608 - quoted
        own.PREVIOUS,
        f" WHERE json_type({column}) = 'OBJECT'",
    )
    kind = f"CASE json_extract_string(_shape, _path) {kinds} ELSE 'dynamic' END"
    path = "'/' || replace(replace(_slot, '~', '~0'), '/', '~1')"
    parts = (
        "SELECT _slot AS name, CASE count(DISTINCT nullif(_kind, 'null')) WHEN 0 THEN 'null' ",
        "WHEN 1 THEN max(nullif(_kind, 'null')) ELSE 'dynamic' END AS kind FROM (SELECT _slot, ",
        f"{kind} AS _kind FROM (SELECT _shape, _slot, {path} AS _path FROM (",  # noqa: S608
        "SELECT _shape, unnest(json_keys(_shape)) AS _slot FROM (",
        *shapes,
        ")))) GROUP BY _slot ORDER BY _slot",
    )
    return own.Rows(parts, ("name", "kind"))


def _pointer(slot: str) -> str:
    return "/" + slot.replace("~", "~0").replace("/", "~1")


def _missing(kind: str | None) -> list[Any]:
    """What a column reads that no row has."""
    if kind == "string":
        return ["''"]
    if kind in _STORED:
        return [f"CAST(NULL AS {_STORED[kind][0]})"]
    if kind in _PARSED:
        return [ir.FunctionCall(_PARSED[kind], (ir.Literal("", "string"),))]
    return ["CAST(NULL AS JSON)"]


def _value(slot: str, kind: str) -> list[Any]:
    """SQL of a slot's value: null if there is none, an error if it has another type."""
    place = f"{quote_ident(_BAG)}, {quote_string(_pointer(slot))}"
    found = f"coalesce(json_type({place}), 'NULL')"
    text = f"json_extract_string({place})"
    wrong = raising("slot_type", f"{slot} {kind}")
    if kind == "dynamic":
        return [f"CASE WHEN {found} <> 'NULL' THEN json_extract({place}) END"]
    if kind == "string":
        return [f"CASE {found} WHEN 'VARCHAR' THEN {text} WHEN 'NULL' THEN '' ELSE {wrong} END"]
    nothing = f"CASE WHEN {found} = 'NULL' THEN NULL WHEN "
    if kind in _STORED:
        stored, read = _STORED[kind]
        names = ", ".join(f"'{one}'" for one in read)
        return [nothing, f"{found} IN ({names}) THEN CAST({text} AS {stored}) ELSE {wrong} END"]
    if kind not in _PARSED:
        raise NotSupportedError(f"bag_unpack(): the type {kind} is not supported in a schema.")
    parsed = ir.FunctionCall(_PARSED[kind], (Fragment((text,)),))
    is_read = f"{found} = 'VARCHAR' AND "
    return [nothing, is_read, parsed, " IS NOT NULL THEN ", parsed, f" ELSE {wrong} END"]


def _require_name(name: str) -> None:
    if _ENTITY.fullmatch(name) is None:
        raise SemanticError(
            f"Semantic error: evaluate bag_unpack(): '{name}' is not a valid name of a column.",
            remedy="Leave the slot out with ignoredProperties.",
        )


def constant_strings(expr: Any) -> tuple[str, ...] | None:
    """The strings of a constant dynamic array, None if it is none."""
    if isinstance(expr, ir.Literal) and expr.kind == "dynamic":
        try:
            values = json.loads(str(expr.value))
        except ValueError:
            return None
        if isinstance(values, list) and all(isinstance(value, str) for value in values):
            return tuple(values)
    return None
