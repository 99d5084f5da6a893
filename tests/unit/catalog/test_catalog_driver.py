"""The catalog through its door: atomic, ordered, pinned, read-only where it follows."""

from __future__ import annotations

import pytest
import trio
from catalog_world import LEADER_TREE, ON, A, FixedClock, create_table, open_catalog
from trio.testing import wait_all_tasks_blocked

from cluster.catalog.changes import (
    AppendColumns,
    CreateTable,
    DropTable,
    SetDatabaseStreamingPolicy,
)
from cluster.catalog.driver import Catalog
from cluster.catalog.journal import Delta
from cluster.catalog.model import Column, FollowingSource, RowStoreKey, Version
from cluster.errors import (
    ConflictError,
    DatabaseNotFoundError,
    EntityExistsError,
    EntityNameError,
    LimitExceededError,
    ProtocolError,
    ReadOnlyError,
)
from cluster.limits import Limits


async def test_a_new_catalog_has_the_default_database(path):
    async with await open_catalog(path) as catalog:
        (database,) = catalog.databases()
        assert database.name == "NetDefaultDB"
        assert database.version == Version(1, 0)
        assert database.database_id == "00000000-0000-4001-8000-000000000002"
        assert not catalog.is_following("netdefaultdb")
        assert catalog.following_source("NETDEFAULTDB") is None


@pytest.mark.fidelity("entity-names.md", "Names of databases ignore case")
async def test_databases_are_found_in_any_case_and_made_once(path):
    async with await open_catalog(path) as catalog:
        made, is_new = await catalog.create_database("Sales")
        assert is_new
        assert catalog.get("SALES") is made
        assert await catalog.create_database("sales", if_not_exists=True) == (made, False)
        with pytest.raises(EntityExistsError):
            await catalog.create_database("sales")
        with pytest.raises(EntityNameError):
            await catalog.create_database("a/b")
        with pytest.raises(
            DatabaseNotFoundError, match="Entity ID 'X' of kind 'Database' was not found"
        ):
            catalog.get("X")


async def test_limit_of_databases(path):
    async with await open_catalog(path, Limits(databases=3)) as catalog:
        await catalog.create_database("D2")
        await catalog.create_database("D3")
        with pytest.raises(LimitExceededError):
            await catalog.create_database("D4")
        with pytest.raises(LimitExceededError):
            await catalog.install_snapshot("F", "leader", "Sales", LEADER_TREE)
        assert len(catalog.databases()) == 3


async def test_transactions_are_planned_from_the_newest_tree(path):
    async with await open_catalog(path) as catalog:
        await create_table(catalog, "T")

        async def add(name):
            def plan(database):
                columns = database.tables["T"].columns
                return [AppendColumns("T", (Column(f"{name}{len(columns)}", A.type),))]

            await catalog.transact("NetDefaultDB", plan, text="")

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(add, "c")
        names = [column.name for column in catalog.get("NetDefaultDB").tables["T"].columns]
        assert names == ["a", *(f"c{n}" for n in range(1, 9))]


async def test_a_plan_without_changes_commits_nothing(path):
    async with await open_catalog(path) as catalog:
        revision = catalog.revision
        tree, delta = await catalog.transact("NetDefaultDB", lambda tree: (), text="")
        assert delta is None
        assert tree is catalog.get("NetDefaultDB")
        assert catalog.revision == revision


async def test_a_plan_that_raises_commits_nothing(path):
    def plan(tree):
        raise ConflictError("no")

    async with await open_catalog(path) as catalog:
        with pytest.raises(ConflictError):
            await catalog.transact("NetDefaultDB", plan, text="")
        assert catalog.get("NetDefaultDB").version == Version(1, 0)
        await create_table(catalog, "T")
        assert catalog.statistics().refused == 1


async def test_a_cancelled_commit_is_whole_in_memory_and_on_disk(path):
    catalog = await open_catalog(path)
    with trio.CancelScope() as scope:

        def plan(tree):
            scope.cancel()  # arrives while the transaction is under way, before its write
            return [CreateTable("T", "id", RowStoreKey(9), (A,))]

        await catalog.transact("NetDefaultDB", plan, text="")
    visible = catalog.databases()
    await catalog.aclose()
    async with await open_catalog(path) as reopened:
        assert reopened.databases() == visible


async def test_waiting_for_changes(path):
    async with await open_catalog(path) as catalog, trio.open_nursery() as nursery:
        seen = catalog.revision
        woken = []

        async def watch():
            woken.append(await catalog.wait_change(seen))

        nursery.start_soon(watch)
        await wait_all_tasks_blocked()
        assert woken == []
        await create_table(catalog, "T")
        await wait_all_tasks_blocked()
        assert woken == [seen + 1]
        assert await catalog.wait_change(seen) == seen + 1


async def test_tables_by_row_store_key_forget_dropped_ones(path):
    async with await open_catalog(path) as catalog:
        await create_table(catalog, "T")
        key = catalog.get("NetDefaultDB").tables["T"].key
        assert catalog.tables_by_key()[key].name == "T"
        assert catalog.new_key() != key
        await catalog.commit("NetDefaultDB", [DropTable("T")], text=".drop table T")
        assert key not in catalog.tables_by_key()


async def test_a_minted_key_that_is_taken_or_zero_is_not_used(path):
    minted = iter([1, 2, 5, 5, 0, 2**64, 5, 6])
    catalog = await Catalog.open(path, clock=FixedClock(), mint=minted.__next__)
    async with catalog:
        await catalog.commit(
            "NetDefaultDB", [CreateTable("T", "id", catalog.new_key(), (A,))], text=""
        )
        assert set(catalog.tables_by_key()) == {5}
        assert catalog.new_key() == 6


async def test_deltas_since_a_version(path):
    async with await open_catalog(path) as catalog:
        deltas = [await create_table(catalog, f"T{n}") for n in range(3)]
        for n in range(4):
            assert catalog.deltas_since("NetDefaultDB", Version(1, n)) == tuple(deltas[n:])
        assert catalog.deltas_since("NetDefaultDB", Version(1, 4)) is None
        assert catalog.deltas_since("NetDefaultDB", Version(2, 1)) is None
        with pytest.raises(DatabaseNotFoundError):
            catalog.deltas_since("X", Version(1, 0))


# Following


async def test_a_follower_database_is_the_leaders_tree_under_a_local_name(path):
    async with await open_catalog(path) as catalog:
        await catalog.install_snapshot("Copy", "leader", "Sales", LEADER_TREE)
        assert catalog.is_following("copy")
        assert catalog.following_source("copy") == FollowingSource("leader", "Sales")
        delta = Delta(Version(1, 1), Version(1, 2), (SetDatabaseStreamingPolicy(ON),))
        tree = await catalog.apply_delta("copy", delta)
        assert (tree.name, tree.version, tree.database_id) == ("Copy", Version(1, 2), "leader-guid")
        assert tree.streaming_tables() == ("T",)
        before = catalog.databases()
    async with await open_catalog(path) as catalog:
        assert catalog.databases() == before
        assert catalog.following_source("Copy") == FollowingSource("leader", "Sales")
        with pytest.raises(ProtocolError):
            await catalog.apply_delta("Copy", delta)  # the second time: not its version any more
        assert catalog.databases() == before


async def test_local_transactions_on_a_follower_leave_no_trace(path):
    async with await open_catalog(path) as catalog:
        await catalog.install_snapshot("Sales", "leader", "Sales", LEADER_TREE)
        tree, revision = catalog.get("Sales"), catalog.revision
        with pytest.raises(ReadOnlyError, match="'Sales' of cluster 'leader'") as caught:
            await catalog.commit("Sales", [DropTable("T")], text="")
        assert caught.value.metadata["leader_cluster"] == "leader"
        with pytest.raises(ReadOnlyError):
            await catalog.transact("SALES", lambda tree: [DropTable("T")], text="")
        with pytest.raises(EntityExistsError):
            await catalog.create_database("Sales")
        assert catalog.get("Sales") is tree
        assert catalog.revision == revision


async def test_a_second_snapshot_replaces_tree_and_history(path):
    async with await open_catalog(path) as catalog:
        await catalog.install_snapshot("Sales", "leader", "Sales", LEADER_TREE)
        delta = Delta(Version(1, 1), Version(1, 2), (DropTable("T"),))
        await catalog.apply_delta("Sales", delta)
        await catalog.install_snapshot("Sales", "leader", "Sales", LEADER_TREE)
        assert catalog.get("Sales") == LEADER_TREE
        assert catalog.deltas_since("Sales", Version(1, 0)) is None
        await catalog.apply_delta("Sales", delta)
        assert len(catalog.deltas_since("Sales", Version(1, 1))) == 1


async def test_names_that_cannot_follow(path):
    async with await open_catalog(path) as catalog:
        await catalog.create_database("Own")
        await catalog.install_snapshot("Sales", "leader", "Sales", LEADER_TREE)
        for name, cluster, database in [
            ("own", "leader", "Sales"),
            ("NetDefaultDB", "leader", "NetDefaultDB"),
            ("sales", "other", "Sales"),
            ("sales", "leader", "Orders"),
        ]:
            with pytest.raises(ConflictError):
                await catalog.install_snapshot(name, cluster, database, LEADER_TREE)
        with pytest.raises(ConflictError, match="does not follow"):
            await catalog.apply_delta("Own", Delta(Version(1, 0), Version(1, 1), ()))
        with pytest.raises(ConflictError, match="does not follow"):
            await catalog.remove_following("Own")


async def test_detaching_forgets_the_database_for_good(path):
    async with await open_catalog(path) as catalog:
        await catalog.install_snapshot("Sales", "leader", "Sales", LEADER_TREE)
        await catalog.apply_delta("Sales", Delta(Version(1, 1), Version(1, 2), (DropTable("T"),)))
        await catalog.remove_following("sales")
        with pytest.raises(DatabaseNotFoundError):
            await catalog.remove_following("sales")
        await catalog.create_database("Sales")
    async with await open_catalog(path) as catalog:
        assert not catalog.is_following("Sales")
        assert catalog.get("Sales").tables == {}
