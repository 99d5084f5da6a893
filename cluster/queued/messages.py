"""Messages of queued ingestion, in the dialects of all SDKs. Pure.

A message is JSON, in base64 or not. SDKs differ (``wire-contract.md`` 4.5): levels and methods of
reporting are numbers or words, lists are lists or JSON in a string, names are in any case, mappings
are named in one property or in one for each kind.
"""

from __future__ import annotations

import base64
import binascii
import enum
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from cluster.batch.properties import IngestionProperties, parse_properties
from cluster.errors import CorruptedMessageError, IngestionContextError
from cluster.ingest.request import data_format

if TYPE_CHECKING:
    from collections.abc import Mapping


class ReportLevel(enum.Enum):
    """Which outcomes the client wants to hear of. The value is the number in messages."""

    FAILURES_ONLY = 0
    NONE = 1
    FAILURES_AND_SUCCESSES = 2


class ReportMethod(enum.Enum):
    """Where it wants to hear of them. The value is the number in messages."""

    QUEUE = 0
    TABLE = 1
    QUEUE_AND_TABLE = 2


_LEVELS: Final = {
    "0": ReportLevel.FAILURES_ONLY,
    "failuresonly": ReportLevel.FAILURES_ONLY,
    "1": ReportLevel.NONE,
    "none": ReportLevel.NONE,
    "donotreport": ReportLevel.NONE,
    "2": ReportLevel.FAILURES_AND_SUCCESSES,
    "all": ReportLevel.FAILURES_AND_SUCCESSES,
    "failuresandsuccesses": ReportLevel.FAILURES_AND_SUCCESSES,
}
_METHODS: Final = {
    "0": ReportMethod.QUEUE,
    "queue": ReportMethod.QUEUE,
    "1": ReportMethod.TABLE,
    "table": ReportMethod.TABLE,
    "2": ReportMethod.QUEUE_AND_TABLE,
    "queueandtable": ReportMethod.QUEUE_AND_TABLE,
}

_TAKEN: Final = {
    name.casefold(): name
    for name in (
        "format", "ingestionMapping", "ingestionMappingReference", "creationTime", "tags",
        "ingestIfNotExists", "ignoreFirstRecord", "TreatGzAsUncompressed", "policy_ingestiontime",
        "validationPolicy",
    )
}  # fmt: skip
_REFUSED: Final = frozenset({"zippattern"})
"""Properties that would change what is stored and that are not there. All others are ignored."""

_NO_CREATION_TIME: Final = ("creationtime", "0001-01-01T00:00:00Z")
"""Go sends its zero time where none was given."""

_LISTS: Final = frozenset({"tags", "ingestIfNotExists"})
_REFERENCES: Final = frozenset(
    f"{kind}mappingreference" for kind in ("csv", "json", "avro", "parquet", "orc", "w3clogfile")
)
_COMPRESSIONS: Final = frozenset({".gz", ".zip"})


@dataclass(frozen=True, slots=True)
class StatusRow:
    """The row of the status table that the client has made and that is to tell the outcome."""

    partition: str
    row: str


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """One blob to ingest. ``address`` may hold credentials, ``shown`` does not.

    ``source_id`` is the client's name of the blob, possibly empty. ``raw_bytes`` is its size
    uncompressed as far as the client knows, 0 if it does not. ``identity`` is the token of
    ``.get kusto identity token``, empty if there is none. ``operation_id`` is that of the preview
    REST interface. ``properties`` are the additional ones as sent.
    """

    database: str
    table: str
    address: str = field(repr=False)
    source_id: str = ""
    raw_bytes: int = 0
    is_flush: bool = False
    is_retained: bool = True
    level: ReportLevel = ReportLevel.FAILURES_ONLY
    method: ReportMethod = ReportMethod.QUEUE
    status_row: StatusRow | None = None
    identity: str = field(default="", repr=False)
    operation_id: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def shown(self) -> str:
        """The address as it may be printed."""
        return self.address.partition("?")[0].partition(";")[0]

    @property
    def is_compressed(self) -> bool:
        """By the blob's name."""
        return PurePosixPath(self.shown).suffix.lower() in _COMPRESSIONS

    @property
    def wants_queue(self) -> bool:
        """Whether outcomes go to the status queues."""
        return self.method is not ReportMethod.TABLE


def decode_message(text: str) -> QueuedMessage:
    """Reads the text of a queue message.

    Raises CorruptedMessageError: it is not one, or names no database, table or blob. What it
    returns can be written to any file, and its address be taken apart.
    """
    body = _lowered(_json_of(text))
    extra = _mapping(body.get("additionalproperties"), "AdditionalProperties")
    status = _lowered(_mapping(body.get("ingestionstatusintable"), "IngestionStatusInTable"))
    partition, row = _text(status, "partitionkey"), _text(status, "rowkey")
    named = {name: _text(body, name.casefold()) for name in ("BlobPath", "DatabaseName")}
    # A message without a table is routed by the data connection it comes from; none is here.
    named["TableName"] = _text(body, "tablename")
    for name, value in named.items():
        if not value:
            raise CorruptedMessageError(f"The message has no '{name}'.", metadata={"name": name})
    try:
        urlsplit(named["BlobPath"])
    except ValueError:
        raise CorruptedMessageError("'BlobPath' of the message is not an address.") from None
    return QueuedMessage(
        database=named["DatabaseName"],
        table=named["TableName"],
        address=named["BlobPath"],
        source_id=_text(body, "id"),
        raw_bytes=_size(body),
        is_flush=_flag(body, "flushimmediately", default=False),
        is_retained=_flag(body, "retainblobonsuccess", default=True),
        level=_LEVELS.get(_word(body, "reportlevel"), ReportLevel.FAILURES_ONLY),
        method=_METHODS.get(_word(body, "reportmethod"), ReportMethod.QUEUE),
        status_row=StatusRow(partition, row) if partition and row else None,
        identity=_text(_lowered(extra), "authorizationcontext"),
        operation_id=_text(body, "remoraoperationid"),
        properties={n: v for n, v in extra.items() if n.casefold() != "authorizationcontext"},
    )


def ingestion_properties(message: QueuedMessage) -> IngestionProperties:
    """What the message asks for. Without a format, the extension of the blob's name tells it.

    Raises IngestionPropertyError, DuplicateMappingError, IngestionContextError.
    """
    given: dict[str, object] = {}
    for name, value in message.properties.items():
        folded = name.casefold()
        if value is None or value == "" or (folded, value) == _NO_CREATION_TIME:
            continue
        if folded in _REFUSED:
            raise IngestionContextError(
                f"Property '{name}' is not supported by Remora.", metadata={"property": name}
            )
        if folded in _REFERENCES:
            given["ingestionMappingReference"] = value
        elif taken := _TAKEN.get(folded):
            given[taken] = _spelled(taken, value)
    given.setdefault("format", _format_of(message))
    return parse_properties(given.items())


def _spelled(name: str, value: object) -> object:
    """A value as commands have it: lists and mappings are JSON."""
    if name in _LISTS and isinstance(value, str) and not value.lstrip().startswith("["):
        return json.dumps([value])
    if isinstance(value, (list, dict)):
        return json.dumps(value)
    return value


def _format_of(message: QueuedMessage) -> str:
    suffixes = PurePosixPath(unquote(urlsplit(message.shown).path)).suffixes
    while suffixes and suffixes[-1].lower() in _COMPRESSIONS:
        suffixes.pop()
    name = suffixes[-1][1:] if suffixes else ""
    found = data_format(name)
    return found.value if found is not None else "csv"


def _json_of(text: str) -> Mapping[str, Any]:
    stripped = text.strip()
    if not stripped.startswith("{"):
        try:
            stripped = base64.b64decode(stripped, validate=True).decode()
        except (binascii.Error, ValueError):
            raise CorruptedMessageError("The message is neither JSON nor base64.") from None
    try:
        body = json.loads(stripped)
        # JSON can spell halves of characters, which no file and no table takes.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise CorruptedMessageError("The message is not JSON.") from None
    if not isinstance(body, dict):
        raise CorruptedMessageError("The message is not a JSON object.")
    return body


def _lowered(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name.casefold(): value for name, value in body.items()}


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise CorruptedMessageError(f"'{name}' of the message is not an object.")
    return value


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CorruptedMessageError(f"'{name}' of the message is not a string.")
    return value


def _word(body: Mapping[str, Any], name: str) -> str:
    return str(body.get(name, "")).casefold()


def _flag(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = body.get(name)
    return default if value is None else str(value).casefold() == "true"


def _size(body: Mapping[str, Any]) -> int:
    try:
        return max(0, int(body.get("rawdatasize") or 0))
    except (TypeError, ValueError, OverflowError):
        raise CorruptedMessageError("'RawDataSize' of the message is not a number.") from None
