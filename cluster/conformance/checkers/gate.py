"""G1, G2, G3, G4: the rule itself. Streaming rows only while the follower may have them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.conformance import notes
from cluster.conformance.calls import Changed
from cluster.conformance.checkers.periods import NEVER
from cluster.conformance.checkers.streams import Oddity
from cluster.conformance.system import Feature

if TYPE_CHECKING:
    from cluster.conformance.calls import Invocation, SetCapability
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.periods import Call, Window
    from cluster.conformance.checkers.rows import Read, Table
    from cluster.conformance.history import Event

_GATE: Final = frozenset({Oddity.CLOSED, Oddity.EPOCH})


# -- G1 -----------------------------------------------------------------------------------------


def closed(index: Index, found: Findings) -> None:
    """G1. Facts: answers while the capability was certainly off, and frames after it was."""
    told = index.has(Feature.HIDDEN_REASON)
    frontiers = _Frontiers(index)
    for read in index.reads:
        window = index.off_window(read)
        if window is None:
            continue
        seen = told or read.answer.position is not None or index.parameters.unsealed_seconds > 0
        found.checked += bool(seen)
        since = _since(window)
        if told and not read.hidden:
            found.call(
                f"{read} does not say that rows are hidden, though streaming was off there {since}",
                read.call,
                *_proof(window),
            )
        extra = _unsealed(read) | frontiers.unsealed(read) | _young(index, read)
        if extra:
            found.call(
                f"{read} shows {read.table.tell(extra)}, which no extent held then, though "
                f"streaming was off there {since}",
                read.call,
                *_proof(window),
            )
    _frames(index, found)


def _since(window: Window) -> str:
    return f"since {window.began:.3f} s" if window.call else "from the beginning"


def _proof(window: Window) -> tuple[int, ...]:
    return (window.call.first, window.call.last) if window.call else ()


def _unsealed(read: Read) -> int:
    """Batches seen that begin after the position of a hidden answer, which ends at the floors."""
    position = read.answer.position
    if position is None or not read.hidden:
        return 0
    found = read.table.beyond(position) & read.view.touched
    return found and found & ~read.table.lost(read)


def _young(index: Index, read: Read) -> int:
    """Batches seen that were sent so shortly before that no extent can hold them."""
    seconds = index.parameters.unsealed_seconds
    if not seconds:
        return 0
    found = 0
    for batch in read.table.of(read.view.touched):
        if batch.possible < NEVER and index.time_of(batch.possible) > read.call.ended - seconds:
            found |= batch.bit
    return found


class _Frontiers:
    """Up to where each key was sealed at the leader, when somebody looked."""

    def __init__(self, index: Index) -> None:
        self._known: dict[Table, list[tuple[int, dict[int, int]]]] = {}
        for event in index.noted(notes.Extents):
            what = event.what
            assert isinstance(what, notes.Extents)
            table = index.tables.get((what.cluster, what.database, what.table))
            if table is None:
                continue
            ends: dict[int, int] = {}
            for _, ranges in what.extents.values():
                for key, _, end in ranges:
                    ends[key] = max(end, ends.get(key, 0))
            self._known.setdefault(table, []).append((event.number, ends))

    def unsealed(self, read: Read) -> int:
        """Batches seen that were not even sealed when the leader was looked at after the read."""
        table = read.table
        for number, ends in self._known.get(table, ()):
            if number > read.call.last:
                safe = table.exposed_before(number)
                return table.beyond_ordinals(ends) & read.view.touched & ~safe
        return 0


def _frames(index: Index, found: Findings) -> None:
    """No frame of an older epoch passes once everybody has heard, or can act on it no more."""
    followers = {
        event.what.session: event.what.follower
        for event in index.noted(notes.FollowOpened)
        if isinstance(event.what, notes.FollowOpened)
    }
    offs: dict[str, list[Call[SetCapability]]] = {}
    for window_call in (call for call in index.switches if call.ok and not call.what.on):
        offs.setdefault(window_call.what.cluster, []).append(window_call)
    frames = index.noted(notes.Sent) + index.noted(notes.Delivered)
    for event in sorted(frames, key=lambda event: event.number):
        what = event.what
        assert isinstance(what, notes.Sent | notes.Delivered)
        for off in offs.get(followers.get(what.session, ""), ()):
            if off.last > event.number:
                break
            found.checked += 1
            if what.epoch < _epoch(off) and too_late(index, off, event):
                verb = "were sent" if isinstance(what, notes.Sent) else "arrived"
                found.add(
                    f"rows of epoch {what.epoch} {verb} at {event.at:.3f} s in session "
                    f"{what.session}, though streaming was off at {off.what.cluster} since "
                    f"{off.ended:.3f} s (epoch {_epoch(off)})",
                    event.at,
                    off.first,
                    off.last,
                    event.number,
                )
                break


def _epoch(call: Call[Invocation]) -> int:
    return call.outcome.epoch if isinstance(call.outcome, Changed) else 0


def too_late(index: Index, change: Call[Invocation], event: Event) -> bool:
    """By the event every process has heard of a change, or may not act on what was before."""
    if not index.stands(change, event.number):
        return False
    passed = event.at - change.ended
    if passed > index.parameters.lease_over_seconds:
        return True
    return passed > index.parameters.notice_seconds and index.troubles.calm(
        change.first, event.number
    )


# -- G2 -----------------------------------------------------------------------------------------


def reopened(index: Index, found: Findings) -> None:
    """G2. Facts: batches acknowledged while a gate was closed, in the last answers there."""
    for read in index.rested_reads:
        if read.own or not index.eligible(read):
            continue
        table = read.table
        missed = 0
        for window in index.capability(read.cluster, on=False):
            missed |= table.acked_before(window.last) & ~table.acked_before(window.first)
        missed &= ~table.lost(read)
        found.checked += missed.bit_count()
        if missed & ~read.view.whole:
            found.call(
                f"{read} does not show {table.tell(missed & ~read.view.whole)}, acknowledged "
                "while streaming was off there; it is on since",
                read.call,
                next(table.of(missed & ~read.view.whole)).acked,
            )
        for row in read.view.repeated:
            batch = index.rows.get(row)
            if batch is not None and batch.table is table and batch.bit & missed:
                found.call(
                    f"{read} shows row {row}, of a time while streaming was off there, more than "
                    "once",
                    read.call,
                )
                break


# -- G3 -----------------------------------------------------------------------------------------


def no_half(index: Index, found: Findings) -> None:
    """G3. Facts: answers after a capability was turned off, until it is asked on again."""
    before: dict[tuple[str, Table], tuple[Window, Read]] = {}
    for read in index.reads:
        window = index.off_window(read)
        if window is None or window.call is None:
            continue
        found.checked += 1
        for batch, count in read.view.partial:
            found.call(
                f"{read} shows {count} of the {batch.size} {batch} after streaming was turned off",
                read.call,
                window.call.last,
            )
        _no_late_rows(index, read, window.call, found)
        key = (read.cluster, read.table)
        known = before.get(key)
        if known is not None and known[0] == window:
            _no_growth(known[1], read, found)
        before[key] = (window, read)


def _no_late_rows(index: Index, read: Read, off: Call[Invocation], found: Findings) -> None:
    table = read.table
    late = _unsealed(read)
    if index.has(Feature.HIDDEN_REASON) and not read.hidden:
        late |= read.view.touched & ~table.possible_before(off.last)
    if late:
        found.call(
            f"{read} shows {table.tell(late)}, still streaming, after streaming was turned off",
            read.call,
            off.last,
        )


def _no_growth(before: Read, read: Read, found: Findings) -> None:
    """Rows that become visible while the gate is closed are in extents: the floors have moved."""
    old, new = before.answer.position, read.answer.position
    gained = read.view.touched & ~before.view.touched
    if not gained or old is None or new is None or before.call.last > read.call.first:
        return
    if new.keys == old.keys:
        found.call(
            f"{read} shows {read.table.tell(gained)} that {before} does not, with the same floors, "
            "while streaming was off there",
            read.call,
            before.call.last,
        )


# -- G4 -----------------------------------------------------------------------------------------


def epochs(index: Index, found: Findings) -> None:
    """G4. Facts: frames of rows, gate reports, and answers while a capability was turned off."""
    for stream in index.streams:
        found.checked += stream.frames
        for odd in stream.found:
            if odd.oddity in _GATE:
                found.add(odd.text, odd.at, *odd.events)
    _stale_reports(index, found)
    hidden: dict[tuple[str, Table, Window], Read] = {}
    for read in index.reads:
        window = index.off_window(read)
        if window is None:
            continue
        found.checked += 1
        key = (read.cluster, read.table, window)
        if read.hidden:
            hidden.setdefault(key, read)
        elif key in hidden and hidden[key].call.last < read.call.first:
            found.call(
                f"{read} shows rows again that were hidden at {hidden[key].call.ended:.3f} s, "
                "though nobody turned streaming on",
                read.call,
                hidden[key].call.last,
                *_proof(window),
            )


def _stale_reports(index: Index, found: Findings) -> None:
    """A call does not begin with a gate open at an epoch below that of an off that is done.

    A report may wait for room in a call that was open before; there the order of epochs is judged.
    """
    streams = {stream.session: stream for stream in index.streams}
    offs: dict[str, list[Call[SetCapability]]] = {}
    for call in index.switches:
        if call.ok and not call.what.on:
            offs.setdefault(call.what.cluster, []).append(call)
    for event in index.noted(notes.GateReported):
        what = event.what
        assert isinstance(what, notes.GateReported)
        found.checked += 1
        stream = streams.get(what.session)
        if not what.open or stream is None:
            continue
        for off in offs.get(stream.follower, ()):
            stale = off.last < stream.opened.number and what.epoch < _epoch(off)
            if stale and index.stands(off, event.number):
                found.add(
                    f"{off.what.cluster} reported its gate open at epoch {what.epoch} at "
                    f"{event.at:.3f} s, after off was done at epoch {_epoch(off)}",
                    event.at,
                    off.last,
                    event.number,
                )
                break
