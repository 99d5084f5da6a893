"""Canonical JSON: one golden of each shape, and strictness against whatever a peer sends."""

from __future__ import annotations

import json

import pytest

from cluster.catalog.changes import (
    AppendColumns,
    CreateTable,
    DescribeTable,
    DropTable,
    SetDatabaseStreamingPolicy,
    SetTableStreamingPolicy,
    apply,
)
from cluster.catalog.codec import (
    decode_changes,
    decode_database,
    encode_changes,
    encode_database,
)
from cluster.catalog.journal import Delta, advance, check_continuous, replay
from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    ScalarType,
    StreamingIngestionPolicy,
    Version,
)
from cluster.errors import ProtocolError
from cluster.limits import LIMITS

A, B = Column("a", ScalarType.LONG), Column("größe", ScalarType.DYNAMIC)
CREATE = CreateTable("T", "id", RowStoreKey(2**64 - 1), (A,), "f", 'd"')
ALL_CHANGES = (
    CREATE,
    AppendColumns("T", (B,)),
    DescribeTable("T", "f", "d"),
    SetTableStreamingPolicy("T", StreamingIngestionPolicy(True, 2)),
    SetTableStreamingPolicy("T", None),
    SetDatabaseStreamingPolicy(StreamingIngestionPolicy(False)),
    DropTable("T"),
)
TREE = apply(Database("D", "guid"), ALL_CHANGES[:4], LIMITS)


def test_changes_golden():
    assert encode_changes(ALL_CHANGES[:5]).decode() == (
        '[{"columns":[["a","long"]],"docstring":"d\\"","folder":"f","key":18446744073709551615,'
        '"kind":"CreateTable","row_store":0,"table":"T","table_id":"id"},'
        '{"columns":[["größe","dynamic"]],"kind":"AppendColumns","table":"T"},'
        '{"docstring":"d","folder":"f","kind":"DescribeTable","table":"T"},'
        '{"kind":"SetTableStreamingPolicy","policy":'
        '{"hint_allocated_rate":2.0,"is_enabled":true},"table":"T"},'
        '{"kind":"SetTableStreamingPolicy","policy":null,"table":"T"}]'
    )


def test_database_golden():
    assert encode_database(TREE).decode() == (
        '{"database_id":"guid","dropped_tables":[],"format":2,"functions":[],"mappings":[],'
        '"name":"D","policies":{},"pretty_name":"","storage_root":"","streaming_policy":null,'
        '"tables":[{"docstring":"d","extents":[],"folder":"f","mappings":[],"name":"T",'
        '"policies":{},"references":[[0,18446744073709551615,true,0,0]],'
        '"schemas":[1,[[["a","long"],["größe","dynamic"]],[0,2]]],"streaming_policy":'
        '{"hint_allocated_rate":2.0,"is_enabled":true},"table_id":"id"}],"version":[1,1]}'
    )


def test_round_trips():
    assert decode_changes(encode_changes(ALL_CHANGES)) == ALL_CHANGES
    assert decode_database(encode_database(TREE)) == TREE


def test_equal_trees_have_equal_bytes_whatever_the_order_of_creation():
    other = CreateTable("U", "id2", RowStoreKey(7), (A,))
    one = apply(Database("D", "guid"), [CREATE, other], LIMITS)
    two = apply(Database("D", "guid"), [other, CREATE], LIMITS)
    assert encode_database(one) == encode_database(two)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"{}",
        b"[]",
        b"[1]",
        b"[" * 100_000,
        b"9" * 5000,
        b'[{"kind":"DropTable"}]',
        b'[{"kind":"DropTable","table":1}]',
        b'[{"kind":"DropTable","table":"\\ud800"}]',
        b'[{"kind":"DropTable","table":"T","table":"T"}]',
        b'[{"kind":"DropTable","table":"T","cascade":true}]',
        b'[{"kind":"DropDatabase","table":"T"}]',
        b'[{"kind":["DropTable"],"table":"T"}]',
        b'[{"kind":"AppendColumns","table":"T","columns":[]}]',
        b'[{"kind":"AppendColumns","table":"T","columns":[["a","float"]]}]',
        b'[{"kind":"AppendColumns","table":"T","columns":[["a","long"],["a","int"]]}]',
        b'[{"kind":"AppendColumns","table":"T","columns":[["\\ud800","long"]]}]',
        b'[{"kind":"AppendColumns","table":"T","columns":[["a"]]}]',
        b'[{"kind":"AppendColumns","table":"T","columns":{"a":"long"}}]',
        b'[{"kind":"SetDatabaseStreamingPolicy","policy":true}]',
        b'[{"kind":"SetDatabaseStreamingPolicy","policy":{"is_enabled":true}}]',
        (
            b'[{"kind":"SetDatabaseStreamingPolicy",'
            b'"policy":{"is_enabled":1,"hint_allocated_rate":null}}]'
        ),
        (
            b'[{"kind":"SetDatabaseStreamingPolicy",'
            b'"policy":{"is_enabled":true,"hint_allocated_rate":NaN}}]'
        ),
        (
            b'[{"kind":"SetDatabaseStreamingPolicy",'
            b'"policy":{"is_enabled":true,"hint_allocated_rate":1e999}}]'
        ),
        (
            b'[{"kind":"SetDatabaseStreamingPolicy",'
            b'"policy":{"is_enabled":true,"hint_allocated_rate":-1.0}}]'
        ),
    ],
)
def test_changes_that_are_refused(data):
    with pytest.raises(ProtocolError):
        decode_changes(data)


def _set(path, value):
    def change(tree):
        *parents, last = path
        for step in parents:
            tree = tree[step]
        tree[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set(["extra"], 1),
        _set(["name"], None),
        _set(["version"], [1]),
        _set(["version"], [1, -1]),
        _set(["version"], [True, 1]),
        _set(["tables"], {}),
        _set(["tables", 0, "key"], 0),
        _set(["tables", 0, "key"], 2**64),
        _set(["tables", 0, "key"], 1.0),
        _set(["tables", 0, "older_schema_lengths"], [0]),
        _set(["tables", 0, "older_schema_lengths"], [2]),
        _set(["tables", 0, "older_schema_lengths"], [1, 1]),
        lambda tree: tree.pop("database_id"),
        lambda tree: tree["tables"].append({**tree["tables"][0], "key": 1}),
        lambda tree: tree["tables"].append({**tree["tables"][0], "name": "U"}),
    ],
)
def test_databases_that_are_refused(change):
    tree = json.loads(encode_database(TREE))
    change(tree)
    with pytest.raises(ProtocolError):
        decode_database(json.dumps(tree).encode())


def test_replay_follows_the_versions():
    deltas = [
        Delta(Version(1, n), Version(1, n + 1), (change,)) for n, change in enumerate(ALL_CHANGES)
    ]
    tree = replay(Database("D", "guid"), deltas)
    assert tree.version == Version(1, 7)
    assert tree.tables == {}
    assert tree.streaming_policy == StreamingIngestionPolicy(False)
    assert [event for delta in deltas for event in delta.events] == [
        "CREATE-TABLE",
        "ALTER-TABLE-COLUMNS",
        "ALTER-TABLE-DESCRIPTION",
        "ALTER-TABLE-POLICY-STREAMINGINGESTION",
        "ALTER-TABLE-POLICY-STREAMINGINGESTION",
        "ALTER-DATABASE-POLICY-STREAMINGINGESTION",
        "DROP-TABLE",
    ]
    with pytest.raises(ProtocolError, match="does not continue"):
        replay(Database("D", "guid"), deltas[1:])
    with pytest.raises(ProtocolError, match="gap"):
        check_continuous([deltas[0], deltas[2]])


@pytest.mark.parametrize(
    ("delta", "problem"),
    [
        (Delta(Version(1, 1), Version(1, 2), (CREATE,)), "does not continue"),
        (Delta(Version(1, 0), Version(1, 2), (CREATE,)), "skips"),
        (Delta(Version(1, 0), Version(1, 0), (CREATE,)), "skips"),
        (Delta(Version(1, 0), Version(1, 1), (DropTable("T"),)), "does not apply"),
    ],
)
def test_deltas_of_another_history_are_refused(delta, problem):
    with pytest.raises(ProtocolError, match=problem):
        advance(Database("D", "guid"), delta)


def test_a_leaders_delta_is_taken_whatever_the_local_limits():
    wide = tuple(Column(f"c{n}", ScalarType.INT) for n in range(LIMITS.columns_per_table + 1))
    delta = Delta(Version(1, 0), Version(1, 1), (CreateTable("T", "id", RowStoreKey(1), wide),))
    assert len(advance(Database("D", "guid"), delta).tables["T"].columns) == len(wide)
