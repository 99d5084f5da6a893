"""Functions of series: arrays of numbers (``series_*``). Pure.

A value that is no number, or that one series has and the other not, gives null in its place. A
result of a finite series that is not finite is refused: JSON has no spelling for it.
"""

from __future__ import annotations

import itertools
import math
import operator
from typing import TYPE_CHECKING, Any, Final

from cluster.query.native.spec import (
    Native,
    encoded,
    is_number,
    is_whole,
    refused,
    require_room,
    require_steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NOT_FINITE: Final = "a series with a value that is not finite"
_BEYOND: Final = "a series with a value beyond what a real holds"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise refused(_NOT_FINITE)
    return value


def _numbers(series: Any) -> list[float] | None:
    """All values, None if one is no number."""
    if not isinstance(series, list) or not all(map(is_number, series)):
        return None
    return [_real(one) for one in series]


def _computed(function: Callable[..., Any], *numbers: Any) -> Any:
    """Numbers of JSON may have any number of digits. Refuses what is then beyond a real."""
    try:
        return function(*numbers)
    except OverflowError as error:
        raise refused(_BEYOND) from error


def _real(value: Any) -> float:
    return float(_computed(float, value))


def _total(values: Iterable[float]) -> float:
    """The sum, rounded once. Refuses one that is not finite, on the way there too."""
    try:
        total = math.fsum(values)
    except (OverflowError, ValueError) as error:  # of infinities of both signs
        raise refused(_NOT_FINITE) from error
    return float(_finite(total))


def _pairwise(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def over(one: Any, other: Any) -> Any:
        if not isinstance(one, list):
            one = [one] * len(other) if isinstance(other, list) and is_number(one) else None
        if not isinstance(other, list):
            other = [other] * len(one) if isinstance(one, list) and is_number(other) else None
        if one is None or other is None:
            return None
        longest = max(len(one), len(other))
        pairs = zip(
            [*one, *[None] * (longest - len(one))],
            [*other, *[None] * (longest - len(other))],
            strict=True,
        )
        return [
            _finite(function(a, b)) if is_number(a) and is_number(b) else None for a, b in pairs
        ]

    return over


def _each(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def over(series: Any) -> Any:
        if not isinstance(series, list):
            return None
        return [_finite(_within(function, one)) if is_number(one) else None for one in series]

    return over


def _within(function: Callable[[Any], Any], value: Any) -> Any:
    try:
        return function(value)
    except (ValueError, OverflowError):
        return math.nan  # outside of what it is defined for


def _divide(one: Any, other: Any) -> float:
    return _real(one) / _real(other) if other else math.inf


def _power(one: Any, other: Any) -> float:
    try:
        return math.pow(one, other)
    except (ValueError, OverflowError):
        return math.inf


def _whole_or_real(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def over(one: Any, other: Any) -> Any:
        result = _computed(function, one, other)
        if isinstance(result, int) and not is_whole(result):
            raise refused("a series whose values overflow a long")
        return result

    return over


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def fill_const(series: Any, constant: Any, missing: Any = None) -> Any:
    """``series`` with ``constant`` for every ``missing`` value."""
    if not isinstance(series, list):
        return None
    require_room(constant, len(series))
    return [constant if _is_missing(one, missing) else one for one in series]


def _is_missing(value: Any, missing: Any) -> bool:
    if missing is None:
        return value is None
    return value == missing and isinstance(value, bool) == isinstance(missing, bool)


def fill_forward(series: Any, missing: Any = None) -> Any:
    """``series`` with the value before in the place of every missing one."""
    if not isinstance(series, list):
        return None
    texts = [one for one in series if isinstance(one, str | list | dict)]
    if texts:
        require_room(max(map(encoded, texts), key=len), len(series) - len(texts))
    filled: list[Any] = []
    for one in series:
        filled.append(filled[-1] if _is_missing(one, missing) and filled else one)
    return filled


def fill_backward(series: Any, missing: Any = None) -> Any:
    """``series`` with the value behind in the place of every missing one."""
    return None if not isinstance(series, list) else fill_forward(series[::-1], missing)[::-1]


def fill_linear(
    series: Any, missing: Any = None, edges: bool | None = None, constant: Any = None
) -> Any:
    """``series`` with values on a line between their neighbours (series-fill-linear-function.md).

    Between whole numbers they are whole, cut. ``edges``: at its ends the nearest value counts.
    """
    if not isinstance(series, list):
        return None
    known = [i for i, one in enumerate(series) if not _is_missing(one, missing)]
    if not known:
        require_room(constant, len(series))
        return [0.0 if constant is None else constant] * len(series)
    if not all(is_number(series[i]) for i in known):
        return None
    are_whole = all(is_whole(series[i]) for i in known)
    filled = list(series)
    for low, high in itertools.pairwise(known):
        for i in range(low + 1, high):
            share = (series[high] - series[low]) * (i - low)
            value = series[low] + _computed(operator.truediv, share, high - low)
            filled[i] = math.floor(value) if are_whole else value
            if are_whole and value < 0 and value != filled[i]:
                raise refused("series_fill_linear() of whole numbers below zero")
    if edges is not False:
        for i in range(known[0]):
            filled[i] = series[known[0]]
        for i in range(known[-1] + 1, len(series)):
            filled[i] = series[known[-1]]
    return filled


def _all_numbers(series: Any) -> list[float] | None:
    values = _numbers(series)
    if values is None and isinstance(series, list):
        raise refused("the sum or product of a series with values that are no numbers")
    return values


def series_sum(series: Any) -> float | None:
    """The sum of a series."""
    values = _all_numbers(series)
    return None if values is None else _total(values)


def series_product(series: Any) -> float | None:
    """The product of a series."""
    values = _all_numbers(series)
    return None if values is None else float(_finite(math.prod(values)))


def series_magnitude(series: Any) -> float | None:
    """The root of the sum of the squares of a series."""
    values = _all_numbers(series)
    return None if values is None else math.sqrt(_total(one * one for one in values))


def dot_product(one: Any, other: Any) -> float | None:
    """The sum of the products of two series, as long as the shorter; null if one is empty."""
    if not isinstance(one, list):
        one = [one] * len(other) if isinstance(other, list) else None
    if not isinstance(other, list):
        other = [other] * len(one) if isinstance(one, list) else None
    if not one or not other:
        return None
    pairs = zip(one, other, strict=False)
    return _total([_real(a) * _real(b) for a, b in pairs if is_number(a) and is_number(b)])


def cosine_similarity(
    one: Any, other: Any, size: float | None = None, other_size: float | None = None
) -> float | None:
    """The cosine of the angle between two series of numbers of equal length."""
    first, second = _numbers(one), _numbers(other)
    if not first or not second:
        return None
    if len(first) != len(second):
        raise refused("series_cosine_similarity() of series of different lengths")
    sizes = (size or series_magnitude(first), other_size or series_magnitude(second))
    if not sizes[0] or not sizes[1] or not sizes[0] * sizes[1]:
        raise refused("series_cosine_similarity() of a series of zeros")
    product = dot_product(first, second) or 0.0
    return float(_finite(product / (sizes[0] * sizes[1])))


def pearson_correlation(one: Any, other: Any) -> float | None:
    """The correlation of two series of equal length; null if a value is no number."""
    first, second = _numbers(one), _numbers(other)
    if not first or not second or len(first) != len(second):
        return None
    a, b = _around_mean(first), _around_mean(second)
    spread = math.sqrt(_finite(_total(x * x for x in a) * _total(y * y for y in b)))
    if not spread:
        raise refused("series_pearson_correlation() of a series that does not vary")
    return _total(x * y for x, y in zip(a, b, strict=True)) / spread


def _around_mean(values: list[float]) -> list[float]:
    mean = _total(values) / len(values)
    return [one - mean for one in values]


def stats_dynamic(series: Any, ignore: bool | None = None) -> Any:
    """What a series is like as a whole (series-stats-dynamic-function.md)."""
    if not isinstance(series, list):
        return None
    places = [i for i, one in enumerate(series) if is_number(one)]
    if len(places) < 2 or (len(places) < len(series) and not ignore):
        raise refused("series_stats_dynamic() of less than two numbers, or of other values")
    values = [_real(series[i]) for i in places]
    low, high = min(values), max(values)
    around = _around_mean(values)
    variance = _total(one * one for one in around) / (len(values) - 1)
    return {
        "min": low,
        "min_idx": places[values.index(low)],
        "max": high,
        "max_idx": places[values.index(high)],
        "avg": _total(values) / len(values),
        "stdev": math.sqrt(variance),
        "variance": variance,
        "sum": _total(values),
        "len": len(series),
    }


def fit_line_dynamic(series: Any) -> Any:
    """The line that lies closest to a series (series-fit-line-dynamic-function.md)."""
    values = _numbers(series)
    if values is None or len(values) < 3:
        raise refused("series_fit_line_dynamic() of less than three numbers, or of other values")
    count = len(values)
    across = _around_mean([float(i) for i in range(count)])
    along = _around_mean(values)
    slope = _total(a * b for a, b in zip(across, along, strict=True)) / _total(
        a * a for a in across
    )
    interception = _total(values) / count - slope * (count - 1) / 2
    line = [interception + slope * i for i in range(count)]
    total = _total(one * one for one in along)
    left = _total((a - b) ** 2 for a, b in zip(values, line, strict=True))
    if not total:
        raise refused("series_fit_line_dynamic() of a series that does not vary")
    return {
        "rsquare": 1 - left / total,
        "slope": slope,
        "variance": total / (count - 1),
        "rvariance": left / (count - 1),
        "interception": interception,
        "line_fit": line,
    }


def fir(
    series: Any, weights: Any, normalize: bool | None = None, center: bool | None = None
) -> Any:
    """``series`` filtered by ``weights`` (series-fir-function.md)."""
    values, given = _numbers(series), _numbers(weights)
    if values is None or not given:
        return None
    require_steps(len(values) * len(given), "series_fir()")
    if any(one < 0 for one in given):
        if normalize:
            return None
        normalize = False
    if normalize is not False:
        total = _total(given)
        if not total:
            raise refused("series_fir() normalized by weights that add up to zero")
        given = [one / total for one in given]
    if center and len(given) % 2 == 0:
        raise refused("series_fir() centered by a filter of even length")
    shift = len(given) // 2 if center else 0
    return [
        _total(
            weight * values[i + shift - back]
            for back, weight in enumerate(given)
            if 0 <= i + shift - back < len(values)
        )
        for i in range(len(values))
    ]


def iir(series: Any, numerators: Any, denominators: Any) -> Any:
    """``series`` filtered with feedback (series-iir-function.md)."""
    values, ahead, behind = _numbers(series), _numbers(numerators), _numbers(denominators)
    if values is None or not ahead or not behind or not behind[0]:
        return None
    require_steps(len(values) * (len(ahead) + len(behind)), "series_iir()")
    made: list[float] = []
    for i in range(len(values)):
        total = _total(b * values[i - k] for k, b in enumerate(ahead) if i >= k)
        total -= _total(a * made[i - k] for k, a in enumerate(behind) if 0 < k <= i)
        made.append(_finite(total / behind[0]))
    return made


_PAIRWISE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "add": _whole_or_real(operator.add),
    "subtract": _whole_or_real(operator.sub),
    "multiply": _whole_or_real(operator.mul),
    "divide": _divide,
    "pow": _power,
    "equals": operator.eq,
    "not_equals": operator.ne,
    "less": operator.lt,
    "less_equals": operator.le,
    "greater": operator.gt,
    "greater_equals": operator.ge,
}
_EACH: Final[dict[str, Callable[[Any], Any]]] = {
    "abs": abs, "sign": _sign, "exp": math.exp, "log": math.log, "sin": math.sin, "cos": math.cos,
    "tan": math.tan, "asin": math.asin, "acos": math.acos, "atan": math.atan,
    "floor": lambda value: float(math.floor(value)),
    "ceiling": lambda value: float(math.ceil(value)),
}  # fmt: skip

NATIVES: Final = (
    *(Native(f"series_{n}", _pairwise(f), "aa", "dynamic", 2) for n, f in _PAIRWISE.items()),
    *(Native(f"series_{n}", _each(f), "d", "dynamic", 1) for n, f in _EACH.items()),
    Native("series_fill_const", fill_const, "daa", "dynamic", 2),
    Native("series_fill_forward", fill_forward, "da", "dynamic", 1),
    Native("series_fill_backward", fill_backward, "da", "dynamic", 1),
    Native("series_fill_linear", fill_linear, "daba", "dynamic", 1),
    Native("series_sum", series_sum, "d", "real", 1),
    Native("series_product", series_product, "d", "real", 1),
    Native("series_magnitude", series_magnitude, "d", "real", 1),
    Native("series_dot_product", dot_product, "aa", "real", 2),
    Native("series_cosine_similarity", cosine_similarity, "ddrr", "real", 2),
    Native("series_pearson_correlation", pearson_correlation, "dd", "real", 2),
    Native("series_stats_dynamic", stats_dynamic, "db", "dynamic", 1),
    Native("series_fit_line_dynamic", fit_line_dynamic, "d", "dynamic", 1),
    Native("series_fir", fir, "ddbb", "dynamic", 2),
    Native("series_iir", iir, "ddd", "dynamic", 3),
    Native("erf", lambda value: None if value is None else math.erf(value), "r", "real", 1),
    Native("erfc", lambda value: None if value is None else math.erfc(value), "r", "real", 1),
)
