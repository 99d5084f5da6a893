"""The k-th change costs what it changes, however much there is: work is counted, not timed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from catalog_world import ON, create_table, extent, open_catalog

from cluster.catalog.changes import SealedRange, SealRows, SetDatabaseStreamingPolicy
from cluster.catalog.model import Provenance
from cluster.limits import Limits

LIMITS = Limits(catalog_snapshot_bytes=4096, row_stores=1)
SEALS = 600


async def seal(catalog, number):
    table = catalog.get("NetDefaultDB").tables["T"]
    first = table.references[0].sealed_ordinal
    sealed = extent(
        f"extent-{number:08}",
        row_count=10,
        sources=(Provenance(table.key, first, first + 10),),
    )
    change = SealRows("T", (SealedRange(table.key, first + 10, number),), (sealed,))
    await catalog.commit("NetDefaultDB", [change], text="")


async def test_what_is_written_for_snapshots_stays_in_proportion_to_the_changes(path):
    async with await open_catalog(path, LIMITS) as catalog:
        await catalog.commit("NetDefaultDB", [SetDatabaseStreamingPolicy(ON)], text="")
        await create_table(catalog, "T")
        at = [catalog.statistics()]
        for number in range(SEALS):
            await seal(catalog, number)
            at.append(catalog.statistics())
    steps = [after.journal_bytes - before.journal_bytes for before, after in pairwise(at)]
    # Digits of ordinals grow, nothing else does.
    assert max(steps[SEALS // 2 :]) < 1.1 * min(steps[: SEALS // 2])
    end = at[-1]
    assert end.snapshot_bytes < 2 * end.journal_bytes
    # Each snapshot is written after as many bytes of journal as the one before it has.
    snapshots = [
        after.snapshot_bytes - before.snapshot_bytes
        for before, after in pairwise(at)
        if after.snapshots > before.snapshots
    ]
    assert len(snapshots) >= 4
    for one, other in pairwise(snapshots):
        assert other > 1.25 * one
    async with await open_catalog(path, LIMITS) as catalog:
        assert len(catalog.get("NetDefaultDB").tables["T"].extents) == SEALS


@pytest.mark.parametrize(("over", "snapshots"), [(-1, 2), (0, 2), (1, 1)])
async def test_a_snapshot_is_written_when_the_journal_reaches_the_limit(tmp_path, over, snapshots):
    async def five_tables(folder, limits):
        async with await open_catalog(tmp_path / folder, limits) as catalog:
            for number in range(5):
                await create_table(catalog, f"T{number}")
            return catalog.statistics()

    journal_bytes = (await five_tables("measured", Limits())).journal_bytes
    limits = Limits(catalog_snapshot_bytes=journal_bytes + over)
    # One of the empty database, and perhaps one with the fifth table.
    assert (await five_tables("bounded", limits)).snapshots == snapshots


async def test_a_change_of_one_table_leaves_every_other_as_it_is(path):
    async with await open_catalog(path, LIMITS) as catalog:
        for number in range(20):
            await create_table(catalog, "T" if not number else f"U{number}")
        before = catalog.get("NetDefaultDB")
        by_key = catalog.tables_by_key()
        await seal(catalog, 0)
        after = catalog.get("NetDefaultDB")
        assert after.tables["T"] is not before.tables["T"]
        assert all(
            after.tables[name] is table for name, table in before.tables.items() if name != "T"
        )
        assert catalog.tables_by_key()[after.tables["T"].key] is after.tables["T"]
        assert by_key[before.tables["T"].key] is before.tables["T"], "a look-up in hand stays"
