"""R15: sealing rows into extents changes nothing that can be seen. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.conformance import notes
from cluster.conformance.calls import Command

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.rows import Table
    from cluster.conformance.history import Event

_Extent = tuple[int, tuple[tuple[int, int, int], ...]]


def sealed_once(index: Index, found: Findings) -> None:
    """R15. Facts: extents shown, and answers about tables that were sealed before."""
    known: dict[str, tuple[_Extent, int]] = {}
    versions: dict[tuple[Table, tuple[int, int]], Event] = {}
    for event in index.noted(notes.Extents):
        what = event.what
        assert isinstance(what, notes.Extents)
        found.checked += len(what.extents)
        for extent, content in what.extents.items():
            other = known.setdefault(extent, (content, event.number))
            if other[0] != content:
                found.add(
                    f"extent {extent} holds {_tell(content)} on {what.cluster} at {event.at:.3f} "
                    f"s, and {_tell(other[0])} before",
                    event.at,
                    other[1],
                    event.number,
                )
        leader = index.attachments.leader(what.cluster, what.database, event.number)
        table = index.tables.get((leader or what.cluster, what.database, what.table))
        _tiles(table, event, what, found)
        if table is not None:
            _same_everywhere(table, versions, event, found)
    _reads(index, found)


def _tell(content: _Extent) -> str:
    rows, ranges = content
    told = ", ".join(f"{first}..{end - 1} of key {key:x}" for key, first, end in ranges)
    return f"{rows} rows ({told or 'of no key'})"


def _same_everywhere(
    table: Table,
    versions: dict[tuple[Table, tuple[int, int]], Event],
    event: Event,
    found: Findings,
) -> None:
    """Of one version of a database there is one set of extents, wherever it is looked at."""
    if any(wipe.call.what.verb == "drop-database" for wipe in table.wipes):
        return
    what = event.what
    assert isinstance(what, notes.Extents)
    other = versions.setdefault((table, what.version), event)
    assert isinstance(other.what, notes.Extents)
    if other.what.extents.keys() != what.extents.keys():
        found.add(
            f"{what.cluster} has other extents of {table.name} at version {what.version} than "
            f"{other.what.cluster}",
            event.at,
            other.number,
            event.number,
        )


def _tiles(table: Table | None, event: Event, what: notes.Extents, found: Findings) -> None:
    ranges: dict[int, list[tuple[int, int, str]]] = {}
    for extent, (rows, parts) in what.extents.items():
        if parts and sum(end - first for _, first, end in parts) != rows:
            found.add(
                f"extent {extent} has other rows than its ranges: {_tell((rows, parts))}",
                event.at,
                event.number,
            )
        for key, first, end in parts:
            ranges.setdefault(key, []).append((first, end, extent))
    wiped = table is None or bool(table.wipes)
    for key, of_key in ranges.items():
        of_key.sort()
        before, owner = (of_key[0][0] if wiped else 0), ""
        for first, end, extent in of_key:
            if first < before:
                found.add(
                    f"extents {owner} and {extent} on {what.cluster} both hold row {first} of "
                    f"key {key:x} at {event.at:.3f} s",
                    event.at,
                    event.number,
                )
            elif first > before and not wiped:
                found.add(
                    f"no extent on {what.cluster} holds rows {before}..{first - 1} of key {key:x} "
                    f"at {event.at:.3f} s, below those of extent {extent}",
                    event.at,
                    event.number,
                )
            before, owner = max(before, end), extent


def _reads(index: Index, found: Findings) -> None:
    """Answers given after a seal was asked for show every row once, and all that was acknowledged.

    Acknowledged before the seal and before the read: one that was asked for earlier may have been
    pinned earlier, however late it was answered.
    """
    seals = [
        call
        for call in index.commands
        if isinstance(call.what, Command)
        and call.what.verb in ("seal", "merge")
        and not call.refused
    ]
    for read in index.reads:
        table = read.table
        seal = next(
            (
                call
                for call in seals
                if call.first < read.call.last
                and (call.what.cluster, call.what.database) == (table.leader, table.database)
                and call.what.table in ("", table.table)
            ),
            None,
        )
        if seal is None:
            continue
        found.checked += 1
        if read.view.repeated:
            found.call(
                f"{read} shows row {read.view.repeated[0]} more than once after a seal",
                read.call,
                seal.first,
            )
        if read.own:
            lacking = table.acked_before(min(seal.first, read.call.first)) & ~read.view.whole
            if lacking and (lacking := lacking & ~table.lost(read)):
                found.call(
                    f"{read} does not show {table.tell(lacking)}, there before a seal",
                    read.call,
                    seal.first,
                )
