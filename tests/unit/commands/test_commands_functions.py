"""Commands about stored functions: kept as written, found by name, secrets masked."""

from __future__ import annotations

import json

import pytest

from cluster.catalog.model import Function
from cluster.errors import (
    EntityExistsError,
    EntityNameError,
    EntityNotFoundError,
    InvalidRequestError,
    NotSupportedError,
    SyntaxRefusedError,
)

CREATE = """.create function
with (docstring = 'Demo "function"', folder='Demo', skipvalidation='true')
 MyFunction2(t:datetime, T:(x:string, y:long), n:long=3) {
    let s = '}'; // }
    StormEvents
    | where EndTime <= t
 };"""
BODY = """{
    let s = '}'; // }
    StormEvents
    | where EndTime <= t
 }"""
PARAMETERS = "(t:datetime, T:(x:string, y:long), n:long=3)"
ROW = ("MyFunction2", PARAMETERS, BODY, "Demo", 'Demo "function"')


@pytest.mark.fidelity(
    "create-function.md",
    "Functions have name, parameters, body, folder and docstring",
    differs="The body is not checked before it is called",
)
async def test_create_and_show(world):
    assert await world.row(CREATE) == ROW
    assert await world.row(".show function MyFunction2") == ROW
    await world.run(".create function A() { T }")
    assert await world.run(".show functions") == [("A", "()", "{ T }", "", ""), ROW]
    assert world.catalog.get("Sales").functions["A"] == Function("A", "()", "{ T }")


async def test_creating_one_that_exists(world):
    await world.run(".create function F() { T }")
    with pytest.raises(EntityExistsError, match="'F' of kind 'Function' already exists"):
        await world.run(".create function F() { U }")
    version = world.version()
    row = await world.row(".create function ifnotexists F(x:int) { U }")
    assert row == ("F", "()", "{ T }", "", "")
    await world.run(".create-or-alter function F() { T }")
    assert world.version() == version


@pytest.mark.fidelity("alter-function.md", ".alter function replaces the body")
async def test_alter_keeps_what_is_not_given(world):
    await world.run(CREATE)
    row = await world.row(".create-or-alter function MyFunction2() { T }")
    assert row == ("MyFunction2", "()", "{ T }", "Demo", 'Demo "function"')
    row = await world.row(".alter function with (folder='f') MyFunction2(a:int) { T | take a }")
    assert row == ("MyFunction2", "(a:int)", "{ T | take a }", "f", 'Demo "function"')
    assert (await world.row(".alter function MyFunction2 docstring 'd'"))[3:] == ("f", "d")
    assert (await world.row(".alter function MyFunction2 folder ''"))[3:] == ("", "d")
    assert (await world.row(".create-or-alter function New() { T }"))[0] == "New"


async def test_drop(world):
    for name in "FGH":
        await world.run(f".create function {name}() {{ T }}")
    assert await world.run(".drop function F") == [("F",)]
    assert await world.run(".drop function F ifexists") == []
    assert await world.run(".drop functions (G, F) ifexists") == [("H", "()", "{ T }", "", "")]
    with pytest.raises(EntityNotFoundError):
        await world.run(".drop functions (H, X)")
    assert len(await world.run(".show functions")) == 1


async def test_secrets_are_masked_unless_asked_for(world):
    text = ".create function F() { T | where a == h'secret' }"
    row = await world.row(text)
    assert row[2] == "{ T | where a == ****** }"
    assert await world.row(".show function F") == row
    shown = await world.row(".show function F with (ShowObfuscatedStrings = true)")
    assert shown[2] == "{ T | where a == h'secret' }"
    journal = await world.run(".show database Sales journal")
    assert "secret" not in str(journal)
    assert "secret" not in str(await world.run(".show databases entities"))
    assert "secret" not in str(await world.run(".show database Sales schema as csl script"))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (".show function X", EntityNotFoundError),
        (".alter function X() { T }", EntityNotFoundError),
        (".alter function X folder 'f'", EntityNotFoundError),
        (".drop function X", EntityNotFoundError),
        (".create function ['x$']() { T }", EntityNameError),
        (".create function with (view=true) X() { T }", NotSupportedError),
        (".create function with (color=1) X() { T }", InvalidRequestError),
        (".create function with (folder=1) X() { T }", InvalidRequestError),
        (".create function with (skipvalidation='maybe') X() { T }", InvalidRequestError),
        (".create function X() { T", SyntaxRefusedError),
        (".create function X() { ) }", SyntaxRefusedError),
        (".create function X( { T }", SyntaxRefusedError),
        (".create function X { T }", SyntaxRefusedError),
        (".create function X() { T } more", SyntaxRefusedError),
    ],
)
async def test_functions_that_are_refused(world, text, error):
    tree = world.catalog.get("Sales")
    with pytest.raises(error):
        await world.run(text)
    assert world.catalog.get("Sales") is tree


async def test_a_body_that_is_never_closed_says_so(world):
    with pytest.raises(SyntaxRefusedError, match=r"column 22: expected the body, from '{' to what"):
        await world.run(".create function X() { T '")


async def test_schema_as_json(world):
    await world.run(CREATE)
    name, schema, database, folder, docstring = await world.row(
        ".show function MyFunction2 schema as json"
    )
    assert (name, database, folder, docstring) == ("MyFunction2", "Sales", "Demo", ROW[4])
    assert json.loads(schema)["InputParameters"] == [
        {"Name": "t", "Type": "System.DateTime", "CslType": "datetime"},
        {
            "Name": "T",
            "Columns": [
                {"Name": "x", "Type": "System.String", "CslType": "string"},
                {"Name": "y", "Type": "System.Int64", "CslType": "long"},
            ],
        },
        {"Name": "n", "Type": "System.Int64", "CslType": "long", "CslDefaultValue": "3"},
    ]
