"""Functions of arrays and sets (``array_*``, ``set_*``). Pure.

A dynamic that is no array gives null, as with the service.
"""

from __future__ import annotations

import itertools
import re
from typing import Any, Final

from cluster.query.native.spec import Native, is_number, is_whole, key, refused, require_room

_SPAN: Final = re.compile(r"-?(\d+\.)?\d\d:\d\d:\d\d(\.\d{7})?")
MOST_REPEATS: Final = 1_048_576


def array_iff(condition: Any, when_true: Any, when_false: Any) -> Any:
    """The values of one array or the other (array-iff-function.md); scalars stand for all."""
    if not isinstance(condition, list):
        return None
    require_room(when_true if not isinstance(when_true, list) else None, len(condition))
    require_room(when_false if not isinstance(when_false, list) else None, len(condition))
    chosen = []
    for index, one in enumerate(condition):
        if isinstance(one, bool) or is_number(one):
            value = when_true if one else when_false
            if isinstance(value, list):
                value = value[index] if index < len(value) else None
            chosen.append(value)
        else:
            chosen.append(None)
    return chosen


def array_rotate_left(array: Any, count: int | None) -> Any:
    """``array`` with its first ``count`` values behind the others."""
    if not isinstance(array, list) or count is None:
        return None
    if not array:
        return array
    at = count % len(array)
    return array[at:] + array[:at]


def array_rotate_right(array: Any, count: int | None) -> Any:
    """``array`` with its last ``count`` values before the others."""
    return array_rotate_left(array, None if count is None else -count)


def array_shift_left(array: Any, count: int | None, default: Any = None) -> Any:
    """``array`` of the same length without its first ``count`` values.

    What is missing is ``default``; if that is not given, null, or '' among strings.
    """
    if not isinstance(array, list) or count is None:
        return None
    if default is None and array and all(isinstance(one, str) for one in array):
        default = ""
    size = min(abs(count), len(array))
    require_room(default, size)
    gap = [default] * size
    return array[size:] + gap if count >= 0 else gap + array[: len(array) - size]


def array_shift_right(array: Any, count: int | None, default: Any = None) -> Any:
    """``array`` of the same length without its last ``count`` values."""
    return array_shift_left(array, None if count is None else -count, default)


def array_split(array: Any, indices: Any) -> Any:
    """``array`` cut before each of ``indices``; negative ones count from its end."""
    if not isinstance(array, list):
        return None
    places = indices if isinstance(indices, list) else [indices]
    if not all(is_whole(place) for place in places):
        return None
    bounds = [place + len(array) if place < 0 else place for place in places]
    if bounds != sorted(bounds) or any(bound < 0 for bound in bounds):
        raise refused("array_split() at indices that do not ascend or lie before the array")
    edges = [0, *bounds, len(array)]
    return [array[low:high] for low, high in itertools.pairwise(edges)]


def array_index_of(
    array: Any,
    value: Any,
    start: int | None = None,
    length: int | None = None,
    occurrence: int | None = None,
) -> int | None:
    """The index of ``value`` from ``start`` on within ``length`` values; -1 if it is not there."""
    if not isinstance(array, list):
        return -1
    first = 0 if start is None else start
    most = -1 if length is None else length
    wanted = 1 if occurrence is None else occurrence
    if wanted < 0 or most < -1:
        return None
    if wanted == 0:
        raise refused("array_index_of() with an occurrence of 0")
    if first < 0:
        first = max(len(array) + first, 0)
    stop = len(array) if most == -1 else min(len(array), first + most)
    if wanted > 1 and most != -1:
        raise refused("array_index_of() with a length and an occurrence")
    looked_for = key(value)
    for index in range(first, stop):
        if key(array[index]) == looked_for:
            wanted -= 1
            if wanted == 0:
                return index
    return -1


def array_sort_asc(array: Any, nulls_last: bool | None = None) -> Any:
    """``array`` in order: numbers, then strings; nulls at the end, or at the start."""
    return _sorted(array, nulls_last, descending=False)


def array_sort_desc(array: Any, nulls_last: bool | None = None) -> Any:
    """``array`` in descending order, nulls at the end, or at the start."""
    return _sorted(array, nulls_last, descending=True)


def _sorted(array: Any, nulls_last: bool | None, *, descending: bool) -> Any:
    if not isinstance(array, list):
        return None
    nulls = [one for one in array if one is None]
    numbers = [one for one in array if is_number(one)]
    strings = [one for one in array if isinstance(one, str)]
    if len(nulls) + len(numbers) + len(strings) < len(array) or (numbers and strings):
        raise refused("sorting an array of values that are not all numbers, or all strings")
    if strings and any(map(_SPAN.fullmatch, strings)) and len(set(map(len, strings))) > 1:
        raise refused("sorting an array of timespans")
    known = sorted(numbers or strings, reverse=descending)
    return nulls + known if nulls_last is False else known + nulls


def repeat(value: Any, count: int | None) -> Any:
    """``count`` times ``value``; null if ``count`` is negative."""
    if count is None or count < 0:
        return None
    if count > MOST_REPEATS:
        raise refused(f"repeat() of more than {MOST_REPEATS} values")
    require_room(value, count)
    return [value] * count


def _distinct(values: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for value in values:
        found.setdefault(key(value), value)
    return found


def _all_arrays(sets: list[Any]) -> bool:
    return all(isinstance(one, list) for one in sets)


def set_union(sets: list[Any]) -> Any:
    """Every value of any of the arrays once, in the order they come."""
    if not _all_arrays(sets):
        return None
    return list(_distinct([value for one in sets for value in one]).values())


def set_intersect(sets: list[Any]) -> Any:
    """Every value that is in all arrays once, in the order of the first."""
    if not _all_arrays(sets):
        return None
    first, *others = map(_distinct, sets)
    return [value for name, value in first.items() if all(name in other for other in others)]


def set_difference(sets: list[Any]) -> Any:
    """Every value of the first array that is in no other, once."""
    if not _all_arrays(sets):
        return None
    first, *others = map(_distinct, sets)
    return [value for name, value in first.items() if not any(name in o for o in others)]


def set_equals(one: Any, other: Any) -> bool | None:
    """Whether two arrays have the same values, whatever their order and number."""
    if not _all_arrays([one, other]):
        return None
    return _distinct(one).keys() == _distinct(other).keys()


def jaccard_index(one: Any, other: Any) -> Any:
    """How many values of two arrays are in both, of those in any."""
    if not _all_arrays([one, other]):
        return None
    first, second = _distinct(one).keys(), _distinct(other).keys()
    if not first | second:
        raise refused("jaccard_index() of two empty arrays")
    return len(first & second) / len(first | second)


NATIVES: Final = (
    Native("array_iff", array_iff, "daa", "dynamic", 3),
    Native("array_iif", array_iff, "daa", "dynamic", 3),
    Native("array_rotate_left", array_rotate_left, "dl", "dynamic", 2),
    Native("array_rotate_right", array_rotate_right, "dl", "dynamic", 2),
    Native("array_shift_left", array_shift_left, "dla", "dynamic", 2),
    Native("array_shift_right", array_shift_right, "dla", "dynamic", 2),
    Native("array_split", array_split, "da", "dynamic", 2),
    Native("array_index_of", array_index_of, "dalll", "long", 2),
    Native("array_sort_asc", array_sort_asc, "db", "dynamic", 1),
    Native("array_sort_desc", array_sort_desc, "db", "dynamic", 1),
    Native("repeat", repeat, "al", "dynamic", 2),
    Native("set_union", set_union, "d+", "dynamic", 2),
    Native("set_intersect", set_intersect, "d+", "dynamic", 2),
    Native("set_difference", set_difference, "d+", "dynamic", 2),
    Native("set_equals", set_equals, "dd", "bool", 2),
    Native("jaccard_index", jaccard_index, "dd", "dynamic", 2),
)
