"""From the text of a message to something that waits, or to a refusal. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.errors import CorruptedMessageError, InternalError, RemoraError
from cluster.queued.batching import GroupKey
from cluster.queued.messages import decode_message, ingestion_properties
from cluster.queued.values import Source, source_key
from cluster.request import Caller

if TYPE_CHECKING:
    from cluster.batch.properties import IngestionProperties
    from cluster.queued.messages import QueuedMessage
    from cluster.queued.signatures import Signer
    from cluster.queued.values import StoredMessage

_SECOND_NS: Final = 1_000_000_000
_NOBODY: Final = Caller()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is to be ingested, or tells why not (``error``).

    ``message`` is None if it could not be read. ``source_key`` is of its source, empty if it names
    none. ``dequeued`` attempts were begun by now.
    """

    number: int
    arrived_ns: int
    dequeued: int
    message: QueuedMessage | None
    source_key: str = ""
    caller: Caller = _NOBODY
    properties: IngestionProperties | None = None
    error: RemoraError | None = None

    @property
    def group(self) -> GroupKey:
        """What it is ingested with. Only of a message without an error."""
        if self.message is None or self.properties is None:
            raise ValueError(f"message {self.number} is not to be ingested")
        alone = self.number if self.properties.ingest_if_not_exists else 0
        return GroupKey(
            self.message.database,
            self.message.table,
            self.properties,
            self.caller.principal,
            alone,
        )


def accepted(stored: StoredMessage, signer: Signer) -> Waiting:
    """What a stored message asks for. The token counts as of when the message came.

    Raises nothing: every start reads all messages, and none may keep the node from it.
    """
    number, arrived_ns, dequeued = stored.number, stored.inserted_ns, stored.dequeued
    message, key = None, ""
    try:
        message = decode_message(stored.text)
        key = source_key(stored.text) if message.source_id else ""
        caller = _NOBODY
        if message.identity:
            caller = signer.caller(message.identity, arrived_ns / _SECOND_NS)
        properties = ingestion_properties(message)
    except RemoraError as error:
        return Waiting(number, arrived_ns, dequeued, message, key, error=error)
    except Exception as defect:
        failure = InternalError(f"The message cannot be read: {defect!r}")
        return Waiting(number, arrived_ns, dequeued, message, key, error=failure)
    return Waiting(number, arrived_ns, dequeued, message, key, caller, properties)


def source_of(text: str) -> tuple[Source, str] | None:
    """What a message is about and the address of the blob.

    None: it names no source, or cannot be read.
    """
    try:
        message = decode_message(text)
    except CorruptedMessageError:
        return None
    if not message.source_id:
        return None
    source = Source(source_key(text), message.source_id, message.operation_id)
    return source, message.address
