"""R3, R4: a request's rows appear once, and all or none of them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index


def once(index: Index, found: Findings) -> None:
    """R3. Facts: answers with rows."""
    for read in index.reads:
        found.checked += bool(read.answer.ids)
        if read.view.repeated:
            row = read.view.repeated[0]
            batch = index.rows.get(row)
            whose = f" of source {batch.source}" if batch else ""
            found.call(
                f"{read} shows row {row}{whose} more than once",
                read.call,
                *([call.first for call in batch.attempts] if batch else ()),
            )


def atomic(index: Index, found: Findings) -> None:
    """R4. Facts: answers with rows of requests that sent more than one."""
    several = {
        table: sum(batch.bit for batch in table.batches if batch.size > 1)
        for table in index.tables.values()
    }
    for read in index.reads:
        found.checked += bool(read.view.touched & several[read.table])
        for batch, count in read.view.partial:
            found.call(
                f"{read} shows {count} of the {batch.size} {batch}",
                read.call,
                batch.attempts[0].first,
            )
