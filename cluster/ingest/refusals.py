"""The words of refusals: which record, which column, which value, what is wrong with it.

Every function returns an error for the caller to raise. Record numbers count from 1 and do not
count empty lines. Values are cut at 60 characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.errors import (
    ClosingQuoteError,
    EmptyPayloadError,
    FieldCountError,
    InvalidCharacterError,
    MalformedPayloadError,
    MappingInconsistentError,
    PayloadTooLargeError,
)

if TYPE_CHECKING:
    from cluster.catalog.model import Column

VALUE_CHARACTERS: Final = 60


class DeclinedError(Exception):
    """A fast path does not answer: the payload is odd or wrong. Never leaves this package."""


def shorten(text: str) -> str:
    """The text quoted, cut with an ellipsis when it is long."""
    cut = text if len(text) <= VALUE_CHARACTERS else text[:VALUE_CHARACTERS] + "..."
    return repr(cut)


def empty_payload(database: str, table: str) -> EmptyPayloadError:
    """No record at all. The sentence is Kusto's own."""
    return EmptyPayloadError(
        f"Bad streaming ingestion request to {database}.{table} : The input stream is empty "
        "after processing, tip:check stream validity"
    )


def invalid_utf8(error: UnicodeDecodeError) -> InvalidCharacterError:
    """Bytes that are no text."""
    return InvalidCharacterError(
        f"the payload is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}",
        metadata={"offset": str(error.start)},
    )


def field_count(record: int, fields: int, columns: int) -> FieldCountError:
    """A record with too many or too few fields."""
    return FieldCountError(
        f"record {record} has {fields} field(s), the table has {columns} column(s)",
        metadata={"record": str(record), "fields": str(fields), "columns": str(columns)},
    )


def closing_quote(record: int) -> ClosingQuoteError:
    """A quoted field without an end."""
    return ClosingQuoteError(
        f"record {record} has a quoted field that is never closed",
        metadata={"record": str(record)},
    )


def text_after_quote(record: int) -> MalformedPayloadError:
    """A quoted field that goes on after its closing quote."""
    return MalformedPayloadError(
        f"record {record} has text after the closing quote of a field",
        remedy="Double a quote that belongs to the value.",
        metadata={"record": str(record)},
    )


def wrong_value(record: int, column: Column, value: str, reason: str) -> MalformedPayloadError:
    """A value that its column's type cannot hold. ``reason`` completes the sentence."""
    return MalformedPayloadError(
        f"record {record}, column '{column.name}' ({column.type.value}): {shorten(value)} {reason}",
        metadata={
            "record": str(record),
            "column": column.name,
            "type": column.type.value,
            "value": shorten(value),
        },
    )


def too_deep(what: str, depth_limit: int) -> MalformedPayloadError:
    """JSON nested over ``limits.json_depth``."""
    return MalformedPayloadError(
        f"{what} is nested deeper than json_depth, {depth_limit} arrays and objects",
        remedy="Nest the data less deeply, or send the inner part as a string.",
        metadata={"limit": "json_depth", "limit_value": str(depth_limit)},
    )


def value_too_large(record: int, column: Column, size: int, limit: int) -> PayloadTooLargeError:
    """A string or dynamic value over ``limits.string_value_bytes``."""
    return PayloadTooLargeError(
        f"record {record}, column '{column.name}' ({column.type.value}): the value has {size} "
        f"bytes, over string_value_bytes, {limit}",
        remedy="Split the value, or shorten it before sending.",
        metadata={
            "record": str(record),
            "column": column.name,
            "limit": "string_value_bytes",
            "limit_value": str(limit),
        },
    )


def not_json(detail: str, *, remedy: str | None = None) -> MalformedPayloadError:
    """Text that is not the JSON the format promises."""
    return MalformedPayloadError(
        f"the payload is not valid JSON of this format: {detail}", remedy=remedy
    )


def too_large(what: str, size: str, limit_name: str, limit: int) -> PayloadTooLargeError:
    """A payload over one of the limits in bytes."""
    return PayloadTooLargeError(
        f"{what} has {size} bytes, over {limit_name}, {limit}",
        metadata={"limit": limit_name, "limit_value": str(limit)},
    )


def wrong_constant(
    column: Column, value: str, reason: str, mapping: str
) -> MappingInconsistentError:
    """A constant of a mapping that its column cannot hold."""
    return MappingInconsistentError(
        f"mapping '{mapping}', column '{column.name}' ({column.type.value}): the constant "
        f"{shorten(value)} {reason}",
        metadata={"mapping": mapping, "column": column.name},
    )
