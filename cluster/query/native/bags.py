"""Functions of property bags (``bag_*``, ``treepath``). Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from cluster.query.native.spec import Native, encoded, refused

_STEP: Final = re.compile(r"\.([A-Za-z_]\w*)|\[\s*'([^'\\]*)'\s*\]|\[\s*\"([^\"\\]*)\"\s*\]")


def _path(key: str, what: str) -> list[str]:
    """The names of a JSON path, or the key alone if it is none."""
    if not key.startswith("$"):
        return [key]
    names, position = [], 1
    while position < len(key):
        step = _STEP.match(key, position)
        if step is None:
            raise refused(f"{what} with the JSON path '{key}'")
        names.append(next(group for group in step.groups() if group is not None))
        position = step.end()
    if not names:
        raise refused(f"{what} with the JSON path '{key}'")
    return names


def bag_remove_keys(bag: Any, keys: Any) -> Any:
    """``bag`` without ``keys``, which may be JSON paths (bag-remove-keys-function.md)."""
    if not isinstance(bag, dict) or not isinstance(keys, list):
        return None
    for one in keys:
        if isinstance(one, str):
            *outer, last = _path(one, "bag_remove_keys()")
            place: Any = bag
            for name in outer:
                place = place.get(name) if isinstance(place, dict) else None
            if isinstance(place, dict):
                place.pop(last, None)
    return bag


def bag_has_key(bag: Any, key: str) -> bool:
    """Whether ``bag`` has ``key``, or what a JSON path names (bag-has-key-function.md)."""
    place = bag
    for name in _path(key, "bag_has_key()"):
        if not isinstance(place, dict) or name not in place:
            return False
        place = place[name]
    return True


def bag_set_key(bag: Any, key: str, value: Any) -> Any:
    """``bag`` with ``key``, or what a JSON path names, set (bag-set-key-function.md)."""
    if not isinstance(bag, dict):
        return None
    *outer, last = _path(key, "bag_set_key()")
    place = bag
    for name in outer:
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            raise refused("bag_set_key() of a path through a value that is no bag")
        place = inner
    place[last] = value
    return bag


def bag_zip(keys: Any, values: Any) -> Any:
    """A bag of an array of keys and one of values; keys that are no strings are left out."""
    if not isinstance(keys, list) or not isinstance(values, list):
        return None
    if not all(isinstance(one, str) for one in keys):
        raise refused("bag_zip() with keys that are no strings")
    given = [*values, *[None] * (len(keys) - len(values))]
    return dict(zip(keys, given, strict=False))


def without_empty(bag: dict[str, Any]) -> dict[str, Any]:
    """``bag`` without what is null or an empty string."""
    return {name: value for name, value in bag.items() if value is not None and value != ""}


def dcount_hll(state: Any) -> int:
    """How many values a state of ``hll()`` or ``hll_merge()`` has seen."""
    values = state.get("hll") if isinstance(state, dict) else None
    if not isinstance(values, list):
        raise refused("dcount_hll() of what hll() has not made")
    return len(values)


def dynamic_to_json(value: Any) -> str:
    """The canonical text of a dynamic: names in order (dynamic-to-json-function.md)."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return encoded(_sorted(value))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


NATIVES: Final = (
    Native("bag_has_key", bag_has_key, "ds", "bool", 2),
    Native("bag_remove_keys", bag_remove_keys, "dd", "dynamic", 2),
    Native("bag_set_key", bag_set_key, "dsa", "dynamic", 3),
    Native("bag_zip", bag_zip, "dd", "dynamic", 2),
    Native("$without_empty", without_empty, "d", "dynamic", 1),
    Native("dcount_hll", dcount_hll, "d", "long", 1),
    Native("dynamic_to_json", dynamic_to_json, "d", "string", 1),
)
