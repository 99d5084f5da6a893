"""R5, R6: what was acknowledged stays, and nothing else is ever seen. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.rows import Read

REPLACED: Final = frozenset({"replace"})
"""Faults that take a leader's disk away: nothing can be durable against that."""


def durable(index: Index, found: Findings) -> None:
    """R5. Facts: answers of leaders after an acknowledgement, and last answers of followers."""
    for read in index.reads:
        if not read.own or index.troubles.ever(read.cluster, REPLACED):
            continue
        due = read.table.acked_before(read.call.first)
        found.checked += bool(due)
        _missing(read, due, found)
    for read in index.final_reads.values():
        if read.own or index.troubles.ever(read.table.leader, REPLACED):
            continue
        if index.eligible(read):
            due = read.table.acked_before(index.quiet or 0)
            found.checked += bool(due)
            _missing(read, due, found)


def _missing(read: Read, due: int, found: Findings) -> None:
    table = read.table
    missing = due & ~read.view.whole
    if not missing:
        return
    missing &= ~table.lost(read)
    if missing:
        batch = next(table.of(missing))
        found.call(
            f"{read} does not show {table.tell(missing)}, acknowledged before",
            read.call,
            batch.acked,
        )


def real(index: Index, found: Findings) -> None:
    """R6. Facts: answers with rows."""
    for read in index.reads:
        found.checked += bool(read.answer.ids)
        table, view = read.table, read.view
        for row in view.strangers[:1]:
            other = index.rows.get(row)
            whose = f"which was sent to {other.table.name}" if other else "which nobody sent"
            found.call(f"{read} shows row {row}, {whose}", read.call)
        early = view.touched & ~table.possible_before(read.call.last)
        if early:
            batch = next(table.of(early))
            refused = all(call.refused for call in batch.attempts)
            why = "which was refused" if refused else "which had not been sent then"
            found.call(
                f"{read} shows {table.tell(early)}, {why}",
                read.call,
                *(call.first for call in batch.attempts),
            )
        back = view.touched and table.wipes and view.touched & table.gone(read)
        if back:
            found.call(
                f"{read} shows {table.tell(back)}, which was dropped or cleared before",
                read.call,
                *(wipe.call.first for wipe in table.wipes),
            )
