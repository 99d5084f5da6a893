"""R1: what is seen anywhere is a prefix of the leader's log. Pure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from cluster.conformance import notes

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.rows import Read, Table


def prefix(index: Index, found: Findings) -> None:
    """R1. Facts: answers with a position, and positions of one key that two have named."""
    reads: dict[Table, list[Read]] = {}
    for read in index.reads:
        _order(read, found)
        if read.answer.position is not None:
            found.checked += 1
            _holds(read, found)
            reads.setdefault(read.table, []).append(read)
    owners = {key: table for table in index.tables.values() for key in table.keys}
    for table, of_table in reads.items():
        _chain(table, of_table, owners, found)
    _checksums(index, found)


def _holds(read: Read, found: Findings) -> None:
    """An answer has what its position includes, and nothing that begins after it."""
    table, position, view = read.table, read.answer.position, read.view
    assert position is not None
    missing = table.included(position) & ~view.whole
    if missing and (missing := missing & ~table.lost(read)):
        batch = next(table.of(missing))
        acked = batch.acked
        found.call(
            f"{read} does not show {table.tell(missing)}, which its position includes",
            read.call,
            acked,
        )
    extra = table.beyond(position) & view.touched
    if extra and (extra := extra & ~table.lost(read)):
        found.call(
            f"{read} shows {table.tell(extra)}, which begin after its position",
            read.call,
            next(table.of(extra)).acked,
        )


def _order(read: Read, found: Findings) -> None:
    """A batch is not seen without those that were acknowledged before it was sent."""
    table, view = read.table, read.view
    if not view.touched:
        return
    newest = table.batches[view.touched.bit_length() - 1]
    if newest.key is None:
        return
    found.checked += 1
    due = table.acked_before(newest.possible) & table.in_key(newest.key) & ~view.touched
    if due and (due := due & ~table.lost(read)):
        missing = next(table.of(due))
        found.call(
            f"{read} shows {newest} without {table.tell(due)}, which is before it in the log",
            read.call,
            missing.acked,
            newest.possible,
        )


def _chain(table: Table, reads: list[Read], owners: dict[int, Table], found: Findings) -> None:
    """Of two reads the one with the smaller ordinals shows a part of the other's rows."""
    eras: dict[int, list[tuple[int, list[tuple[int, int]], Read]]] = {}
    for read in reads:
        era = table.era(read)
        if era is None:
            continue
        assert read.answer.position is not None
        place: list[tuple[int, int]] = []
        total = 0
        for key, (ordinal, _) in read.answer.position.keys.items():
            if ordinal and owners.get(key, table) is table:
                place.append((key, ordinal))
                total += ordinal
        eras.setdefault(era, []).append((total, sorted(place), read))
    for chain in eras.values():
        chain.sort(key=lambda item: (item[0], item[1], item[2].call.first))
        for (_, place, read), (_, next_place, next_read) in itertools.pairwise(chain):
            _compare(table, (place, read), (next_place, next_read), found)


_Placed = tuple[list[tuple[int, int]], "Read"]


def _compare(table: Table, smaller: _Placed, larger: _Placed, found: Findings) -> None:
    (place, read), (next_place, next_read) = smaller, larger
    if place == next_place:
        found.checked += 1
        differs = read.view.touched ^ next_read.view.touched
        if differs:
            found.call(
                f"{next_read} and {read} are of equal ordinals, but only one of them shows "
                f"{table.tell(differs)}",
                max(read.call, next_read.call, key=lambda call: call.last),
                read.call.last,
                next_read.call.last,
            )
        return
    ordinals = dict(next_place)
    if any(ordinals.get(key, 0) < ordinal for key, ordinal in place):
        return
    missing = read.view.touched & ~next_read.view.touched
    if missing:
        found.call(
            f"{next_read} does not show {table.tell(missing)}, which {read} shows at a smaller "
            "position",
            max(read.call, next_read.call, key=lambda call: call.last),
            read.call.last,
            next_read.call.last,
        )


def _checksums(index: Index, found: Findings) -> None:
    """Equal ordinals of a key have equal checksums, whoever tells.

    But for a copy in which a row changed before it was checked: its follower cannot know until its
    leader answers. R9 says what may become of it.
    """
    known = dict(index.leader_checksums)
    for read in index.reads:
        if read.own or read.answer.position is None:
            continue
        if index.troubles.changed_in_memory(read.cluster, read.call.last):
            continue
        for key, (ordinal, checksum) in read.answer.position.keys.items():
            other = known.setdefault((key, ordinal), (checksum, read.call.last))
            if other[0] != checksum:
                found.call(
                    f"{read} has checksum {checksum:#x} of key {key:x} at ordinal {ordinal}, "
                    f"where {other[0]:#x} was told before",
                    read.call,
                    other[1],
                )
            elif other[1] != read.call.last:
                found.checked += 1
    for event in index.noted(notes.Delivered):
        what = event.what
        assert isinstance(what, notes.Delivered)
        other = known.setdefault((what.key, what.end), (what.checksum, event.number))
        if other[0] != what.checksum:
            found.add(
                f"rows up to ordinal {what.end} of key {what.key:x} were delivered with checksum "
                f"{what.checksum:#x}, where {other[0]:#x} was told before",
                event.at,
                other[1],
                event.number,
            )
        elif other[1] != event.number:
            found.checked += 1
