"""Requests to a storage account's services and what its answers say. Pure.

Answers in XML are taken apart with patterns: there is one small document, and no parser whose
entities could be abused.
"""

from __future__ import annotations

import base64
import html
import json
import re
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from xml.sax.saxutils import escape

from cluster.errors import ProtocolError
from cluster.queued.account.signatures import VERSION
from cluster.queued.addresses import StorageKind
from cluster.queued.values import Arrival

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.queued.values import Entity

_MESSAGE: Final = re.compile(r"<QueueMessage>(.*?)</QueueMessage>", re.DOTALL)
_FIELD: Final = re.compile(r"<(\w+)>([^<]*)</\1>")
_CODE: Final = re.compile(r"<Code>([^<]+)</Code>")
_CODE_LETTERS: Final = 64
_EXISTS: Final = frozenset({"ContainerAlreadyExists", "QueueAlreadyExists", "TableAlreadyExists"})
_JSON: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json;odata=nometadata",
    "DataServiceVersion": "3.0",
    "Prefer": "return-no-content",
}
_CONFLICT: Final = 409

MESSAGE_LETTERS: Final = 64 * 1024
"""The longest text of a message, in Base64 (Azure's own limit)."""

MESSAGES_MOST: Final = 32
"""So many messages one request takes (Azure's own limit)."""


@dataclass(frozen=True, slots=True)
class AccountRequest:
    """One request. ``path`` is below the service's endpoint, quoted; ``query`` is without SAS."""

    kind: StorageKind
    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class AccountAnswer:
    """A whole answer; names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Azure storage's code of an error; possibly empty."""
        if code := self.headers.get("x-ms-error-code", ""):
            return code[:_CODE_LETTERS]
        text = self.body.decode("utf-8", "replace")
        if found := _CODE.search(text):
            return found[1][:_CODE_LETTERS]
        try:
            return str(json.loads(text)["odata.error"]["code"])[:_CODE_LETTERS]
        except (ValueError, RecursionError, KeyError, TypeError):
            return ""

    @property
    def is_there_already(self) -> bool:
        """What was to be made exists."""
        return self.status == _CONFLICT and self.code in _EXISTS


def create(kind: StorageKind, name: str) -> AccountRequest:
    """Makes a container, queue or table."""
    if kind is StorageKind.BLOB:
        return AccountRequest(kind, "PUT", f"/{name}", "restype=container")
    if kind is StorageKind.QUEUE:
        return AccountRequest(kind, "PUT", f"/{name}")
    body = json.dumps({"TableName": name}).encode()
    return AccountRequest(kind, "POST", "/Tables", headers=_JSON, body=body)


def take(queue: str, count: int, hidden_seconds: int) -> AccountRequest:
    """Takes messages, which are hidden meanwhile."""
    query = f"numofmessages={min(count, MESSAGES_MOST)}&visibilitytimeout={hidden_seconds}"
    return AccountRequest(StorageKind.QUEUE, "GET", f"/{queue}/messages", query)


def hide(queue: str, message_id: str, receipt: str, hidden_seconds: int) -> AccountRequest:
    """Hides a taken message for longer; its text stays."""
    query = f"popreceipt={quote(receipt, safe='')}&visibilitytimeout={hidden_seconds}"
    return AccountRequest(StorageKind.QUEUE, "PUT", _message(queue, message_id), query)


def remove(queue: str, message_id: str, receipt: str) -> AccountRequest:
    """Deletes a taken message."""
    query = f"popreceipt={quote(receipt, safe='')}"
    return AccountRequest(StorageKind.QUEUE, "DELETE", _message(queue, message_id), query)


def put(queue: str, text: str) -> AccountRequest:
    """Adds a message."""
    body = f"<QueueMessage><MessageText>{escape(text)}</MessageText></QueueMessage>"
    headers = {"Content-Type": "application/xml"}
    path = f"/{queue}/messages"
    return AccountRequest(StorageKind.QUEUE, "POST", path, headers=headers, body=body.encode())


def fitting(text: str) -> str:
    """The text of an outcome, JSON as Base64, within what a message may have.

    Long values are cut, so that it is told at all. What is no such text stays as it is.
    """
    most = MESSAGE_LETTERS
    cut = text
    while len(cut) > MESSAGE_LETTERS:
        most //= 2
        try:
            values = json.loads(base64.b64decode(text))
        except ValueError:
            return text
        if not isinstance(values, dict) or not most:
            return text
        short = {k: v[:most] if isinstance(v, str) else v for k, v in values.items()}
        cut = base64.b64encode(json.dumps(short).encode()).decode()
    return cut


def count(queue: str) -> AccountRequest:
    """Asks how many messages there are, hidden ones included."""
    return AccountRequest(StorageKind.QUEUE, "GET", f"/{queue}", "comp=metadata")


def merge(table: str, entity: Entity) -> AccountRequest:
    """Merges a row into those of a table, or adds it."""
    keys = (_key(entity.partition), _key(entity.row))
    path = f"/{table}(PartitionKey='{keys[0]}',RowKey='{keys[1]}')"
    body = json.dumps(dict(entity.properties)).encode()
    return AccountRequest(StorageKind.TABLE, "PATCH", path, headers=_JSON, body=body)


def look(container: str, name: str) -> AccountRequest:
    """Asks what is known of a blob."""
    return AccountRequest(StorageKind.BLOB, "HEAD", _blob(container, name))


def delete(container: str, name: str) -> AccountRequest:
    """Deletes a blob."""
    return AccountRequest(StorageKind.BLOB, "DELETE", _blob(container, name))


VERSION_HEADER: Final = {"x-ms-version": VERSION}


def arrivals(body: bytes) -> list[Arrival]:
    """The messages in an answer to :func:`take`. Raises ProtocolError."""
    found: list[Arrival] = []
    for piece in _MESSAGE.findall(body.decode("utf-8-sig", "replace")):
        fields = {name: html.unescape(value) for name, value in _FIELD.findall(piece)}
        try:
            inserted_ns = _time_ns(fields["InsertionTime"]) + 999_999_999
            found.append(
                Arrival(
                    fields["MessageId"],
                    fields["PopReceipt"],
                    inserted_ns,
                    int(fields["DequeueCount"]),
                    fields.get("MessageText", ""),
                )
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ProtocolError(f"a message of the storage account lacks {error}") from None
    return found


def receipt_of(answer: AccountAnswer) -> str:
    """The new receipt in an answer to :func:`hide`. Raises ProtocolError."""
    if receipt := answer.headers.get("x-ms-popreceipt", ""):
        return receipt
    raise ProtocolError("the storage account has given no pop receipt")


def count_of(answer: AccountAnswer) -> int:
    """How many messages an answer to :func:`count` says. Raises ProtocolError."""
    try:
        return int(answer.headers["x-ms-approximate-messages-count"])
    except (KeyError, ValueError):
        raise ProtocolError("the storage account does not say how many messages wait") from None


def modified_of(answer: AccountAnswer) -> tuple[int, int]:
    """Size and time of change, ns, in an answer to :func:`look`. Raises ProtocolError."""
    headers: Mapping[str, Any] = answer.headers
    try:
        return int(headers["content-length"]), _time_ns(headers["last-modified"])
    except (KeyError, ValueError, TypeError):
        raise ProtocolError("the storage account does not say what a blob is") from None


def _time_ns(text: str) -> int:
    moment = parsedate_to_datetime(text)
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()) * 1_000_000_000


def _message(queue: str, message_id: str) -> str:
    return f"/{queue}/messages/{quote(message_id, safe='')}"


def _blob(container: str, name: str) -> str:
    return f"/{container}/{quote(name)}"


def _key(text: str) -> str:
    return quote(text.replace("'", "''"), safe="")
