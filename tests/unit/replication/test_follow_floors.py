"""What a newer tree says of row store keys."""

from __future__ import annotations

from dataclasses import replace

from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
    Version,
)
from cluster.replication.floors import floors_of, key_changes, raised
from cluster.replication.position import START, KeyPosition

ONE, TWO, THREE = RowStoreKey(1), RowStoreKey(2), RowStoreKey(3)


def table(name, *references):
    columns = (Column("A", ScalarType.LONG),)
    return Table(name, f"id of {name}", references, (columns,), ((0,),))


A = table("A", RowStoreReference(0, ONE, True, 5, 55), RowStoreReference(1, TWO))
B = table("B", RowStoreReference(0, THREE, False, 7, 77))
TREE = Database("db", "id", Version(1, 1), {"A": A, "B": B})
FLOORS = {ONE: KeyPosition(5, 55), TWO: START, THREE: KeyPosition(7, 77)}


def with_tables(*tables):
    return replace(TREE, version=Version(1, 2), tables={item.name: item for item in tables})


def test_every_reference_has_a_floor_enabled_or_not():
    assert floors_of(TREE) == FLOORS


def test_everything_is_new_without_a_tree_before():
    changes = key_changes(None, TREE)
    assert (changes.removed, changes.floors) == (frozenset(), FLOORS)


def test_a_table_that_is_the_same_object_is_not_looked_at():
    moved = replace(B, references=(RowStoreReference(0, THREE, False, 8, 88),))
    changes = key_changes(TREE, with_tables(A, moved))
    assert (changes.removed, changes.floors) == (frozenset(), {THREE: KeyPosition(8, 88)})
    assert changes.tables == (moved,)


def test_keys_of_a_dropped_table_are_removed():
    changes = key_changes(TREE, with_tables(B))
    assert (changes.removed, changes.floors) == ({ONE, TWO}, {})


def test_a_renamed_table_keeps_its_keys():
    renamed = replace(A, name="B")
    other = replace(B, name="A")
    changes = key_changes(TREE, with_tables(renamed, other))
    assert (changes.removed, changes.floors) == (frozenset(), FLOORS)


def test_a_table_made_again_has_other_keys():
    again = table("A", RowStoreReference(0, RowStoreKey(9)))
    changes = key_changes(TREE, with_tables(again, B))
    assert (changes.removed, changes.floors) == ({ONE, TWO}, {RowStoreKey(9): START})


def test_positions_are_raised_and_others_left_out():
    at = {ONE: KeyPosition(4, 1), THREE: KeyPosition(9, 9), RowStoreKey(8): KeyPosition(1, 1)}
    assert raised(at, FLOORS) == {ONE: KeyPosition(5, 55), THREE: KeyPosition(9, 9)}
