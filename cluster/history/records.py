"""Entries of the node's logs. Pure values.

Times are nanoseconds since 1970 UTC, durations seconds, sizes bytes. What the documented columns
are is said in ``cluster/commands``; an entry holds what they are made of.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class OperationState(enum.Enum):
    """States of ``.show operations`` that occur here (``show-operations.md``)."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    THROTTLED = "Throttled"
    CANCELED = "Canceled"


class DataOperationKind(enum.Enum):
    """Kinds of ``.show data operations`` (``show-data-operations.md``)."""

    BATCH_INGEST = "BatchIngest"
    DATA_UPDATE = "DataUpdate"
    ROW_STORE_SEAL = "RowStoreSeal"
    SET_OR_APPEND = "SetOrAppend"
    UPDATE_POLICY = "UpdatePolicy"


@dataclass(frozen=True, slots=True)
class Operation:
    """One state of one command that works in the background, or did.

    ``result`` is what ``.show operation ID details`` prints, once completed: column texts as in
    the table of commands, and rows.
    """

    operation_id: str
    kind: str
    database: str
    text: str
    started_ns: int
    updated_ns: int
    state: OperationState
    status: str = ""
    should_retry: bool = False
    principal: str = ""


@dataclass(frozen=True, slots=True)
class DataOperation:
    """Data changed: rows sealed, ingested, merged or derived."""

    kind: DataOperationKind
    database: str
    table: str
    ended_ns: int
    duration_seconds: float
    row_count: int
    extent_count: int
    original_bytes: int
    extent_bytes: int
    cpu_seconds: float = 0.0
    principal: str = ""
    client_activity_id: str = ""
    properties: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IngestionFailure:
    """A batch ingestion or a non-transactional update policy failed."""

    operation_id: str
    database: str
    table: str
    failed_ns: int
    source: str
    details: str
    is_permanent: bool
    error_code: str
    operation_kind: str
    from_update_policy: bool = False
    principal: str = ""
    properties: str = ""


@dataclass(frozen=True, slots=True)
class StreamedRequest:
    """One streaming ingestion request was decided. ``error_code`` empty: its rows are stored."""

    database: str
    table: str
    ended_ns: int
    duration_seconds: float
    byte_count: int
    row_count: int
    format: str
    mapping: str = ""
    is_compressed: bool = False
    error_code: str = ""
    details: str = ""
    is_permanent: bool = False
    reference_count: int = 0
    principal: str = ""


@dataclass(frozen=True, slots=True)
class Executed:
    """A query or a command, running or ended.

    ``kind`` is the type of a command, ``Query`` for a query. ``failure`` is empty unless it
    failed. ``user`` is who asked, as people know them; ``options`` are those of the client
    request properties.
    """

    activity_id: str
    kind: str
    text: str
    database: str
    started_ns: int
    updated_ns: int
    state: OperationState
    failure: str = ""
    client_request_id: str = ""
    principal: str = ""
    user: str = ""
    application: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    memory_peak_bytes: int = 0
    row_count: int = 0
    result_bytes: int = 0
    statistics: Mapping[str, object] = field(default_factory=dict)
