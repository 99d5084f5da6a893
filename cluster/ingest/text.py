"""Text to value, one converter for each scalar type: the rules every other path must agree with.

A converter takes non-empty text and returns the value Arrow stores, or raises ValueError with a
reason that completes the sentence "'<text>' ...". Emptiness is decided before: it is null, or the
empty string in a ``string`` column. Spaces and tabs around a value are ignored except in
``string``. ``DESIGN.md`` has the table of the forms taken.

Whatever pyarrow's CSV reader takes for a type must be taken here with the same value: that is
what lets the fast path answer without asking (see :mod:`cluster.ingest.delimited`).
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cluster.catalog.model import ScalarType
from cluster.ingest.structure import is_deeper_than

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BLANKS: Final = " \t"
"""What is ignored around a value; the same two characters pyarrow ignores."""

EPOCH: Final = datetime(1970, 1, 1)
DATETIME_FIRST_US: Final = -62_135_596_800_000_000
"""0001-01-01 00:00:00, in microseconds since 1970."""

DATETIME_LAST_US: Final = 253_402_300_799_999_999
"""9999-12-31 23:59:59.999999, in microseconds since 1970."""

TIMESPAN_LARGEST_US: Final = (2**63 - 1) // 10
"""Kusto counts ticks of 100 ns in 64 bits: about 29,227 years either way."""

DECIMAL_SCALE: Final = 18
DECIMAL_DIGITS: Final = 38

_BOOLS: Final = {"true": True, "1": True, "false": False, "0": False}
_INTEGER: Final = re.compile(r"([+-]?)0*([0-9]+)")
_HEXADECIMAL: Final = re.compile(r"0[xX]([0-9a-fA-F]+)")
_REAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INFINITY: Final = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)
_NOT_A_NUMBER: Final = re.compile(r"[+-]?nan(?:\([0-9a-z_]*\))?", re.IGNORECASE)
_PLAIN_DECIMAL: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_DECIMAL: Final = re.compile(r"([+-]?)(?:([0-9]+)\.?([0-9]*)|\.([0-9]+))(?:[eE]([+-]?[0-9]{1,9}))?")
_DATETIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:([Tt ][0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)?)"
    r"([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_CLOCK: Final = re.compile(
    r"(-?)(?:([0-9]{1,9})\.)?([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{0,9}))?)?"
)
_UNITS: Final = re.compile(
    r"(-?)((?:[0-9]{1,20}(?:\.[0-9]{1,20})? ?(?:d|h|ms|microseconds?|m|s|ticks?) ?)+)"
)
_UNIT: Final = re.compile(r"([0-9.]+) ?([a-z]+)")
_GUID: Final = re.compile(
    r"(\{)?(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?(1)\})"
)
_TICKS_PER_UNIT: Final = {
    "d": 864_000_000_000,
    "h": 36_000_000_000,
    "m": 600_000_000,
    "s": 10_000_000,
    "ms": 10_000,
    "microsecond": 10,
    "microseconds": 10,
    "tick": 1,
    "ticks": 1,
}
_JSON_BLANKS: Final = " \t\r\n"
_json_value: Final = msgspec.json.Decoder(msgspec.Raw)


class NestingError(ValueError):
    """A JSON value is nested deeper than the limit."""


def to_bool(text: str) -> bool:
    """``true``, ``false`` in any case, ``1`` or ``0``."""
    value = _BOOLS.get(text.strip(BLANKS).lower())
    if value is None:
        raise ValueError("is not true, false, 1 or 0")
    return value


def to_int(text: str) -> int:
    """A whole number of 32 bits; ``0x`` and up to 8 digits give its bit pattern."""
    return _whole_number(text, 32)


def to_long(text: str) -> int:
    """A whole number of 64 bits; ``0x`` and up to 16 digits give its bit pattern."""
    return _whole_number(text, 64)


def _whole_number(text: str, bits: int) -> int:
    if len(text) < 10 and text.isascii() and text.isdigit():
        return int(text)
    text = text.strip(BLANKS)
    match = _INTEGER.fullmatch(text)
    if match is not None:
        sign, digits = match.groups()
        # A longer number is out of range whatever its digits are; int() of megabytes is slow.
        value = int(sign + digits) if len(digits) < 20 else 1 << 64
    else:
        match = _HEXADECIMAL.fullmatch(text)
        if match is None or len(match[1]) > bits // 4:
            raise ValueError("is not a whole number")
        value = int(match[1], 16)
        return value - (1 << bits) if value >> (bits - 1) else value
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise ValueError(f"does not fit in {bits} bits")
    return value


def to_real(text: str) -> float:
    """A number with or without exponent, ``NaN``, ``inf`` or ``infinity`` in any case.

    Rounded to the nearest IEEE 754 double, which is infinity beyond 1.8e308.
    """
    text = text.strip(BLANKS)
    if _REAL.fullmatch(text) is not None or _INFINITY.fullmatch(text) is not None:
        return float(text)
    if _NOT_A_NUMBER.fullmatch(text) is not None:
        return float("nan")
    raise ValueError("is not a number")


def to_decimal(text: str) -> Decimal:
    """A number of at most 20 digits before and 18 after the point; never rounded."""
    if len(text) <= DECIMAL_DIGITS - DECIMAL_SCALE and _PLAIN_DECIMAL.fullmatch(text) is not None:
        return Decimal(text)
    match = _DECIMAL.fullmatch(text.strip(BLANKS))
    if match is None:
        raise ValueError("is not a decimal number")
    sign, whole, fraction, bare_fraction, exponent = match.groups()
    fraction = bare_fraction or fraction or ""
    digits = ((whole or "") + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return Decimal(0)
    last_place = int(exponent or 0) - len(fraction) + len(digits) - len(significant)
    if last_place < -DECIMAL_SCALE:
        raise ValueError(f"has more than {DECIMAL_SCALE} digits after the point")
    if len(significant) + last_place > DECIMAL_DIGITS - DECIMAL_SCALE:
        raise ValueError(f"has more than {DECIMAL_DIGITS - DECIMAL_SCALE} digits before the point")
    return Decimal(f"{sign}{significant}e{last_place}")


def to_datetime(text: str) -> int:
    """Microseconds since 1970 UTC of an ISO 8601 moment; a seventh digit and more are cut off."""
    match = _DATETIME.fullmatch(text.strip(BLANKS))
    if match is None:
        raise ValueError("is not an ISO 8601 datetime")
    day, clock, zone = match.groups()
    try:
        elapsed = datetime.fromisoformat(day + (clock or "")) - EPOCH
    except ValueError as error:
        raise ValueError(f"is not a datetime: {error}") from None
    value = (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
    if zone is None or zone in "Zz":
        return value
    hours, minutes = int(zone[1:3]), int(zone[-2:]) if len(zone) > 3 else 0
    if hours > 23 or minutes > 59:
        raise ValueError("has an offset that does not exist")
    offset = (hours * 60 + minutes) * 60_000_000
    value += offset if zone[0] == "-" else -offset
    if not DATETIME_FIRST_US <= value <= DATETIME_LAST_US:
        raise ValueError("is outside the years 1 to 9999 in UTC")
    return value


def to_timespan(text: str) -> int:
    """Microseconds of ``[-][d.]hh:mm[:ss[.fffffff]]`` or ``1d 2h 3m 4s 5ms 6microsecond 7tick``.

    What is finer than a microsecond is cut off, towards zero.
    """
    text = text.strip(BLANKS)
    match = _CLOCK.fullmatch(text)
    if match is not None:
        sign, days, hours, minutes, seconds, fraction = match.groups()
        if int(hours) > 23 or int(minutes) > 59 or int(seconds or 0) > 59:
            raise ValueError("has hours over 23 or minutes or seconds over 59")
        whole = ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds or 0)
        magnitude = whole * 1_000_000 + int((fraction or "")[:6].ljust(6, "0"))
    else:
        match = _UNITS.fullmatch(text)
        if match is None:
            raise ValueError("is not a timespan")
        sign, parts = match.groups()
        ticks = sum(Fraction(n) * _TICKS_PER_UNIT[unit] for n, unit in _UNIT.findall(parts))
        magnitude = ticks.__floor__() // 10
    if magnitude > TIMESPAN_LARGEST_US:
        raise ValueError("is longer than a timespan can be")
    return -magnitude if sign else magnitude


def to_guid(text: str) -> bytes:
    """The 16 bytes in the order written; dashes and braces may be there or not."""
    text = text.strip(BLANKS)
    if _GUID.fullmatch(text) is None:
        raise ValueError("is not a guid")
    return bytes.fromhex(text.strip("{}").replace("-", ""))


def to_string(text: str) -> str:
    """The text itself."""
    return text


def is_plain_json(texts: Sequence[str], depth_limit: int) -> bool:
    """True if every text is JSON that :func:`dynamic_converter` would return as it is.

    A third of the cost of converting them one by one.
    """
    if max(map(len, texts)) > 2 * depth_limit or "null" in texts:
        return False
    decode = _json_value.decode
    try:
        for text in texts:
            decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return [text.strip(_JSON_BLANKS) for text in texts] == texts


def dynamic_converter(depth_limit: int) -> Callable[[str], str | None]:
    """The converter of ``dynamic``: JSON stays as written, other text becomes a JSON string.

    ``null`` is null. Raises NestingError beyond ``depth_limit``.
    """

    def to_dynamic(text: str) -> str | None:
        # The length is asked first because encoding costs more than most values need.
        if len(text) > 2 * depth_limit and is_deeper_than(text.encode(), depth_limit):
            raise NestingError(f"is nested deeper than the limit of {depth_limit}")
        try:
            _json_value.decode(text)
        except msgspec.DecodeError:
            return msgspec.json.encode(text).decode()
        except RecursionError:
            raise NestingError("is nested deeper than this process can read") from None
        value = text.strip(_JSON_BLANKS)
        return None if value == "null" else value

    return to_dynamic


def converters(depth_limit: int) -> dict[ScalarType, Callable[[str], Any]]:
    """One converter for each type."""
    return {
        ScalarType.BOOL: to_bool,
        ScalarType.DATETIME: to_datetime,
        ScalarType.DECIMAL: to_decimal,
        ScalarType.DYNAMIC: dynamic_converter(depth_limit),
        ScalarType.GUID: to_guid,
        ScalarType.INT: to_int,
        ScalarType.LONG: to_long,
        ScalarType.REAL: to_real,
        ScalarType.STRING: to_string,
        ScalarType.TIMESPAN: to_timespan,
    }
