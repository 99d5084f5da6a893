"""Calls of every function there is, by the tables that have them: new ones come by themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from duckdb_kql.translate import _SPECIAL_FORMS
from duckdb_kql.translate.functions import AGGREGATE_FUNCTIONS, SCALAR_FUNCTIONS
from fuzz_mutations import ODD_TEXTS
from fuzz_values import COLUMNS, KINDS, values
from fuzzing import Target
from hypothesis import strategies as st

from cluster.limits import LIMITS
from cluster.query import (
    aggregates,
    calls,
    functions,
    known_functions,
    native_calls,
    rewritten_calls,
    vocabulary,
    windows,
)
from cluster.query.native import spec
from cluster.query.native.table import NATIVES
from cluster.query.translation import REFUSED_VALUE, TOO_LONG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hypothesis.strategies import DrawFn, SearchStrategy


class Signature(NamedTuple):
    """How many arguments a function takes, and of which kinds; the last kind goes on."""

    least: int
    most: int
    kinds: tuple[str, ...]


_LETTERS: Final = {
    spec.STRING: "string",
    spec.TEXT: "string",
    spec.SCALAR_TEXT: "string",
    spec.DYNAMIC: "dynamic",
    spec.ANY: "",
    spec.WHOLE: "long",
    spec.NUMBER: "real",
    spec.FLAG: "bool",
    spec.GUID: "guid",
}
"""Kinds of arguments of functions in Python; ``''`` is any."""

for registry in (aggregates, functions, windows):
    registry.register()

_UNKNOWN: Final = (0, 4)
_BY_NAME: Final = {
    "array_": ("dynamic", "", "long"), "bag_": ("dynamic", "dynamic", "string"),
    "set_": ("dynamic",),
    "series_": ("dynamic",), "datetime_": ("string", "long", "datetime"), "startof": ("datetime",
    "long"),
    "endof": ("datetime", "long"), "dayof": ("datetime",), "format_": ("datetime", "string"),
    "week": ("datetime",),
    "unixtime_": ("long",), "make_": ("long",), "ipv": ("string",), "parse_": ("string",),
    "hash": ("string", "long"),
    "binary_": ("long",), "is": ("",), "to": ("",), "extract": ("string", "long", "string"),
    "replace": ("string",),
    "base64": ("string",), "str": ("string",), "trim": ("string",), "split": ("string", "string",
    "long"),
    "substring": ("string", "long"), "countof": ("string",), "bin": ("datetime", "timespan",
    "datetime"),
    "log": ("real",), "exp": ("real",), "round": ("real", "long"), "pow": ("real",),
    "zip": ("dynamic",),
    "current_": ("dynamic",), "bitset": ("long",), "range": ("long",), "percentile": ("real",
    "long"),
    "iff": ("bool", "", ""), "case": ("bool", "", ""), "gamma": ("real",), "around": ("datetime",
    "datetime", "timespan"),
}  # fmt: skip
"""What functions whose names begin so take, most of the time. The tables of these do not say."""


def _kinds(name: str) -> tuple[str, ...]:
    return next((kinds for start, kinds in _BY_NAME.items() if name.startswith(start)), ("",))


def _signatures() -> dict[str, Signature]:
    names = {*SCALAR_FUNCTIONS, *_SPECIAL_FORMS, *vocabulary.KUSTO_FUNCTIONS, "toscalar"}
    names |= known_functions.OF_COLUMNS | known_functions.OF_HIDDEN | vocabulary.NEXT_STEP
    names |= calls.NAMES | rewritten_calls.NAMES | native_calls.NAMES
    found: dict[str, Signature] = {}
    for name in sorted(names - set(AGGREGATE_FUNCTIONS) - windows.NAMES):
        if name.startswith("$"):
            continue
        known = SCALAR_FUNCTIONS.get(name)
        arities = () if known is None else known.arities
        least, most = (min(arities), max(arities)) if arities else _UNKNOWN
        found[name] = Signature(least, most, _kinds(name))
    for table in (calls._CALLS, rewritten_calls._CALLS):
        for name, (least, most, _) in table.items():
            found[name] = Signature(least, min(most, 5), _kinds(name))
    for name, native in NATIVES.items():
        if not name.startswith("$"):
            kinds = tuple(_LETTERS[letter] for letter in native.letters)
            most = len(kinds) + 2 * native.is_repeated
            found[name] = Signature(native.least, most, kinds)
    return found


SCALARS: Final[Mapping[str, Signature]] = _signatures()
"""Scalar functions that are supported, and those that are refused by name."""

AGGREGATES: Final[Mapping[str, tuple[int, ...]]] = {
    **{name: row.arities for name, row in AGGREGATE_FUNCTIONS.items() if name[0] != "$"},
    "percentiles": (2, 3, 4),
}
WINDOWS: Final = tuple(sorted(windows.NAMES))
_GIVING: Final[Mapping[str, tuple[str, ...]]] = {
    kind: tuple(sorted(name for name,
    gives in vocabulary.RETURN_TYPES.items() if gives == kind and name in SCALARS))
    + tuple(sorted(n for n, native in NATIVES.items() if native.gives == kind and n[0] != "$"))
    for kind in KINDS
}  # fmt: skip
_OFTEN: Final = tuple(sorted(native_calls.NAMES | rewritten_calls.NAMES | calls.NAMES))


@st.composite
def arguments(draw: DrawFn, kind: str, depth: int) -> str:
    """A value of ``kind``, any for ``''``; sometimes what another function makes."""
    kind = kind or draw(st.sampled_from(KINDS))
    if depth and _GIVING[kind] and not draw(st.integers(0, 5)):
        return draw(calls_of(draw(st.sampled_from(_GIVING[kind])), depth - 1))
    return draw(values(kind))


@st.composite
def calls_of(draw: DrawFn, name: str, depth: int = 1) -> str:
    """A call of a function, nearly always with a number of arguments that it takes."""
    least, most, kinds = SCALARS[name]
    count = draw(st.integers(least, most))
    if not draw(st.integers(0, 30)):
        count = draw(st.integers(0, most + 1))
    if name == "case":
        count += 1 - count % 2
    given = [draw(arguments(kinds[min(i, len(kinds) - 1)], depth)) for i in range(count)]
    return f"{name}({', '.join(given)})"


@st.composite
def scalar_calls(draw: DrawFn) -> str:
    """A call of any function, the ones that Remora makes itself more often."""
    names = _OFTEN if draw(st.integers(0, 2)) else tuple(SCALARS)
    return draw(calls_of(draw(st.sampled_from(names))))


@st.composite
def aggregate_calls(draw: DrawFn) -> str:
    """A call of an aggregate: its first argument a column, or made of one."""
    name = draw(st.sampled_from(tuple(AGGREGATES)))
    arities = AGGREGATES[name] or (1, 2, 3)
    given = []
    for index in range(draw(st.sampled_from(arities))):
        is_condition = name.endswith("if") and index == max(arities) - 1
        kind = "bool" if is_condition else draw(st.sampled_from(KINDS))
        if index == 0 or draw(st.booleans()):
            given.append(draw(st.sampled_from(COLUMNS[kind])))
        else:
            given.append(draw(values("long" if name.startswith("percentile") else kind)))
    return f"{name}({', '.join(given)})"


@st.composite
def window_calls(draw: DrawFn) -> str:
    """A call of a function of the order of rows."""
    name = draw(st.sampled_from(WINDOWS))
    kinds = draw(st.lists(st.sampled_from(("long", "bool", "real", "string")), max_size=3))
    return f"{name}({', '.join(draw(values(kind)) for kind in kinds)})"


# Functions in Python, without an engine around them


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from((0, 1, -1, 2, 3, 10**400, 1e308, -1e308, "", "a", "$.a", *ODD_TEXTS)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(("a", "b", "",
    "hll", "$.a")), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_NUMBERS = (0, 1, 1.5, -2, 1e308, -1e308, None, 10**400, 2**63 - 1, -(2**63), 2**64 - 1, "x")
_SERIES = st.lists(st.sampled_from(_NUMBERS), max_size=6)
_KNOWN = (
    "", "a", "a,b", "1.2.3.4", "1.2.3.4/8", "::1", "$.a", "$", "windows", "xn--a", "Bytes", "KB",
    "a b", "a=1", "é",
)  # fmt: skip
_TEXTS = st.sampled_from(ODD_TEXTS) | st.sampled_from(_KNOWN)
_UNREAD = ("[" * 2000 + "]" * 2000, f"[{'9' * 5000}]", '{"a":1,"a":2}', "[1E400]")
"""JSON that DuckDB has for a dynamic, and Python cannot make."""

_BY_LETTER: Final[Mapping[str, SearchStrategy[Any]]] = {
    spec.STRING: _TEXTS | st.text(st.characters(codec="utf-8"), max_size=8),
    spec.DYNAMIC: st.one_of(_JSON, _SERIES).map(json.dumps) | st.sampled_from(_UNREAD),
    spec.WHOLE: st.sampled_from((0, 1, -1, 2, 15, 16, 33, 2**62, -(2**63), 2**63 - 1)).map(str),
    spec.NUMBER: st.sampled_from(("0.0", "-0.0", "1.5", "1e308", "-1e308", "5e-324", "nan", "inf")),
    spec.FLAG: st.sampled_from(("true", "false")),
    spec.GUID: st.uuids().map(str),
}  # fmt: skip
_ALWAYS_TEXT: Final = frozenset([spec.STRING, spec.TEXT, spec.SCALAR_TEXT])
_MARKS: Final = (REFUSED_VALUE, TOO_LONG)
_NATIVE_NAMES: Final = tuple(name for name in NATIVES if name[0] != "$")
"""Those that queries call: what the others are given is made here."""


@st.composite
def native_arguments(draw: DrawFn) -> tuple[str, tuple[str | None, ...]]:
    """The name of a function in Python, and texts of its arguments as DuckDB passes them."""
    native = NATIVES[draw(st.sampled_from(_NATIVE_NAMES))]
    given: list[str | None] = []
    for place, letter in enumerate(native.letters):
        if native.is_repeated and place == len(native.letters) - 1:
            least = max(native.least - place, 1)
            rest = draw(st.lists(st.one_of(_JSON, _SERIES), min_size=least, max_size=least + 2))
            given.append(json.dumps(rest))
        elif letter in _ALWAYS_TEXT:
            given.append(draw(_BY_LETTER[spec.STRING]))
        elif not draw(st.integers(0, 5)):
            given.append(None)
        else:
            given.append(draw(_BY_LETTER.get(letter, _BY_LETTER[spec.DYNAMIC])))
    return native.name, tuple(given)


_OVER_TEXTS: Final = {
    name: native.over_texts(LIMITS.string_value_bytes) for name, native in NATIVES.items()
}


def computed(example: tuple[str, tuple[str | None, ...]]) -> str:
    """What a function in Python makes of its arguments: a text, null, or a refusal that says why.

    DuckDB makes one error of whatever else they raise, and the caller is told nothing.
    """
    name, given = example
    try:
        result = _OVER_TEXTS[name](*given)
    except ValueError as error:
        if not any(mark in str(error) for mark in _MARKS):
            raise
        return "refused"
    if result is None:
        return "null"
    result.encode()
    if NATIVES[name].gives != "string":
        value = json.loads(result, parse_constant=_no_json)
        assert NATIVES[name].gives != "long" or spec.is_whole(value), result
    return "value"


def _no_json(text: str) -> None:
    raise AssertionError(f"JSON has no {text}")


NATIVE = Target("native", native_arguments(), computed, memory_mib=64)
