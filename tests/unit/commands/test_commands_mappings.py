"""Commands about ingestion mappings: kept in the form that is shown, checked at the door."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from cluster.errors import (
    DatabaseNotFoundError,
    EntityExistsError,
    InvalidRequestError,
    MappingNotFoundError,
    RequestError,
    TableNotFoundError,
)

CREATE = """.create table T ingestion csv mapping "Mapping1"
'['
'   { "column" : "a", "DataType":"long", "Properties":{"Ordinal":"0"}},'
'   { "column" : "b c", "DataType":"dynamic", "Properties":{"Ordinal":"1"}}'
']'"""
SHOWN = [
    {"Name": "a", "DataType": "long", "CsvDataType": None, "Ordinal": 0, "ConstValue": None},
    {"Name": "b c", "DataType": "dynamic", "CsvDataType": None, "Ordinal": 1, "ConstValue": None},
]
JSON = '\'[{"column":"a","path":"$.a"}]\''


@pytest.mark.fidelity(
    "create-ingestion-mapping-command.md",
    "A mapping is created, altered, shown and dropped, of tables and databases",
)
async def test_the_page_of_the_command(world):
    world.node.clock.ns = 1_700_000_000 * 10**9
    name, kind, mapping, updated, database, table = await world.row(CREATE)
    assert (name, kind, database, table) == ("Mapping1", "CSV", "Sales", "T")
    assert json.loads(mapping) == SHOWN
    assert updated == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    for text in (
        '.show table T ingestion csv mapping "Mapping1"',
        '.show table T ingestion mapping "Mapping1"',
        ".show table T ingestion csv mappings",
        ".show table T ingestion mappings",
        ".show ingestion mappings",
    ):
        assert await world.run(text) == [(name, kind, mapping, updated, database, table)]
    assert await world.run(".show table T ingestion json mappings") == []


async def test_what_is_shown_can_be_created_again(world):
    shown = (await world.row(CREATE))[2]
    row = await world.row(f".create table T ingestion csv mapping 'Copy' ```{shown}```")
    assert row[2] == shown


@pytest.mark.parametrize(
    ("kind", "text", "display"),
    [
        ("json", '[{"column":"a","path":"$[\\\'x y\\\']","datatype":"","transform":null}]', "JSON"),
        ("JSON", '[{"Column":"a","Properties":{"Path":"$.a.b[3]"}}]', "JSON"),
        ("avro", '[{"column":"a","Properties":{"Field":"x"}}]', "Avro"),
        ("parquet", '[{"column":"a","Properties":{"Path":"$.x"}}]', "Parquet"),
        ("orc", '[{"column":"a","Properties":{"ConstValue":"1"}}]', "Orc"),
        ("w3clogfile", '[{"column":"a","Properties":{"Field":"x"}}]', "W3CLogFile"),
    ],
)
async def test_every_kind(world, kind, text, display):
    row = await world.row(f".create table T ingestion {kind} mapping 'M' '{text}'")
    assert row[1] == display
    assert json.loads(row[2])[0]["column"] == "a"
    assert await world.row(f".drop table T ingestion {kind} mapping 'M'") == row
    assert await world.run(".show table T ingestion mappings") == []


@pytest.mark.fidelity(
    "create-or-alter-ingestion-mapping-command.md",
    ".create refuses a name that is taken; .alter replaces all of a mapping",
)
async def test_create_alter_and_create_or_alter(world):
    await world.run(CREATE)
    with pytest.raises(EntityExistsError, match="'Mapping1' of kind 'MappingPersistent'"):
        await world.run(CREATE)
    with pytest.raises(MappingNotFoundError):
        await world.run(CREATE.replace("create", "alter").replace("Mapping1", "Other"))
    await world.run(f".create-or-alter table T ingestion json mapping 'Mapping1' {JSON}")
    row = await world.row(f".alter table T ingestion json mapping 'Mapping1' {JSON}")
    assert json.loads(row[2]) == [
        {"Properties": {"Path": "$.a"}, "column": "a", "datatype": ""},
    ]
    rows = await world.run(".show table T ingestion mappings")
    assert [row[:2] for row in rows] == [("Mapping1", "CSV"), ("Mapping1", "JSON")]


@pytest.mark.fidelity(
    "published grammar", ".alter-merge of a mapping", differs="Columns are replaced by name"
)
async def test_alter_merge_replaces_columns_by_name(world):
    await world.run(CREATE)
    text = '[{"column":"b c","Properties":{"Ordinal":7}},{"column":"z","Properties":{"Ordinal":2}}]'
    row = await world.row(f".alter-merge table T ingestion csv mapping 'Mapping1' '{text}'")
    shown = [(item["Name"], item["Ordinal"]) for item in json.loads(row[2])]
    assert shown == [("a", 0), ("b c", 7), ("z", 2)]
    with pytest.raises(MappingNotFoundError):
        await world.run(f".alter-merge table T ingestion csv mapping 'Other' '{text}'")


async def test_mappings_of_a_database(world):
    row = await world.row(f".create database Sales ingestion json mapping 'M' {JSON}")
    assert (row[0], row[1], row[4], len(row)) == ("M", "JSON", "Sales", 5)
    assert await world.run(".show database ingestion json mappings") == [row]
    assert await world.run(".show database sales ingestion mappings 'M'", "") == [row]
    assert await world.run(".show database Sales ingestion json mapping 'M'") == [row]
    assert await world.run(".show cluster ingestion json mappings") == [(*row, "")]
    assert await world.row(".drop database Sales ingestion json mapping 'M'") == row
    assert await world.run(".show database ingestion mappings") == []


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f".create table X ingestion json mapping 'M' {JSON}", TableNotFoundError),
        (f".create database X ingestion json mapping 'M' {JSON}", DatabaseNotFoundError),
        (".drop table T ingestion json mapping 'M'", MappingNotFoundError),
        (".show table T ingestion json mapping 'M'", MappingNotFoundError),
        (".show database Sales ingestion mapping 'M'", MappingNotFoundError),
        (f".create table T ingestion json mapping '' {JSON}", InvalidRequestError),
        (f".create table T ingestion json mapping 'M' {JSON} with (x=1)", InvalidRequestError),
        (".create table T ingestion json mapping 'M' '{'", RequestError),
        (".create table T ingestion json mapping 'M' '[]'", RequestError),
        (".create table T ingestion json mapping 'M' '[{\"path\":\"$.a\"}]'", RequestError),
        (f".create table T ingestion csv mapping 'M' {JSON}", RequestError),
    ],
)
async def test_mappings_that_are_refused(world, text, error):
    tree = world.catalog.get("Sales")
    with pytest.raises(error):
        await world.run(text)
    assert world.catalog.get("Sales") is tree


async def test_a_property_that_is_accepted(world):
    text = f".create table T ingestion json mapping 'M' {JSON} with (removeOldestIfRequired=true)"
    assert (await world.row(text))[0] == "M"
