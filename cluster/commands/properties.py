"""The ``with (name = value, ...)`` of commands, checked against what a command takes. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cluster.commands.literals import read_datetime
from cluster.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.commands.context import Context

DESCRIPTION: Final[Mapping[str, type]] = {"docstring": str, "folder": str}
"""Properties of a table."""

CREATION: Final[Mapping[str, type]] = {**DESCRIPTION, "hidden": bool}
"""Properties of a new table. Connectors hide their temporary tables; nothing is hidden here."""

_KINDS: Final[Mapping[type, str]] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    datetime: "a datetime",
}


def read_properties(context: Context, allowed: Mapping[str, type]) -> Mapping[str, Any]:
    """The properties given, under the names of ``allowed``, which are found in any case.

    A value may be quoted: ``'true'`` is a bool too. Raises InvalidRequestError for a property that
    is not allowed, is given twice or has a value of another type.
    """
    given: tuple[tuple[str, Any], ...] = context.values.get("properties", ())
    known = {name.lower(): name for name in allowed}
    properties: dict[str, Any] = {}
    for written, value in given:
        name = known.get(written.lower())
        if name is None:
            takes = f"it takes {', '.join(sorted(allowed))}" if allowed else "it takes none"
            raise InvalidRequestError(
                f"'{written}' is not a property of this command; {takes}.",
                metadata={"property": written},
            )
        if name in properties:
            raise InvalidRequestError(
                f"Property '{name}' is given twice.", metadata={"property": name}
            )
        properties[name] = _checked(name, value, allowed[name])
    return properties


def _checked(name: str, value: Any, kind: type) -> Any:
    if kind is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind is datetime and isinstance(value, str):
        value = read_datetime(value)
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise InvalidRequestError(
        f"Property '{name}' must be {_KINDS[kind]}.", metadata={"property": name}
    )
