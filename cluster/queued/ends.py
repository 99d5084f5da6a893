"""What is written and told of the end of one message. Pure."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from cluster.queued.statuses import is_reported, status_entity, status_message
from cluster.queued.values import FAILURES, STATUS_TABLE, SUCCESSES, Ended, Entity

if TYPE_CHECKING:
    from cluster.queued.accepting import Waiting
    from cluster.queued.statuses import Outcome


def ended_of(item: Waiting, outcome: Outcome, operation_id: str, now_ns: int) -> Ended:
    """The message's row and report, as far as its client wants to hear of this outcome."""
    message = item.message
    entity, report = None, None
    if message is not None:
        if message.status_row is not None:
            row = message.status_row
            properties = status_entity(message, outcome, operation_id, now_ns)
            entity = Entity(STATUS_TABLE, row.partition, row.row, properties, now_ns)
        if message.wants_queue and is_reported(message, outcome):
            text = status_message(message, outcome, operation_id, now_ns)
            queue = SUCCESSES if outcome.error is None else FAILURES
            report = (queue, base64.b64encode(text.encode()).decode())
    return Ended(
        item.number,
        item.source_key,
        outcome.state,
        outcome.error_code,
        outcome.failure_status,
        outcome.details,
        entity,
        report,
    )
