"""Values of policy properties: read strictly, written in the one form Kusto shows. Pure.

A reader takes a JSON value and gives its canonical one, or raises ``ValueError`` with what is
wrong in words that follow the property's name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

Reader = Callable[[Any], Any]

SECOND_US: Final = 1_000_000
HOUR_US: Final = 3600 * SECOND_US
DAY_US: Final = 24 * HOUR_US
MAXIMUM_TIMESPAN_US: Final = 10_675_199 * DAY_US
"""Kusto's longest timespan, in whole days."""

_TIMESPAN: Final = re.compile(r"(?:(\d{1,8})\.)?(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,7}))?)?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

REQUIRED: Final = object()
"""In the place of a default: the property must be given."""


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a policy object: how it is read, and its canonical value if not given."""

    name: str
    read: Reader
    default: object


def parse_json(text: str) -> Any:
    """The value; a property given twice, NaN and infinity are refused. Raises ValueError."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error}") from None


def canonical(value: object) -> str:
    """JSON text without spaces, properties in the order given."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_given(properties: Mapping[str, Property], value: object) -> dict[str, Any]:
    """The canonical values of the properties given, in the order of the table."""
    if not isinstance(value, dict):
        raise _wrong("it must be one JSON object")
    for name in value:
        if name not in properties:
            shown = ascii(name) if len(name) <= 64 else f"{name[:64]!a}..."
            raise ValueError(f"{shown} is not a property of it; it has {', '.join(properties)}")
    given = {}
    for name, item in properties.items():
        if name in value:
            try:
                given[name] = item.read(value[name])
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None
    return given


def filled(properties: Mapping[str, Property], given: Mapping[str, Any]) -> dict[str, Any]:
    """All properties: those given, and the defaults of the others."""
    values = {}
    for name, item in properties.items():
        if name not in given and item.default is REQUIRED:
            raise ValueError(f"the mandatory property {name} is missing")
        values[name] = given.get(name, item.default)
    return values


def read_object(properties: Mapping[str, Property]) -> Reader:
    """Reads an object with all its properties."""
    return lambda value: filled(properties, read_given(properties, value))


def read_list(item: Reader) -> Reader:
    """Reads an array."""

    def read(value: object) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong("must be a JSON array")
        return [item(each) for each in value]

    return read


def read_boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise _wrong("must be true or false")
    return value


def read_text(value: object) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be text that is not empty")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    return value


def read_anything(value: object) -> object:
    """Any value, as given."""
    return value


def or_null(read: Reader) -> Reader:
    """Also takes null."""
    return lambda value: None if value is None else read(value)


def whole(minimum: int, maximum: int) -> Reader:
    """A whole number within the bounds."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _wrong("must be a whole number")
        _check_range(value, minimum, maximum, str)
        return value

    return read


def ratio(minimum: float, maximum: float) -> Reader:
    """A finite number within the bounds."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong("must be a number")
        number = float(value) if abs(value) <= maximum else math.inf
        _check_range(number, minimum, maximum, str)
        return number

    return read


def timespan(minimum_us: int = 0, maximum_us: int = MAXIMUM_TIMESPAN_US) -> Reader:
    """A timespan within the bounds, ``[d.]hh:mm:ss[.fffffff]`` or a number of days as text."""

    def read(value: object) -> str:
        us = timespan_us(value)
        _check_range(us, minimum_us, maximum_us, timespan_text)
        return timespan_text(us)

    return read


def one_of(*names: str) -> Reader:
    """One of the names, in any case; an index is taken too, as older versions showed it."""

    def read(value: object) -> str:
        if isinstance(value, str):
            for name in names:
                if name.lower() == value.lower():
                    return name
        elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
            return names[value]
        raise ValueError(f"must be one of {', '.join(names)}")

    return read


def read_datetime(value: object) -> str:
    """A point in time in ISO 8601; UTC if it names no zone."""
    return datetime_text(datetime_us(value))


def timespan_us(value: object) -> int:
    """Microseconds of a timespan's text. Raises ValueError."""
    problem = f"must be a timespan like '7.00:00:00', not {value!r}"
    if not isinstance(value, str) or len(value) > 32:
        raise ValueError(problem)
    if value.isascii() and value.isdigit() and len(value) <= 8:
        return int(value) * DAY_US
    match = _TIMESPAN.fullmatch(value)
    if match is None or not value.isascii():
        raise ValueError(problem)
    days, hours, minutes, seconds, fraction = match.groups()
    if int(hours) > 23 or int(minutes) > 59 or int(seconds or 0) > 59:
        raise ValueError(problem)
    whole_seconds = (int(hours) * 60 + int(minutes)) * 60 + int(seconds or 0)
    microseconds = int((fraction or "").ljust(7, "0")) // 10
    return int(days or 0) * DAY_US + whole_seconds * SECOND_US + microseconds


def timespan_text(us: int) -> str:
    """``[d.]hh:mm:ss[.fffffff]``, as Kusto writes it."""
    days, rest = divmod(us, DAY_US)
    seconds, fraction = divmod(rest, SECOND_US)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if days:
        text = f"{days}.{text}"
    return f"{text}.{fraction * 10:07}" if fraction else text


def datetime_us(value: object) -> int:
    """Microseconds since 1970 UTC of an ISO 8601 text. Raises ValueError."""
    problem = f"must be a datetime like '2026-01-31T00:00:00Z', not {value!r}"
    if not isinstance(value, str) or len(value) > 64:
        raise ValueError(problem)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(problem) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def datetime_text(us: int) -> str:
    """ISO 8601 with ``Z``; a fraction only if there is one."""
    moment = _EPOCH + timedelta(microseconds=us)
    text = moment.replace(tzinfo=None, microsecond=0).isoformat()
    fraction = us % SECOND_US
    return f"{text}.{fraction * 10:07}Z" if fraction else f"{text}Z"


def _wrong(problem: str) -> ValueError:
    """Wrong data is no defect of the program, hence not a TypeError."""
    return ValueError(problem)


def _check_range(value: Any, minimum: Any, maximum: Any, text: Callable[[Any], str]) -> None:
    if value < minimum:
        raise ValueError(f"should be greater than or equal to {text(minimum)}")
    if value > maximum:
        raise ValueError(f"should be less than or equal to {text(maximum)}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a property is given twice")
    return fields


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is not a number")
