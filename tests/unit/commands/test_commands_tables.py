"""Commands that change tables: what they do to names, schemas, settings and what was dropped."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from command_examples import EXAMPLES
from commands_world import extent

from cluster.catalog.changes import ReplaceExtents, SetPolicy, column_policy_kind
from cluster.catalog.model import Version
from cluster.errors import (
    EntityExistsError,
    EntityNameError,
    InvalidRequestError,
    LimitExceededError,
    TableNotFoundError,
)


def names(world):
    return sorted(world.catalog.get("Sales").tables)


def table(world, name="T"):
    return world.catalog.get("Sales").tables[name]


def schema(world, name="T"):
    return [(column.name, column.type.value) for column in table(world, name).columns]


# Several tables at once


@pytest.mark.fidelity(
    "create-tables-command.md", ".create tables leaves those that exist as they are"
)
async def test_create_tables_leaves_existing_ones_alone(world):
    rows = await world.run(".create tables U (x:int), T (other:string) with (folder='f')")
    assert rows == [("U", "Sales", "f", ""), ("T", "Sales", "", "")]
    assert schema(world) == [("a", "long"), ("b c", "dynamic")]
    version = world.version()
    await world.run(".create tables U (x:int), T (a:long)")
    assert world.version() == version


@pytest.mark.fidelity("create-merge-tables-command.md", ".create-merge tables is all or nothing")
async def test_create_merge_tables_is_all_or_nothing(world):
    version = world.version()
    with pytest.raises(InvalidRequestError, match="'a' of table 'T' has the type 'long'"):
        await world.run(".create-merge tables New (x:int), T (a:string)")
    assert (names(world), world.version()) == (["T"], version)
    assert len(await world.run(".create-merge tables New (x:int), T (z:int)")) == 2
    assert world.version() == version.next(), "one transaction"
    assert schema(world)[-1] == ("z", "int")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (".create tables U (a:int), U (a:int)", InvalidRequestError),
        (".create-merge tables U (a:int), U (b:int)", InvalidRequestError),
        (".create tables U (a:int), ['x$'] (a:int)", EntityNameError),
        (".create tables U (a:int), V (a:int, a:int)", InvalidRequestError),
        (".create tables A (a:int), B (a:int), C (a:int), D (a:int)", LimitExceededError),
        (".drop tables (T, X)", TableNotFoundError),
        (".rename table X to Y", TableNotFoundError),
        (".rename tables A=T, B=T", InvalidRequestError),
        (".rename table T to ['x$']", EntityNameError),
        (".rename table T to U with (color=1)", InvalidRequestError),
        (".alter table X (a:long)", TableNotFoundError),
        (".alter table T (a:string)", InvalidRequestError),
        (".alter-merge table X (a:long)", TableNotFoundError),
        (".alter table X folder 'f'", TableNotFoundError),
        (".create table U based-on X", TableNotFoundError),
        (".create table U based-on T with (folder=1)", InvalidRequestError),
        (".undo drop table T version='v1.1'", TableNotFoundError),
        (".undo drop table T version='one'", InvalidRequestError),
    ],
)
async def test_what_is_refused_changes_nothing(world, text, error):
    tree = world.catalog.get("Sales")
    with pytest.raises(error):
        await world.run(text)
    assert world.catalog.get("Sales") is tree


@pytest.mark.fidelity("drop-table-command.md", ".drop table gives the tables that remain")
async def test_drop_tables(world):
    await world.run(".create tables A (x:int), B (x:int)")
    assert await world.run(".drop tables (A, X) ifexists") == [("B", "Sales"), ("T", "Sales")]
    assert await world.run(".drop tables (T, B, T)") == []


# The schema


@pytest.mark.fidelity(
    "alter-table-command.md",
    ".alter table gives exactly these columns in this order; others go with their data",
)
async def test_alter_table_keeps_what_it_names_in_the_order_given(world):
    await world.run(".alter table T column-docstrings (['b c']:'kept')")
    ids = table(world).column_ids[-1]
    row = await world.row(".alter table T (new:int, ['b c']:dynamic) with (folder='f')")
    assert json.loads(row[1])["OrderedColumns"] == [
        {"Name": "new", "Type": "System.Int32", "CslType": "int"},
        {"Name": "b c", "Type": "System.Object", "CslType": "dynamic", "DocString": "kept"},
    ]
    assert row[3] == "f"
    assert table(world).column_ids[-1] == (2, ids[1])
    await world.run(".alter table T (a:long, ['b c']:dynamic)")
    assert table(world).column_ids[-1] == (3, ids[1]), "a column that comes back is a new one"
    assert table(world).folder == "f"


async def test_alter_table_with_the_same_schema_is_no_new_version(world):
    version = world.version()
    await world.run(".alter table T (a:long, ['b c']:dynamic)")
    assert world.version() == version


@pytest.mark.fidelity("alter-table-command.md", ".alter-merge table adds columns at the end")
async def test_alter_merge_adds_at_the_end_and_keeps_docstrings(world):
    await world.run(".alter table T column-docstrings (a:'kept')")
    await world.run(".alter-merge table T (z:int, a:long) with (docstring='d')")
    assert schema(world) == [("a", "long"), ("b c", "dynamic"), ("z", "int")]
    assert table(world).columns[0].docstring == "kept"
    assert table(world).docstring == "d"


async def test_folder_and_docstring(world):
    assert (await world.row(".alter table T folder 'a/b'"))[3:] == ("a/b", "")
    assert (await world.row(".alter table T docstring 'größe'"))[3:] == ("a/b", "größe")


# Names


async def test_rename_keeps_key_id_and_policies(world):
    await world.run(".alter table T policy streamingingestion enable")
    before = table(world)
    assert await world.run(".rename table T to U") == [("U", "Sales", "", "")]
    assert table(world, "U") == replace(before, name="U")


@pytest.mark.fidelity(
    "rename-table-command.md", "Tables are renamed and swapped in one transaction"
)
async def test_rename_tables_swaps_in_one_transaction(world):
    await world.run(".create tables A (x:int), B (y:int)")
    keys = {name: table(world, name).key for name in names(world)}
    version = world.version()
    rows = await world.run(".rename tables A=B, C=T, B=A")
    assert [row[0] for row in rows] == ["A", "C", "B"]
    assert {name: table(world, name).key for name in names(world)} == {
        "A": keys["B"],
        "B": keys["A"],
        "C": keys["T"],
    }
    assert world.version() == version.next()


async def test_rename_to_a_name_that_is_taken(world):
    await world.run(".create table A (x:int)")
    with pytest.raises(EntityExistsError):
        await world.run(".rename table A to T")


async def test_rename_with_ifexists_skips_what_is_missing(world):
    """The sequence of rename-table-command.md: replace a table that may not exist yet."""
    await world.run(".create table TempTable (x:int)")
    rows = await world.run(".rename tables TempTable=Table ifexists, Table=TempTable")
    assert rows == [("Table", "Sales", "", "")]
    assert names(world) == ["T", "Table"]
    with pytest.raises(TableNotFoundError):
        await world.run(".rename tables X=Y, Table=T")


# Based on another


@pytest.mark.fidelity(
    "create-table-based-on-command.md",
    ".create table based-on copies all but rows and update policy",
)
async def test_based_on_copies_all_but_rows_and_update_policy(world):
    await world.run(".create table S (x:int)")
    for text in (
        ".alter table T folder 'f'",
        ".alter table T column-docstrings (a:'doc')",
        ".alter table T policy streamingingestion enable",
        ".alter table T policy retention '{}'",
        ".drop table T columns (['b c'])",
        ".alter-merge table T (z:int)",
        ".alter column T.z policy encoding '{\"x\":1}'",
        '.alter table T policy update \'[{"Source":"S","Query":"S"}]\'',
        EXAMPLES["create table mapping"],
    ):
        await world.run(text)
    row = await world.row(".create table U based-on T")
    assert row[3:] == ("f", "Created based on T")
    source, copy = table(world), table(world, "U")
    assert copy.columns == source.columns
    assert (copy.streaming_policy, copy.mappings) == (source.streaming_policy, source.mappings)
    assert source.column_ids[-1] == (0, 2)
    assert copy.policies == {
        "retention": source.policies["retention"],
        column_policy_kind(1, "encoding"): '{"x":1}',
    }
    assert not set(copy.keys) & set(source.keys)
    assert copy.table_id != source.table_id


async def test_based_on_when_the_table_exists(world):
    await world.run(".create table U (x:int)")
    with pytest.raises(EntityExistsError):
        await world.run(".create table U based-on T")
    await world.run(".create table U based-on T ifnotexists with (folder='f')")
    assert schema(world, "U") == [("x", "int")]
    row = await world.row(".create table V based-on T with (folder='f', docstring='d')")
    assert row[3:] == ("f", "d")


# Undo


@pytest.mark.fidelity(
    "undo-drop-table-command.md",
    ".undo drop table brings a table and its extents back, under another name if told",
)
async def test_undo_drop_table(world):
    world.node.clock.ns = 7_000_000
    await world.catalog.commit(
        "Sales", [ReplaceExtents("T", (), (extent("e1", 5), extent("e2", 7)))], text=""
    )
    before, version = table(world), world.version()
    await world.run(".drop table T")
    assert world.catalog.get("Sales").dropped_tables[0].dropped_us == 7_000
    await world.run(".create table T (other:int)")
    rows = await world.run(f'.undo drop table T as Back version="{version}"')
    assert rows == [("e1", 5, "Recovered", ""), ("e2", 7, "Recovered", "")]
    back = table(world, "Back")
    assert (back.columns, back.extents) == (before.columns, before.extents)
    assert back.key != before.key
    with pytest.raises(TableNotFoundError):
        await world.run(f'.undo drop table T version="{version}"')


async def test_undo_finds_the_version_in_the_journal_and_needs_no_v(world):
    await world.catalog.commit("Sales", [ReplaceExtents("T", (), (extent("e1", 5),))], text="")
    await world.run(".drop table T")
    rows = await world.run(".show database Sales journal")
    (original,) = [row[-1] for row in rows if row[0] == "DROP-TABLE" and row[3] == "T"]
    assert Version(1, 2) == world.version().__class__(*map(int, original[1:].split(".")))
    await world.run(f'.undo drop table T version="{original[1:]}"')
    assert names(world) == ["T"]


# Showing


@pytest.mark.fidelity(
    "show-table-details-command.md",
    "Details show effective policies",
    differs="Of this moment, not up to 15 minutes old",
)
async def test_details_are_of_extents_with_effective_policies(world):
    world.node.clock.ns = 10 * 86_400 * 10**9
    day = 86_400 * 10**6
    for text in (
        ".alter database Sales policy retention '{}'",
        ".alter database Sales policy caching hot = 2d",
        ".alter table T policy merge '{}'",
        ".alter table T policy roworder (a desc)",
    ):
        await world.run(text)
    old, new = extent("e1", 5, created_us=day), extent("e2", 7, created_us=9 * day)
    await world.catalog.commit("Sales", [ReplaceExtents("T", (), (old, new))], text="")
    result = await world.service.execute("Sales", ".show table T details")
    shown = dict(zip((column.name for column in result.columns), result.rows[0], strict=True))
    assert await world.run(".show tables details") == list(result.rows)
    assert await world.run(".show tables (T) details") == list(result.rows)
    sizes = ("TotalExtents", "TotalExtentSize", "TotalOriginalSize", "TotalRowCount")
    assert [shown[name] for name in sizes] == [2, 200.0, 2000.0, 12]
    hot = ("HotExtents", "HotExtentSize", "HotOriginalSize", "HotRowCount")
    assert [shown[name] for name in hot] == [1, 100.0, 1000.0, 7]
    assert json.loads(shown["RetentionPolicy"])["Recoverability"] == "Enabled"
    assert json.loads(shown["CachingPolicy"])["DataHotSpan"] == {"Value": "2.00:00:00"}
    assert json.loads(shown["MergePolicy"])["MaxExtentsToMerge"] == 100
    assert json.loads(shown["RowOrderPolicy"]) == [{"ColumnName": "a", "SortOrder": "desc"}]
    assert shown["ShardingPolicy"] == shown["StreamingIngestionPolicy"] == "null"
    assert shown["MinExtentsCreationTime"].isoformat() == "1970-01-02T00:00:00+00:00"
    assert shown["MaxExtentsCreationTime"].isoformat() == "1970-01-10T00:00:00+00:00"
    assert shown["TableId"] == table(world).table_id


async def test_details_of_an_empty_table(world):
    row = await world.row(".show table T details")
    assert row[4:12] == (0, 0.0, 0.0, 0, 0, 0.0, 0.0, 0)
    assert row[19:21] == (None, None)


@pytest.mark.fidelity(
    "published grammar",
    ".show table T has a row for each column",
    differs="Sizes are null: they are not in the metadata",
)
async def test_show_table_lists_its_columns(world):
    rows = await world.run(".show table T")
    assert [(row[0], row[1]) for row in rows] == [("a", "I64"), ("b c", "Dynamic")]
    before = [row[7] for row in rows]
    await world.run(".rename column T.a to z")
    assert [row[7] for row in await world.run(".show table T")] == before, "the id stays"


async def test_policies_of_columns_go_with_them(world):
    kind = column_policy_kind(1, "encoding")
    await world.catalog.commit("Sales", [SetPolicy("T", kind, "{}")], text="")
    await world.run(".alter table T (a:long)")
    assert table(world).policies == {}
