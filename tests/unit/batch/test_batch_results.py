"""Rows of queries in extents, and what happens to tables meanwhile."""

from __future__ import annotations

import pytest
import trio
from batch_world import COLUMNS, DATABASE, batch_world

from cluster.catalog.changes import AppendColumns, DropTable, RenameTables, SetSchema
from cluster.catalog.model import Column, ScalarType
from cluster.errors import (
    ConflictError,
    EntityExistsError,
    EntityNameError,
    InvalidRequestError,
    LimitExceededError,
    TableNotFoundError,
)


@pytest.fixture
async def world(tmp_path):
    async with batch_world(tmp_path) as world:
        await world.create()
        yield world
        await world.assert_tidy()


# From queries


@pytest.mark.fidelity(
    "ingest-from-query.md",
    ".set refuses a table that exists, .append one that does not; the others make or replace it",
)
async def test_the_four_commands(world):
    with pytest.raises(TableNotFoundError):
        await world.from_query("append", "print a=1", "New")
    (extent,) = await world.from_query(
        "set", "print n=long(1), g=guid(0f8fad5b-d9cb-469f-a165-70867728950e)", "New"
    )
    assert extent.row_count == 1
    with pytest.raises(EntityExistsError):
        await world.from_query("set", "print n=1", "New")
    await world.from_query("append", "New | extend n = n + 1", "New")
    assert [n for n, _ in await world.rows("New")] == [1, 2]
    await world.from_query("set-or-append", "print x=long(3), y=guid(null)", "New")
    await world.stream((9, None), table="New")
    assert [n for n, _ in sorted(await world.query("New | project n, 1"))] == [1, 2, 3, 9]
    await world.from_query("set-or-replace", "New | where n > 2", "New")
    assert sorted(await world.query("New | project n")) == [(3,), (9,)]
    await world.from_query("set-or-append", "print a='made'", "Other", folder="F", docstring="D")
    other = world.table("Other")
    assert (other.columns, other.folder, other.docstring) == (
        (Column("a", ScalarType.STRING),), "F", "D",
    )  # fmt: skip


async def test_replacing_with_nothing_empties(world):
    await world.stream((1, "streamed"))
    await world.inline("2,b")
    assert await world.from_query("set-or-replace", "T | where n > 5") == ()
    assert await world.rows() == []
    assert await world.from_query("set", "T | where n > 5", "Empty") == ()
    assert world.table("Empty").columns == COLUMNS


@pytest.mark.fidelity(
    "ingest-from-query.md", "Columns of a result go by order and type, not by name"
)
async def test_columns_match_by_order_and_type(world):
    await world.from_query("append", "print name=long(1), n='swapped'")
    assert await world.rows() == [(1, "swapped")]
    for query in ("print 1, 2", "print long(1)", "print long(1), 'a', 3"):
        with pytest.raises(InvalidRequestError, match="QuerySchema="):
            await world.from_query("append", query)
    assert len(await world.rows()) == 1


@pytest.mark.fidelity(
    "ingestion-properties.md", "extend_schema adds columns, recreate_schema replaces them"
)
async def test_schemas_extended_and_recreated(world):
    await world.inline("1,a")
    await world.from_query("append", "print long(2), 'b', more=true", extend_schema=True)
    assert await world.rows() == [(1, "a", None), (2, "b", True)]
    with pytest.raises(InvalidRequestError):
        await world.from_query("append", "print 'x', 1", extend_schema=True)
    await world.from_query("set-or-replace", "print z='new', name='c'", recreate_schema=True)
    assert world.table().columns == (
        Column("z", ScalarType.STRING), Column("name", ScalarType.STRING),
    )  # fmt: skip
    assert await world.rows() == [("new", "c")]
    with pytest.raises(InvalidRequestError):
        await world.from_query("append", "print 1", recreate_schema=True)


@pytest.mark.fidelity("ingestion-properties.md", "folder and docstring describe the table")
async def test_folder_and_docstring_of_a_table_there_is(world):
    await world.from_query("append", "print long(1), 'a'", folder="F")
    await world.from_query("append", "print long(2), 'b'", docstring="D")
    assert (world.table().folder, world.table().docstring) == ("F", "D")


async def test_a_new_table_without_ingestion_times(world):
    await world.from_query("set", "print a=1", "New", policy_ingestiontime=False)
    assert await world.query("New | project ingestion_time()") == [(None,)]
    await world.from_query("set", "print a=1", "Newer")
    assert (await world.query("Newer | where isnotnull(ingestion_time()) | count")) == [(1,)]


@pytest.mark.fidelity("ingest-from-query.md", "A result has no column with $ in its name")
async def test_names_that_no_column_may_have(world):
    with pytest.raises(EntityNameError):
        await world.from_query("set", "print ['a$b'] = 1", "New")
    with pytest.raises(InvalidRequestError, match="contains"):
        await world.from_query("append", "print ['a$b'] = long(1), 'x'")


async def test_a_result_is_stored_that_is_too_large_to_be_sent(tmp_path):
    query = "range n from 1 to {} step 1"
    async with batch_world(tmp_path / "one", query_rows=10) as world:
        snapshot = world.databases.pin(DATABASE, "").snapshot
        with pytest.raises(LimitExceededError, match="record count"):
            await world.engine.run(query.format(11), snapshot)
        stored = await world.engine.run_to_store(query.format(1000), snapshot)
        assert stored.table.num_rows == 1000
        size = stored.table.nbytes
    for limit, fits in ((size - 1, False), (size, True), (size + 1, True)):
        folder = tmp_path / str(limit)
        async with batch_world(folder, query_result_bytes=1, ingest_query_bytes=limit) as world:
            snapshot = world.databases.pin(DATABASE, "").snapshot
            if fits:
                await world.engine.run_to_store(query.format(1000), snapshot)
            else:
                with pytest.raises(LimitExceededError, match=f"data size limit {limit}"):
                    await world.engine.run_to_store(query.format(1000), snapshot)


# Concurrency


async def test_two_commands_that_make_a_table_make_one(world):
    async def append(number):
        await world.from_query("set-or-append", f"print n={number}", "New")

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(append, number)
    assert sorted(await world.query("New")) == [(n,) for n in range(5)]
    await world.assert_tidy()


async def test_of_two_set_commands_one_wins(world):
    found = []

    async def make(number):
        try:
            await world.from_query("set", f"print n={number}", "New")
        except EntityExistsError as error:
            found.append(error.code)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(make, number)
    assert len(found) == 2
    assert len(await world.query("New")) == 1
    await world.assert_tidy()


def meanwhile(world, *changes):
    async def before():
        await world.commit(*changes)

    world.store.before_commit = before


async def test_a_column_added_meanwhile_is_null(world):
    meanwhile(world, AppendColumns("T", (Column("new", ScalarType.INT),)))
    await world.inline("1,a")
    assert await world.rows() == [(1, "a", None)]


async def test_columns_swapped_meanwhile_keep_their_values(world):
    table = world.table()
    ids = table.column_ids[-1]
    meanwhile(world, SetSchema("T", COLUMNS[::-1], ids[::-1]))
    await world.inline("1,a")
    assert await world.rows() == [("a", 1)]


async def test_a_column_retyped_meanwhile_is_as_after_an_alter(world):
    ids = world.table().column_ids[-1]
    columns = (Column("n", ScalarType.STRING), COLUMNS[1])
    meanwhile(world, SetSchema("T", columns, (7, ids[1])))
    await world.inline("1,a")
    assert await world.rows() == [("", "a")]


async def test_a_table_dropped_meanwhile(world):
    meanwhile(world, DropTable("T"))
    with pytest.raises(TableNotFoundError):
        await world.inline("1,a")
    assert await world.files() == set()
    assert world.failure().error_code == "BadRequest_TableNotExist"


async def test_a_table_made_anew_meanwhile(world):
    async def before():
        await world.commit(DropTable("T"))
        await world.create()

    world.store.before_commit = before
    with pytest.raises(ConflictError):
        await world.inline("1,a")
    assert await world.rows() == []
    assert await world.files() == set()


async def test_a_table_renamed_meanwhile_is_not_there(world):
    meanwhile(world, RenameTables((("T", "U"),)))
    with pytest.raises(TableNotFoundError):
        await world.inline("1,a")
    assert await world.rows("U") == []


async def test_a_result_goes_to_the_table_made_anew_meanwhile(world):
    async def before():
        await world.commit(DropTable("T"))
        await world.create()

    world.store.before_commit = before
    await world.from_query("append", "print long(1), 'a'")
    assert await world.rows() == [(1, "a")]
