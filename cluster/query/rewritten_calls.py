"""Functions that other functions or SQL say, depending on how many arguments there are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import ir
from duckdb_kql.translate.functions import SCALAR_FUNCTIONS, FunctionSpec

from cluster.errors import NotSupportedError, SemanticError
from cluster.query.call_tables import made
from cluster.query.translation import REFUSED_VALUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.query.call_tables import Argument, Called, CallTable

_MOST_OCCURRENCE: Final = 100
_ZERO: Final = ir.Literal(0, "long")

_LOCAL: Final = "(({0} AT TIME ZONE 'UTC') AT TIME ZONE {1})"

_TO_UTC: Final = (
    # An hour that a clock skips is taken as the offset behind has it; one that it has twice is
    # not known to be which.
    "list_transform([{{'t': {0}, 'u': ({0} AT TIME ZONE {1}) AT TIME ZONE 'UTC'}}], lambda _m: "
    "list_transform([{{'t': _m.t, 'u': _m.u, "
    "'l': (_m.u AT TIME ZONE 'UTC') AT TIME ZONE {1}}}], lambda _l: CASE "
    "WHEN _l.l <> _l.t THEN _l.u - (_l.l - _l.t) "
    "WHEN ((_l.u - INTERVAL 1 HOUR) AT TIME ZONE 'UTC') AT TIME ZONE {1} = _l.t "
    "OR ((_l.u + INTERVAL 1 HOUR) AT TIME ZONE 'UTC') AT TIME ZONE {1} = _l.t "
    f"THEN error('{REFUSED_VALUE}datetime_local_to_utc() of an hour that a clock shows twice') "
    "ELSE _l.u END)[1])[1]"
)

_TIMESPAN: Final = (
    "to_microseconds(CAST({0} AS BIGINT) * 86400000000 + CAST({1} AS BIGINT) * 3600000000 "
    "+ CAST({2} AS BIGINT) * 60000000 + CAST(floor(CAST({3} AS DOUBLE) * 1000000) AS BIGINT))"
)
"""Of days, hours, minutes, and seconds, which may have a fraction."""

_INDEX_OF_REGEX: Final = (
    "list_transform([{0}], lambda _s: CASE "
    "WHEN regexp_matches('', {1}) "
    f"THEN error('{REFUSED_VALUE}indexof_regex() of what matches an empty text') "
    "WHEN len(regexp_extract_all(_s, {1})) >= {2} "
    "THEN CAST({4} + length(regexp_extract(_s, {3}, 1)) AS BIGINT) {5} ELSE CAST(-1 AS BIGINT) "
    "END)[1]"
)
_CUT_SHORT: Final = f"WHEN true THEN error('{REFUSED_VALUE}indexof_regex() of a late occurrence')"

_ROWS: Final = (
    FunctionSpec("$to_local", "template", _LOCAL, (2,)),
    FunctionSpec("$to_utc", "template", _TO_UTC, (2,)),
    FunctionSpec("$indexof_regex", "template", _INDEX_OF_REGEX, (6,)),
    FunctionSpec("$timespan", "template", _TIMESPAN, (4,)),
    FunctionSpec("$split_at", "template",
                 "to_json(list_slice(str_split({0}, {1}), {2} + 1, {2} + 1))", (3,)),
    FunctionSpec("$query_of", "template",
                 "json_object('Query Parameters', json_extract({0}, '/Query Parameters'))", (1,)),
)  # fmt: skip


def register() -> None:
    """Adds the rows to the library's registry of this process. Repeating it changes nothing."""
    SCALAR_FUNCTIONS.update({row.name: row for row in _ROWS})


def call(name: str, arguments: Sequence[Argument]) -> Called | None:
    """The expression and type of a call, None if it is to be made otherwise.

    Raises SemanticError for a number of arguments it does not take, NotSupportedError for
    arguments it cannot compute with.
    """
    return made(_CALLS, name, arguments)


def _sql(name: str, *arguments: Any) -> Any:
    return ir.FunctionCall(name, tuple(arguments))


def _whole(argument: Argument, what: str) -> int:
    expr, sign = argument.expr, 1
    if isinstance(expr, ir.UnaryOp) and expr.op == "-":
        expr, sign = expr.operand, -1
    if not (isinstance(expr, ir.Literal) and isinstance(expr.value, int)):
        raise NotSupportedError(f"{what} is supported by Remora as a constant number.")
    return sign * expr.value


def _make_datetime(arguments: Sequence[Argument]) -> Called | None:
    given = [argument.expr for argument in arguments]
    if len(given) in (4, 5):
        return _sql("make_datetime", *given, *[_ZERO] * (6 - len(given))), "datetime"
    return None


def _make_timespan(arguments: Sequence[Argument]) -> Called | None:
    given = [argument.expr for argument in arguments]
    if len(given) < 4:  # without days, and perhaps without seconds
        given = [_ZERO, *given, *[_ZERO] * (3 - len(given))]
    return _sql("$timespan", *given), "timespan"


def _array_sort(arguments: Sequence[Argument]) -> Called | None:
    if len(arguments) > 2 or (len(arguments) == 2 and arguments[1].type == "dynamic"):
        raise NotSupportedError(
            "Sorting several arrays by the first is not supported by Remora.",
            remedy="Use mv-apply over the arrays with order by and make_list().",
        )
    return None


def _split(arguments: Sequence[Argument]) -> Called | None:
    if len(arguments) == 2:
        return None
    index = _whole(arguments[2], "The index of split()")
    if index < 0:
        raise NotSupportedError("split() with a negative index is not supported by Remora.")
    text, delimiter = arguments[0].expr, arguments[1].expr
    return _sql("$split_at", text, delimiter, ir.Literal(index, "long")), "dynamic"


def _parse_urlquery(arguments: Sequence[Argument]) -> Called:
    address = _sql("strcat", ir.Literal("https://host/?", "string"), arguments[0].expr)
    return _sql("$query_of", _sql("parse_url", address)), "dynamic"


def _zone(argument: Argument, name: str) -> Any:
    expr = argument.expr
    if argument.type != "string":
        raise SemanticError(f"Semantic error: {name}(): argument #2 must be a string.")
    return expr


def _to_local(arguments: Sequence[Argument]) -> Called:
    zone = _zone(arguments[1], "datetime_utc_to_local")
    return _sql("$to_local", arguments[0].expr, zone), "datetime"


def _to_utc(arguments: Sequence[Argument]) -> Called:
    zone = _zone(arguments[1], "datetime_local_to_utc")
    return _sql("$to_utc", arguments[0].expr, zone), "datetime"


def _indexof_regex(arguments: Sequence[Argument]) -> Called:
    text, pattern, *rest = arguments
    if not (isinstance(pattern.expr, ir.Literal) and pattern.expr.kind == "string"):
        raise NotSupportedError("indexof_regex() is supported by Remora with a constant pattern.")
    numbers = [_whole(one, "A number of indexof_regex()") for one in rest]
    start, length, occurrence = [*numbers, *(0, -1, 1)[len(numbers) :]]
    if start < 0 or length < -1 or occurrence < 0:
        return ir.Literal(None, "long"), "long"
    if not 0 < occurrence <= _MOST_OCCURRENCE:
        raise NotSupportedError(
            f"indexof_regex() is supported by Remora up to occurrence {_MOST_OCCURRENCE}."
        )
    regex = str(pattern.expr.value)
    skipped = f"(?:(?s:.*?)(?:{regex})){{{occurrence - 1}}}" if occurrence > 1 else ""
    before = rf"\A({skipped}(?s:.*?))(?:{regex})"
    part = [ir.Literal(start, "long")] + ([ir.Literal(length, "long")] if length >= 0 else [])
    is_cut = occurrence > 1 and length >= 0
    return _sql(
        "$indexof_regex",
        _sql("substring", _sql("tostring", text.expr), *part),
        ir.Literal(regex, "string"),
        ir.Literal(occurrence, "long"),
        ir.Literal(before, "string"),
        ir.Literal(start, "long"),
        ir.RenderedAggregate(_CUT_SHORT if is_cut else ""),
    ), "long"


_CALLS: Final[CallTable] = {
    "make_datetime": (3, 6, _make_datetime),
    "make_timespan": (2, 4, _make_timespan),
    "array_sort_asc": (1, 64, _array_sort),
    "array_sort_desc": (1, 64, _array_sort),
    "split": (2, 3, _split),
    "parse_urlquery": (1, 1, _parse_urlquery),
    "datetime_utc_to_local": (2, 2, _to_local),
    "datetime_local_to_utc": (2, 2, _to_utc),
    "indexof_regex": (2, 5, _indexof_regex),
}

NAMES: Final = frozenset(_CALLS)
RETURN_TYPES: Final = {
    "datetime_utc_to_local": "datetime", "datetime_local_to_utc": "datetime",
    "indexof_regex": "long", "parse_urlquery": "dynamic",
}  # fmt: skip
"""Types of the functions the vocabulary does not have otherwise."""
