"""R11: a read that asks for a position is never answered from before it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.rows import Read, Table


def at_least(index: Index, found: Findings) -> None:
    """R11. Facts: answers to reads that asked for a position."""
    owners = {key: table for table in index.tables.values() for key in table.keys}
    for read in index.reads:
        what = read.call.what
        wanted = what.at_least
        if wanted is None:
            continue
        found.checked += 1
        due = read.table.included(wanted) & ~read.view.whole & ~read.table.lost(read)
        if due:
            found.call(
                f"{read} asked for a position that includes {read.table.tell(due)}, and does not "
                "show it",
                read.call,
                next(read.table.of(due)).acked,
            )
        _check_position(index, read, owners, found)


def _check_position(index: Index, read: Read, owners: dict[int, Table], found: Findings) -> None:
    what, position = read.call.what, read.answer.position
    if position is None or what.at_least is None:
        return
    if any(
        wipe.call.what.verb == "drop-database" and wipe.may_have(read) for wipe in read.table.wipes
    ):
        return
    if position.version < what.at_least.version:
        found.call(
            f"{read} asked for version {what.at_least.version} and is of {position.version}",
            read.call,
        )
    for key, (ordinal, _) in what.at_least.keys.items():
        if position.ordinal(key) >= ordinal:
            continue
        table = owners.get(key)
        if table is None or any(wipe.may_have(read) for wipe in table.wipes):
            continue
        shared = read.own or index.attachments.shares(
            read.cluster, table.database, table.table, read.call.first, read.call.last
        )
        if shared and table.database == read.table.database:
            found.call(
                f"{read} asked for ordinal {ordinal} of key {key:x} ({table.name}) and is of "
                f"{position.ordinal(key)}",
                read.call,
            )
