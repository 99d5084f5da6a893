"""Row store references: how many, where, and that a transaction brings those it makes necessary."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from catalog_world import LEADER_TREE, ON, A, create_table, open_catalog

from cluster.catalog.changes import (
    CreateTable,
    RenameTables,
    SetDatabaseStreamingPolicy,
    SetReferences,
    SetTableStreamingPolicy,
    apply,
)
from cluster.catalog.journal import Delta
from cluster.catalog.model import (
    Database,
    RowStoreKey,
    RowStoreReference,
    StreamingIngestionPolicy,
    Table,
    Version,
)
from cluster.catalog.references import plan_references, wanted_references
from cluster.errors import InvalidRequestError
from cluster.limits import LIMITS, Limits

OFF = StreamingIngestionPolicy(False)


def rate(gigabytes_an_hour):
    return StreamingIngestionPolicy(True, gigabytes_an_hour)


@pytest.mark.fidelity(
    "streaming-ingestion-policy.md",
    "HintAllocatedRate decides over how many row stores a table spreads",
    differs="The page has no formula: 4 row stores up to 1 GB/h, then 4 for each GB/h",
)
@pytest.mark.parametrize(
    ("hint", "count"),
    [
        (None, 4),
        (0, 4),
        (0.5, 4),
        (1, 4),
        (1.1, 8),
        (2, 8),
        (2.1, 12),
        (15, 60),
        (15.1, 64),
        (16, 64),
        (1e300, 64),
    ],
)
def test_sizing(hint, count):
    assert wanted_references(rate(hint)) == count


def planned(*changes, row_stores=4, first_key=1000):
    """The tree after the changes, each followed by the references it needs."""
    keys = itertools.count(first_key)
    tree = Database("D", "guid")
    for change in changes:
        tree = apply(tree, [change], LIMITS)
        more = plan_references(tree, tree.tables, row_stores, lambda: RowStoreKey(next(keys)))
        tree = apply(tree, more, LIMITS) if more else tree
        assert plan_references(tree, tree.tables, row_stores, lambda: 1 / 0) == ()
    return tree


def create(name, key, row_store=0):
    return CreateTable(name, name, RowStoreKey(key), (A,), row_store=row_store)


def stores(tree, name="T"):
    return [r.row_store for r in tree.tables[name].references if r.is_enabled]


def test_a_table_without_the_policy_has_one():
    assert stores(planned(create("T", 1))) == [0]
    assert stores(planned(SetDatabaseStreamingPolicy(OFF), create("T", 1))) == [0]
    own = SetTableStreamingPolicy("T", OFF)
    assert stores(planned(create("T", 1), own, SetDatabaseStreamingPolicy(ON))) == [0]


def test_an_enabled_policy_spreads_over_all_row_stores():
    assert sorted(stores(planned(create("T", 1), SetTableStreamingPolicy("T", ON)))) == [0, 1, 2, 3]
    assert sorted(stores(planned(create("T", 1), SetDatabaseStreamingPolicy(ON)))) == [0, 1, 2, 3]


def test_more_references_than_row_stores_are_even():
    tree = planned(create("T", 7), SetTableStreamingPolicy("T", rate(3)), row_stores=5)
    assert sorted(stores(tree).count(n) for n in range(5)) == [2, 2, 2, 3, 3]


def test_tables_start_at_different_row_stores():
    starts = {
        stores(planned(create("T", key), SetTableStreamingPolicy("T", ON), row_stores=64))[1]
        for key in range(1, 64)
    }
    assert len(starts) > 32


def test_what_is_too_many_is_disabled_and_used_again_first():
    high, low = SetTableStreamingPolicy("T", rate(2)), SetTableStreamingPolicy("T", ON)
    tree = planned(create("T", 1), high)
    keys = tree.tables["T"].keys
    fewer = planned(create("T", 1), high, low)
    assert fewer.tables["T"].keys == keys
    assert [r.is_enabled for r in fewer.tables["T"].references] == [True] * 4 + [False] * 4
    assert planned(create("T", 1), high, low, high).tables["T"] == tree.tables["T"]


def test_row_stores_a_node_has_no_more_take_no_rows():
    tree = planned(create("T", 1), SetTableStreamingPolicy("T", ON), row_stores=8)
    keys = itertools.count(5000)
    more = plan_references(tree, ["T"], 2, lambda: RowStoreKey(next(keys)))
    tree = apply(tree, more, LIMITS)
    assert sorted(stores(tree)) == [0, 0, 1, 1]
    assert len(tree.tables["T"].references) > 4


@pytest.mark.fidelity("streaming-ingestion-policy.md", "A table has at most 64 row stores")
def test_a_table_never_gets_more_than_64():
    tree = planned(create("T", 1), SetTableStreamingPolicy("T", rate(99)), row_stores=8)
    assert len(tree.tables["T"].references) == 64
    (change,) = plan_references(tree, ["T"], 2, lambda: 1 / 0)
    assert len(change.references) == 64
    assert sum(r.is_enabled for r in change.references) == 16


def test_keys_in_use_are_left_out():
    tree = planned(create("T", 1001), SetTableStreamingPolicy("T", ON))
    assert len(set(tree.tables["T"].keys)) == 4


class CountedKey(int):
    """A row store key that counts how often it is looked for."""

    looks = 0

    def __hash__(self):
        CountedKey.looks += 1
        return int.__hash__(self)


def test_a_policy_of_the_database_looks_at_each_table_a_few_times_however_many_there_are():
    tables = {
        f"T{number}": Table(
            f"T{number}", "id", (RowStoreReference(0, CountedKey(number)),), ((A,),), ((0,),)
        )
        for number in range(1, 201)
    }
    tree = Database("db", "id", tables=tables)
    tree = apply(tree, (SetDatabaseStreamingPolicy(ON),), LIMITS)
    new_keys = itertools.count(1000)
    changes = plan_references(tree, tree.tables, 4, lambda: RowStoreKey(next(new_keys)))
    CountedKey.looks = 0
    after = apply(tree, changes, LIMITS)
    assert CountedKey.looks <= 2 * len(tables)
    assert all(len(table.references) == 4 for table in after.tables.values())


def test_references_of_one_transaction_may_not_share_a_key():
    tree = apply(Database("db", "id"), (create("T", 1), create("U", 2)), LIMITS)
    key = RowStoreKey(9)
    changes = tuple(
        SetReferences(name, (*tree.tables[name].references, RowStoreReference(1, key)))
        for name in ("T", "U")
    )
    with pytest.raises(InvalidRequestError, match="named twice"):
        apply(tree, changes, LIMITS)
    taken = replace(changes[1], references=(*tree.tables["U"].references, RowStoreReference(1, 1)))
    with pytest.raises(InvalidRequestError, match="belongs to a table"):
        apply(tree, (changes[0], taken), LIMITS)


# In the catalog


async def test_a_transaction_brings_the_references_it_makes_necessary(path):
    async with await open_catalog(path) as catalog:
        await create_table(catalog, "T")
        delta = await catalog.commit("NetDefaultDB", [SetDatabaseStreamingPolicy(ON)], text="x")
        assert len(delta.changes) == 2
        assert delta.events == ("ALTER-DATABASE-POLICY-STREAMINGINGESTION",)
        assert delta.to_version == Version(1, 2)
        table = catalog.get("NetDefaultDB").tables["T"]
        assert sorted(r.row_store for r in table.references) == [0, 1, 2, 3]
        assert set(catalog.tables_by_key()) == set(table.keys)
        # One more table has them from the start, and the other one stays as it is.
        await create_table(catalog, "U")
        assert catalog.get("NetDefaultDB").tables["T"] is table
        assert len(catalog.get("NetDefaultDB").tables["U"].references) == 4
        await catalog.commit("NetDefaultDB", [RenameTables((("T", "U"), ("U", "T")))], text="x")
        renamed = catalog.get("NetDefaultDB").tables["U"]
        assert renamed.keys == table.keys
        assert catalog.tables_by_key()[table.key] is renamed
        assert len(catalog.tables_by_key()) == 8


async def test_opening_brings_what_another_number_of_row_stores_makes_necessary(path):
    async with await open_catalog(path, Limits(row_stores=8)) as catalog:
        await catalog.commit("NetDefaultDB", [SetDatabaseStreamingPolicy(ON)], text="x")
        await create_table(catalog, "T")
        version = catalog.get("NetDefaultDB").version
    async with await open_catalog(path, Limits(row_stores=8)) as catalog:
        assert catalog.get("NetDefaultDB").version == version
    async with await open_catalog(path, Limits(row_stores=1)) as catalog:
        assert catalog.get("NetDefaultDB").version == version.next()
        assert stores(catalog.get("NetDefaultDB")) == [0, 0, 0, 0]


async def test_a_follower_has_the_references_of_its_leader(path):
    async with await open_catalog(path) as catalog:
        await catalog.install_snapshot("F", "leader", "Sales", LEADER_TREE)
        delta = Delta(Version(1, 1), Version(1, 2), (SetDatabaseStreamingPolicy(ON),))
        tree = await catalog.apply_delta("F", delta)
        assert len(tree.tables["T"].references) == 1
    async with await open_catalog(path) as catalog:
        assert catalog.get("F") == tree
