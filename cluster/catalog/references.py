"""How many row store references a table has, and in which row stores. A pure planner.

Sizing (``streamingingestionpolicy.md`` of 2019, the last page that gives one): a table has 4 up to
1 GB an hour, 4 for each further GB, 64 at most. They are spread round robin over the row stores of
the node, starting at another one for each table, so that tables with few share none.

A reference is never removed: what its key holds must stay readable. One that is not needed takes
no more rows (``is_enabled``), and is the first to be used again.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes_data import MAXIMUM_REFERENCES, SetReferences
from cluster.catalog.model import RowStoreReference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cluster.catalog.model import Database, RowStoreKey, StreamingIngestionPolicy, Table

LEAST_REFERENCES: Final = 4


def wanted_references(policy: StreamingIngestionPolicy) -> int:
    """How many enabled references an enabled policy asks for."""
    rate = policy.hint_allocated_rate
    if rate is None or rate <= 1:
        return LEAST_REFERENCES
    if rate * LEAST_REFERENCES >= MAXIMUM_REFERENCES:
        return MAXIMUM_REFERENCES
    return LEAST_REFERENCES * math.ceil(rate)


def plan_references(
    database: Database,
    names: Iterable[str],
    row_stores: int,
    new_key: Callable[[], RowStoreKey],
) -> tuple[SetReferences, ...]:
    """What the tables of those names need in ``database`` besides what they have.

    Names without a table are passed over. ``row_stores`` is the number of row stores of the node,
    at least 1; ``new_key`` gives random keys, of which those in use are left out.
    """
    planned = []
    for name in names:
        table = database.tables.get(name)
        wanted = None if table is None else _planned(database, table, row_stores)
        if table is not None and wanted is not None:
            planned.append((table, wanted))
    return _with_keys(database, planned, new_key) if planned else ()


def _planned(
    database: Database, table: Table, row_stores: int
) -> tuple[tuple[bool, ...], tuple[int, ...]] | None:
    """Which references are enabled, and the row stores of new ones; None: all is well."""
    policy = database.effective_streaming(table)
    if policy is None or not policy.is_enabled:
        return None
    wanted = wanted_references(policy)
    enabled = _enabled(table.references, wanted, row_stores)
    room = MAXIMUM_REFERENCES - len(table.references)
    missing = min(wanted - sum(enabled), room)
    if not missing and all(
        reference.is_enabled == flag
        for reference, flag in zip(table.references, enabled, strict=True)
    ):
        return None
    load = Counter(
        reference.row_store
        for reference, flag in zip(table.references, enabled, strict=True)
        if flag
    )
    start = table.key % row_stores
    order = [(start + step) % row_stores for step in range(row_stores)]
    added = []
    for _ in range(missing):
        row_store = min(order, key=lambda store: load[store])  # the first of the least used
        load[row_store] += 1
        added.append(row_store)
    return enabled, tuple(added)


def _enabled(
    references: Iterable[RowStoreReference], wanted: int, row_stores: int
) -> tuple[bool, ...]:
    """The first ``wanted`` references to row stores that the node has, enabled ones first."""
    usable = [
        (not reference.is_enabled, place)
        for place, reference in enumerate(references)
        if reference.row_store < row_stores
    ]
    chosen = {place for _, place in sorted(usable)[:wanted]}
    return tuple(place in chosen for place, _ in enumerate(references))


def _with_keys(
    database: Database,
    needed: Iterable[tuple[Table, tuple[tuple[bool, ...], tuple[int, ...]]]],
    new_key: Callable[[], RowStoreKey],
) -> tuple[SetReferences, ...]:
    used = set(database.row_store_keys())
    used.update(key for dropped in database.dropped_tables for key in dropped.table.keys)
    changes = []
    for table, (enabled, row_stores) in needed:
        references = [
            replace(reference, is_enabled=flag)
            for reference, flag in zip(table.references, enabled, strict=True)
        ]
        for row_store in row_stores:
            key = new_key()
            while key in used:
                key = new_key()
            used.add(key)
            references.append(RowStoreReference(row_store, key))
        changes.append(SetReferences(table.name, tuple(references)))
    return tuple(changes)
