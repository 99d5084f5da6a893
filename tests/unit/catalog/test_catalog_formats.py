"""Files and trees of older formats are read as what they were; newer ones are refused."""

from __future__ import annotations

import json
import sqlite3

import pytest
from catalog_world import open_catalog
from old_formats import unpack_format_1

from cluster.catalog.changes import CreateTable, DropTable, SetPrettyName
from cluster.catalog.codec import decode_changes, decode_database, encode_database
from cluster.catalog.model import Column, RowStoreKey, RowStoreReference, ScalarType, Version
from cluster.errors import CorruptionError, ProtocolError

TREE_1 = {
    "database_id": "guid",
    "name": "D",
    "pretty_name": "",
    "streaming_policy": None,
    "tables": [
        {
            "columns": [["a", "long"], ["größe", "dynamic"]],
            "docstring": "d",
            "folder": "f",
            "key": 18446744073709551615,
            "name": "T",
            "older_schema_lengths": [1],
            "streaming_policy": {"hint_allocated_rate": 2.0, "is_enabled": True},
            "table_id": "id",
        }
    ],
    "version": [1, 1],
}


def read(**changes):
    tree = json.loads(json.dumps(TREE_1))
    tree["tables"][0].update(changes)
    return decode_database(json.dumps(tree).encode())


def test_a_tree_of_format_1_gets_the_defaults_of_what_it_did_not_have():
    tree = read()
    table = tree.tables["T"]
    assert table.references == (RowStoreReference(0, RowStoreKey(2**64 - 1)),)
    assert table.column_ids == ((0,), (0, 1))
    assert [column.name for column in table.columns] == ["a", "größe"]
    assert table.schemas[0] == table.columns[:1]
    assert decode_database(encode_database(tree)) == tree


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": 1},
        {"key": 0},
        {"key": 2**64},
        {"key": 1.0},
        {"older_schema_lengths": [0]},
        {"older_schema_lengths": [2]},
        {"older_schema_lengths": [1, 1]},
        {"references": [[0, 1, True, 0, 0]]},
    ],
)
def test_a_tree_of_format_1_is_read_strictly(changes):
    with pytest.raises(ProtocolError):
        read(**changes)


def test_a_tree_of_a_newer_format_is_refused_with_a_remedy():
    newer = json.loads(encode_database(read())) | {"format": 4, "future": 1}
    with pytest.raises(ProtocolError, match="format 4") as caught:
        decode_database(json.dumps(newer).encode())
    assert "as new as" in caught.value.remedy


def test_changes_of_format_1_get_the_defaults_of_what_they_did_not_have():
    assert decode_changes(
        b'[{"columns":[["a","long"]],"docstring":"","folder":"","key":7,"kind":"CreateTable",'
        b'"table":"T","table_id":"id"},{"kind":"DropTable","table":"T"}]'
    ) == (
        CreateTable("T", "id", RowStoreKey(7), (Column("a", ScalarType.LONG),)),
        DropTable("T"),
    )


@pytest.fixture
def folder(tmp_path):
    return unpack_format_1(tmp_path)


def rows(path, query):
    connection = sqlite3.connect(path)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("node", ["leader/0", "follower1/0"])
async def test_a_file_of_format_1_is_migrated_when_it_is_opened(folder, node):
    path = folder / node / "catalog.db"
    assert rows(path, "PRAGMA user_version") == [(1,)]
    before = {
        name: (decode_database(snapshot), texts)
        for name, snapshot, texts in rows(
            path,
            "SELECT folded, snapshot, (SELECT group_concat(text) FROM deltas"
            " WHERE deltas.folded = databases.folded) FROM databases",
        )
    }
    async with await open_catalog(path) as catalog:
        trees = {tree.name.lower(): tree for tree in catalog.databases()}
        assert trees.keys() == before.keys()
        plant = trees[next(name for name in trees if "plant" in name)]
        assert {"Telemetry", "Other"} <= plant.tables.keys()
        assert "Gone" not in plant.tables
        telemetry = plant.tables["Telemetry"]
        assert len(telemetry.schemas) == 2
        assert telemetry.column_ids[-1] == tuple(range(len(telemetry.columns)))
        assert telemetry.references[0].row_store == 0
        is_ours = not catalog.is_following(plant.name)
        assert len(telemetry.references) == (4 if is_ours else 1)
        deltas = catalog.deltas_since(plant.name, before[plant.name.lower()][0].version)
        assert deltas is not None
    assert rows(path, "PRAGMA user_version") == [(4,)]
    for name, _, text in rows(path, "SELECT folded, snapshot, leader_cluster FROM databases"):
        assert name in before
        assert (text is not None) == (not is_ours and "plant" in name)
    assert all(
        b'"format":3' in snapshot for (snapshot,) in rows(path, "SELECT snapshot FROM databases")
    )
    async with await open_catalog(path) as catalog:
        assert {tree.name.lower(): tree for tree in catalog.databases()} == trees
        if is_ours:
            delta = await catalog.commit(plant.name, [SetPrettyName("p")], text="")
            assert delta.from_version == plant.version


async def test_a_damaged_file_of_format_1_stays_as_it_is(folder):
    path = folder / "leader/0/catalog.db"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE databases SET snapshot = x'7b7d' WHERE folded = 'plant'")
    connection.close()
    before = rows(path, "SELECT * FROM databases"), rows(path, "SELECT * FROM deltas")
    with pytest.raises(CorruptionError, match="plant"):
        await open_catalog(path)
    assert rows(path, "PRAGMA user_version") == [(1,)]
    assert (rows(path, "SELECT * FROM databases"), rows(path, "SELECT * FROM deltas")) == before


async def test_a_file_of_a_newer_format_is_refused_with_a_remedy(path):
    async with await open_catalog(path) as catalog:
        assert catalog.get("NetDefaultDB").version == Version(1, 0)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 5")
    connection.close()
    with pytest.raises(CorruptionError, match="format is 5") as caught:
        await open_catalog(path)
    assert "as new as" in caught.value.remedy
