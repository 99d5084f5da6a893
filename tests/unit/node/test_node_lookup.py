"""What row stores ask of the catalog."""

from __future__ import annotations

from dataclasses import replace

from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
)
from cluster.node.lookup import DroppedKeys


class Catalog:
    """Trees that the test replaces; a name that begins with F is followed."""

    def __init__(self, *trees):
        self.trees = {tree.name: tree for tree in trees}

    def databases(self):
        return tuple(self.trees.values())

    def is_following(self, name):
        return name.startswith("F")


def table(name, *keys):
    references = tuple(RowStoreReference(0, RowStoreKey(key)) for key in keys)
    return Table(name, "id", references, ((Column("a", ScalarType.LONG),),), ((0,),))


def tree(name, *tables):
    return Database(name, f"id of {name}", tables={item.name: item for item in tables})


def test_keys_of_dropped_tables_are_told_once():
    one, two = table("One", 1, 2), table("Two", 3)
    catalog = Catalog(tree("D", one, two), tree("F", table("Theirs", 7)))
    dropped = DroppedKeys(catalog)
    assert list(dropped.take()) == []
    catalog.trees["D"] = tree("D", two)
    catalog.trees["F"] = tree("F")
    assert sorted(dropped.take()) == [1, 2]
    assert list(dropped.take()) == []


def test_a_table_that_was_renamed_keeps_its_keys_and_one_made_anew_has_others():
    one, two = table("One", 1, 2), table("Two", 3)
    catalog = Catalog(tree("D", one, two))
    dropped = DroppedKeys(catalog)
    catalog.trees["D"] = tree("D", replace(one, name="Two"), replace(two, name="One"))
    assert list(dropped.take()) == []
    catalog.trees["D"] = tree("D", table("One", 4))
    assert sorted(dropped.take()) == [1, 2, 3]


def test_a_database_that_is_gone_drops_all_its_tables():
    catalog = Catalog(tree("D", table("One", 1, 2)), tree("E", table("Two", 3)))
    dropped = DroppedKeys(catalog)
    del catalog.trees["D"]
    assert sorted(dropped.take()) == [1, 2]
