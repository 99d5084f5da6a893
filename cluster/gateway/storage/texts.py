"""Times and XML as Azure storage writes and reads them. Pure.

XML that clients send is taken apart with patterns: there are two tiny documents, and no parser
whose entities could be abused.
"""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from cluster.gateway.http.messages import HttpResponse
from cluster.gateway.storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.queued.blobs import Blob, Block
    from cluster.queued.values import StoredMessage

_HEAD: Final = '<?xml version="1.0" encoding="utf-8"?>\n'
_BLOCK: Final = re.compile(r"<(Latest|Uncommitted|Committed)>([^<]*)</\1>")
_TEXT: Final = re.compile(r"<MessageText>([^<]*)</MessageText>")
_EMPTY_TEXT: Final = re.compile(r"<MessageText\s*/>")


def http_time(moment_ns: int) -> str:
    """``Sat, 21 Nov 2026 07:27:34 GMT``."""
    moment = datetime.fromtimestamp(moment_ns // 1_000_000_000, UTC)
    return format_datetime(moment, usegmt=True)


def xml(text: str, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A response of XML."""
    return HttpResponse(status, (_HEAD + text).encode(), "application/xml", headers or {})


def block_ids(body: bytes) -> list[str]:
    """The ids in a block list. Raises StorageError (InvalidXmlDocument)."""
    text = _decoded(body)
    if "<BlockList" not in text:
        raise StorageError("InvalidXmlDocument", "The body is not a block list.")
    return [html.unescape(found[2]).strip() for found in _BLOCK.finditer(text)]


def message_text(body: bytes) -> str:
    """The text in a queue message. Raises StorageError (InvalidXmlDocument)."""
    text = _decoded(body)
    found = _TEXT.search(text)
    if found is not None:
        return html.unescape(found[1])
    if _EMPTY_TEXT.search(text):
        return ""
    raise StorageError("InvalidXmlDocument", "The body is not a queue message.")


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except ValueError:
        raise StorageError("InvalidXmlDocument", "The body is not UTF-8.") from None


def put_result(message: StoredMessage) -> str:
    """The answer to a message that was put."""
    return (
        "<QueueMessagesList><QueueMessage>"
        f"<MessageId>{message.message_id}</MessageId>{_times(message)}"
        f"<PopReceipt>{message.receipt}</PopReceipt>"
        f"<TimeNextVisible>{http_time(message.visible_ns)}</TimeNextVisible>"
        "</QueueMessage></QueueMessagesList>"
    )


def messages_list(messages: Sequence[StoredMessage], *, is_peek: bool) -> str:
    """Messages that were taken, or looked at."""
    items = []
    for message in messages:
        taken = (
            ""
            if is_peek
            else f"<PopReceipt>{message.receipt}</PopReceipt>"
            f"<TimeNextVisible>{http_time(message.visible_ns)}</TimeNextVisible>"
        )
        items.append(
            f"<QueueMessage><MessageId>{message.message_id}</MessageId>{_times(message)}{taken}"
            f"<DequeueCount>{message.dequeued}</DequeueCount>"
            f"<MessageText>{escape(message.text)}</MessageText></QueueMessage>"
        )
    return f"<QueueMessagesList>{''.join(items)}</QueueMessagesList>"


def _times(message: StoredMessage) -> str:
    return (
        f"<InsertionTime>{http_time(message.inserted_ns)}</InsertionTime>"
        f"<ExpirationTime>{http_time(message.expires_ns)}</ExpirationTime>"
    )


def blocks_list(blocks: Sequence[Block]) -> str:
    """Blocks that are in no blob yet."""
    items = "".join(
        f"<Block><Name>{escape(block.block)}</Name><Size>{block.size}</Size></Block>"
        for block in blocks
    )
    return (
        f"<BlockList><CommittedBlocks/><UncommittedBlocks>{items}</UncommittedBlocks></BlockList>"
    )


def blobs_list(container: str, prefix: str, blobs: Sequence[Blob]) -> str:
    """Blobs of a container."""
    items = "".join(
        f"<Blob><Name>{escape(blob.name)}</Name><Properties>"
        f"<Last-Modified>{http_time(blob.modified_ns)}</Last-Modified>"
        f"<Etag>{escape(blob.etag.strip(chr(34)))}</Etag>"
        f"<Content-Length>{blob.size}</Content-Length>"
        f"<Content-Type>{escape(blob.type)}</Content-Type>"
        "<BlobType>BlockBlob</BlobType></Properties></Blob>"
        for blob in blobs
    )
    return (
        f'<EnumerationResults ContainerName="{container}"><Prefix>{escape(prefix)}</Prefix>'
        f"<Blobs>{items}</Blobs><NextMarker/></EnumerationResults>"
    )
