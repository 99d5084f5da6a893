"""Which Avro schemas are read: those whose data can be measured before it is. Pure.

A reader follows a schema wherever it leads, so one that refers to itself is as deep as its data
says, and elements that take no bytes are as many as their count says. Both are refused.
"""

from __future__ import annotations

import json
from typing import Any, Final

from cluster.ingest.refusals import shorten

_PRIMITIVES: Final = {
    "null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1,
}  # fmt: skip
_NAMED: Final = frozenset({"record", "error", "fixed", "enum"})
_OPEN: Final = -1
"""The size of a type while it is being read: whoever asks for it now is inside of it."""


def least_record_bytes(text: bytes, depth_limit: int) -> int:
    """The fewest bytes a record takes, at least 1.

    Raises ValueError for what is no schema or is refused; the message says why.
    """
    try:
        least = _Sizes().least(json.loads(text), depth_limit)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"it is not complete: {error}") from None
    if least < 1:
        raise ValueError("its records take no bytes")
    return least


class _Sizes:
    """The least size of each named type, by its name without namespace."""

    def __init__(self) -> None:
        self._named: dict[str, int] = {}

    def least(self, schema: Any, depth: int) -> int:
        """The fewest bytes a value of the schema takes."""
        if depth <= 0:
            raise ValueError("it is nested too deeply")
        if isinstance(schema, str):
            return self._of_name(schema)
        if isinstance(schema, list):
            for branch in schema:
                self.least(branch, depth - 1)
            return 1
        kind = schema["type"]
        if not isinstance(kind, str):
            return self.least(kind, depth - 1)
        if kind in _NAMED:
            return self._of_definition(kind, schema, depth)
        if kind == "array":
            if self.least(schema["items"], depth - 1) < 1:
                raise ValueError("elements of an array take no bytes")
            return 1
        if kind == "map":
            self.least(schema["values"], depth - 1)
            return 1
        return self.least(kind, depth - 1)

    def _of_name(self, name: str) -> int:
        if name in _PRIMITIVES:
            return _PRIMITIVES[name]
        size = self._named.get(name.rpartition(".")[2])
        if size is None:
            raise ValueError(f"type {shorten(name)} is not known")
        if size == _OPEN:
            raise ValueError(f"type {shorten(name)} is part of itself")
        return size

    def _of_definition(self, kind: str, schema: Any, depth: int) -> int:
        name = schema["name"].rpartition(".")[2]
        if name in self._named:
            raise ValueError(f"two types are named {shorten(name)}")
        self._named[name] = _OPEN
        size = 1
        if kind in {"record", "error"}:
            size = sum(self.least(field["type"], depth - 1) for field in schema["fields"])
        elif kind == "fixed":
            size = int(schema["size"])
            if size < 0:
                raise ValueError("a fixed type has a size below zero")
        self._named[name] = size
        return size
