"""The catalog's file: durable, bounded, locked, refused when damaged, a prefix after a crash."""

from __future__ import annotations

import shutil
import sqlite3

import pytest
from catalog_world import FixedClock, create_table, open_catalog

from cluster.catalog.changes import CreateTable, DropTable
from cluster.catalog.model import Column, RowStoreKey, ScalarType, Version
from cluster.errors import CorruptionError, TableNotFoundError, UnavailableError
from cluster.limits import Limits


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


@pytest.mark.parametrize("reopen", [False, True])
async def test_history_is_bounded_at_its_limit(path, reopen):
    limits = Limits(catalog_history_deltas=4, catalog_snapshot_bytes=600)
    catalog = await open_catalog(path, limits)
    deltas = [await create_table(catalog, f"T{n}") for n in range(9)]
    if reopen:
        await catalog.aclose()
        catalog = await open_catalog(path, limits)
    assert catalog.deltas_since("NetDefaultDB", Version(1, 4)) is None
    assert catalog.deltas_since("NetDefaultDB", Version(1, 5)) == tuple(deltas[5:])
    assert catalog.deltas_since("NetDefaultDB", Version(1, 6)) == tuple(deltas[6:])
    assert catalog.statistics().deltas_kept == 4
    await create_table(catalog, "T9")
    assert catalog.deltas_since("NetDefaultDB", Version(1, 5)) is None
    await catalog.aclose()


@pytest.mark.parametrize(("over", "kept"), [(-1, 2), (0, 3), (1, 3)])
async def test_history_is_bounded_by_bytes_too(path, over, kept):
    async with await open_catalog(path) as catalog:
        await create_table(catalog, "T0")
        before = catalog.statistics().journal_bytes
        for n in range(1, 4):
            await create_table(catalog, f"T{n}")
        three_deltas = catalog.statistics().journal_bytes - before
    limits = Limits(catalog_history_bytes=three_deltas + over)
    async with await open_catalog(path, limits) as catalog:
        assert catalog.statistics().deltas_kept == kept


async def test_a_delta_over_the_bound_is_kept_until_the_next(path):
    async with await open_catalog(path, Limits(catalog_history_bytes=1)) as catalog:
        for n in range(3):
            await create_table(catalog, f"T{n}")
            assert catalog.statistics().deltas_kept == 1


def _rows(path, query):
    connection = sqlite3.connect(path)
    with connection:
        rows = connection.execute(query).fetchall()
    connection.close()
    return rows


async def test_opening_replays_only_what_the_snapshot_lacks(path):
    limits = Limits(catalog_snapshot_bytes=600)
    async with await open_catalog(path, limits) as catalog:
        while catalog.statistics().snapshots < 3:  # the first one is that of the empty database
            await create_table(catalog, f"T{catalog.revision}")
        at = catalog.get("NetDefaultDB").version.minor
        await create_table(catalog, "Last")
        tree = catalog.get("NetDefaultDB")
    # The journal before the snapshot is history, not needed for the tree.
    _rows(path, f"DELETE FROM deltas WHERE minor <= {at}")
    assert len(_rows(path, "SELECT minor FROM deltas")) == 1
    async with await open_catalog(path, limits) as catalog:
        assert catalog.get("NetDefaultDB") == tree


async def test_the_file_forgets_history_with_each_snapshot(path):
    limits = Limits(catalog_history_deltas=4, catalog_snapshot_bytes=600)
    async with await open_catalog(path, limits) as catalog:
        while catalog.statistics().snapshots < 4:
            await create_table(catalog, f"T{catalog.revision}")
    assert len(_rows(path, "SELECT minor FROM deltas")) == 4 + 1


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
        _sql("PRAGMA user_version = 5"),
        _sql("UPDATE databases SET snapshot = x'7b7d'"),
        _sql("UPDATE databases SET folded = 'other'"),
        _sql("DELETE FROM deltas WHERE minor = 2"),
        _sql("DELETE FROM deltas WHERE minor = 1"),
        _sql(
            "UPDATE databases SET snapshot ="
            " CAST(replace(snapshot, '\"format\":3', '\"format\":4') AS BLOB)"
        ),
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
        catalog._writer._store._connection.execute("PRAGMA max_page_count = 1")
        wide = tuple(Column(f"column{n}", ScalarType.INT) for n in range(5000))
        change = CreateTable("Wide", "id", RowStoreKey(99), wide)
        with pytest.raises(UnavailableError, match="full"):
            await catalog.commit("NetDefaultDB", [change], text="")
        catalog._writer._store._connection.execute("PRAGMA max_page_count = 100000")
        with pytest.raises(UnavailableError, match="until the node restarts"):
            await create_table(catalog, "T1")
        assert catalog.get("NetDefaultDB") is visible
        assert not catalog.statistics().writable
    async with await open_catalog(path) as catalog:
        assert catalog.get("NetDefaultDB") == visible
        await create_table(catalog, "T1")


async def test_a_crash_at_any_byte_of_the_log_gives_a_prefix_of_the_history(path, tmp_path):
    trees = []
    catalog = await open_catalog(path, Limits(catalog_snapshot_bytes=600))
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
