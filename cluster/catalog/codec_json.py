"""Canonical JSON, and strict reading of its values. Pure.

Every function that reads raises ProtocolError for a value of the wrong type or out of its domain.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from cluster.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

T = TypeVar("T")

MAXIMUM_NUMBER: Final = 2**63 - 1

_REQUIRED: Final = object()


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)


def dump(value: object) -> bytes:
    """Canonical bytes: UTF-8, keys sorted, no spaces."""
    return _ENCODER.encode(value).encode("utf-8")


def join_array(items: Iterable[bytes]) -> bytes:
    """An array of values that are bytes already.

    A large value is put together from small ones, because the encoder lets no other thread run
    while it is at one: a tree of 10,000 extents in one call would stop the node for 60 ms.
    """
    return b"[" + b",".join(items) + b"]"


def join_object(fields: Mapping[str, bytes]) -> bytes:
    """An object of values that are bytes already; the names are plain words."""
    items = (b'"' + name.encode() + b'":' + fields[name] for name in sorted(fields))
    return b"{" + b",".join(items) + b"}"


def load(data: bytes) -> Any:
    """The value of JSON bytes, in any spelling; a repeated key and NaN are refused."""
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except ValueError as error:
        raise ProtocolError(f"Metadata is not JSON: {error}.") from None
    except RecursionError:
        raise ProtocolError("Metadata is nested too deeply.") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is repeated")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


class Fields:
    """Takes the fields of one JSON object by name and type; what is left over is an error.

    A field of an older format may be missing where a default is given.
    """

    __slots__ = ("_fields", "_what")

    def __init__(self, value: object, what: str) -> None:
        if not isinstance(value, dict):
            raise ProtocolError(f"Metadata of a {what} is not an object.")
        self._fields = dict(value)
        self._what = what

    def has(self, name: str) -> bool:
        """True if the field is there and not taken."""
        return name in self._fields

    def take(self, name: str, default: object = _REQUIRED) -> Any:
        """The value of a field, of any type."""
        if name not in self._fields:
            if default is _REQUIRED:
                raise ProtocolError(f"Metadata of a {self._what} has no field '{name}'.")
            return default
        return self._fields.pop(name)

    def text(self, name: str, default: object = _REQUIRED) -> str:
        """A text field."""
        return text_of(self.take(name, default), f"field '{name}' of a {self._what}")

    def list_of(self, name: str) -> list[Any]:
        """An array field."""
        return list_of(self.take(name), f"field '{name}' of a {self._what}")

    def end(self) -> None:
        """Refuses fields that nobody took."""
        if self._fields:
            names = ", ".join(sorted(self._fields))
            raise ProtocolError(f"Metadata of a {self._what} has unknown fields: {names}.")


def text_of(value: object, what: str) -> str:
    """The text, which has a UTF-8 form."""
    if not isinstance(value, str):
        raise ProtocolError(f"Metadata has a {what} that is not text.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ProtocolError(f"Metadata has a {what} that is not Unicode.") from None
    return value


def list_of(value: object, what: str, length: int | None = None) -> list[Any]:
    """The array, of that length if one is given."""
    if not isinstance(value, list) or (length is not None and len(value) != length):
        raise ProtocolError(f"Metadata has a {what} that is not an array as it should be.")
    return value


def integer(value: object, what: str, minimum: int = 0, maximum: int = MAXIMUM_NUMBER) -> int:
    """The whole number within the bounds."""
    # bool is an int to Python, not to JSON.
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise ProtocolError(f"Metadata has a {what} out of range.")
    return value


def boolean(value: object, what: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ProtocolError(f"Metadata has a {what} that is not true or false.")
    return value
