"""Values of ``declare query_parameters`` as KQL literals. Pure.

A parameter becomes a ``let`` in front of the query. Its value is never text of the caller: it is
read by its declared type here and written anew, so nothing in it can be anything but a value.

SDKs send a value as it is (Python, Node), as JSON (Java) or as a KQL literal in a string (Go): all
of these are read. A string that is a whole KQL string literal stands for what it says, any other
string for itself.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from typing import TYPE_CHECKING, Final

from cluster.errors import SemanticError
from cluster.query.lexical import encoded, literal_string

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.query.statements import Declared

_ALIASES: Final = {
    "boolean": "bool", "int64": "long", "double": "real", "date": "datetime", "time": "timespan",
    "uuid": "guid", "uniqueid": "guid",
}  # fmt: skip
_TYPES: Final = frozenset(
    ["bool", "int", "long", "real", "decimal", "string", "datetime", "timespan", "guid", "dynamic"]
)
_WRAPPED: Final = re.compile(r"(\w+)\s*\((.*)\)\s*", re.DOTALL)
_WHOLE: Final = re.compile(r"[+-]?\d{1,20}")
_REAL: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_TIMESPAN: Final = re.compile(
    r"-?(?:\d+\.)?\d{1,2}:\d{1,2}(?::\d{1,2}(?:\.\d{1,7})?)?"
    r"|-?\d+(?:\.\d+)?\s*(?:d|h|m|s|ms|microsecond|tick|day|hour|minute|second|millisecond)s?"
)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_]\w*")


def lets_of(declared: Sequence[Declared], given: Mapping[str, object]) -> str:
    """``let`` statements for the parameters of a text, in one line.

    Values for parameters that are not declared are ignored. Raises SemanticError for a parameter
    without a value, of a type that is not scalar, or with a value that is not of its type.
    """
    lets = []
    for parameter in declared:
        kind = _ALIASES.get(parameter.type, parameter.type)
        if kind not in _TYPES:
            raise SemanticError(
                f"Semantic error: query parameter '{parameter.name}': unknown type '{kind}'."
            )
        value = given.get(parameter.name)
        if value is None:
            if parameter.default is None:
                raise SemanticError(
                    f"Semantic error: SEM0039: query parameter '{parameter.name}' has no value.",
                    remedy="Send it with the request, or declare a default.",
                    metadata={"name": parameter.name},
                )
            value = parameter.default
        literal = _literal(kind, value)
        if literal is None:
            raise SemanticError(
                f"Semantic error: query parameter '{parameter.name}' is declared {kind}: "
                f"{str(value)[:80]!r} is not one.",
                metadata={"name": parameter.name},
            )
        name = parameter.name
        spelled = name if _PLAIN_NAME.fullmatch(name) else f"[{encoded(name)}]"
        lets.append(f"let {spelled} = {literal}; ")
    return "".join(lets)


def _literal(kind: str, value: object) -> str | None:
    """``value`` as a KQL literal of type ``kind``; None if it is not of that type."""
    if kind == "string":
        if not isinstance(value, str):
            return encoded(str(value)) if isinstance(value, int | float) else None
        known = literal_string(value)
        return encoded(value if known is None else known)
    if kind == "dynamic":
        return _dynamic(value)
    if isinstance(value, bool):
        return f"bool({str(value).lower()})" if kind == "bool" else None
    text = str(value).strip()
    wrapped = _WRAPPED.fullmatch(text)
    if wrapped is not None:
        named = _ALIASES.get(wrapped[1].lower(), wrapped[1].lower())
        if named != kind and (named, kind) not in (("int", "long"), ("long", "int")):
            return None
        text = wrapped[2].strip()
    quoted = literal_string(text)
    text = text if quoted is None else quoted.strip()
    if text == "null":
        return f"{kind}(null)"
    return _scalar(kind, text)


def _scalar(kind: str, text: str) -> str | None:
    if kind == "bool":
        known = {"true": "true", "false": "false", "1": "true", "0": "false"}.get(text.lower())
        return None if known is None else f"bool({known})"
    if kind in ("int", "long"):
        bits = 31 if kind == "int" else 63
        if _WHOLE.fullmatch(text) is None or not -(2**bits) <= int(text) < 2**bits:
            return None
        return f"{kind}({int(text)})"
    if kind in ("real", "decimal"):
        if kind == "real" and text.lower() in ("nan", "+inf", "-inf"):
            return f"real({text.lower()})"
        return f"{kind}({text.lstrip('+')})" if _REAL.fullmatch(text) else None
    if kind == "timespan":
        return f"timespan({text})" if _TIMESPAN.fullmatch(text) else None
    try:
        if kind == "guid":
            return f"guid({uuid.UUID(text)})"
        moment = dt.datetime.fromisoformat(re.sub(r"(\.\d{6})0\b", r"\1", text))
    except ValueError:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return f"datetime({moment.isoformat()})"


def _dynamic(value: object) -> str | None:
    if isinstance(value, str):
        text = value.strip()
        wrapped = _WRAPPED.fullmatch(text)
        if wrapped is not None and wrapped[1].lower() == "dynamic":
            text = wrapped[2]
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
    return f"dynamic({json.dumps(value)})"
