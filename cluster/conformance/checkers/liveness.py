"""L1: when faults are over everybody catches up, and nothing grows without bound. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.conformance import notes
from cluster.conformance.calls import Answer, Command
from cluster.conformance.calls import Read as ReadCall

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.periods import Call
    from cluster.conformance.checkers.rows import Read, Table


def converges(index: Index, found: Findings) -> None:
    """L1. Facts: last answers of followers beside their leader's, and what processes hold."""
    leaders: dict[Table, tuple[Read, Read]] = {}
    if index.quiet is not None and index.end is not None:
        for read in index.reads:
            if read.own and read.call.first > index.quiet:
                first = leaders.get(read.table, (read, read))[0]
                leaders[read.table] = (first, read)
        for read in index.rested_reads:
            if not read.own and read.table in leaders:
                _same(index, read, *leaders[read.table], found)
        for call in index.final_calls.values():
            _answers(index, call, found)
    _bounded(index, found)


def _same(index: Index, read: Read, first: Read, last: Read, found: Findings) -> None:
    table = read.table
    if not index.eligible(read):
        _sealed(index, read, found)
        return
    found.checked += 1
    if read.hidden:
        found.call(f"{read} still hides rows: {read.answer.hidden_reason}", read.call)
    missing = first.view.touched & ~read.view.touched
    if missing:
        found.call(
            f"{read} does not show {table.tell(missing)}, which {first} shows; everything was at "
            "rest",
            read.call,
            first.call.last,
        )
    # A write of unknown outcome may still come after the leader's last answer.
    extra = read.view.touched & ~last.view.touched & table.acked_before(read.call.first)
    if extra:
        found.call(
            f"{read} shows {table.tell(extra)}, which {last} does not; everything was at rest",
            read.call,
            last.call.last,
        )


def _sealed(index: Index, read: Read, found: Findings) -> None:
    """A follower that may not see streaming rows has all that was sealed when all was at rest.

    A strict one has nothing: its leader refuses to be followed by it.
    """
    table, call = read.table, read.call
    if read.cluster in index.profile.strict:
        return
    shared = index.attachments.shares(
        read.cluster, table.database, table.table, call.first, call.last
    )
    seal = next((c for c in reversed(index.commands) if _seals(index, c, read)), None)
    if not shared or seal is None:
        return
    found.checked += 1
    missing = table.acked_before(seal.first) & ~read.view.whole & ~table.lost(read)
    if missing:
        found.call(
            f"{read} does not show {table.tell(missing)}, sealed by {seal.ended:.3f} s",
            call,
            seal.first,
        )


def _seals(index: Index, call: Call[Command], read: Read) -> bool:
    what = call.what
    return (
        what.verb == "seal"
        and call.ok
        and index.quiet is not None
        and call.first > index.quiet
        and call.last < read.call.first
        and (what.cluster, what.database) == (read.table.leader, read.table.database)
        and what.table in ("", read.table.table)
    )


def _answers(index: Index, call: Call[ReadCall], found: Findings) -> None:
    """Whoever has a table answers for it in the end."""
    what = call.what
    if isinstance(call.outcome, Answer):
        return
    leader = index.attachments.leader(what.cluster, what.database, call.last) or what.cluster
    table = index.tables.get((leader, what.database, what.table))
    if table is None or any(wipe.call.what.verb != "clear-table" for wipe in table.wipes):
        return
    own = leader == what.cluster
    if not own and not index.may_see_rows(what.cluster, table, call.first, call.last):
        return
    if own and not table.acked_before(call.first):
        return
    found.checked += 1
    code = getattr(call.outcome, "code", "no answer")
    found.call(
        f"{what.cluster} does not answer a read of {table.name} at {call.began:.3f} s ({code}); "
        "everything was at rest",
        call,
    )


def _bounded(index: Index, found: Findings) -> None:
    parameters = index.parameters
    bounds = {
        "row_store_bytes": parameters.row_store_bytes,
        "unacknowledged_bytes": parameters.unacknowledged_bytes,
        "tasks": parameters.tasks,
        "calls": parameters.calls,
    }
    for event in index.noted(notes.Resources):
        what = event.what
        assert isinstance(what, notes.Resources)
        found.checked += 1
        for name, bound in bounds.items():
            held = getattr(what, name)
            if held > bound:
                found.add(
                    f"{what.process} holds {held} {name.replace('_', ' ')} at {event.at:.3f} s, "
                    f"more than {bound}",
                    event.at,
                    event.number,
                )
