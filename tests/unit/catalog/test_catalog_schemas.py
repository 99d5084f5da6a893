"""Changes of columns: ids that mean one column for ever, and everything that would break that."""

from __future__ import annotations

import pytest

from cluster.catalog.changes import (
    AppendColumns,
    CreateTable,
    DescribeColumns,
    SetPolicy,
    SetSchema,
    apply,
    column_policy_kind,
    next_column_id,
)
from cluster.catalog.codec import decode_database, encode_database
from cluster.catalog.model import Column, Database, RowStoreKey, ScalarType
from cluster.errors import (
    EntityNameError,
    EntityNotFoundError,
    InvalidRequestError,
    LimitExceededError,
    TableNotFoundError,
)
from cluster.limits import LIMITS, Limits

A, B, C = (Column(name, ScalarType.LONG) for name in "abc")
TREE = apply(Database("D", "guid"), [CreateTable("T", "id", RowStoreKey(1), (A, B))], LIMITS)


def changed(*changes, tree=TREE, limits=LIMITS):
    return apply(tree, changes, limits).tables["T"]


def test_new_columns_get_the_next_ids():
    table = changed(AppendColumns("T", (C,)))
    assert table.column_ids == ((0, 1), (0, 1, 2))
    assert next_column_id(table) == 3


def test_a_renamed_and_moved_column_keeps_its_id():
    renamed = Column("z", ScalarType.LONG)
    table = changed(SetSchema("T", (B, renamed), (1, 0)))
    assert (table.columns, table.column_ids[-1]) == ((B, renamed), (1, 0))
    assert table.schemas[0] == (A, B)


def test_the_id_of_a_dropped_column_is_never_used_again():
    table = changed(SetSchema("T", (A,), (0,)), AppendColumns("T", (B,)))
    assert table.column_ids == ((0, 1), (0,), (0, 2))
    with pytest.raises(InvalidRequestError, match="first free one is 3"):
        changed(
            SetSchema("T", (A,), (0,)), AppendColumns("T", (B,)), SetSchema("T", (A, B), (0, 1))
        )


def test_a_retyped_column_gets_a_new_id():
    text = Column("b", ScalarType.STRING)
    assert changed(SetSchema("T", (A, text), (0, 2))).column_ids[-1] == (0, 2)
    with pytest.raises(InvalidRequestError, match="cannot become string under id 1"):
        changed(SetSchema("T", (A, text), (0, 1)))


def test_ids_may_be_skipped():
    assert next_column_id(changed(SetSchema("T", (A, B), (0, 7)))) == 8


def test_docstrings_are_of_the_schema_in_force():
    table = changed(DescribeColumns("T", (("b", "second"),)))
    assert [column.docstring for column in table.columns] == ["", "second"]
    assert table.schema_version == 0
    table = changed(DescribeColumns("T", (("b", "second"),)), AppendColumns("T", (C,)))
    assert [column.docstring for column in table.columns] == ["", "second", ""]
    assert table.schemas[0] == (A, B)


def test_a_schema_that_differs_in_docstrings_only_is_no_new_version():
    table = changed(SetSchema("T", (A, Column("b", ScalarType.LONG, "x")), (0, 1)))
    assert (table.schema_version, table.columns[1].docstring) == (0, "x")


def test_a_schema_history_of_all_sorts_survives_the_codec():
    tree = apply(
        TREE,
        [
            AppendColumns("T", (C,)),
            DescribeColumns("T", (("a", "first"),)),
            AppendColumns("T", (Column("d", ScalarType.GUID, "new"),)),
            SetSchema("T", (C, A), (2, 0)),
            AppendColumns("T", (B,)),
        ],
        LIMITS,
    )
    assert tree.tables["T"].schema_version == 4
    assert decode_database(encode_database(tree)) == tree
    # Appending costs a number in the tree, not the columns again.
    assert b'"schemas":[2,3,[[' in encode_database(tree)


def test_policies_of_columns_go_with_them_and_survive_renaming():
    kinds = [column_policy_kind(identity, "encoding") for identity in (0, 1)]
    policies = [SetPolicy("T", kind, "{}") for kind in (*kinds, "merge")]
    table = changed(*policies, SetSchema("T", (Column("z", ScalarType.LONG),), (0,)))
    assert table.policies == {kinds[0]: "{}", "merge": "{}"}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (SetSchema("U", (A,), (0,)), TableNotFoundError),
        (SetSchema("T", (), ()), InvalidRequestError),
        (SetSchema("T", (A, B), (0,)), InvalidRequestError),
        (SetSchema("T", (A, B), (0, 0)), InvalidRequestError),
        (SetSchema("T", (A, A), (0, 1)), InvalidRequestError),
        (SetSchema("T", (A,), (-1,)), InvalidRequestError),
        (SetSchema("T", (Column("x$", ScalarType.LONG),), (0,)), EntityNameError),
        (SetSchema("T", (Column("a", ScalarType.LONG, "\ud800"),), (0,)), InvalidRequestError),
        (DescribeColumns("U", ()), TableNotFoundError),
        (DescribeColumns("T", (("z", ""),)), EntityNotFoundError),
        (DescribeColumns("T", (("a", ""), ("a", "x"))), InvalidRequestError),
        (DescribeColumns("T", (("a", "\ud800"),)), InvalidRequestError),
    ],
)
def test_refused(change, error):
    with pytest.raises(error):
        changed(change)


@pytest.mark.parametrize(("count", "fits"), [(2, True), (3, True), (4, False)])
def test_limit_of_columns(count, fits):
    change = SetSchema("T", (A, B, C, Column("d", ScalarType.INT))[:count], (0, 1, 2, 3)[:count])
    if fits:
        assert len(changed(change, limits=Limits(columns_per_table=3)).columns) == count
    else:
        with pytest.raises(LimitExceededError):
            changed(change, limits=Limits(columns_per_table=3))
