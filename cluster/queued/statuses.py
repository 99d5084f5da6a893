"""What becomes of a blob, and how that is told: states, status entities, status messages. Pure."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cluster.queued.messages import ReportLevel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.errors import RemoraError
    from cluster.queued.messages import QueuedMessage

NO_ID: Final = "00000000-0000-0000-0000-000000000000"


class State(enum.Enum):
    """States of a status row, as the SDKs spell them. SKIPPED: there was nothing to ingest, or it
    had been ingested before (``ingestIfNotExists``)."""

    PENDING = "Pending"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class Event(enum.Enum):
    """What happens to a blob that is queued."""

    STORED = "stored"
    EMPTY = "empty"
    REFUSED = "refused"
    GIVEN_UP = "given up"
    QUEUED_AGAIN = "queued again"


TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = {
    (State.PENDING, Event.STORED): State.SUCCEEDED,
    (State.PENDING, Event.EMPTY): State.SKIPPED,
    (State.PENDING, Event.REFUSED): State.FAILED,
    (State.PENDING, Event.GIVEN_UP): State.FAILED,
    (State.FAILED, Event.QUEUED_AGAIN): State.PENDING,
    (State.SKIPPED, Event.QUEUED_AGAIN): State.PENDING,
}
"""A blob that is pending or stored is not queued again when its message is sent again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one message ended. ``error`` is None unless it failed."""

    event: Event
    error: RemoraError | None = None

    @property
    def state(self) -> State:
        """The state it ends in."""
        return TRANSITIONS[(State.PENDING, self.event)]

    @property
    def failure_status(self) -> str:
        """``Permanent``, ``Transient`` (it may work when it is sent again) or ``Unknown``."""
        if self.error is None:
            return "Unknown"
        is_final = self.error.permanent and self.event is not Event.GIVEN_UP
        return "Permanent" if is_final else "Transient"

    @property
    def should_retry(self) -> bool:
        """Whether sending it again may help."""
        return self.failure_status == "Transient"

    @property
    def error_code(self) -> str:
        """Kusto's code; ``Unknown`` if nothing failed, as the service writes it."""
        return "Unknown" if self.error is None else self.error.code

    @property
    def details(self) -> str:
        """What was wrong, in words."""
        return "" if self.error is None else self.error.message


def is_reported(message: QueuedMessage, outcome: Outcome) -> bool:
    """Whether the client wants to hear of it."""
    if message.level is ReportLevel.NONE:
        return False
    return outcome.error is not None or message.level is ReportLevel.FAILURES_AND_SUCCESSES


def iso(moment_ns: int) -> str:
    """A time as the service writes it: seven digits of a second, UTC."""
    moment = datetime.fromtimestamp(moment_ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment_ns % 1_000_000_000 // 100:07d}Z"


def status_entity(
    message: QueuedMessage, outcome: Outcome, operation_id: str, now_ns: int
) -> dict[str, Any]:
    """What the row of the status table gets."""
    return {
        "Status": outcome.state.value,
        "UpdatedOn": iso(now_ns),
        "UpdatedOn@odata.type": "Edm.DateTime",
        "IngestionSourceId": message.source_id or NO_ID,
        "IngestionSourcePath": message.shown,
        "Database": message.database,
        "Table": message.table,
        "OperationId": operation_id,
        "ActivityId": operation_id,
        "ErrorCode": outcome.error_code,
        "FailureStatus": outcome.failure_status,
        "Details": outcome.details,
        "OriginatesFromUpdatePolicy": _is_of_update_policy(outcome),
    }


def status_message(message: QueuedMessage, outcome: Outcome, operation_id: str, now_ns: int) -> str:
    """The JSON that goes to the queue of successes or that of failures."""
    body: dict[str, Any] = {
        "OperationId": operation_id,
        "Database": message.database,
        "Table": message.table,
        "IngestionSourceId": message.source_id or NO_ID,
        "IngestionSourcePath": message.shown,
        "RootActivityId": operation_id,
    }
    if outcome.error is None:
        body["SucceededOn"] = iso(now_ns)
        return json.dumps(body)
    body |= {
        "FailedOn": iso(now_ns),
        "Details": outcome.details,
        "ErrorCode": outcome.error_code,
        "FailureStatus": outcome.failure_status,
        "OriginatesFromUpdatePolicy": _is_of_update_policy(outcome),
        "ShouldRetry": outcome.should_retry,
    }
    return json.dumps(body)


def _is_of_update_policy(outcome: Outcome) -> bool:
    return outcome.error_code.startswith("UpdatePolicy_")
