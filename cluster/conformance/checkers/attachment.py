"""A1, A2: a database is followed while it is attached, with the tables that are shared. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.conformance import notes
from cluster.conformance.calls import Answer, Attach, Refused
from cluster.conformance.checkers.attachments import is_shared
from cluster.conformance.checkers.gate import too_late
from cluster.conformance.checkers.periods import window_of
from cluster.conformance.system import Feature

if TYPE_CHECKING:
    from cluster.conformance.calls import Read as ReadCall
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.periods import Call, Window
    from cluster.conformance.checkers.rows import Read, Table
    from cluster.conformance.checkers.streams import Stream
    from cluster.conformance.history import Event

_NO_TABLE: Final = ("TABLE_NOT_FOUND", "SEMANTIC_ERROR")
"""Reasons with which a read of a table that is not there is refused."""


# -- A1 -----------------------------------------------------------------------------------------


def attached(index: Index, found: Findings) -> None:
    """A1. Facts: reads and frames after a detach, last answers after an attach that followed one,
    and databases that were to be dropped while they were followed."""
    for call in index.read_calls:
        what = call.what
        windows = index.attachments.detached(what.cluster, what.database)
        window = window_of(windows, call.first, call.last)
        if window is not None:
            found.checked += 1
            if call.ok and _must_be_gone(index, window, call):
                assert window.call is not None
                found.call(
                    f"{what.cluster} answered a read of {what.database}.{what.table} at "
                    f"{call.ended:.3f} s, detached since {window.began:.3f} s",
                    call,
                    window.call.first,
                    window.call.last,
                )
    _no_orphans(index, found)
    _complete_again(index, found)
    _dropped(index, found)


def _must_be_gone(index: Index, window: Window, call: Call[ReadCall]) -> bool:
    """A follower that cannot hear of a detach shows what is sealed; streaming rows never."""
    detach = window.call
    assert detach is not None
    told = index.has(Feature.HIDDEN_REASON)
    if told and isinstance(call.outcome, Answer) and not call.outcome.hidden_reason:
        return True
    if index.quiet is not None and call.first > index.quiet:
        return True
    cluster = detach.what.follower
    if detach.confirmed and not index.troubles.restarted(cluster, detach.first, call.last):
        return True
    calm = index.troubles.calm(detach.first, call.last)
    return calm and call.began - detach.ended > index.parameters.notice_seconds


def _no_orphans(index: Index, found: Findings) -> None:
    streams = {stream.session: stream for stream in index.streams}
    frames = index.noted(notes.Sent) + index.noted(notes.Delivered)
    for event in frames:
        stream = streams.get(getattr(event.what, "session", 0))
        if stream is None:
            continue
        windows = index.attachments.detached(stream.follower, stream.database)
        window = window_of(windows, event.number, event.number)
        if window is None or window.call is None:
            continue
        found.checked += 1
        if too_late(index, window.call, event):
            found.add(
                f"rows passed in {stream.name} at {event.at:.3f} s, detached since "
                f"{window.began:.3f} s",
                event.at,
                window.call.last,
                event.number,
            )


def _complete_again(index: Index, found: Findings) -> None:
    for read in index.final_reads.values():
        if read.own or not index.eligible(read):
            continue
        windows = index.attachments.detached(read.cluster, read.table.database)
        if not windows:
            continue
        found.checked += 1
        table = read.table
        missing = table.acked_before(index.quiet or 0) & ~read.view.whole
        missing &= ~table.lost(read)
        if missing:
            found.call(
                f"{read} does not show {table.tell(missing)}, though {table.database} was attached "
                "again",
                read.call,
                next(table.of(missing)).acked,
            )


def _dropped(index: Index, found: Findings) -> None:
    for call in index.commands:
        what = call.what
        if what.verb != "drop-database":
            continue
        for follower, database in index.attachments.pairs():
            leader = index.attachments.leader(follower, database, call.last)
            windows = index.attachments.attached(follower, database)
            window = window_of(windows, call.first, call.last)
            if (leader, database) != (what.cluster, what.database) or window is None:
                continue
            found.checked += 1
            if call.ok:
                found.call(f"{database} was dropped while {follower} followed it", call)


# -- A2 -----------------------------------------------------------------------------------------


def filtered(index: Index, found: Findings) -> None:
    """A2. Facts: reads, and frames, of tables of databases that are shared in part."""
    answers = {read.call.number: read for read in index.reads}
    for call in index.read_calls:
        what = call.what
        window = index.attachments.sharing(what.cluster, what.database, call.first, call.last)
        attach = _filter(window)
        if attach is None or window is None or window.call is None:
            continue
        found.checked += 1
        shared = is_shared(attach, what.table)
        if call.ok and not shared and _is_in_force(index, window.call, call):
            found.call(
                f"{what.cluster} answered a read of {what.database}.{what.table} at "
                f"{call.ended:.3f} s, which is not shared ({_sharing(attach)})",
                call,
                window.call.first,
                window.call.last,
            )
        if shared:
            _there(index, call, answers, found)
    owners = {key: table for table in index.tables.values() for key in table.keys}
    streams = {stream.session: stream for stream in index.streams}
    for event in index.noted(notes.Delivered):
        assert isinstance(event.what, notes.Delivered)
        table, stream = owners.get(event.what.key), streams.get(event.what.session)
        if table is not None and stream is not None:
            _frame(index, event, table, stream, found)


def _filter(window: Window | None) -> Attach | None:
    if window is None or window.call is None:
        return None
    what = window.call.what
    assert isinstance(what, Attach)
    return what if what.include or what.exclude else None


def _sharing(attach: Attach) -> str:
    include = ", ".join(attach.include) or "all"
    return f"include {include}; exclude {', '.join(attach.exclude) or 'none'}"


def _is_in_force(index: Index, attach: Call[Attach], call: Call[ReadCall]) -> bool:
    """The follower has certainly heard of this sharing, or never knew of another.

    An attach is answered when it is decided, not when it is heard.
    """
    what = attach.what
    assert isinstance(what, Attach)
    if index.quiet is not None and call.first > index.quiet:
        return True
    earlier = [
        other
        for other in index.attachments.calls(what.follower, what.database)
        if other.first < attach.first and not other.refused and other.what != what
    ]
    if not earlier:
        return True
    calm = index.troubles.calm(attach.first, call.last)
    return calm and call.began - attach.ended > index.parameters.notice_seconds


def _there(index: Index, call: Call[ReadCall], answers: dict[int, Read], found: Findings) -> None:
    """A table that is shared is there in the end, whenever it was made."""
    what = call.what
    if index.final_calls.get((what.cluster, what.database, what.table)) is not call:
        return
    leader = index.attachments.leader(what.cluster, what.database, call.last)
    theirs = index.final_calls.get((leader or "", what.database, what.table))
    refused = call.outcome
    if (
        isinstance(refused, Refused)
        and refused.reason in _NO_TABLE
        and theirs is not None
        and theirs.number in answers
    ):
        found.call(
            f"{what.cluster} does not know {what.database}.{what.table} at {call.ended:.3f} s, "
            f"which is shared, and which {leader} has",
            call,
            theirs.last,
        )


def _frame(index: Index, event: Event, table: Table, stream: Stream, found: Findings) -> None:
    window = index.attachments.sharing(stream.follower, stream.database, event.number, event.number)
    attach = _filter(window)
    if attach is None or window is None or window.call is None:
        return
    if (table.leader, table.database) != (stream.leader, stream.database):
        return
    found.checked += 1
    opened_since = stream.opened.number > window.call.last
    if not is_shared(attach, table.table) and (
        too_late(index, window.call, event)
        or (opened_since and len(index.attachments.calls(stream.follower, stream.database)) == 1)
    ):
        found.add(
            f"rows of {table.name} were delivered in {stream.name} at {event.at:.3f} s, which are "
            f"not shared ({_sharing(attach)})",
            event.at,
            window.call.last,
            event.number,
        )
