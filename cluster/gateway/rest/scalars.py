"""Values of the ten Kusto types as JSON text, a column at a time. Pure.

Rules: ``api/rest/response.md`` and what the SDKs parse:

========  ====================================================================
bool      ``true``, ``false``
int long  number
real      number, always with a point or an exponent; ``"NaN"``, ``"Infinity"``, ``"-Infinity"``
decimal   string ``"1.25"``, without zeros at the end and without an exponent
datetime  ``"2026-01-02T03:04:05.1234560Z"``, seven digits
timespan  ``"[-][d.]hh:mm:ss[.fffffff]"``
guid      string, lower case
dynamic   the JSON value itself, on one line
string    string; null is ``""``
========  ====================================================================

Null of every other type is ``null``. A column is computed by Arrow's kernels, without one Python
object a value: ten times as fast as making the values and encoding them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from cluster.catalog.model import ScalarType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NEEDS_ESCAPE: Final = r'["\\\x00-\x1f]'
_CONTROL: Final = r"[\x00-\x1f]"
_CONTROL_ESCAPES: Final = (
    ("\n", "\\n"),
    ("\r", "\\r"),
    ("\t", "\\t"),
    *((chr(code), f"\\u{code:04x}") for code in range(0x20) if chr(code) not in "\n\r\t"),
)
_LINE_ENDS: Final = r"[\r\n]"
_NOT_FINITE: Final = r"(?:^|[\[,:])\s*-?(?i:nan|inf)"
_TOKEN: Final = re.compile(r'"(?:\\.|[^"\\])*"|-?[A-Za-z]+')
_NUMBERS: Final = {
    "nan": '"NaN"',
    "-nan": '"NaN"',
    "inf": '"Infinity"',
    "infinity": '"Infinity"',
    "-inf": '"-Infinity"',
    "-infinity": '"-Infinity"',
}
_FIRST_US: Final = -62_135_596_800_000_000
"""Microseconds from 1970 to the first datetime of Kusto, 0001-01-01."""
_LAST_US: Final = 253_402_300_799_999_999
_PLAIN_BELOW: Final = 1e10
"""Arrow writes whole numbers with an exponent from here on, and without a point below."""
_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class JsonColumn:
    """Cells as JSON: ``before``, a text of ``cells``, ``after``. ``cells`` has no nulls."""

    before: str
    cells: pa.Array
    after: str


def _zero() -> pa.Scalar:
    # Made when it is needed: the first value Arrow makes imports pandas, where it is installed.
    return pa.scalar(0, pa.uint64())


def json_column(array: pa.Array, kind: ScalarType) -> JsonColumn:
    """The cells of one column, which has the Arrow type of a result (``query.types``)."""
    if kind is ScalarType.STRING:
        return JsonColumn('"', _escaped(pc.fill_null(array, "")), '"')
    if kind in _QUOTED:
        text, after = _QUOTED[kind](array)
        if not text.null_count:
            return JsonColumn('"', text, f'{after}"')
        quoted = pc.binary_join_element_wise('"', text, f'{after}"', "")
        return JsonColumn("", pc.fill_null(quoted, "null"), "")
    return JsonColumn("", pc.fill_null(_BARE[kind](array), "null"), "")


def _escaped(text: pa.Array) -> pa.Array:
    if not _any(pc.match_substring_regex(text, _NEEDS_ESCAPE)):
        return text
    text = pc.replace_substring(text, "\\", "\\\\")
    text = pc.replace_substring(text, '"', '\\"')
    if _any(pc.match_substring_regex(text, _CONTROL)):
        for character, escape in _CONTROL_ESCAPES:
            text = pc.replace_substring(text, character, escape)
    return text


def _any(found: pa.Array) -> bool:
    return bool(pc.any(found).as_py())


def _plain(array: pa.Array) -> pa.Array:
    return array.cast(pa.string())


def _real(array: pa.Array) -> pa.Array:
    text = array.cast(pa.string())
    whole = pc.and_(pc.equal(array, pc.trunc(array)), pc.less(pc.abs(array), _PLAIN_BELOW))
    if _any(whole):
        text = pc.if_else(whole, pc.binary_join_element_wise(text, ".0", ""), text)
    if not _any(pc.invert(pc.is_finite(array))):
        return text
    text = pc.if_else(pc.is_nan(array), '"NaN"', text)
    text = pc.if_else(pc.equal(array, float("inf")), '"Infinity"', text)
    return pc.if_else(pc.equal(array, float("-inf")), '"-Infinity"', text)


def _decimal(array: pa.Array) -> tuple[pa.Array, str]:
    text = array.cast(pa.string())
    if _any(pc.match_substring(text, "E")):  # Arrow writes the smallest with an exponent
        digits = [None if value is None else f"{value:f}" for value in array.to_pylist()]
        text = pa.array(digits, pa.string())
    return pc.ascii_rtrim(pc.ascii_rtrim(text, "0"), "."), ""


def _datetime(array: pa.Array) -> tuple[pa.Array, str]:
    numbers = array.cast(pa.int64())
    bounds = pc.min_max(numbers).as_py()
    if bounds["min"] is not None and (bounds["min"] < _FIRST_US or bounds["max"] > _LAST_US):
        known = pc.and_(pc.greater_equal(numbers, _FIRST_US), pc.less_equal(numbers, _LAST_US))
        array = pc.if_else(known, array, None)
    text = array.cast(pa.string()).cast(pa.binary())
    return pc.binary_replace_slice(text, 10, 11, b"T").cast(pa.string()), "0Z"


def _timespan(array: pa.Array) -> tuple[pa.Array, str]:
    numbers = array.cast(pa.int64())
    # The least number has no positive counterpart but as an unsigned one.
    left = pc.abs(numbers).cast(pa.uint64(), safe=False)
    days, left = _divided(left, _DAY_US)
    _, fraction = _divided(left, 1_000_000)
    # A time of day is written as it is needed here, with six digits.
    text = left.cast(pa.int64()).cast(pa.time64("us")).cast(pa.string())
    if _any(pc.not_equal(fraction, _zero())):
        text = pc.if_else(pc.equal(fraction, _zero()), _whole(text), _joined(text, "0"))
    else:
        text = _whole(text)
    if _any(pc.not_equal(days, _zero())):
        whole_days = pc.if_else(pc.equal(days, _zero()), "", _joined(days.cast(pa.string()), "."))
        text = _joined(whole_days, text)
    negative = pc.less(numbers, 0)
    if _any(negative):
        text = _joined(pc.if_else(negative, "-", ""), text)
    return text, ""


def _whole(text: pa.Array) -> pa.Array:
    """``hh:mm:ss`` of a time of day."""
    return pc.binary_slice(text.cast(pa.binary()), 0, 8).cast(pa.string())


def _divided(numbers: pa.Array, by: int) -> tuple[pa.Array, pa.Array]:
    divisor = pa.scalar(by, pa.uint64())
    quotient = pc.divide(numbers, divisor)
    return quotient, pc.subtract(numbers, pc.multiply(quotient, divisor))


def _joined(*parts: Any) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")


def _guid(array: pa.Array) -> tuple[pa.Array, str]:
    return pc.ascii_lower(array), ""


def _dynamic(array: pa.Array) -> pa.Array:
    empty = pc.equal(array, "")
    if _any(empty):
        array = pc.if_else(empty, None, array)
    if _any(pc.match_substring_regex(array, _LINE_ENDS)):
        # Inside strings of JSON they are escaped: these are between values.
        array = pc.replace_substring_regex(array, _LINE_ENDS, " ")
    if _any(pc.match_substring_regex(array, _NOT_FINITE)):
        values = [None if text is None else _finite(text) for text in array.to_pylist()]
        array = pa.array(values, pa.string())
    return array


def _finite(text: str) -> str:
    """JSON, with numbers that JSON does not have as the strings a ``real`` would be."""
    return _TOKEN.sub(lambda token: _NUMBERS.get(token[0].lower(), token[0]), text)


_QUOTED: Final[Mapping[ScalarType, Callable[[pa.Array], tuple[pa.Array, str]]]] = {
    ScalarType.DATETIME: _datetime,
    ScalarType.DECIMAL: _decimal,
    ScalarType.GUID: _guid,
    ScalarType.TIMESPAN: _timespan,
}
"""Text without quotes, null where there is no value; and what follows each text."""
_BARE: Final[Mapping[ScalarType, Callable[[pa.Array], pa.Array]]] = {
    ScalarType.BOOL: _plain,
    ScalarType.DYNAMIC: _dynamic,
    ScalarType.INT: _plain,
    ScalarType.LONG: _plain,
    ScalarType.REAL: _real,
}
