"""Texts as SDKs and tools send them: each must work as it is."""

from __future__ import annotations

import json

import pytest

from cluster.errors import SyntaxRefusedError

TELEGRAF = (
    ".create-merge table ['m'] (['fields']:dynamic, ['name']:string, ['tags']:dynamic, "
    "['timestamp']:datetime);"
)
TELEGRAF_MAPPING = (
    ".create-or-alter table ['m'] ingestion json mapping 'm_mapping' "
    r"""'[{"column":"fields", "Properties":{"Path":"$[\'fields\']"}},"""
    r"""{"column":"name", "Properties":{"Path":"$[\'name\']"}}]'"""
)


async def columns_of(world, table):
    return (await world.row(f".show table {table} cslschema"))[1]


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        (TELEGRAF, "fields:dynamic,name:string,tags:dynamic,timestamp:datetime"),
        (
            ".create table ['m'] (['a']:System.DateTime, [\"b\"]:System.int, c : System.String)",
            "a:datetime,b:int,c:string",
        ),
        (".create table m (a:System.Data.SqlTypes.SqlDecimal) with(hidden=true)", "a:decimal"),
        ("\ufeff.create table m (a:long)\r\n", "a:long"),
        ("// made by hand\n.create table // its name\nm\n(a // first\n: long)\n;", "a:long"),
    ],
)
async def test_tables_that_tools_create(world, text, schema):
    await world.run(text)
    assert await columns_of(world, "m") == schema


async def test_a_mapping_with_escaped_quotes(world):
    await world.run(TELEGRAF)
    row = await world.row(TELEGRAF_MAPPING)
    assert [entry["Properties"]["Path"] for entry in json.loads(row[2])] == ["$.fields", "$.name"]
    assert await world.row(".show table m ingestion json mapping 'm_mapping'") == row


@pytest.mark.fidelity(
    "scalar-data-types/string.md",
    "Strings are quoted, verbatim, obfuscated, in backticks, and joined if they are neighbours",
)
@pytest.mark.parametrize(
    "literal",
    [
        """'{"SoftDeletePeriod":"7.00:00:00"}'""",
        r'''"{\"SoftDeletePeriod\":\"7.00:00:00\"}"''',
        """@'{"SoftDeletePeriod":"7.00:00:00"}'""",
        '''@"{""SoftDeletePeriod"":""7.00:00:00""}"''',
        """h'{"SoftDeletePeriod":"7.00:00:00"}'""",
        '''H@"{""SoftDeletePeriod"":""7.00:00:00""}"''',
        """```{"SoftDeletePeriod":\n "7.00:00:00"}```""",
        """'{"SoftDelete' 'Period":' // in parts\n '"7.00:00:00"}'""",
    ],
)
async def test_every_form_of_a_string(world, literal):
    row = await world.row(f".alter table T policy retention {literal}")
    assert json.loads(row[2])["SoftDeletePeriod"] == "7.00:00:00"


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (".show database", ["DatabaseName"]),
        (".show database ['Sales'] schema", ["DatabaseName", "TableName"]),
        (".show databases (['Sales']) schema as json", ["DatabaseSchema"]),
        (".show databases schema as json", ["DatabaseSchema"]),
        (".show schema as json", ["DatabaseSchema"]),
        (".show databases schema", ["DatabaseName"]),
        (".show schema", ["DatabaseName"]),
        (".show functions", ["Name"]),
        (".show tables", ["TableName"]),
        (".show table T schema as json", ["TableName", "Schema"]),
        (".show table T policy streamingingestion", ["PolicyName"]),
        (".show version", ["BuildVersion", "BuildTime", "ServiceType"]),
        (".show cluster", ["NodeId"]),
        (".show ingestion mappings", ["Name"]),
    ],
)
async def test_what_tools_look_at_has_its_first_columns(world, text, columns):
    result = await world.service.execute("Sales", text)
    assert [column.name for column in result.columns[: len(columns)]] == columns
    for ending in (";", "\n", " // c"):
        assert (await world.service.execute("Sales", text + ending)).columns == result.columns


@pytest.mark.parametrize(
    "text",
    [
        ".show databases | project DatabaseName",
        ".show tables | project TableName",
        '.show tables\n| where TableName == "x"',
        ".show cluster | count",
    ],
)
async def test_what_tools_pipe_goes_through_kql(world, text):
    await world.service.execute("Sales", text)
    ((_, _, kql),) = world.node.queries.asked
    assert text.endswith(kql)


async def test_several_commands_are_told_how_to_be_one(world):
    with pytest.raises(SyntaxRefusedError, match=r"line 1, column 15: .*\.execute database script"):
        await world.run(".show tables; .show tables")
