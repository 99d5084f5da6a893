"""Canonical JSON: one golden of each shape, and strictness against whatever a peer sends."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

import pytest

from cluster.catalog.changes import (
    AppendColumns,
    Change,
    ClearTable,
    CreateTable,
    DescribeColumns,
    DescribeTable,
    DropTable,
    ForgetDroppedTables,
    RenameTables,
    ReplaceExtents,
    RestoreTable,
    SealedRange,
    SealRows,
    SetDatabaseStreamingPolicy,
    SetFunction,
    SetMapping,
    SetPolicy,
    SetPrettyName,
    SetPrincipals,
    SetReferences,
    SetSchema,
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
    Extent,
    Function,
    IngestionMapping,
    Provenance,
    Role,
    RoleAssignment,
    RowStoreKey,
    RowStoreReference,
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
EXTENT = Extent(
    extent_id="e",
    file="d/e.parquet",
    file_bytes=9,
    file_checksum=2**64 - 1,
    column_ids=(0, 1, 2, -1, 7),
    row_count=2,
    original_bytes=3,
    created_min_us=4,
    created_max_us=5,
    ingested_min_us=6,
    ingested_max_us=7,
    tags=("drop-by:x",),
    sources=(Provenance(RowStoreKey(8), 0, 2),),
)
NEWER_CHANGES = (
    SetSchema("T", (replace(A, docstring="x"), B), (3, 4)),
    DescribeColumns("T", (("a", "x"),)),
    RenameTables((("T", "U"), ("U", "T"))),
    DropTable("T", 9),
    RestoreTable(Version(1, 2), "T", RowStoreKey(5), 1, "V"),
    ForgetDroppedTables((Version(1, 2),)),
    SetPolicy("", "merge", "{}"),
    SetPolicy("T", "merge", None),
    SetMapping("T", "csv", "m", IngestionMapping("m", "csv", "[]", 5)),
    SetFunction("F", Function("F", "(a:long)", "{ T }", "f", "d")),
    SetPrettyName("p"),
    SetReferences("T", (RowStoreReference(1, RowStoreKey(5), False, 6, 7),)),
    SealRows("T", (SealedRange(RowStoreKey(8), 2, 77),), (EXTENT,)),
    ReplaceExtents("T", ("e1",), (replace(EXTENT, ingested_min_us=None, ingested_max_us=None),)),
    ClearTable("T", ()),
    SetPrincipals("", (RoleAssignment(Role.UNRESTRICTED_VIEWERS, "aaduser=a@b.c", "n", "id"),)),
)


def test_newer_changes_golden():
    extent = (
        '["e","d/e.parquet",9,18446744073709551615,[0,3,-1,1,7,1],2,3,4,5,%s,'
        '["drop-by:x"],[[8,0,2]]]'
    )
    assert encode_changes(NEWER_CHANGES).decode() == (
        '[{"column_ids":[3,2],"columns":[["a","long","x"],["größe","dynamic"]],'
        '"kind":"SetSchema","table":"T"},'
        '{"docstrings":[["a","x"]],"kind":"DescribeColumns","table":"T"},'
        '{"kind":"RenameTables","names":[["T","U"],["U","T"]]},'
        '{"dropped_us":9,"kind":"DropTable","table":"T"},'
        '{"key":5,"kind":"RestoreTable","new_name":"V","row_store":1,"table":"T","version":[1,2]},'
        '{"kind":"ForgetDroppedTables","versions":[[1,2]]},'
        '{"kind":"SetPolicy","kind_of_entity":"merge","policy":"{}","table":""},'
        '{"kind":"SetPolicy","kind_of_entity":"merge","policy":null,"table":"T"},'
        '{"kind":"SetMapping","kind_of_entity":"csv","mapping":["csv","m","[]",5],"name":"m",'
        '"table":"T"},'
        '{"function":["F","(a:long)","{ T }","f","d"],"kind":"SetFunction","name":"F"},'
        '{"kind":"SetPrettyName","text":"p"},'
        '{"kind":"SetReferences","references":[[1,5,false,6,7]],"table":"T"},'
        '{"extents":[' + extent % "6,7" + '],"kind":"SealRows","ranges":[[8,2,77]],"table":"T"},'
        '{"added":[' + extent % "null,null" + '],"dropped":["e1"],"kind":"ReplaceExtents",'
        '"table":"T"},'
        '{"kind":"ClearTable","ranges":[],"table":"T"},'
        '{"kind":"SetPrincipals","principals":[["unrestrictedviewers","aaduser=a@b.c","n","id"]],'
        '"table":""}]'
    )
    assert decode_changes(encode_changes(NEWER_CHANGES)) == NEWER_CHANGES


def test_every_kind_of_change_is_in_a_golden():
    kinds = {type(change) for change in (*ALL_CHANGES, *NEWER_CHANGES)}
    assert kinds == set(get_args(Change))


def test_an_extent_costs_little():
    columns = tuple(range(100))
    guid = "00000000-0000-4000-8000-000000000000"
    times = dict.fromkeys(
        ("created_min_us", "created_max_us", "ingested_min_us", "ingested_max_us"), 10**15
    )
    extent = replace(EXTENT, extent_id=guid, file=guid, column_ids=columns, **times)
    with_it = len(encode_changes([ReplaceExtents("T", (), (extent,))]))
    assert with_it - len(encode_changes([ReplaceExtents("T", (), ())])) < 250


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
        '{"database_id":"guid","dropped_tables":[],"format":3,"functions":[],"mappings":[],'
        '"name":"D","policies":{},"pretty_name":"","principals":[],"storage_root":"",'
        '"streaming_policy":null,'
        '"tables":[{"docstring":"d","extents":[],"folder":"f","mappings":[],"name":"T",'
        '"policies":{},"principals":[],"references":[[0,18446744073709551615,true,0,0]],'
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
        b'[{"kind":"SetPolicy","kind_of_entity":"merge","policy":{},"table":"T"}]',
        b'[{"kind":"RenameTables","names":[["a"]]}]',
        b'[{"kind":"RestoreTable","key":5,"new_name":"","row_store":-1,"table":"T","version":[1,2]}]',
        b'[{"kind":"SetFunction","name":"F","function":["F","()","{}",""]}]',
        b'[{"kind":"SetReferences","table":"T","references":[]}]',
        b'[{"kind":"SetReferences","table":"T","references":[[0,1,1,0,0]]}]',
        b'[{"kind":"SetSchema","table":"T","columns":[["a","long"]],"column_ids":[-1,1]}]',
        b'[{"kind":"SetSchema","table":"T","columns":[["a","long"]],"column_ids":[0]}]',
        b'[{"kind":"SetSchema","table":"T","columns":[["a","long"]],"column_ids":[0,9999999]}]',
        b'[{"kind":"ReplaceExtents","table":"T","dropped":[1],"added":[]}]',
        b'[{"kind":"ReplaceExtents","table":"T","dropped":[],"added":[["e"]]}]',
        (
            b'[{"kind":"ReplaceExtents","table":"T","dropped":[],"added":'
            b'[["e","../e",9,1,[0,1],2,3,4,5,6,7,[],[]]]}]'
        ),
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


EXTENT_VALUE = ["e", "f", 9, 1, [0, 2], 2, 3, 4, 5, None, None, [], []]


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
        _set(["tables", 0, "references", 0, 1], 0),
        _set(["tables", 0, "references", 0, 1], 2**64),
        _set(["tables", 0, "references"], []),
        _set(["tables", 0, "schemas"], []),
        _set(["tables", 0, "schemas", 1], 1),
        _set(["tables", 0, "schemas", 0], 0),
        _set(["tables", 0, "schemas", 0], 2),
        _set(["tables", 0, "schemas", 0], [[["a", "int"]], [0, 1]]),
        _set(["tables", 0, "schemas", 0], [[["a", "long"]], [0, 2]]),
        _set(["tables", 0, "schemas", 0], [[["a", "long"]], [-1, 1]]),
        _set(["tables", 0, "extents"], [EXTENT_VALUE, EXTENT_VALUE]),
        _set(["tables", 0, "extents"], [[*EXTENT_VALUE[:4], [2, 1], *EXTENT_VALUE[5:]]]),
        _set(["tables", 0, "policies"], [["merge", "{}"]]),
        _set(["tables", 0, "policies"], {"merge": {}}),
        _set(["tables", 0, "mappings"], [None]),
        _set(["mappings"], [["csv", "m", "[]", 5], ["csv", "m", "[]", 6]]),
        _set(["functions"], [None]),
        _set(["functions"], [["F", "()", "{}", "", ""], ["F", "()", "{}", "", ""]]),
        _set(["dropped_tables"], [[{}, [1, 2], 5]]),
        _set(["format"], 0),
        lambda tree: tree["dropped_tables"].append([tree["tables"][0], [1, 0], 5]),
        lambda tree: tree.pop("database_id"),
        lambda tree: tree["tables"].append(
            {**tree["tables"][0], "references": [[0, 1, True, 0, 0]]}
        ),
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
