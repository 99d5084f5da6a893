"""Calls of the functions computed in Python: their arguments as DuckDB passes them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir
from duckdb_kql.translate import naming
from duckdb_kql.translate.functions import SCALAR_FUNCTIONS, FunctionSpec

from cluster.errors import NotSupportedError, SemanticError
from cluster.query.call_tables import require_count
from cluster.query.native import spec
from cluster.query.native.runs import RUN_SQL
from cluster.query.native.table import NATIVES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.query.call_tables import Argument, Called
    from cluster.query.native.spec import Native

_HASHES: Final = frozenset(["hash", "hash_xxhash64"])
NAMES: Final = frozenset(name for name in NATIVES if name[0] != "$") | _HASHES

_IN_SQL: Final = {"indexof": 2, "strrep": 2}
"""Functions that SQL computes with this many arguments."""

_CONSTANT: Final = {"bag_set_key": 1}
"""Arguments that must not depend on rows."""

_ARGUMENTS: Final = {
    spec.STRING: "coalesce(CAST({place} AS VARCHAR), '')",
    spec.TEXT: "coalesce(CAST({place} AS VARCHAR), '')",
    spec.SCALAR_TEXT: "coalesce(CAST({place} AS VARCHAR), '')",
    spec.DYNAMIC: "CAST(to_json({place}) AS VARCHAR)",
    spec.WHOLE: "CAST(CAST({place} AS BIGINT) AS VARCHAR)",
    spec.NUMBER: "CAST(CAST({place} AS DOUBLE) AS VARCHAR)",
}
"""Texts of arguments by letter; the others are just cast."""

_CAST: Final = "CAST({place} AS VARCHAR)"
_RESULTS: Final = {"long": "BIGINT", "real": "DOUBLE", "bool": "BOOLEAN", "dynamic": "JSON"}
_PLAIN_JSON: Final = frozenset(["dynamic", "string", "long", "int", "real", "bool", "guid"])
_MOST: Final = 64
_MISSING: Final = ir.RenderedAggregate("NULL")

NAME_PRESERVING: Final = frozenset(
    [
        "parse_csv", "format_bytes", "erf", "erfc", "series_fir", "series_iir",
        *(name for name in NATIVES if name.startswith("series_fill_")),
    ]
)  # fmt: skip
"""Functions that name an unnamed column after their first argument."""

PREFIXED: Final = {"dcount_hll": "dcount_hll", "repeat": "repeat", "treepath": "tree"}
"""Functions that do so behind a word."""


def _template(native: Native) -> str:
    letters = native.letters
    given = [
        _ARGUMENTS.get(letter, _CAST).replace("place", str(index))
        for index, letter in enumerate(letters)
    ]
    if native.is_repeated:
        given[-1] = _CAST.replace("place", str(len(letters) - 1))
    called = f"native_{len(letters)}({RUN_SQL}, '{native.name}', {', '.join(given)})"
    kind = _RESULTS.get(native.gives)
    return called if kind is None else f"CAST({called} AS {kind})"


def _row_name(native: Native) -> str:
    return f"$native_{native.name.removeprefix('$')}"


_ROWS: Final = (
    FunctionSpec("$json", "template", "to_json({0})", (1,)),
    FunctionSpec("$json_first", "template", "json_extract({0}, '$[0]')", (1,)),
    FunctionSpec("$ticks", "template", "((epoch_us({0}) + 62135596800000000) * 10)", (1,)),
    FunctionSpec("$json_array", "template", "json_array({})", ()),
    *(
        FunctionSpec(_row_name(one), "template", _template(one), (len(one.letters),))
        for one in NATIVES.values()
    ),
)


def register() -> None:
    """Adds the rows to the library's registry of this process. Repeating it changes nothing."""
    SCALAR_FUNCTIONS.update({row.name: row for row in _ROWS})
    naming.NAME_PRESERVING |= NAME_PRESERVING
    naming._PREFIXED.update(PREFIXED)


def call(name: str, arguments: Sequence[Argument]) -> Called | None:
    """The expression and type of a call, None if ``name`` is no function of Python.

    Raises SemanticError for a number or type of arguments it does not take.
    """
    if name in _HASHES:
        return _hash(name, arguments)
    native = NATIVES.get(name)
    if native is None or name[0] == "$" or _IN_SQL.get(name) == len(arguments):
        return None
    letters = native.letters
    most = _MOST if native.is_repeated else len(letters)
    require_count(name, len(arguments), native.least, most)
    place = _CONSTANT.get(name)
    if place is not None and not isinstance(arguments[place].expr, ir.Literal):
        raise SemanticError(f"Semantic error: {name}(): argument #{place + 1} must be a constant.")
    given = []
    for index, argument in enumerate(arguments):
        letter = letters[min(index, len(letters) - 1)]
        _require(name, index, letter, argument.type)
        given.append(_passed(name, letter, argument))
    if native.is_repeated:
        fixed = len(letters) - 1
        rest = [_passed(name, spec.ANY, argument) for argument in arguments[fixed:]]
        given = [*given[:fixed], ir.FunctionCall("$json_array", tuple(rest))]
    given += [_MISSING] * (len(letters) - len(given))
    return ir.FunctionCall(_row_name(native), tuple(given)), native.gives


def without_empty(bag: Any) -> Any:
    """A call that takes away what is null or '' of a bag."""
    return ir.FunctionCall("$native_without_empty", (bag,))


def _hash(name: str, arguments: Sequence[Argument]) -> Called:
    """``hash()`` of what is documented: strings and datetimes, by their ticks."""
    if len(arguments) != 1:
        raise NotSupportedError(
            f"{name}() with a modulus is not supported by Remora.",
            remedy=f"Use {name}(x) % n, which is never negative in KQL.",
        )
    value, missing = arguments[0], (_MISSING,)
    if value.type == "string":
        return ir.FunctionCall("$native_hash_text", (value.expr, *missing)), "long"
    if value.type == "datetime":
        ticks = ir.FunctionCall("$ticks", (value.expr,))
        return ir.FunctionCall("$native_hash_ticks", (ticks, *missing)), "long"
    raise NotSupportedError(
        f"{name}() is supported by Remora of strings and datetimes.",
        remedy="Convert with tostring(); the value is then that of the text.",
    )


def _require(name: str, index: int, letter: str, kind: str | None) -> None:
    accepted = spec.ACCEPTED.get(letter)
    if kind is not None and accepted is not None and kind not in accepted:
        raise SemanticError(
            f"Semantic error: {name}(): argument #{index + 1} is of the type {kind}, expected: "
            f"{', '.join(sorted(accepted))}."
        )


def _passed(name: str, letter: str, argument: Argument) -> Any:
    if letter in (spec.TEXT, spec.SCALAR_TEXT) and argument.type != "string":
        return ir.FunctionCall("tostring", (argument.expr,))
    if letter != spec.ANY:
        return argument.expr
    if argument.type == "decimal":
        raise NotSupportedError(
            f"{name}() of a decimal is not supported by Remora.",
            remedy="Convert with todouble() or tostring().",
        )
    if argument.type in _PLAIN_JSON:
        return ir.FunctionCall("$json", (argument.expr,))
    packed = ir.FunctionCall("pack_array", (argument.expr,))
    return ir.FunctionCall("$json_first", (packed,))
