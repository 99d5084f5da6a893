"""Files nothing names any more: recorded with the change that made them so, and never lost."""

from __future__ import annotations

import pytest
from catalog_world import LEADER_TREE, FixedClock, create_table, extent, open_catalog

from cluster.catalog.changes import (
    ClearTable,
    DropTable,
    ForgetDroppedTables,
    ReplaceExtents,
    RestoreTable,
)
from cluster.catalog.driver import GarbageFile
from cluster.catalog.journal import Delta
from cluster.catalog.model import Version
from cluster.errors import ConflictError

NOW_US = FixedClock().now_ns() // 1000


async def commit(catalog, *changes, database="Sales"):
    return await catalog.commit(database, changes, text="")


async def world(path):
    catalog = await open_catalog(path)
    await catalog.create_database("Sales", storage_root="s3://bucket/sales")
    await create_table(catalog, "T", "Sales")
    await create_table(catalog, "U", "Sales")
    await commit(catalog, ReplaceExtents("T", (), (extent("e1"), extent("e2"))))
    return catalog


def files(catalog):
    return [item.file for item in catalog.garbage()]


async def test_a_dropped_extents_file_is_garbage_from_that_version_on(path):
    async with await world(path) as catalog:
        assert catalog.garbage() == ()
        await commit(catalog, ReplaceExtents("T", ("e1",)))
        expected = GarbageFile("Sales", "s3://bucket/sales", "e1.parquet", Version(1, 4), NOW_US)
        assert catalog.garbage() == (expected,)
        assert catalog.statistics().garbage_files == 1
    async with await open_catalog(path) as catalog:
        assert catalog.garbage() == (expected,)
        await catalog.forget_garbage([expected])
        await catalog.forget_garbage([expected])
        assert catalog.garbage() == ()
    async with await open_catalog(path) as catalog:
        assert catalog.garbage() == ()


async def test_a_file_is_garbage_when_its_last_extent_goes(path):
    async with await world(path) as catalog:
        # Retag and move: the old file under new ids.
        retagged = extent("e3", "e1.parquet", tags=("x",))
        await commit(catalog, ReplaceExtents("T", ("e1",), (retagged,)))
        moved = extent("e4", "e1.parquet")
        await commit(catalog, ReplaceExtents("T", ("e3",)), ReplaceExtents("U", (), (moved,)))
        assert files(catalog) == []
        await commit(catalog, ReplaceExtents("U", ("e4",)))
        assert files(catalog) == ["e1.parquet"]


async def test_a_file_that_comes_and_goes_in_one_transaction_is_garbage(path):
    async with await world(path) as catalog:
        await commit(
            catalog, ReplaceExtents("T", (), (extent("e3"),)), ReplaceExtents("T", ("e3",))
        )
        assert files(catalog) == ["e3.parquet"]


async def test_clearing_makes_garbage_of_everything(path):
    async with await world(path) as catalog:
        await commit(catalog, ClearTable("T"))
        assert files(catalog) == ["e1.parquet", "e2.parquet"]


async def test_a_dropped_table_keeps_its_files_until_it_is_forgotten(path):
    async with await world(path) as catalog:
        await commit(catalog, DropTable("T"))
        assert files(catalog) == []
        await commit(catalog, RestoreTable(Version(1, 3), "T", catalog.new_key()))
        dropped_at = catalog.get("Sales").version
        await commit(catalog, DropTable("T"))
    async with await open_catalog(path) as catalog:
        assert files(catalog) == []
        await commit(catalog, ForgetDroppedTables((dropped_at,)))
        assert files(catalog) == ["e1.parquet", "e2.parquet"]


async def test_garbage_cannot_be_named_again_until_it_is_forgotten(path):
    async with await world(path) as catalog:
        await commit(catalog, ReplaceExtents("T", ("e1",)))
        again = ReplaceExtents("T", (), (extent("e3", "e1.parquet"),))
        with pytest.raises(ConflictError, match="is being deleted"):
            await commit(catalog, again)
        assert "e3" not in catalog.get("Sales").tables["T"].extents
        await catalog.forget_garbage(catalog.garbage())
        await commit(catalog, again)


async def test_files_of_the_same_name_in_two_databases_are_two(path):
    async with await world(path) as catalog:
        await create_table(catalog, "T")
        await commit(catalog, ReplaceExtents("T", (), (extent("e1"),)), database="NetDefaultDB")
        await commit(catalog, ReplaceExtents("T", ("e1",)), database="NetDefaultDB")
        await commit(catalog, ReplaceExtents("T", ("e2",)))
        assert {(item.database, item.root, item.file) for item in catalog.garbage()} == {
            ("NetDefaultDB", "", "e1.parquet"),
            ("Sales", "s3://bucket/sales", "e2.parquet"),
        }


async def test_files_of_a_leader_are_not_ours(path):
    async with await open_catalog(path) as catalog:
        await catalog.install_snapshot("F", "leader", "Sales", LEADER_TREE)
        for minor, change in enumerate(
            [ReplaceExtents("T", (), (extent("e1"),)), ReplaceExtents("T", ("e1",))], 1
        ):
            await catalog.apply_delta(
                "F", Delta(Version(1, minor), Version(1, minor + 1), (change,))
            )
        assert catalog.garbage() == ()
