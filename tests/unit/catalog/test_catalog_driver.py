"""The catalog through its door: durable, atomic, ordered, pinned, read-only where it follows."""

from __future__ import annotations

import itertools
import shutil
import sqlite3

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cluster.catalog.changes import (
    AppendColumns,
    CreateTable,
    DropTable,
    SetDatabaseStreamingPolicy,
    apply,
)
from cluster.catalog.driver import Catalog
from cluster.catalog.journal import Delta
from cluster.catalog.model import (
    Column,
    Database,
    FollowingSource,
    RowStoreKey,
    ScalarType,
    StreamingIngestionPolicy,
    Version,
)
from cluster.errors import (
    ConflictError,
    CorruptionError,
    DatabaseNotFoundError,
    EntityExistsError,
    EntityNameError,
    LimitExceededError,
    ProtocolError,
    ReadOnlyError,
    TableNotFoundError,
    UnavailableError,
)
from cluster.limits import LIMITS, Limits

A, B = Column("a", ScalarType.LONG), Column("b", ScalarType.STRING)
ON = StreamingIngestionPolicy(True)
LEADER_TREE = apply(
    Database("Sales", "leader-guid"), [CreateTable("T", "id", RowStoreKey(77), (A,))], LIMITS
)


class FixedClock:
    def now_ns(self):
        return 1_700_000_000_000_000_000

    def monotonic(self):
        return 0.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "node" / "catalog.sqlite"


async def open_catalog(path, limits=LIMITS):
    return await Catalog.open(
        path, clock=FixedClock(), mint=itertools.count(1).__next__, limits=limits
    )


async def create_table(catalog, name, database="NetDefaultDB"):
    change = CreateTable(name, catalog.new_id(), catalog.new_key(), (A,))
    return await catalog.commit(database, [change], text=f".create table {name} (a:long)")


async def test_a_new_catalog_has_the_default_database(path):
    async with await open_catalog(path) as catalog:
        (database,) = catalog.databases()
        assert database.name == "NetDefaultDB"
        assert database.version == Version(1, 0)
        assert database.database_id == "00000000-0000-4001-8000-000000000002"
        assert not catalog.is_following("netdefaultdb")
        assert catalog.following_source("NETDEFAULTDB") is None


async def test_reopening_shows_what_was_committed_and_nothing_else(path):
    async with await open_catalog(path) as catalog:
        await catalog.create_database("Sales")
        delta = await create_table(catalog, "T", "sALES")
        assert (delta.from_version, delta.to_version) == (Version(1, 0), Version(1, 1))
        assert delta.event_time_ns == FixedClock().now_ns()
        with pytest.raises(TableNotFoundError):
            await catalog.commit("Sales", [DropTable("T"), DropTable("U")], text="")
        before = catalog.databases()
    async with await open_catalog(path) as catalog:
        assert catalog.databases() == before
        assert catalog.deltas_since("Sales", Version(1, 0)) == (delta,)


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
        assert catalog.tables_by_key().keys() == {5}
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


@pytest.mark.parametrize("reopen", [False, True])
async def test_history_is_bounded_at_its_limit(path, reopen):
    limits = Limits(catalog_history_deltas=4, catalog_snapshot_deltas=3)
    catalog = await open_catalog(path, limits)
    deltas = [await create_table(catalog, f"T{n}") for n in range(9)]
    if reopen:
        await catalog.aclose()
        with sqlite3.connect(path) as connection:
            assert connection.execute("SELECT count(*) FROM deltas").fetchone() == (4,)
        connection.close()
        catalog = await open_catalog(path, limits)
    assert catalog.deltas_since("NetDefaultDB", Version(1, 4)) is None
    assert catalog.deltas_since("NetDefaultDB", Version(1, 5)) == tuple(deltas[5:])
    assert catalog.deltas_since("NetDefaultDB", Version(1, 6)) == tuple(deltas[6:])
    assert catalog.statistics().deltas_kept == 4
    await create_table(catalog, "T9")
    assert catalog.deltas_since("NetDefaultDB", Version(1, 5)) is None
    await catalog.aclose()


async def test_opening_replays_only_what_the_snapshot_lacks(path):
    limits = Limits(catalog_snapshot_deltas=3)
    async with await open_catalog(path, limits) as catalog:
        for n in range(7):
            await create_table(catalog, f"T{n}")
        tree = catalog.get("NetDefaultDB")
    connection = sqlite3.connect(path)
    with connection:
        # The journal before the snapshot of v1.6 is history, not needed for the tree.
        connection.execute("DELETE FROM deltas WHERE minor <= 6")
    connection.close()
    async with await open_catalog(path, limits) as catalog:
        assert catalog.get("NetDefaultDB") == tree


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


# Disk


async def test_two_processes_cannot_share_a_catalog(path):
    async with await open_catalog(path):
        with pytest.raises(UnavailableError, match="in use by another process"):
            await open_catalog(path)


def _overwrite(path):
    path.write_bytes(b"not a database" * 100)


def _other_application(path):
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (a)")
    connection.close()


def _sql(statement):
    def damage(path):
        connection = sqlite3.connect(path)
        with connection:
            connection.execute(statement)
        connection.close()

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        _overwrite,
        _other_application,
        _sql("PRAGMA user_version = 2"),
        _sql("UPDATE databases SET snapshot = x'7b7d'"),
        _sql("UPDATE databases SET folded = 'other'"),
        _sql("DELETE FROM deltas WHERE minor = 2"),
        _sql("DELETE FROM deltas WHERE minor = 1"),
        _sql("UPDATE deltas SET changes = x'5b5d' WHERE minor = 3"),
    ],
)
async def test_a_damaged_file_is_refused_by_name(path, damage):
    async with await open_catalog(path) as catalog:
        for n in range(3):
            await create_table(catalog, f"T{n}")
    damage(path)
    with pytest.raises(CorruptionError, match="cannot be read") as caught:
        await open_catalog(path)
    assert caught.value.metadata["file"] == str(path)


async def test_a_file_that_cannot_be_opened(tmp_path):
    path = tmp_path / "catalog.sqlite"
    path.mkdir()
    with pytest.raises(UnavailableError, match="cannot be used"):
        await open_catalog(path)


async def test_a_failed_write_is_never_followed_by_another(path):
    async with await open_catalog(path) as catalog:
        await create_table(catalog, "T0")
        visible = catalog.get("NetDefaultDB")
        # SQLite itself refuses: the file may grow no more.
        catalog._store._connection.execute("PRAGMA max_page_count = 1")
        wide = tuple(Column(f"column{n}", ScalarType.INT) for n in range(5000))
        change = CreateTable("Wide", "id", RowStoreKey(99), wide)
        with pytest.raises(UnavailableError, match="full"):
            await catalog.commit("NetDefaultDB", [change], text="")
        catalog._store._connection.execute("PRAGMA max_page_count = 100000")
        with pytest.raises(UnavailableError, match="until the node restarts"):
            await create_table(catalog, "T1")
        assert catalog.get("NetDefaultDB") is visible
        assert not catalog.statistics().writable
    async with await open_catalog(path) as catalog:
        assert catalog.get("NetDefaultDB") == visible
        await create_table(catalog, "T1")


async def test_a_crash_at_any_byte_of_the_log_gives_a_prefix_of_the_history(path, tmp_path):
    trees = []
    catalog = await open_catalog(path, Limits(catalog_snapshot_deltas=4))
    trees.append(catalog.databases())
    for n in range(6):
        await create_table(catalog, f"T{n}")
        trees.append(catalog.databases())
    log = path.with_name(path.name + "-wal").read_bytes()
    seen = []
    for length in [*range(0, len(log), 2048), len(log)]:
        folder = tmp_path / str(length)
        folder.mkdir()
        copy = folder / path.name
        shutil.copy(path, copy)
        copy.with_name(path.name + "-wal").write_bytes(log[:length])
        async with await open_catalog(copy) as recovered:
            seen.append(trees.index(recovered.databases()))
    await catalog.aclose()
    assert seen == sorted(seen)
    assert seen[-1] == 6, "everything committed is in a whole log"
    assert set(seen) == set(range(7)), "the cuts fell between all commits"
