"""Commands end to end on a real catalog: rows, rules, errors, and followers left untouched."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import trio
from command_examples import EXAMPLES
from commands_world import ON, database_row

from cluster.catalog.model import Version
from cluster.commands.grammar import COMMANDS, Kind
from cluster.errors import (
    DatabaseNotFoundError,
    EntityExistsError,
    EntityNameError,
    InvalidRequestError,
    LimitExceededError,
    NotSupportedError,
    ReadOnlyError,
    SyntaxRefusedError,
    TableNotFoundError,
)

# Databases


@pytest.mark.fidelity(
    "create-database-command.md",
    "A database is created",
    differs="volatile databases are kept on disk too; persist is not supported",
)
async def test_create_database(world):
    assert await world.row(".create database New") == ("New", "", "true", True, True)
    again = ".create database new ifnotexists"
    assert await world.row(again) == ("New", "", "false", True, True)
    with pytest.raises(EntityExistsError, match="'NEW' of kind 'Database' already exists"):
        await world.run(".create database NEW")
    with pytest.raises(EntityNameError):
        await world.run(".create database ['a/b']")
    with pytest.raises(NotSupportedError):
        await world.run(".create database Other persist ('x')")
    assert len(world.catalog.databases()) == 3


async def test_a_first_command_needs_no_database_in_context(world):
    assert (await world.row(".create database X", "nowhere"))[0] == "X"
    assert len(await world.run(".show databases", "nowhere")) == 3
    with pytest.raises(DatabaseNotFoundError, match="Entity ID 'nowhere' of kind 'Database'"):
        await world.run(".show tables", "nowhere")
    with pytest.raises(DatabaseNotFoundError):
        await world.run(".create table T (a:long)", "nowhere")


async def test_no_database_is_the_default_one(world):
    await world.run(".create table D (a:long)", "")
    assert list(world.catalog.get("NetDefaultDB").tables) == ["D"]
    assert (await world.row(".show database", ""))[0] == "NetDefaultDB"


@pytest.mark.fidelity("show-databases.md", ".show databases has a row for each database")
async def test_show_databases(world):
    guid = world.catalog.get("Sales").database_id
    sales = ("Sales", "", "v1.1", True, "ReadWrite", "", False, guid, "")
    rows = await world.run(".show databases", "sALES")
    assert [row[0] for row in rows] == ["NetDefaultDB", "Sales"]
    assert rows[1] == sales
    assert rows[0][3] is False
    assert await world.run(".show database") == [sales]
    assert await world.run(".show databases (SALES, Sales)") == [sales]
    assert await world.run(".show databases (sa*)") == [sales]
    assert await world.run(".show databases (x*)") == []
    with pytest.raises(DatabaseNotFoundError):
        await world.run(".show databases (Sales, Nope)")


# Tables


@pytest.mark.fidelity("create-table-command.md", ".create table gives the schema as JSON")
async def test_create_table(world):
    schema = {
        "Name": "New",
        "OrderedColumns": [
            {"Name": "t", "Type": "System.DateTime", "CslType": "datetime"},
            {"Name": "d", "Type": "System.Data.SqlTypes.SqlDecimal", "CslType": "decimal"},
        ],
        "Folder": "f",
        "DocString": "größe",
    }
    row = await world.row(
        ".create table New (t:date, d:decimal) with (folder='f', docstring='größe')"
    )
    text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
    assert row == ("New", text, "Sales", "f", "größe")
    assert await world.row(".show table New schema as json") == row


@pytest.mark.fidelity(
    "create-table-command.md", "Creating a table that exists succeeds and changes nothing"
)
async def test_creating_an_existing_table_changes_nothing(world):
    version = world.version()
    row = await world.row(".create table T (other:string) with (folder='f')")
    assert json.loads(row[1])["OrderedColumns"][0] == {
        "Name": "a",
        "Type": "System.Int64",
        "CslType": "long",
    }
    assert row[3] == ""
    assert world.version() == version


@pytest.mark.fidelity(
    "create-merge-table-command.md",
    ".create-merge adds missing columns at the end and refuses another type",
)
async def test_create_merge(world):
    row = await world.row(".create-merge table T (b:string, a:long, c:real) with (folder='f')")
    names = [column["Name"] for column in json.loads(row[1])["OrderedColumns"]]
    assert names == ["a", "b c", "b", "c"]
    assert row[3] == "f"
    version = world.version()
    await world.run(".create-merge table T (a:long) with (folder='f')")
    assert world.version() == version, "nothing new, no new version"
    with pytest.raises(InvalidRequestError, match="'a' of table 'T' has the type 'long'"):
        await world.run(".create-merge table T (z:int, a:string)")
    assert world.version() == version
    assert (await world.row(".create-merge table U (a:int)"))[0] == "U"


async def test_drop_table_gives_what_remains(world):
    await world.run(".create table U (a:long)")
    await world.run(".create table B (a:long)")
    assert await world.run(".drop table T") == [("B", "Sales"), ("U", "Sales")]
    assert await world.run(".drop table T ifexists") == [("B", "Sales"), ("U", "Sales")]
    with pytest.raises(TableNotFoundError, match="Entity ID 'T' of kind 'Table' was not found"):
        await world.run(".drop table T")


async def test_a_table_that_comes_back_has_a_new_key(world):
    before = world.catalog.get("Sales").tables["T"]
    await world.run(".drop table T")
    await world.run(".create table T (a:long)")
    after = world.catalog.get("Sales").tables["T"]
    assert after.key != before.key
    assert after.table_id != before.table_id


async def test_show_tables(world):
    await world.run(".create table A (a:long) with (folder='f', docstring='d')")
    a, t = ("A", "Sales", "f", "d"), ("T", "Sales", "", "")
    assert await world.run(".show tables") == [a, t]
    assert await world.run(".show tables (T, A, T)") == [t, a]
    with pytest.raises(TableNotFoundError):
        await world.run(".show tables (T, t)")


@pytest.mark.parametrize("word", ["cslschema", "kqlschema"])
async def test_show_table_cslschema_can_be_created_again(world, word):
    row = await world.row(f".show table T {word}")
    assert row == ("T", "a:long,['b c']:dynamic", "Sales", "", "")
    await world.run(f".create table Copy ({row[1]})")
    tables = world.catalog.get("Sales").tables
    assert tables["Copy"].columns == tables["T"].columns


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (".create table X (a:long, a:int)", InvalidRequestError),
        (".create-merge table T (z:long, z:int)", InvalidRequestError),
        (".create table X (['a$']:long)", EntityNameError),
        (".create table __x (a:long)", EntityNameError),
        (".create table X (a:long) with (color='red')", InvalidRequestError),
        (".create table X (a:long) with (folder='a', folder='b')", InvalidRequestError),
        (".show table X cslschema", TableNotFoundError),
        (".show table X schema as json", TableNotFoundError),
        (".create table X (a:long) | count", SyntaxRefusedError),
    ],
)
async def test_table_commands_that_are_refused(world, text, error):
    version = world.version()
    with pytest.raises(error):
        await world.run(text)
    assert world.version() == version


async def test_limit_of_tables(world):
    for name in ("B", "C", "D"):
        await world.run(f".create table {name} (a:long)")
    with pytest.raises(LimitExceededError):
        await world.run(".create table E (a:long)")
    await world.run(".create table D (a:long)")


# Followers

OF_THE_NODE = {"create database", "execute database script"} | {
    spec.name for spec in COMMANDS if " cluster " in spec.name
}
"""What changes nothing of the database in context itself: a new database, policies and principals
of the cluster.

Each command of a script is refused on its own."""


def written(world):
    """Bytes that the catalog has written so far."""
    statistics = world.catalog.statistics()
    return statistics.journal_bytes, statistics.snapshot_bytes


def test_a_new_database_and_cluster_policies_are_all_that_a_follower_changes():
    mutating = {spec.name for spec in COMMANDS if spec.kind is Kind.MUTATE}
    verbs = {"alter", "alter-merge", "delete", "execute", "add", "drop", "set"}
    assert {name.split()[0] for name in mutating & OF_THE_NODE} == {"create", *verbs}


@pytest.mark.fidelity(
    "follower.md",
    "A follower database cannot be changed",
    differs="The page gives no code: 403 Forbidden naming the leader",
)
@pytest.mark.parametrize(
    "text",
    [
        *(
            EXAMPLES[spec.name]
            for spec in COMMANDS
            if spec.kind is Kind.MUTATE and spec.name not in OF_THE_NODE
        ),
        ".create table T (a:long)",
        ".create table New (a:long) with (color='red')",
        ".drop table X",
        ".alter table T policy streamingingestion '{'",
        ".alter table T policy retention '{'",
    ],
)
async def test_a_follower_is_read_only_and_keeps_no_trace(follower, text):
    follower.node.capability = False
    tree, revision = follower.catalog.get("Sales"), follower.catalog.revision
    settings, journal = follower.catalog.following_settings("Sales"), written(follower)
    operations = len(await follower.run(".show operations"))
    with pytest.raises(ReadOnlyError, match="follows database 'Sales' of cluster 'leader'"):
        await follower.run(text)
    assert follower.catalog.get("Sales") is tree
    assert follower.catalog.revision == revision
    assert follower.catalog.following_settings("Sales") == settings
    assert written(follower) == journal
    assert follower.node.schema_cache.cleared == []
    assert follower.node.ingestion is None, "what would store rows is not there to be asked"
    assert len(await follower.run(".show operations")) == operations


@pytest.mark.parametrize(
    "spec", [spec for spec in COMMANDS if spec.kind is Kind.SHOW], ids=lambda spec: spec.name
)
async def test_what_only_reads_runs_on_a_follower_too(follower, spec):
    result = await follower.service.execute("Sales", EXAMPLES[spec.name])
    assert result.columns == spec.columns


@pytest.mark.fidelity("show-databases.md", "DatabaseAccessMode of a follower is ReadOnlyFollowing")
async def test_a_follower_shows_everything(follower):
    assert (await follower.row(".show database"))[:5] == (
        "Sales",
        "",
        "v1.1",
        True,
        "ReadOnlyFollowing",
    )
    modes = [row[4] for row in await follower.run(".show databases")]
    assert modes == ["ReadWrite", "ReadOnlyFollowing"]
    assert await follower.run(".show tables") == [("T", "Sales", "", "")]
    assert (await follower.row(".show table T cslschema"))[1] == "a:long"
    row = await follower.row(".show database policy streamingingestion")
    assert row == database_row(ON)


async def test_the_node_of_a_follower_still_owns_other_databases(follower):
    await follower.run(".create database Own")
    await follower.run(".create table T (a:long)", "Own")
    with pytest.raises(EntityExistsError):
        await follower.run(".create database sales")


# The cluster


@pytest.mark.fidelity("system-info", ".show cluster and .show version describe the node")
async def test_show_cluster_and_version(world):
    assert await world.row(".show cluster") == (
        "leader-0",
        "127.0.0.1:5000",
        "leader-0",
        datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        True,
        1000,
        500,
        2,
        '{"Environment": "Remora", "ClusterName": "leader"}',
    )
    assert await world.row(".show version") == (
        "0.1.0",
        datetime(2020, 9, 13, 12, 26, 40, 123456, tzinfo=UTC),
        "Engine",
        "Remora_0.1.0",
    )


@pytest.mark.fidelity(
    "clear-schema-cache-command.md",
    ".clear table T and .clear database cache streamingingestion schema give a row for each node",
    differs="A cluster has one node",
)
async def test_clearing_the_schema_cache(world):
    done = [("leader-0", "Succeeded")]
    assert await world.run(".clear table T cache streamingingestion schema") == done
    assert await world.run(".clear database cache streamingingestion schema") == done
    key = world.catalog.get("Sales").tables["T"].key
    assert world.node.schema_cache.cleared == [frozenset({key})] * 2
    with pytest.raises(TableNotFoundError):
        await world.run(".clear table X cache streamingingestion schema")
    with pytest.raises(DatabaseNotFoundError):
        await world.run(".clear database cache streamingingestion schema", "nowhere")


# The service


@pytest.mark.fidelity(
    "scalar-data-types/string.md", "Obfuscated strings are masked wherever texts are kept"
)
async def test_journal_texts_have_no_secrets(world):
    await world.run(".create table S (a:long) with (docstring=h'hidden')")
    (delta,) = world.catalog.deltas_since("Sales", Version(1, 1))
    assert delta.text == ".create table S (a:long) with (docstring=******)"
    assert delta.events == ("CREATE-TABLE",)


async def test_concurrent_commands_see_each_other(world):
    async def add(name):
        await world.run(f".create-merge table T ({name}:long)")

    async with trio.open_nursery() as nursery:
        for name in "defgh":
            nursery.start_soon(add, name)
    columns = world.catalog.get("Sales").tables["T"].columns
    assert {column.name for column in columns} == {"a", "b c", *"defgh"}


async def test_long_commands_are_executed_and_refused_alike(world):
    wide = ", ".join(f"column{n}:long" for n in range(1000))
    await world.run(f".create table Wide ({wide})")
    assert len(world.catalog.get("Sales").tables["Wide"].columns) == 1000
    with pytest.raises(SyntaxRefusedError):
        await world.run(".show tables (" + "a," * 5000)


async def test_results_have_the_declared_columns_and_statistics_count(world):
    result = await world.service.execute("Sales", ".show tables")
    assert [column.name for column in result.columns] == [
        "TableName",
        "DatabaseName",
        "Folder",
        "DocString",
    ]
    before = world.service.statistics()
    with pytest.raises(SyntaxRefusedError):
        await world.run("x")
    after = world.service.statistics()
    assert (after.executed, after.refused) == (before.executed, before.refused + 1)
