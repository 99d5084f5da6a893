"""Transformations of a mapping, and values of binary formats as the text a converter takes. Pure.

``mappings.md``, "Mapping transformations". A transformation works on text: the field of a delimited
format, or a JSON value as written.
"""

from __future__ import annotations

import base64
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec

from cluster.catalog.model import ScalarType
from cluster.ingest.mappings import Transform
from cluster.ingest.text import BLANKS, DATETIME_FIRST_US, DATETIME_LAST_US

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cluster.ingest.mappings import Path

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS_PER_SECOND: Final = {
    Transform.UNIX_SECONDS: 1,
    Transform.UNIX_MILLISECONDS: 1_000,
    Transform.UNIX_MICROSECONDS: 1_000_000,
    Transform.UNIX_NANOSECONDS: 1_000_000_000,
}
_NUMBER_CHARACTERS: Final = 40
_bags: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_bag: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def is_unix(transform: Transform | None) -> bool:
    """Whether it makes a moment of a number."""
    return transform in _UNITS_PER_SECOND


def unix_converter(
    transform: Transform, kind: ScalarType, convert: Callable[[str], Any]
) -> Callable[[str], Any]:
    """The converter of a column whose field counts units since 1970; fractions are taken.

    What a ``datetime`` column does not hold is given to ``convert`` as ISO 8601 text.
    """
    factor = Decimal(1_000_000) / _UNITS_PER_SECOND[transform]

    def to_moment(text: str) -> Any:
        text = text.strip(BLANKS)
        try:
            moment = math.floor(Decimal(text) * factor) if len(text) <= _NUMBER_CHARACTERS else None
        except (InvalidOperation, ValueError, OverflowError):
            moment = None
        if moment is None:
            raise ValueError("is not a number of units since 1970")
        if not DATETIME_FIRST_US <= moment <= DATETIME_LAST_US:
            raise ValueError("is outside the years 1 to 9999")
        if kind is ScalarType.DATETIME:
            return moment
        return convert(_moment_text(_EPOCH + timedelta(microseconds=moment)))

    return to_moment


def bag_array_to_dictionary(text: str) -> str:
    """``[{"a": 1}, {"b": 2}]`` becomes ``{"a":1,"b":2}``; the last of two equal names counts."""
    try:
        bags = _bags.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("is not an array of property bags") from None
    merged: dict[str, msgspec.Raw] = {}
    for bag in bags:
        merged.update(bag)
    return msgspec.json.encode(merged).decode()


def drop_fields(text: str, paths: Collection[Path]) -> str:
    """The object without the fields that ``paths``, which start in it, lead to."""
    try:
        return msgspec.json.encode(_without(msgspec.Raw(text.encode()), paths)).decode()
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("is not an object") from None


def _without(raw: msgspec.Raw, paths: Collection[Path]) -> Any:
    if bytes(raw).lstrip()[:1] != b"{":
        return raw
    bag: dict[str, Any] = _bag.decode(raw)
    for name in {path[0] for path in paths if path}:
        if name not in bag or not isinstance(name, str):
            continue
        deeper = [path[1:] for path in paths if path and path[0] == name]
        if () in deeper:
            del bag[name]
        else:
            bag[name] = _without(bag[name], deeper)
    return bag


def to_base64(value: Any) -> str | None:
    """The bytes as base64; None if the value is not bytes (``avro-mapping.md``)."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else None


def text_of(value: Any) -> str:
    """A value of Avro, Parquet or ORC as text that the converters and JSON take.

    Bytes that are not UTF-8 are taken as Latin-1, as Avro's own JSON encoding does.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return _bytes_text(value)
    if isinstance(value, datetime):
        return _moment_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _span_text(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, list | tuple | dict):
        return json_of(value)
    return str(value)


def json_of(value: Any) -> str:
    """A value of Avro, Parquet or ORC as JSON text. Raises ValueError if there is none."""
    try:
        return msgspec.json.encode(_plain(value)).decode()
    except (TypeError, RecursionError) as error:
        raise ValueError(f"has no JSON form: {error}") from None


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        # JSON has no infinity.
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {text_of(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return msgspec.Raw(format(value, "f").encode()) if value.is_finite() else str(value)
    if isinstance(value, UUID):
        return str(value)
    return text_of(value)


def _bytes_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _moment_text(value: datetime) -> str:
    moment = value.astimezone(UTC) if value.tzinfo is not None else value
    return moment.replace(tzinfo=None).isoformat() + "Z"


def _span_text(value: timedelta) -> str:
    total = value // timedelta(microseconds=1)
    seconds, micros = divmod(abs(total), 1_000_000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    sign = "-" if total < 0 else ""
    return f"{sign}{days}.{hour:02}:{minute:02}:{second:02}.{micros:06}"
