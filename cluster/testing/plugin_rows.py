"""Rows of Python values as payloads: CSV of sequences, JSON lines of mappings."""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable

Row: TypeAlias = Sequence[object] | Mapping[str, object]
Data: TypeAlias = bytes | str | Iterable[Row]
"""What can be ingested: a payload as it is, or rows; all of them sequences, or all mappings."""


def payload_of(data: Data, data_format: str | None) -> tuple[bytes, str]:
    """The payload and its format.

    Bytes and text go as they are, as ``data_format`` (default ``csv``). Of rows the format follows
    from their kind. Raises TypeError for what cannot be a row or a value, and for rows of which
    ``data_format`` says something else.
    """
    if isinstance(data, bytes):
        return data, data_format or "csv"
    if isinstance(data, str):
        return data.encode(), data_format or "csv"
    rows = list(data)
    made, payload = _payload_of_rows(rows)
    if data_format not in (None, made):
        raise TypeError(f"these rows are sent as {made}; give bytes to send {data_format}")
    return payload, made


def _payload_of_rows(rows: list[Row]) -> tuple[str, bytes]:
    if rows and all(isinstance(row, Mapping) for row in rows):
        lines = [json.dumps(row, default=_json_value) for row in rows]
        return "json", "".join(f"{line}\n" for line in lines).encode()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    for row in rows:
        if isinstance(row, str | bytes | Mapping) or not isinstance(row, Sequence):
            raise TypeError(f"rows are all sequences or all mappings; one is {type(row).__name__}")
        writer.writerow([_csv_value(value) for value in row])
    return "csv", text.getvalue().encode()


def _csv_value(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, default=_json_value)
    return _json_value(value)


def _json_value(value: object) -> str:
    """What JSON has no type for, as the text Kusto reads."""
    for kinds, write in _TEXTS.items():
        if isinstance(value, kinds):
            return write(value)
    raise TypeError(f"there is no Kusto value for a {type(value).__name__}")


def _time_text(value: datetime.datetime) -> str:
    """ISO 8601 in UTC; a time without a zone is taken to be UTC."""
    if value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return value.isoformat() + "Z"


def _span_text(value: datetime.timedelta) -> str:
    """``[-]d.hh:mm:ss.ffffff``."""
    sign, span = ("-", -value) if value < datetime.timedelta() else ("", value)
    hours, rest = divmod(span.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{sign}{span.days}.{hours:02}:{minutes:02}:{seconds:02}.{span.microseconds:06}"


_TEXTS: dict[type | tuple[type, ...], Callable[..., str]] = {
    datetime.datetime: _time_text,  # before date, of which it is one
    datetime.date: datetime.date.isoformat,
    datetime.timedelta: _span_text,
    (Decimal, UUID): str,
}
