"""From written files to a committed transaction, or back to no files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from cluster.catalog.changes import Change
from cluster.catalog.model import Database, Extent
from cluster.errors import RequestError, StateError
from cluster.extents.keeping import CrashPoint

if TYPE_CHECKING:
    from cluster.catalog.model import RowStoreKey, Table

Plan = Callable[[Database], Sequence[Change]]
"""The changes to make, by the newest tree; none: there is nothing to do, or not any more."""

Commit = Callable[[str, Plan, str, CrashPoint], Awaitable[bool]]
"""Commits a transaction (database, plan, text for the journal) and moves the row stores to the
floors it set; the crash point is between the two. False if the plan had no changes. Once it has
begun it is not cancelled."""

Discard = Callable[[Database, Sequence[Extent]], Awaitable[None]]
"""Removes the files of extents that no transaction names. What it cannot remove the sweep will."""


async def commit_or_discard(
    commit: Commit,
    discard: Discard,
    database: Database,
    plan: Plan,
    extents: Sequence[Extent],
    point: CrashPoint,
    text: str = "",
) -> bool:
    """Commits what names the files of ``extents``; removes the files if that is refused.

    Returns False if the plan found that it is outdated. After any other failure (the catalog
    could not write, the process is stopping) nobody knows whether the files are named: they stay,
    and the sweep at the next start, which reads what was committed, decides.
    """
    try:
        committed = await commit(database.name, plan, text, point)
    except (RequestError, StateError):
        await discard(database, extents)
        raise
    if not committed:
        await discard(database, extents)
    return committed


def find_incarnation(database: Database, key: RowStoreKey, name: str = "") -> Table | None:
    """The table with that first key, whatever its name is by now; None if it is gone.

    ``name`` is where it is looked for first.
    """
    table = database.tables.get(name)
    if table is not None and table.key == key:
        return table
    return next((table for table in database.tables.values() if table.key == key), None)
