"""Values between the parts of queued ingestion, and the names of its resources. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from xxhash import xxh3_128_hexdigest

from cluster.queued.statuses import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.catalog.model import Version

ACCOUNT: Final = "devstoreaccount1"
"""The account in addresses, as local storage emulators have it."""

READY: Final = "readyforaggregation-secured"
SUCCESSES: Final = "successful-ingestions"
FAILURES: Final = "failed-ingestions"
QUEUES: Final = (READY, SUCCESSES, FAILURES)

STATUS_TABLE: Final = "ingestionsstatus"
TABLES: Final = (STATUS_TABLE,)

UPLOADS: Final = "ingestdata"
EXPORTS: Final = "exportdata"
TEMPORARY: Final = "tempstorage"
CONTAINERS: Final = (UPLOADS, EXPORTS, TEMPORARY)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of a queue. ``dequeued`` is how often it was taken. Times: ns since 1970 UTC."""

    number: int
    queue: str
    message_id: str
    text: str = field(repr=False)
    inserted_ns: int
    expires_ns: int
    visible_ns: int
    receipt: str
    dequeued: int


OwnBlob: TypeAlias = tuple[str, str]
"""Container and name of a blob."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that was taken from a queue elsewhere, where it is hidden for a while.

    ``inserted_ns`` is never earlier than the message came, and up to a second later: a storage
    account says whole seconds. ``changed_ns`` is when its blob was last put, 0: unknown.
    """

    message_id: str
    receipt: str
    inserted_ns: int
    dequeued: int
    text: str = field(repr=False)
    changed_ns: int = 0


@dataclass(frozen=True, slots=True)
class Entity:
    """A row of a table. ``properties`` without keys and timestamp."""

    table: str
    partition: str
    row: str
    properties: Mapping[str, Any]
    updated_ns: int


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of a blob that a message with a source id was about.

    ``key`` is of the message, see :func:`source_key`.
    """

    key: str
    source_id: str
    operation_id: str = ""
    state: State = State.PENDING
    error_code: str = ""
    failure_status: str = ""
    details: str = ""
    started_ns: int = 0
    updated_ns: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to ingest messages in one transaction, whose journal entry has ``attempt_id``.

    ``version`` is of the database before it.
    """

    attempt_id: str
    database: str
    version: Version
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of one message. ``key`` is its source's, empty if the message names none.

    ``entity`` is merged into its table, ``report`` is a queue and a text for it.
    """

    number: int
    key: str
    state: State
    error_code: str = ""
    failure_status: str = ""
    details: str = ""
    entity: Entity | None = None
    report: tuple[str, str] | None = None


def source_key(text: str) -> str:
    """What a message that is sent again has in common with the first one: all of its text.

    Its source id alone is not enough: a descriptor of an SDK that is used twice has one source id
    for what are two ingestions. SDKs write the time of sending into the message.
    """
    return xxh3_128_hexdigest(text.encode())
