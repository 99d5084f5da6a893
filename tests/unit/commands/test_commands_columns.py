"""Commands about columns: names follow ids, another type or dropping loses the data."""

from __future__ import annotations

import json

import pytest

from cluster.errors import (
    DatabaseNotFoundError,
    EntityExistsError,
    EntityNotFoundError,
    InvalidRequestError,
    TableNotFoundError,
)


def shape(world):
    table = world.catalog.get("Sales").tables["T"]
    return [
        (column.name, column.type.value, identity)
        for column, identity in zip(table.columns, table.column_ids[-1], strict=True)
    ]


@pytest.mark.fidelity("alter-column.md", "After .alter column type old rows read null")
@pytest.mark.parametrize(("name", "database"), [("T.a", "Sales"), ("sales.T.a", "NetDefaultDB")])
async def test_retype_gives_a_new_id_at_the_same_place(world, name, database):
    row = await world.row(f".alter column {name} type=string", database)
    assert row == ("[Sales].[T].[a]", "System.String", "null")
    assert shape(world) == [("a", "string", 2), ("b c", "dynamic", 1)]
    await world.run(".alter column T.a type=long")
    assert shape(world)[0] == ("a", "long", 3), "the old data does not come back"
    version = world.version()
    await world.run(".alter column T.a type = int64")
    assert world.version() == version


@pytest.mark.fidelity("rename-column.md", "A renamed column keeps its data")
async def test_rename_keeps_the_id(world):
    row = await world.row(".rename column T.['b c'] to z")
    assert row == ("[Sales].[T].[z]", "System.Object", "null")
    assert shape(world) == [("a", "long", 0), ("z", "dynamic", 1)]


@pytest.mark.fidelity("rename-column.md", ".rename columns swaps two")
async def test_rename_columns_swaps_two(world):
    await world.run(".alter-merge table T (d:int)")
    rows = await world.run(".rename columns a = T.d, d = T.a")
    assert [row[:2] for row in rows] == [
        ("[Sales].[T].[a]", "System.Int32"),
        ("[Sales].[T].[d]", "System.Int64"),
    ]
    assert shape(world) == [("d", "long", 0), ("b c", "dynamic", 1), ("a", "int", 2)]


@pytest.mark.parametrize(
    "text",
    [
        ".rename columns x = T.a",
        ".rename columns x = T.a, y = T.['b c']",
        ".rename columns a = T.a, ['b c'] = U.a",
        ".rename columns a = T.b, b = T.a ifexists",
        ".rename columns a = T.b, b = T.c, c = T.a",
        ".drop table T columns (a, ['b c'])",
        ".alter table T column-docstrings (a:'x', a:'y')",
    ],
)
async def test_what_is_not_supported(world, text):
    before = shape(world)
    with pytest.raises(InvalidRequestError):
        await world.run(text)
    assert shape(world) == before


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (".alter column X.a type=int", TableNotFoundError),
        (".alter column T.x type=int", EntityNotFoundError),
        (".alter column Nope.T.a type=int", DatabaseNotFoundError),
        (".rename column T.x to y", EntityNotFoundError),
        (".rename columns a = T.x, x = T.a", EntityNotFoundError),
        (".drop column T.x", EntityNotFoundError),
        (".drop column X.a ifexists", TableNotFoundError),
        (".drop table T columns (a, x)", EntityNotFoundError),
        (".alter-merge table T column-docstrings (x:'d')", EntityNotFoundError),
        (".show column T.x policy caching", EntityNotFoundError),
    ],
)
async def test_columns_that_do_not_exist(world, text, error):
    with pytest.raises(error):
        await world.run(text)
    assert len(shape(world)) == 2


async def test_rename_to_a_name_that_is_taken(world):
    with pytest.raises((EntityExistsError, InvalidRequestError)):
        await world.run(".rename column T.a to ['b c']")


@pytest.mark.fidelity("drop-column.md", ".drop column loses its data")
async def test_drop_column(world):
    row = await world.row(".drop column T.a")
    assert [column["Name"] for column in json.loads(row[1])["OrderedColumns"]] == ["b c"]
    version = world.version()
    await world.run(".drop column T.a ifexists")
    assert world.version() == version
    with pytest.raises(InvalidRequestError, match="at least one column"):
        await world.run(".drop column T.['b c']")


async def test_drop_table_columns(world):
    await world.run(".alter-merge table T (d:int, e:int)")
    await world.row(".drop table T columns (a, e)")
    assert shape(world) == [("b c", "dynamic", 1), ("d", "int", 2)]
    await world.run(".alter-merge table T (a:long)")
    assert shape(world)[-1] == ("a", "long", 4), "a dropped id is never used again"


async def test_docstrings_of_columns(world):
    def docstrings():
        return [column.docstring for column in world.catalog.get("Sales").tables["T"].columns]

    await world.run(".alter table T column-docstrings (a:'one', ['b c']:'two')")
    await world.run(".alter-merge table T column-docstrings (a:'three')")
    assert docstrings() == ["three", "two"]
    row = await world.row(".alter table T column-docstrings (['b c']:'four')")
    assert docstrings() == ["", "four"]
    assert json.loads(row[1])["OrderedColumns"][1]["DocString"] == "four"
    version = world.version()
    await world.run(".alter-merge table T column-docstrings (['b c']:'four')")
    assert world.version() == version
