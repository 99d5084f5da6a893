"""Snapshots of owned databases: every row once, of one moment, files held as long as they are."""

from __future__ import annotations

import gc
from dataclasses import replace

import immutables
import pyarrow as pa
import pytest

from cluster.catalog.model import (
    Column,
    Database,
    Extent,
    Function,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
    Version,
)
from cluster.errors import DatabaseNotFoundError
from cluster.node.databases import NodeDatabases
from cluster.replication.position import KeyPosition
from cluster.rowstore.model import Rows

SCHEMA = pa.schema([("a", pa.int64())])
ONE, TWO = RowStoreKey(1), RowStoreKey(2)


class Catalog:
    """Trees that the test replaces."""

    def __init__(self, *trees):
        self.trees = {tree.name: tree for tree in trees}

    def get(self, name):
        if name not in self.trees:
            raise DatabaseNotFoundError(name)
        return self.trees[name]

    def databases(self):
        return tuple(self.trees.values())

    def is_following(self, name):
        return False

    def tables_by_key(self):
        return {
            key: table
            for tree in self.trees.values()
            for table in tree.tables.values()
            for key in table.keys
        }


class Store:
    """Rows by key; a seal advances a key, which frees what is below."""

    def __init__(self):
        self.held = {ONE: [(0, 3)], TWO: [(0, 2)]}
        self.moved = set()
        self.asked = []

    def rows(self, key, from_ordinal=0):
        batches, end = [], 0
        for first, last in self.held.get(key, []):
            end = last
            if last > from_ordinal:
                values = list(range(max(first, from_ordinal), last))
                batches.append(pa.record_batch([pa.array(values, pa.int64())], schema=SCHEMA))
        versions = (0,) * len(batches)
        return Rows(tuple(batches), versions, KeyPosition(end, 0), from_ordinal)

    def take_moved(self):
        moved, self.moved = self.moved, set()
        return moved

    def position_of(self, keys):
        self.asked += keys
        return {key: KeyPosition(max((last for _, last in self.held.get(key, [])), default=0), 0)
                for key in keys}  # fmt: skip

    def end_lsn(self):
        return 0

    async def wait_beyond(self, lsn):
        raise NotImplementedError


def tree(name="Home", **more):
    columns = (Column("a", ScalarType.LONG),)
    references = (RowStoreReference(0, ONE), RowStoreReference(1, TWO))
    table = Table("T", "t", references, (columns,), ((0,),))
    other = Table("Other", "o", (RowStoreReference(0, RowStoreKey(9)),), (columns,), ((0,),))
    return Database(name, "d", tables={"T": table, "Other": other}, **more)


def sealed(database, key, end, name):
    """The tree after rows of a key below ``end`` went into an extent."""
    table = database.tables["T"]
    references = tuple(
        replace(one, sealed_ordinal=end) if one.key == key else one for one in table.references
    )
    extent = Extent(name, f"{name}.parquet", 1, 0, (0,), end, 1, 1, 1, 1, 1)
    table = replace(table, references=references, extents=table.extents.set(name, extent))
    tables = {**database.tables, "T": table}
    return replace(database, tables=tables, version=database.version.next())


@pytest.fixture
def world():
    catalog, store = Catalog(tree()), Store()
    return catalog, store, NodeDatabases(catalog, store, None, cursor_us=lambda: 77)


def count(snapshot, table="T"):
    bound = snapshot.tables[table]
    streamed = sum(batch.num_rows for batch in bound.batches)
    return streamed, sum(extent.row_count for extent in bound.extents.values())


def test_every_row_is_in_a_snapshot_once_whatever_is_sealed(world):
    catalog, store, databases = world
    pinned = [databases.pin("Home").snapshot]
    catalog.trees["Home"] = sealed(catalog.trees["Home"], ONE, 3, "x")  # rows are still held
    pinned.append(databases.pin("Home").snapshot)
    store.held[ONE] = []
    pinned.append(databases.pin("Home").snapshot)
    catalog.trees["Home"] = sealed(catalog.trees["Home"], TWO, 1, "y")
    pinned.append(databases.pin("Home").snapshot)
    assert [count(snapshot) for snapshot in pinned] == [(5, 0), (2, 3), (2, 3), (1, 4)]
    assert pinned[-1].tables["T"].batches[0].column(0).to_pylist() == [1]


def test_a_snapshot_says_its_cursor_its_functions_and_its_position(world):
    catalog, _, databases = world
    stored = {"F": Function("F", "()", "{ T }")}
    catalog.trees["Home"] = tree(functions=stored)
    pinned = databases.pin("Home")
    assert (pinned.snapshot.cursor_us, pinned.snapshot.functions) == (77, stored)
    assert dict(pinned.position.keys) == {ONE: KeyPosition(3, 0), TWO: KeyPosition(2, 0)}
    assert pinned.position.version == Version(1, 0)


def test_a_position_is_asked_for_where_something_moved_and_nowhere_else(world):
    catalog, store, databases = world
    databases.pin("Home")
    assert sorted(store.asked) == [ONE, TWO, RowStoreKey(9)]
    store.asked.clear()
    before = databases.pin("Home").position
    databases.reports()
    assert store.asked == []
    store.held[TWO] = [(0, 5)]
    store.moved = {TWO, RowStoreKey(99)}  # the other one of a table that is gone
    assert databases.position("Home").keys == {ONE: KeyPosition(3, 0), TWO: KeyPosition(5, 0)}
    assert store.asked == [TWO]
    assert before.keys[TWO] == KeyPosition(2, 0), "what was given out stays as it is"
    store.asked.clear()
    table = catalog.trees["Home"].tables["Other"]
    catalog.trees["Home"] = replace(catalog.trees["Home"], tables={"Other": table})
    store.moved = {ONE}
    assert databases.position("Home").keys == {}
    assert store.asked == [], "its table was dropped"


def test_unsealed_rows_are_reported_until_they_are_sealed(world):
    catalog, store, databases = world
    for end, key, reported in ((3, ONE, True), (2, TWO, False)):
        assert databases.reports()[0].streaming_content
        catalog.trees["Home"] = sealed(catalog.trees["Home"], key, end, f"x{key}")
        assert databases.reports()[0].streaming_content is reported
    store.held[ONE] = [(3, 4)]
    store.moved = {ONE}
    assert databases.reports()[0].streaming_content


def test_only_tables_that_the_text_may_name_are_pinned(world):
    catalog, _, databases = world
    catalog.trees["Home"] = tree(functions={"F": Function("F", "()", "{ Other }")})
    for text, names in (("T | count", {"T"}), ("F()", {"Other"}), ("union *", {"T", "Other"})):
        assert set(databases.pin("Home", text).snapshot.tables) == names


def test_tables_that_a_policy_names_are_pinned_with_the_table(world):
    catalog, _, databases = world
    home = tree(functions={"F": Function("F", "()", "{ T | where a in ((Other)) }")})
    policy = {"row_level_security": '{"IsEnabled":true,"Query":"F"}'}
    table = replace(home.tables["T"], policies=policy)
    catalog.trees["Home"] = replace(home, tables={**home.tables, "T": table})
    assert set(databases.pin("Home", "T | count").snapshot.tables) == {"T", "Other"}
    assert set(databases.pin("Home", "Other | count").snapshot.tables) == {"Other"}


def test_another_database_is_of_one_moment_tree_and_rows(world):
    catalog, store, databases = world
    catalog.trees["Away"] = replace(tree("Away"))
    others = databases.pin("Home").snapshot.others
    catalog.trees["Away"] = sealed(catalog.trees["Away"], ONE, 3, "x")
    store.held[ONE] = []
    bound = others["Away"]["T"]  # first looked at after the seal
    assert (sum(b.num_rows for b in bound.batches), len(bound.extents)) == (2, 1)
    catalog.trees["Away"] = sealed(catalog.trees["Away"], TWO, 2, "y")
    assert others["Away"]["T"] is bound
    assert len(others["Away"]) == 2


def test_files_are_held_while_a_snapshot_is(world):
    catalog, _, databases = world
    catalog.trees["Home"] = sealed(catalog.trees["Home"], ONE, 3, "x")
    pinned = databases.pin("Home")
    table = catalog.trees["Home"].tables["T"]
    tables = {"T": replace(table, extents=immutables.Map())}
    catalog.trees["Home"] = replace(catalog.trees["Home"], tables=tables)
    assert databases.is_pinned("x.parquet")
    assert not databases.is_pinned("y.parquet")
    del pinned
    gc.collect()
    assert not databases.is_pinned("x.parquet")


def test_a_thousand_files_are_asked_about_at_the_cost_of_one(world):
    catalog, _, databases = world
    looks = 0

    class Extents(dict):
        def values(self):
            nonlocal looks
            looks += 1
            return super().values()

    catalog.trees["Home"] = sealed(catalog.trees["Home"], ONE, 3, "x")
    table = catalog.trees["Home"].tables["T"]
    tables = {"T": replace(table, extents=Extents(table.extents))}
    catalog.trees["Home"] = replace(catalog.trees["Home"], tables=tables)
    pinned = databases.pin("Home")
    assert [databases.is_pinned(f"{name}.parquet") for name in "abcx"] == [False] * 3 + [True]
    assert looks == 1
    catalog.trees["Home"] = sealed(tree(), ONE, 3, "y")
    newer = databases.pin("Home")
    assert databases.is_pinned("x.parquet")
    assert databases.is_pinned("y.parquet")
    assert looks == 2
    del pinned, newer


def test_the_hot_cache_may_take_tables_with_extents(world):
    catalog, _, databases = world
    catalog.trees["NetDefaultDB"] = Database("NetDefaultDB", "n")
    assert list(databases.sealed_tables()) == []
    catalog.trees["Home"] = sealed(catalog.trees["Home"], ONE, 3, "x")
    ((database, table, policy),) = databases.sealed_tables()
    assert (database, table.name) == (catalog.trees["Home"], "T")
    assert policy.is_hot(0, 10**18), "everything is hot by default"


def test_ingestion_times_follow_the_policy_of_the_table(world):
    catalog, _, databases = world
    assert databases.pin("Home").snapshot.tables["T"].has_ingestion_times
    off = {"ingestiontime": '{"IsEnabled":false}'}
    table = replace(catalog.trees["Home"].tables["T"], policies=off)
    catalog.trees["Home"] = replace(catalog.trees["Home"], tables={"T": table})
    assert not databases.pin("Home").snapshot.tables["T"].has_ingestion_times
