"""Commands that ingest: their forms, results, operations and what is kept of their text."""

from __future__ import annotations

import gzip
import uuid
from datetime import timedelta

import pytest
import trio
from batch_world import DATABASE, batch_world

from cluster.catalog.model import Column, Database, ScalarType
from cluster.errors import (
    ClosingQuoteError,
    DuplicateMappingError,
    EntityExistsError,
    IngestionPropertyError,
    InvalidRequestError,
    NotSupportedError,
    ReadOnlyError,
    SemanticError,
    SourceNotFoundError,
    SyntaxRefusedError,
    TableNotFoundError,
    ThrottledError,
)

BOTH_MAPPINGS = "ingestionMapping='[]', ingestionMappingReference='M'"
ZERO = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
async def world(tmp_path):
    async with batch_world(tmp_path) as world:
        await world.create()
        yield world
        await world.assert_tidy()


def kinds(world):
    return [(entry.kind, entry.state.value) for entry in world.history.operations()]


@pytest.mark.fidelity("ingest-inline.md", ".ingest inline gives an extent id of its data")
async def test_inline(world):
    ((extent_id,),) = await world.command(".ingest inline into table T <|\n1,one\n2,'two'\n")
    assert extent_id == world.extents()[0].extent_id
    assert await world.rows() == [(1, "one"), (2, "'two'")]
    assert kinds(world) == [("DataIngestInline", "InProgress"), ("DataIngestInline", "Completed")]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("<| 1,a", [(1, "a")]),
        ("<|1,a // no comment", [(1, "a // no comment")]),
        ("<|   \r\n1,a\r\n", [(1, "a")]),
        ("<|\n1,a;\n2,b | count", [(1, "a;"), (2, "b | count")]),
        ("[1,a] [2,b]", [(1, "a"), (2, "b")]),
        ("[1,it's]\n[2,[x]]", [(1, "it's"), (2, "[x]")]),
        ('[1,"a ] ""b"""]', [(1, 'a ] "b"')]),
        ('with (format="json") [{"n":1,"name":"["}]', [(1, "[")]),
        ('with (format="json") <| {"n":1,"name":"a"}', [(1, "a")]),
        ('with (format="tsv") <|\n\tx', [(None, "x")]),
        ('with (ignoreFirstRecord=true, format="psv") <|\nn|name\n3|c', [(3, "c")]),
        ('with (tags="[\\"drop-by:a\\"]", creationTime="2023-11-14T00:00:00Z") <| 1,a', [(1, "a")]),
    ],
)
async def test_forms_of_data(world, text, rows):
    await world.command(f".ingest inline into table T {text}")
    assert await world.rows() == rows


@pytest.mark.parametrize("text", ["", "<", "[1,a", "[1,a] 2", '[1,"a]', "1,a"])
async def test_what_is_no_data(world, text):
    with pytest.raises(SyntaxRefusedError):
        await world.command(f".ingest inline into table T {text}")


@pytest.mark.fidelity("ingest-inline.md", "Without data the extent id is empty")
async def test_nothing_to_ingest_is_one_empty_extent_id(world):
    (world.ingest_folder / "empty.csv").write_bytes(b"")
    assert await world.command(".ingest inline into table T <|\n\n") == [(ZERO,)]
    ((extent_id, item, *_),) = await world.command(".ingest into table T ('empty.csv')")
    assert (extent_id, item) == (ZERO, "empty.csv")
    assert await world.command(".append T <| T") == [(ZERO, 0, 0, 0, 0, 0)]


@pytest.mark.fidelity(
    "ingest-into-command.md",
    ".ingest into gives a row for each source with its extent",
    differs="Files come of the ingest folder and of URIs that are allowed",
)
async def test_files(world):
    (world.ingest_folder / "a.csv").write_text("1,a\n")
    (world.ingest_folder / "b.csv.gz").write_bytes(gzip.compress(b"2,b\n"))
    (row,) = await world.command(".ingest into table T ('a.csv', @'b.csv.gz') with (format='csv')")
    extent_id, item, duration, has_errors, operation_id = row
    assert extent_id == world.extents()[0].extent_id
    assert (item, duration, has_errors) == ("a.csv, b.csv.gz", timedelta(0), False)
    assert operation_id == world.history.operations()[0].operation_id
    assert kinds(world)[0] == ("DataIngestPull", "InProgress")
    await world.command(".ingest into table T 'a.csv'")
    assert await world.rows() == [(1, "a"), (1, "a"), (2, "b")]


@pytest.mark.fidelity("ingest-into-command.md", "async gives the id of the operation")
async def test_in_the_background(world):
    (world.ingest_folder / "a.csv").write_text("1,a\n")
    ((pulled,),) = await world.command(".ingest async into table T ('a.csv')")
    await finished(world, pulled)
    ((appended,),) = await world.command(".set-or-append async T <| print long(2), 'b'")
    await finished(world, appended)
    assert await world.rows() == [(1, "a"), (2, "b")]
    (row,) = world.operations.result(pulled).rows
    assert (row[1], row[4]) == ("a.csv", pulled)
    (row,) = world.operations.result(appended).rows
    assert row[-1] == 1
    names = {entry.kind for entry in world.history.operations()}
    assert names == {"DataIngestPull", "TableSetOrAppend"}


async def finished(world, operation_id):
    """Waits until an operation has ended, and gives its last state."""
    while True:
        (state,) = world.history.operations_by_id([operation_id])
        if state.state.value != "InProgress":
            return state
        await trio.lowlevel.checkpoint()


async def test_a_failure_in_the_background_is_in_both_logs(world):
    (world.ingest_folder / "bad.csv").write_text('1,"a\n')
    ((operation_id,),) = await world.command(".ingest async into table T ('bad.csv')")
    state = await finished(world, operation_id)
    assert (state.state.value, state.should_retry) == ("Failed", False)
    failure = world.failure()
    assert failure.operation_id == operation_id
    assert (failure.operation_kind, failure.source) == ("DataIngestPull", "bad.csv")
    assert failure.error_code == "Stream_ClosingQuoteMissing"
    with pytest.raises(ClosingQuoteError):
        await world.command(".ingest into table T ('bad.csv')")


async def test_results_of_queries(world):
    (row,) = await world.command(".set New <| print n = 1, s = 'x'")
    extent = world.extents("New")[0]
    size = extent.file_bytes
    assert row == (extent.extent_id, extent.original_bytes, size, size, 0, 1)
    with pytest.raises(EntityExistsError):
        await world.command(".set New <| print 1")
    with pytest.raises(TableNotFoundError):
        await world.command(".append None <| print 1")
    await world.command(".append New <| New | extend n = n + 1")
    await world.command(".set-or-append New with (folder='F', docstring=\"D\") <| print 7, 'y'")
    assert world.table("New").folder == "F"
    await world.command(".set-or-replace New <| New | where s == 'x' // comment")
    assert await world.rows("New") == [(1, "x"), (2, "x")]
    assert [kind for kind, state in kinds(world) if state == "Completed"] == [
        "TableSet", "TableAppend", "TableSetOrAppend", "TableSetOrReplace",
    ]  # fmt: skip


async def test_results_of_commands(world):
    await world.command(".set Tables <| .show tables")
    assert await world.rows("Tables") == [("T", DATABASE, "", "")]
    await world.command(".set Names <| .show tables | project TableName, n = strlen(TableName)")
    assert sorted(await world.rows("Names")) == [("T", 1), ("Tables", 6)]
    await world.command(".ingest inline into table T <| 1,a")
    guid = world.extents()[0].extent_id
    await world.command(".set Ids <| T | project id = extent_id()")
    assert world.table("Ids").columns == (Column("id", ScalarType.GUID),)
    assert await world.rows("Ids") == [(str(uuid.UUID(guid)),)]
    for text in (".set X <| .drop table T", ".set X <| .set Y <| T", ".set X <| "):
        with pytest.raises(InvalidRequestError):
            await world.command(text)
    with pytest.raises(SemanticError):
        await world.command(".set X <| None")
    assert set(world.catalog.get(DATABASE).tables) == {"T", "Tables", "Names", "Ids"}


async def test_refusals_before_anything_begins(world):
    for text, error in (
        (".ingest into table T ('ftp://x/y')", NotSupportedError),
        (".ingest into table T ('')", InvalidRequestError),
        (".ingest inline into table T with (frob=1) <| 1,a", IngestionPropertyError),
        (".ingest inline into table T with (extend_schema=true) <| 1,a", IngestionPropertyError),
        (".append T with (format='csv') <| T", IngestionPropertyError),
        (f".ingest inline into table T with ({BOTH_MAPPINGS}) <| 1", DuplicateMappingError),
    ):
        with pytest.raises(error):
            await world.command(text)
    assert kinds(world) == []


async def test_secrets_stay_out_of_logs_and_messages(world):
    secret = "c2VjcmV0c2VjcmV0"
    address = f"http://127.0.0.1:9/account/box/file.csv?sv=1&sig={secret}"
    with pytest.raises(SourceNotFoundError) as caught:
        await world.command(f".ingest into table T ('none.csv', h'{address}')")
    told = [*world.history.operations(), world.failure(), caught.value, *kinds(world)]
    assert all(secret not in repr(item) for item in told)
    assert "http://127.0.0.1:9/account/box/file.csv" in world.history.operations()[0].text


async def test_inline_data_is_not_kept_in_logs(world):
    await world.command(".ingest inline into table T <| 1,private")
    assert all("private" not in entry.text for entry in world.history.operations())


async def test_a_follower_database_is_read_only(world):
    tree = world.catalog.get(DATABASE)
    await world.catalog.install_snapshot(
        "Followed", "leader", "Followed", Database("Followed", tree.database_id, tables=tree.tables)
    )
    for text in (
        ".ingest inline into table T <| 1,a",
        ".ingest async into table T ('a.csv')",
        ".set-or-replace async T <| print 1",
    ):
        with pytest.raises(ReadOnlyError):
            await world.command(text, "Followed")
    assert kinds(world) == []


async def test_over_the_limit_of_operations(tmp_path):
    async with batch_world(tmp_path, background_operations=1) as world:
        await world.create()
        ((first,),) = await world.command(".append async T <| print long(1), 'a'")
        with pytest.raises(ThrottledError):
            await world.command(".ingest inline into table T <| 2,b")
        await finished(world, first)
        await world.command(".ingest inline into table T <| 3,c")
        assert await world.rows() == [(1, "a"), (3, "c")]
