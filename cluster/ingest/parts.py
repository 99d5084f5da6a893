"""Update policies over a group of requests, so that no request decides its neighbour's fate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.errors import RemoraError
from cluster.ingest.refusals import too_large
from cluster.ingest.staging import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.ingest.admission import Target
    from cluster.ingest.decode import GroupResult
    from cluster.ingest.deriving import Derivation, UpdatePolicies
    from cluster.ingest.ticket import Ticket
    from cluster.limits import Limits


async def derive_parts(
    updates: UpdatePolicies,
    target: Target,
    tickets: Sequence[Ticket],
    result: GroupResult,
    limits: Limits,
) -> Sequence[Part]:
    """The good requests of a group with what follows from their rows.

    A policy sees the rows of one request, as in Kusto; those of the whole group where that cannot
    make a difference and nothing goes wrong. A request counts with what follows from it against
    ``limits.ingest_request_bytes`` (``ingest-data-streaming.md``).
    """
    if result.batch is None:
        return ()
    good = [(ticket, rows) for ticket, rows in zip(tickets, result.row_counts, strict=True) if rows]
    sizes = [size for size, rows in zip(result.byte_counts, result.row_counts, strict=True) if rows]
    if len(good) > 1 and updates.is_row_by_row(*target):
        together = await _derive(updates, target, Part(good, result.batch), sum(sizes), limits)
        if together.error is None:
            return (together,)
    parts: list[Part] = []
    first_row = 0
    for (ticket, rows), size in zip(good, sizes, strict=True):
        part = Part([(ticket, rows)], result.batch.slice(first_row, rows))
        parts.append(await _derive(updates, target, part, size, limits))
        first_row += rows
    return parts


async def _derive(
    updates: UpdatePolicies, target: Target, part: Part, size: int, limits: Limits
) -> Part:
    try:
        derivation: Derivation = await updates.derive_streamed(*target, part.batch)
        total = size + derivation.byte_count
        if total > limits.ingest_request_bytes and derivation.rows:
            raise too_large(
                "the payload with what update policies make of it",
                str(total),
                "ingest_request_bytes",
                limits.ingest_request_bytes,
            )
    except RemoraError as error:
        return part._replace(error=error)
    return part._replace(derivation=derivation)
