"""Kusto values as text and as JSON, in the forms of Kusto's REST responses. Pure.

Values are what pyarrow's ``to_pylist`` gives for the types of
:mod:`cluster.catalog.arrow_types`; types are Kusto names.
"""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any


def to_text(kind: str, value: Any) -> str:
    """Text for people and CSV. Null is empty."""
    if value is None:
        return ""
    if kind == "bool":
        return "true" if value else "false"
    shown = _special(kind, value)
    return str(value if shown is None else shown)


def to_json(kind: str, value: Any) -> Any:
    """A value for ``json.dumps``. Not-a-number and the infinities are text, as in Kusto."""
    if value is None:
        return None
    if kind == "dynamic":
        try:
            return json.loads(value, parse_constant=str)
        except ValueError:  # a dynamic that holds plain text
            return value
    shown = _special(kind, value)
    return value if shown is None else shown


def _special(kind: str, value: Any) -> str | None:
    if kind == "datetime" and isinstance(value, datetime):
        aware = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        return aware.isoformat(timespec="microseconds") + "Z"
    if kind == "timespan" and isinstance(value, timedelta):
        return _timespan(value)
    if kind == "guid" and isinstance(value, bytes):
        return str(uuid.UUID(bytes=value))
    if kind == "decimal":
        return _decimal(value)
    if kind == "real" and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return None


def _timespan(value: timedelta) -> str:
    """``[-][d.]hh:mm:ss[.fffffff]``, in ticks of 100 ns."""
    sign, value = ("-", -value) if value < timedelta(0) else ("", value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days = f"{value.days}." if value.days else ""
    ticks = f".{value.microseconds * 10:07}" if value.microseconds else ""
    return f"{sign}{days}{hours:02}:{minutes:02}:{seconds:02}{ticks}"


def _decimal(value: Any) -> str:
    """Without the zeros that only the stored scale adds."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
