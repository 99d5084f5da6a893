"""Commands that show schemas: flat, as JSON, as a script that makes a copy."""

from __future__ import annotations

import json

import pytest
from command_examples import EXAMPLES, MAPPING

from cluster.errors import DatabaseNotFoundError, EntityNotFoundError, InvalidRequestError

WINDOW = "hot_window = 2021-01-01 .. 2021-01-02"
UPDATE = r'[{"Source":"S","Query":"F(1) | where x == \'\\n\'"}]'
SETUP = (
    ".alter table T folder 'f'",
    ".alter table T column-docstrings (a:'doc \"a\"')",
    ".create table S (x:int)",
    ".create function with (folder='g', docstring='it''s') F(n:long) { T | take n }".replace(
        "''", "\\'"
    ),
)


async def setup(world):
    for text in SETUP:
        await world.run(text)


@pytest.mark.fidelity(
    "show-schema-database.md",
    "The flat schema has rows for database, tables and columns with CLR types",
)
async def test_flat_schema(world):
    await setup(world)
    version = str(world.version())
    rows = await world.run(".show database Sales schema", "")
    assert rows == [
        ("Sales", "", "", "", False, False, "", version, "", ""),
        ("Sales", "S", "", "", False, False, "", "", "", ""),
        ("Sales", "S", "x", "System.Int32", False, False, "", "", "", ""),
        ("Sales", "T", "", "", False, False, "", "", "f", ""),
        ("Sales", "T", "a", "System.Int64", False, False, "", "", "", 'doc "a"'),
        ("Sales", "T", "b c", "System.Object", False, False, "", "", "", ""),
    ]
    assert await world.run(".show database schema details") == rows
    assert await world.run(".show databases (Sales, sales) schema") == rows
    everything = await world.run(".show cluster schema")
    assert everything == await world.run(".show databases schema")
    assert everything[0][0] == "NetDefaultDB"


@pytest.mark.fidelity(
    "show-schema-database.md", "if_later_than gives nothing for the same or an older version"
)
async def test_only_what_is_later(world):
    version = world.version()
    later = f'if_later_than "{version}"'
    earlier = 'if_later_than "v1.0"'
    assert await world.run(f".show database Sales schema {later}") == []
    assert await world.run(f".show database Sales schema if_later_than '{version.next()}'") == []
    assert len(await world.run(f".show database Sales schema {earlier}")) == 4
    rows = await world.run(f".show databases (Sales {later}, NetDefaultDB) schema details")
    assert [row[0] for row in rows] == ["NetDefaultDB"]
    (text,) = await world.row(f".show database Sales schema {later} as json")
    assert json.loads(text) == {"Plugins": [], "Databases": {}}
    assert await world.run(f".show database Sales cslschema {later}") == []
    with pytest.raises(InvalidRequestError, match="'x' is not a version"):
        await world.run(".show database Sales schema if_later_than 'x'")
    with pytest.raises(DatabaseNotFoundError):
        await world.run(".show database Nope schema")


@pytest.mark.fidelity("show-schema-database.md", "The schema as JSON has what the web editor reads")
async def test_schema_as_json(world):
    await setup(world)
    (text,) = await world.row(".show database Sales schema as json")
    sales = json.loads(text)["Databases"]["Sales"]
    assert (sales["MajorVersion"], sales["MinorVersion"]) == (1, world.version().minor)
    assert sales["Name"] == "Sales"
    assert sales["PrettyName"] is None
    assert sales["Tables"]["S"] == {
        "DefaultColumn": None,
        "Name": "S",
        "OrderedColumns": [{"Name": "x", "Type": "System.Int32", "CslType": "int"}],
        "Folder": "",
        "DocString": "",
        "EntityType": "Table",
    }
    assert json.loads(text)["Plugins"] == []
    for key in ("ExternalTables", "MaterializedViews", "EntityGroups", "Graphs"):
        assert sales[key] == {}, "the web editor reads the values of each of them"
    assert sales["Tables"]["T"]["Folder"] == "f"
    assert sales["Functions"]["F"]["Body"] == "{ T | take n }"
    assert sales["Functions"]["F"]["InputParameters"][0]["CslType"] == "long"
    (text,) = await world.row(".show databases (Sales) schema as json with (Tables=True)")
    assert (len(json.loads(text)["Databases"]["Sales"]["Tables"])) == 2
    assert json.loads(text)["Databases"]["Sales"]["Functions"] == {}
    (text,) = await world.row(".show database schema as json with (Functions=false)")
    assert (len(json.loads(text)["Databases"]["Sales"]["Tables"])) == 2
    (text,) = await world.row(".show schema as json")
    assert set(json.loads(text)["Databases"]) == {"NetDefaultDB", "Sales"}


async def test_cslschema(world):
    rows = await world.run(".show database cslschema")
    assert rows == [("T", "a:long,['b c']:dynamic", "Sales", "", "")]
    (row,) = await world.run(".show database Sales kqlschema script", "")
    assert row[1] == ".create-merge table T (a:long,['b c']:dynamic)"


@pytest.mark.fidelity(
    "show-schema-database.md",
    "The schema as a script makes a copy",
    differs="One row a command unless script is asked for",
)
async def test_the_script_makes_a_copy(world):
    await setup(world)
    for text in (
        '.alter table T policy streamingingestion \'{"IsEnabled":true,"HintAllocatedRate":2}\'',
        ".alter database Sales policy streamingingestion disable",
        ".alter database Sales policy retention '{}'",
        f".alter table T policy caching hotdata = 90m hotindex = 2d, {WINDOW}",
        ".alter table T policy roworder (a desc, ['b c'] asc)",
        ".alter table T policy ingestiontime false",
        ".alter table T policy restricted_view_access true",
        '.alter column T.[\'b c\'] policy encoding \'{"x":"\\\\""}\'',
        f".alter table T policy update '{UPDATE}'",
        f".create table T ingestion csv mapping 'M \"1\"' {MAPPING}",
        '.create database Sales ingestion json mapping \'D\' \'[{"column":"a","path":"$.a"}]\'',
    ):
        await world.run(text)
    commands = [text for (text,) in await world.run(".show database Sales schema as csl")]
    ((script,),) = await world.run(".show database Sales schema as kql script")
    assert script == "\n\n".join(commands)
    await world.run(".create database Copy")
    for text in commands:
        await world.run(text.replace("database Sales", "database Copy"), "Copy")
    sales, copy = world.catalog.get("Sales"), world.catalog.get("Copy")
    assert copy.functions == sales.functions
    assert copy.policies == sales.policies
    assert copy.streaming_policy == sales.streaming_policy
    assert copy.mappings == sales.mappings
    for name, table in sales.tables.items():
        other = copy.tables[name]
        assert other.columns == table.columns
        assert (other.folder, other.docstring) == (table.folder, table.docstring)
        assert other.streaming_policy == table.streaming_policy
        assert other.policies == table.policies
        assert other.mappings == table.mappings


async def test_what_a_script_may_leave_out(world):
    for text in (
        ".alter column T.a policy encoding '{}'",
        ".alter table T policy restricted_view_access true",
        EXAMPLES["create table mapping"],
    ):
        await world.run(text)
    options = "IncludeEncodingPolicies=false, IncludeSecuritySettings=false"
    text = f".show database schema as csl with ({options}, IncludeIngestionMappings=false)"
    assert len(await world.run(text)) == 1
    assert len(await world.run(".show database schema as csl")) == 4


async def test_entities(world):
    await setup(world)
    table = ("Sales", "Table", "T", "", "f", "", "", "a:long,['b c']:dynamic", "{}")
    function = ("Sales", "Function", "F", "it's", "g", "(n:long)", "{ T | take n }", "", "{}")
    rows = await world.run(".show databases entities", "")
    assert [row[:3] for row in rows] == [
        ("Sales", "Table", "S"),
        ("Sales", "Table", "T"),
        ("Sales", "Function", "F"),
    ]
    assert table in rows
    assert function in rows
    assert await world.run(".show database Sales entity F", "") == [function]
    with pytest.raises(EntityNotFoundError):
        await world.run(".show database Sales entity X")


async def test_a_schema_has_no_violations(world):
    assert await world.run(".show database Sales schema violations") == []
