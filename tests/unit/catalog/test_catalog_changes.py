"""Transactions on metadata trees: what each change does, and everything that is refused."""

from __future__ import annotations

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
from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    ScalarType,
    StreamingIngestionPolicy,
    Version,
)
from cluster.catalog.naming import check_entity_name, quote_name
from cluster.errors import (
    EntityExistsError,
    EntityNameError,
    InvalidRequestError,
    LimitExceededError,
    TableNotFoundError,
)
from cluster.limits import LIMITS, Limits

EMPTY = Database("D", "00000000-0000-0000-0000-000000000001")
A, B, C = (Column(name, ScalarType.LONG) for name in "abc")
ON = StreamingIngestionPolicy(True)


def create(name, *columns, key=1):
    return CreateTable(name, f"id-{name}", RowStoreKey(key), columns or (A,))


def test_each_transaction_is_one_version_however_many_changes_it_has():
    tree = apply(EMPTY, [create("T", A), AppendColumns("T", (B,)), DropTable("T")], LIMITS)
    assert tree.version == Version(1, 1)
    assert tree.tables == {}
    assert EMPTY.version == Version(1, 0)


def test_a_tree_in_hand_does_not_change():
    before = apply(EMPTY, [create("T", A)], LIMITS)
    after = apply(before, [AppendColumns("T", (B,)), create("U", key=2)], LIMITS)
    assert list(before.tables) == ["T"]
    assert before.tables["T"].columns == (A,)
    assert list(after.tables) == ["T", "U"]


def test_appended_columns_are_a_new_schema_version_and_old_ones_stay():
    tree = apply(EMPTY, [create("T", A)], LIMITS)
    tree = apply(tree, [AppendColumns("T", (B, C))], LIMITS)
    assert tree.tables["T"].schemas == ((A,), (A, B, C))
    assert tree.tables["T"].schema_version == 1


def test_policies_and_descriptions_are_replaced_and_removed():
    tree = apply(EMPTY, [create("T"), SetTableStreamingPolicy("T", ON)], LIMITS)
    assert tree.streaming_tables() == ("T",)
    tree = apply(tree, [SetTableStreamingPolicy("T", None), DescribeTable("T", "f", "d")], LIMITS)
    assert tree.streaming_tables() == ()
    assert (tree.tables["T"].folder, tree.tables["T"].docstring) == ("f", "d")
    tree = apply(tree, [SetDatabaseStreamingPolicy(ON)], LIMITS)
    assert tree.streaming_tables() == ("T",)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ([], InvalidRequestError),
        ([create("T")], EntityExistsError),
        ([create("U", key=1)], InvalidRequestError),
        ([create("U", key=0)], InvalidRequestError),
        ([create("U", key=2**64)], InvalidRequestError),
        ([create("U", A, A, key=2)], InvalidRequestError),
        ([CreateTable("U", "id", RowStoreKey(2), ())], InvalidRequestError),
        ([CreateTable("U", "id", RowStoreKey(2), (A,), docstring="\ud800")], InvalidRequestError),
        ([create("U", Column("x$", ScalarType.INT), key=2)], EntityNameError),
        ([create("", key=2)], EntityNameError),
        ([AppendColumns("T", ())], InvalidRequestError),
        ([AppendColumns("T", (A,))], InvalidRequestError),
        ([AppendColumns("t", (B,))], TableNotFoundError),
        ([DropTable("U")], TableNotFoundError),
        ([DropTable("T"), DropTable("T")], TableNotFoundError),
        ([DescribeTable("U", "", "")], TableNotFoundError),
        ([DescribeTable("T", "\udfff", "")], InvalidRequestError),
        ([SetTableStreamingPolicy("U", ON)], TableNotFoundError),
    ],
)
def test_refused_transactions(changes, error):
    tree = apply(EMPTY, [create("T")], LIMITS)
    with pytest.raises(error):
        apply(tree, changes, LIMITS)


def test_the_message_for_a_missing_table_is_kustos():
    with pytest.raises(TableNotFoundError, match="Entity ID 'U' of kind 'Table' was not found"):
        apply(EMPTY, [DropTable("U")], LIMITS)


@pytest.mark.parametrize(("count", "fits"), [(2, True), (3, True), (4, False)])
def test_limit_of_tables(count, fits):
    changes = [create(f"T{n}", key=n + 1) for n in range(count)]
    limits = Limits(tables_per_database=3)
    if fits:
        assert len(apply(EMPTY, changes, limits).tables) == count
    else:
        with pytest.raises(LimitExceededError):
            apply(EMPTY, changes, limits)


@pytest.mark.parametrize(("count", "fits"), [(2, True), (3, True), (4, False)])
@pytest.mark.parametrize("appended", [False, True])
def test_limit_of_columns(count, fits, appended):
    columns = [Column(f"c{n}", ScalarType.REAL) for n in range(count)]
    if appended:
        changes = [create("T", columns[0]), AppendColumns("T", tuple(columns[1:]))]
    else:
        changes = [create("T", *columns)]
    limits = Limits(columns_per_table=3)
    if fits:
        assert len(apply(EMPTY, changes, limits).tables["T"].columns) == count
    else:
        with pytest.raises(LimitExceededError):
            apply(EMPTY, changes, limits)


@pytest.mark.parametrize("length", [1, 1023, 1024])
def test_names_up_to_the_limit(length):
    check_entity_name("Table", "x" * length, LIMITS)


@pytest.mark.fidelity(
    "entity-names.md", "Names have letters, digits, underscore, space, dot and dash"
)
@pytest.mark.parametrize(
    "name", ["My Table", "a.b", "a-b", "_x_", "1st", "größe", "x__y", "__x"[1:]]
)
def test_names_kusto_takes(name):
    check_entity_name("Table", name, LIMITS)


@pytest.mark.fidelity("entity-names.md", "Other names are refused")
@pytest.mark.parametrize(
    "name",
    ["", "x" * 1025, "__x", "x__", "__", "a$", "a/b", "a'b", "a\nb", "a\x00", "a]", "\ud800"],
)
def test_names_kusto_refuses(name):
    with pytest.raises(EntityNameError):
        check_entity_name("Table", name, LIMITS)


@pytest.mark.parametrize(
    ("name", "written"),
    [("T1", "T1"), ("my table", "['my table']"), ("1st", "['1st']"), ("a-b", "['a-b']")],
)
def test_names_as_written_in_commands(name, written):
    assert quote_name(name) == written
