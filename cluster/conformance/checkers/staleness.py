"""R12: the staleness told is never smaller than the true one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.rows import Read

_DRIFT: Final = frozenset({"clock-drift"})


def bounded(index: Index, found: Findings) -> None:
    """R12. Facts: answers of followers that tell their staleness, or were asked for a bound.

    A second is a second of the observer's clock, so while a follower's clock runs at another rate
    nothing is concluded.
    """
    slack = index.parameters.staleness_slack_seconds
    for read in index.reads:
        what = read.call.what
        told, asked = read.answer.staleness_seconds, what.max_staleness_seconds
        if told is None and asked is None:
            continue
        found.checked += 1
        if told is not None and asked is not None and told > asked + slack:
            found.call(f"{read} allowed {asked:g} s of staleness and has {told:g} s", read.call)
        if told is not None and told < 0:
            found.call(f"{read} tells a staleness of {told:g} s", read.call)
            continue
        bounds = [seconds for seconds in (told, asked) if seconds is not None]
        if not read.hidden:
            _check(index, read, min(bounds) + slack, found)


def _check(index: Index, read: Read, seconds: float, found: Findings) -> None:
    """Everything acknowledged that long before the read was made must be in it."""
    table, call = read.table, read.call
    moment = index.times.number_at(call.began - seconds)
    due = table.acked_before(min(moment, call.first)) & ~read.view.whole
    if not due:
        return
    due &= ~table.lost(read)
    if not due or index.troubles.disturbed(read.cluster, _DRIFT, -1, call.last):
        return
    if not read.own and not index.attachments.shares(
        read.cluster, table.database, table.table, call.first, call.last
    ):
        return
    batch = next(table.of(due))
    late = call.began - index.time_of(batch.acked)
    found.call(
        f"{read} says it is at most {seconds:.3f} s behind, and does not show {table.tell(due)}, "
        f"acknowledged {late:.3f} s before it",
        call,
        batch.acked,
    )
