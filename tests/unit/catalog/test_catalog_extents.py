"""Where rows are: floors that only grow, seals that cover exactly, extents that never change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from catalog_world import extent

from cluster.catalog.changes import (
    ClearTable,
    CreateTable,
    DropTable,
    ForgetDroppedTables,
    RenameTables,
    ReplaceExtents,
    RestoreTable,
    SealedRange,
    SealRows,
    SetReferences,
    apply,
)
from cluster.catalog.codec import decode_database, encode_database
from cluster.catalog.model import (
    Column,
    Database,
    DroppedTable,
    Provenance,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Version,
)
from cluster.errors import (
    EntityExistsError,
    EntityNotFoundError,
    InvalidRequestError,
    LimitExceededError,
    TableNotFoundError,
)
from cluster.limits import LIMITS, Limits

A = Column("a", ScalarType.LONG)
ONE, TWO, OTHER = RowStoreKey(1), RowStoreKey(2), RowStoreKey(9)
START = apply(
    Database("D", "guid"),
    [
        CreateTable("T", "t", ONE, (A,)),
        CreateTable("U", "u", OTHER, (A,)),
        SetReferences("T", (RowStoreReference(0, ONE), RowStoreReference(3, TWO))),
    ],
    LIMITS,
)


def run(*changes, tree=START):
    return apply(tree, changes, LIMITS)


def sealed(extent_id, *sources, rows=None):
    provenance = tuple(Provenance(*source) for source in sources)
    count = sum(source.end_ordinal - source.first_ordinal for source in provenance)
    return replace(extent(extent_id), sources=provenance, row_count=count if rows is None else rows)


SEAL = SealRows(
    "T",
    (SealedRange(ONE, 10, 111), SealedRange(TWO, 4, 222)),
    (sealed("e1", (ONE, 0, 6)), sealed("e2", (TWO, 0, 4), (ONE, 6, 10))),
)


def test_a_seal_moves_the_floors_and_adds_the_extents():
    table = run(SEAL).tables["T"]
    assert table.references == (
        RowStoreReference(0, ONE, True, 10, 111),
        RowStoreReference(3, TWO, True, 4, 222),
    )
    assert set(table.extents) == {"e1", "e2"}


def test_seals_follow_each_other():
    more = SealRows("T", (SealedRange(ONE, 12, 5),), (sealed("e3", (ONE, 10, 12)),))
    table = run(SEAL, more).tables["T"]
    assert (table.references[0].sealed_ordinal, len(table.extents)) == (12, 3)


@pytest.mark.parametrize(
    "change",
    [
        SEAL,  # the same rows twice
        SealRows("T", (SealedRange(ONE, 12, 5),), (sealed("e3", (ONE, 0, 12)),)),  # planned before
        SealRows("T", (SealedRange(ONE, 12, 5),), (sealed("e3", (ONE, 11, 12)),)),  # a gap
        SealRows("T", (SealedRange(ONE, 12, 5),), (sealed("e3", (ONE, 10, 13)),)),  # too far
        SealRows("T", (SealedRange(ONE, 12, 5),), (sealed("e3", (ONE, 10, 12), rows=3),)),
        SealRows("T", (SealedRange(ONE, 12, 5),), ()),
        SealRows("T", (SealedRange(ONE, 9, 5),), ()),  # a floor sinks
        SealRows("T", (SealedRange(ONE, 10, 5),), ()),  # another checksum
        SealRows("T", (SealedRange(ONE, 12, 2**64),), (sealed("e3", (ONE, 10, 12)),)),
        SealRows("T", (SealedRange(OTHER, 1, 5),), (sealed("e3", (OTHER, 0, 1)),)),
        SealRows("T", (SealedRange(ONE, 12, 5),), (sealed("e3", (ONE, 10, 12), (TWO, 4, 5)),)),
        SealRows(
            "T",
            (SealedRange(ONE, 12, 5), SealedRange(ONE, 12, 5)),
            (sealed("e3", (ONE, 10, 12)),),
        ),
        SealRows("T", (), (sealed("e3"),)),
        ClearTable("T", (SealedRange(ONE, 9, 5),)),
        ClearTable("T", (SealedRange(OTHER, 9, 5),)),
        ReplaceExtents("T"),
    ],
)
def test_what_would_lose_or_double_rows_is_refused(change):
    with pytest.raises(InvalidRequestError):
        run(SEAL, change)


def test_an_extent_of_sealed_rows_is_there_once():
    change = SealRows("T", (SealedRange(ONE, 12, 5),), (sealed("e1", (ONE, 10, 12)),))
    with pytest.raises(EntityExistsError):
        run(SEAL, change)


def test_extents_are_replaced():
    table = run(SEAL, ReplaceExtents("T", ("e1", "e2"), (extent("e3"),))).tables["T"]
    assert set(table.extents) == {"e3"}
    assert table.references[0].sealed_ordinal == 10


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (ReplaceExtents("X", ("e1",)), TableNotFoundError),
        (ReplaceExtents("T", ("e9",)), EntityNotFoundError),
        (ReplaceExtents("T", ("e1", "e1")), EntityNotFoundError),
        (ReplaceExtents("U", ("e1",)), EntityNotFoundError),
        (ReplaceExtents("T", (), (extent("e1"),)), EntityExistsError),
        (ReplaceExtents("T", (), (extent("e3"), extent("e3"))), EntityExistsError),
        (ReplaceExtents("T", ("e1",), (extent("e1"),)), EntityExistsError),
    ],
)
def test_extents_that_cannot_be_replaced(change, error):
    with pytest.raises(error):
        run(SEAL, change)


@pytest.mark.parametrize(
    "fields",
    [
        {"extent_id": ""},
        {"file": ""},
        {"file": "/etc/passwd"},
        {"file": "a/../../b"},
        {"file": "a//b"},
        {"file": "a\\b"},
        {"file": "C:b"},
        {"file": "a\0"},
        {"file": "\ud800"},
        {"file_bytes": -1},
        {"file_checksum": 2**64},
        {"row_count": -1},
        {"original_bytes": 2**63},
        {"created_min_us": 2},
        {"created_min_us": -(2**63) - 1},
        {"ingested_min_us": 1},
        {"ingested_min_us": 2, "ingested_max_us": 1},
        {"column_ids": (0, 0)},
        {"column_ids": (1,)},
        {"column_ids": (-2,)},
        {"tags": ("a", "a")},
        {"tags": ("\ud800",)},
        {"sources": (Provenance(RowStoreKey(0), 0, 1),)},
        {"sources": (Provenance(ONE, 1, 1),)},
        {"sources": (Provenance(ONE, -1, 1),)},
    ],
)
def test_extents_with_a_value_out_of_its_domain(fields):
    with pytest.raises(InvalidRequestError):
        run(ReplaceExtents("T", (), (replace(extent("e9"), **fields),)))


def test_an_extent_may_be_older_than_1970():
    old = extent("e9", created_min_us=-(2**63), created_max_us=-1)
    tree = run(ReplaceExtents("T", (), (old,)))
    assert decode_database(encode_database(tree)) == tree


def test_clearing_drops_extents_and_moves_floors():
    table = run(SEAL, ClearTable("T", (SealedRange(ONE, 20, 7),))).tables["T"]
    assert not table.extents
    assert [r.sealed_ordinal for r in table.references] == [20, 4]
    # Keys without rows beyond their floor may be named too.
    assert not run(SEAL, ClearTable("T", (SealedRange(ONE, 10, 111),))).tables["T"].extents


@pytest.mark.parametrize(
    "references",
    [
        (),
        (RowStoreReference(0, ONE),),
        (RowStoreReference(3, TWO), RowStoreReference(0, ONE)),
        (RowStoreReference(1, ONE), RowStoreReference(3, TWO)),
        (RowStoreReference(0, ONE, True, 5), RowStoreReference(3, TWO)),
        (*START.tables["T"].references, RowStoreReference(0, OTHER)),
        (*START.tables["T"].references, RowStoreReference(0, RowStoreKey(0))),
        (*START.tables["T"].references, RowStoreReference(-1, RowStoreKey(7))),
        (*START.tables["T"].references, RowStoreReference(0, RowStoreKey(7), True, 1)),
        (*START.tables["T"].references, *[RowStoreReference(0, RowStoreKey(7))] * 2),
    ],
)
def test_references_that_are_refused(references):
    with pytest.raises(InvalidRequestError):
        run(SetReferences("T", references))


@pytest.mark.parametrize(("count", "fits"), [(63, True), (64, True), (65, False)])
def test_limit_of_references(count, fits):
    added = [RowStoreReference(0, RowStoreKey(100 + n)) for n in range(count - 2)]
    change = SetReferences("T", (*START.tables["T"].references, *added))
    if fits:
        assert len(run(change).tables["T"].references) == count
    else:
        with pytest.raises(InvalidRequestError):
            run(change)


def test_references_are_disabled_and_enabled():
    off = tuple(replace(r, is_enabled=False) for r in START.tables["T"].references)
    assert run(SetReferences("T", off)).tables["T"].references == off
    assert run(SetReferences("T", off), SetReferences("T", START.tables["T"].references))


# Dropped tables


def test_a_dropped_table_with_extents_comes_back_under_a_new_key():
    tree = run(SEAL)
    dropped = apply(tree, [DropTable("T", 77)], LIMITS)
    assert dropped.dropped_tables == (DroppedTable(tree.tables["T"], tree.version, 77),)
    assert "T" not in dropped.tables
    back = apply(dropped, [RestoreTable(tree.version, "T", RowStoreKey(50), 2, "V")], LIMITS)
    assert back.dropped_tables == ()
    assert back.tables["V"].extents == tree.tables["T"].extents
    assert back.tables["V"].references == (RowStoreReference(2, RowStoreKey(50)),)
    assert back.tables["V"].table_id == "t"


def test_a_dropped_table_without_extents_is_gone():
    assert run(DropTable("T")).dropped_tables == ()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (RestoreTable(Version(1, 9), "T", RowStoreKey(50)), TableNotFoundError),
        (RestoreTable(Version(1, 1), "U", RowStoreKey(50)), TableNotFoundError),
        (RestoreTable(Version(1, 1), "T", ONE), InvalidRequestError),  # its own old key
        (RestoreTable(Version(1, 1), "T", OTHER), InvalidRequestError),
        (RestoreTable(Version(1, 1), "T", RowStoreKey(50), -1), InvalidRequestError),
        (RestoreTable(Version(1, 1), "T", RowStoreKey(50), 0, "U"), EntityExistsError),
        (CreateTable("N", "n", TWO, (A,)), InvalidRequestError),  # a key of a dropped table
        (ForgetDroppedTables((Version(1, 9),)), EntityNotFoundError),
        (ForgetDroppedTables(()), InvalidRequestError),
    ],
)
def test_what_cannot_be_done_with_dropped_tables(change, error):
    tree = run(SEAL, DropTable("T"))
    with pytest.raises(error):
        apply(tree, [change], LIMITS)


def test_dropped_tables_are_forgotten_by_version():
    tree = run(SEAL, ReplaceExtents("U", (), (extent("e9"),)), DropTable("T"), DropTable("U"))
    assert len(tree.dropped_tables) == 2
    assert apply(tree, [ForgetDroppedTables((Version(1, 1),))], LIMITS).dropped_tables == ()


def test_a_restored_table_counts_against_the_limit():
    tree = run(SEAL, DropTable("T"), CreateTable("V", "v", RowStoreKey(60), (A,)))
    with pytest.raises(LimitExceededError):
        apply(
            tree,
            [RestoreTable(Version(1, 1), "T", RowStoreKey(50))],
            Limits(tables_per_database=2),
        )


# Renaming


def test_tables_are_renamed_at_once_so_that_they_swap():
    tree = run(SEAL, RenameTables((("T", "U"), ("U", "T"))))
    assert (tree.tables["U"].key, tree.tables["T"].key) == (ONE, OTHER)
    assert tree.tables["U"].name == "U"
    assert set(tree.tables["U"].extents) == {"e1", "e2"}


@pytest.mark.parametrize(
    ("names", "error"),
    [
        ((), InvalidRequestError),
        ((("T", "V"), ("T", "W")), InvalidRequestError),
        ((("X", "V"),), TableNotFoundError),
        ((("T", "U"),), EntityExistsError),
        ((("T", "V"), ("U", "V")), EntityExistsError),
    ],
)
def test_names_that_cannot_be_given(names, error):
    with pytest.raises(error):
        run(RenameTables(names))
