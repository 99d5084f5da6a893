"""R13: a database that is followed takes no changes from its follower's clients. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.rows import Table


def read_only(index: Index, found: Findings) -> None:
    """R13. Facts: changes and rows that were sent to a database where it is followed."""
    for call in index.commands:
        what = call.what
        if what.verb != "mutate":
            continue
        found.checked += 1
        if call.ok:
            found.call(f"{what.cluster} ran {what.text!r} on {what.database}", call)
    astray: dict[Table, int] = {}
    for batch in index.batches.values():
        elsewhere = [c for c in batch.attempts if c.what.cluster != batch.table.leader]
        for request in elsewhere:
            found.checked += 1
            if request.ok:
                found.call(f"{request.what.cluster} acknowledged {batch}", request)
        if elsewhere and len(elsewhere) == len(batch.attempts):
            astray[batch.table] = astray.get(batch.table, 0) | batch.bit
    for read in index.reads:
        seen = read.view.touched & astray.get(read.table, 0)
        if seen:
            found.call(
                f"{read} shows {read.table.tell(seen)}, which was only sent to a follower",
                read.call,
            )
