"""Commands that drop, move, replace, merge, tag, clear and seal, on a real catalog."""

from __future__ import annotations

import uuid
from datetime import timedelta
from types import SimpleNamespace

import pyarrow as pa
import pytest
import trio
from data_world import sealed

from cluster.catalog.changes import ReplaceExtents
from cluster.catalog.model import Column, ScalarType
from cluster.errors import (
    EntityNotFoundError,
    InvalidRequestError,
    SyntaxRefusedError,
    TableNotFoundError,
)
from cluster.history.records import OperationState
from cluster.query.binding import QueryResult, ResultColumn
from cluster.replication.position import KeyPosition

DAY_US = 24 * 3_600_000_000
IDS = [str(uuid.UUID(int=number)) for number in range(1, 6)]
NEVER = str(uuid.UUID(int=99))
TAGS = [("a", "b"), ("a",), (), ()]


@pytest.fixture
async def stored(world, nursery):
    """Operations run; table T has four extents, one a day; table U has none."""
    await nursery.start(world.node.operations.run)
    world.node.clock.ns = 10 * DAY_US * 1000
    await world.run(".create table U (a:long, ['b c']:dynamic)")
    extents = tuple(
        sealed(IDS[number], created_us=(number + 1) * DAY_US, tags=TAGS[number])
        for number in range(4)
    )
    await world.catalog.commit("Sales", [ReplaceExtents("T", (), extents)], text="")
    return world


def answers(world, *rows):
    """What the next queries give as ExtentId, TableName and Tags."""
    names = ("ExtentId", "TableName", "Tags")

    async def run(kql, snapshot, *, caller):
        columns = tuple(ResultColumn(name, ScalarType.STRING) for name in names)
        table = pa.table(
            {name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(names)}
        )
        return QueryResult(columns, table)

    world.node.queries.run = run


def left(world, table="T"):
    return sorted(
        IDS.index(extent_id) for extent_id in world.catalog.get("Sales").tables[table].extents
    )


def tags_of(world):
    extents = world.catalog.get("Sales").tables["T"].extents.values()
    return {IDS.index(extent.file.removesuffix(".parquet")): extent.tags for extent in extents}


# Dropping


@pytest.mark.fidelity("drop-extents.md", ".drop extents takes ids, ages, sizes and numbers")
@pytest.mark.parametrize(
    ("text", "gone"),
    [
        (f"extent {IDS[0]}", [0]),
        (f"extent {IDS[0]} from T", [0]),
        (f"extents ({IDS[2]}, {IDS[0]}, {IDS[2]})", [0, 2]),
        (f"extents ({IDS[2]}) from T", [2]),
        ("extents from T", [0, 1, 2, 3]),
        ("extents from U", []),
        ("extents from all tables", [0, 1, 2, 3]),
        ("extents older 9 days from T", []),
        ("extents older 192 hours from all tables", [0]),
        ("extents from T trim by extentsize 2 MB", [0, 1]),
        ("extents from T trim by datasize 6 MB", [0, 1]),
        ("extents from T trim by datasize 1 GB", []),
        ("extents from T trim by extentsize 1 bytes", [0, 1, 2, 3]),
        ("extents from T limit 3", [0, 1, 2]),
        ("extents older 1 days from T trim by extentsize 1 MB limit 2", [0, 1]),
        ("extents <| .show table T extents where tags has 'a'", [0, 1]),
        ("extents <| .show table T extents | where x;", [0, 1, 2, 3]),
    ],
)
async def test_what_is_dropped(stored, text, gone):
    rows = await stored.run(f".drop {text}")
    assert [(IDS.index(row[0]), row[1]) for row in rows] == [(number, "T") for number in gone]
    assert left(stored) == sorted({0, 1, 2, 3} - set(gone))


@pytest.mark.fidelity("drop-extents.md", "older N days looks at the newest time of an extent")
async def test_older_is_by_the_newest_row_of_an_extent(stored):
    (row,) = await stored.run(".drop extents older 8 days from T limit 1")
    assert row[2].day == 2


@pytest.mark.fidelity("drop-extents.md", ".drop-pretend and whatif change nothing")
@pytest.mark.parametrize(
    "text",
    [
        ".drop-pretend extents from T trim by extentsize 2 MB",
        ".drop extents whatif <| .show table T extents where tags has 'a'",
    ],
)
async def test_pretending_drops_nothing(stored, text):
    rows = await stored.run(text)
    assert [IDS.index(row[0]) for row in rows] == [0, 1]
    assert left(stored) == [0, 1, 2, 3]


@pytest.mark.fidelity("drop-extents.md", "Extents to drop come from a query that gives ExtentId")
async def test_dropping_by_a_query(stored):
    answers(stored, (IDS[1], "T", None), (IDS[1].upper(), "T", None), (None, "T", None))
    rows = await stored.run(".drop extents <| T | distinct ExtentId")
    assert [row[0] for row in rows] == [IDS[1]]
    assert stored.node.databases.asked == [("Sales", "T | distinct ExtentId")]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f".drop extent {NEVER}", EntityNotFoundError),
        (f".drop extents ({IDS[0]}, {NEVER})", EntityNotFoundError),
        (f".drop extent {IDS[0]} from U", EntityNotFoundError),
        (".drop extents from X", TableNotFoundError),
        (".drop extents <|", InvalidRequestError),
        (".drop extents <| .drop table T", InvalidRequestError),
        (".drop extents <| .show tables", InvalidRequestError),
        (".drop extents <| .frob", SyntaxRefusedError),
        (".drop extents older -1 days from T", SyntaxRefusedError),
        (".drop extents older 1.5 days from T", SyntaxRefusedError),
    ],
)
async def test_all_or_nothing(stored, text, error):
    with pytest.raises(error):
        await stored.run(text)
    assert left(stored) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("row", "error"),
    [
        (("frob", "T", None), InvalidRequestError),
        ((NEVER, "T", None), EntityNotFoundError),
        ((IDS[0], "U", None), EntityNotFoundError),
        ((IDS[0], "X", None), TableNotFoundError),
    ],
)
async def test_answers_that_name_no_extent(stored, row, error):
    answers(stored, (IDS[1], "T", None), row)
    with pytest.raises(error):
        await stored.run(".drop extents <| T")
    assert left(stored) == [0, 1, 2, 3]


# Moving


@pytest.mark.fidelity("move-extents.md", "Moved extents have new ids")
@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("extents all from table T to table U", [0, 1, 2, 3]),
        (f"extents from table T to table U ({IDS[0]}, {IDS[2]})", [0, 2]),
        ("extents to table U <| .show table T extents where tags has 'a'", [0, 1]),
        (
            (
                "extents all from table T to table U with "
                "(extentCreatedOnFrom='1970-01-03', extentCreatedOnTo=datetime(1970-01-04))"
            ),
            [1, 2],
        ),
    ],
)
async def test_moving_gives_new_ids(stored, text, moved):
    rows = await stored.run(f".move {text}")
    assert sorted(IDS.index(row[0]) for row in rows) == moved
    assert left(stored) == sorted({0, 1, 2, 3} - set(moved))
    target = stored.catalog.get("Sales").tables["U"].extents
    assert {row[1] for row in rows} == set(target)
    assert {row[2] for row in rows} == {""}
    assert stored.node.row_stores.stamps == []


@pytest.mark.fidelity(
    "move-extents.md", "setNewIngestionTime gives moved rows a new ingestion time"
)
async def test_moving_with_a_new_ingestion_time(stored):
    await stored.run(".move extents all from table T to table U with (SetNewIngestionTime=true)")
    extents = stored.catalog.get("Sales").tables["U"].extents.values()
    assert {extent.ingested_max_us for extent in extents} == {7_000_000}
    assert len(stored.node.row_stores.stamps) == 1


@pytest.mark.fidelity("move-extents.md", "A move is all or nothing")
@pytest.mark.parametrize("way", ["", "async "])
async def test_a_move_that_cannot_be_changes_nothing(stored, way):
    await stored.run(".create table V (a:string)")
    text = f".move {way}extents all from table T to table V"
    if way:
        ((operation_id,),) = await stored.run(text)
        await ended(stored, operation_id, OperationState.FAILED)
    else:
        with pytest.raises(InvalidRequestError):
            await stored.run(text)
    assert left(stored) == [0, 1, 2, 3]


@pytest.mark.fidelity("replace-extents.md", ".replace extents drops and moves in one transaction")
async def test_replacing_drops_and_moves_in_one_transaction(stored):
    await stored.run(f".move extents from table T to table U ({IDS[0]})")
    version = stored.version()
    rows = await stored.run(
        ".replace extents in table U <| { .show table U extents }, "
        "{ .show table T extents where tags has 'a' }"
    )
    assert rows[0][1] == ""
    assert (IDS.index(rows[1][0]), bool(rows[1][1])) == (1, True)
    assert left(stored) == [2, 3]
    assert stored.version() == version.next()
    with pytest.raises(EntityNotFoundError):
        await stored.run(
            ".replace extents in table U <| {.show table T extents}, {.show table T extents}"
        )


# Tags


@pytest.mark.fidelity(
    "extent-tags.md",
    ".alter, .alter-merge and .drop extent tags replace, add and remove tags of extents",
)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alter table T extent tags ('z') <| .show table T extents where tags has 'a'",
         {0: ("z",), 1: ("z",)}),
        ("alter-merge table T extent tags ('z', 'a') <| .show table T extents",
         {0: ("a", "b", "z"), 1: ("a", "z"), 2: ("z", "a"), 3: ("z", "a")}),
        ("alter-merge table T extent tags ('a') <| .show table T extents where tags has 'a'", {}),
        ("drop table T extent tags ('a')", {0: ("b",), 1: ()}),
        ("drop table T extent tags ('x')", {}),
        ("drop table T extent tags ('a') with (extentCreatedOnTo=datetime(1970-01-02))",
         {0: ("b",)}),
        ("drop table T extent tags <| .show table T extents where tags has 'b'", {0: ()}),
    ],
)  # fmt: skip
async def test_tags(stored, text, expected):
    rows = await stored.run(f".{text}")
    assert {IDS.index(row[0]): tuple(row[2].split("\r\n") if row[2] else ()) for row in rows} == (
        expected
    )
    assert tags_of(stored) == {**dict(enumerate(TAGS)), **expected}
    assert all(row[0] != row[1] and row[3] == "" for row in rows)


@pytest.mark.parametrize("tags", ["a", '["a"]', "a\r\nc"])
async def test_tags_that_a_query_names(stored, tags):
    answers(stored, (IDS[0], "T", tags), (IDS[2], "T", None))
    ((old, _, now, _),) = await stored.run(".drop table T extent tags <| T")
    assert (old, now) == (IDS[0], "b")


# Merging, clearing, sealing


@pytest.mark.fidelity(
    "published grammar",
    ".merge names what became of each extent",
    differs="Rows are rewritten with and without rebuild=true",
)
async def test_merging_names_what_became_of_each(stored, monkeypatch):
    asked = []

    async def merge(database, table, extent_ids, *, text):
        asked.append((database, table, extent_ids, text))
        return (sealed(IDS[4]),)

    monkeypatch.setattr(stored.node.extents, "merge_extents", merge)
    text = f".merge T ({IDS[0]}, {IDS[1]}) with (rebuild=true)"
    assert await stored.run(text) == [
        (IDS[0], IDS[4], timedelta(0)),
        (IDS[1], IDS[4], timedelta(0)),
    ]
    assert asked == [("Sales", "T", (IDS[0], IDS[1]), text)]
    assert stored.node.history.operations()[-1].kind == "ExtentsRebuild"


@pytest.mark.fidelity(
    "published grammar", ".merge dryrun changes nothing", differs="ResultExtentId is empty"
)
async def test_a_dry_run_tells_what_cannot_be_merged(stored):
    text = f".merge dryrun T ({IDS[0]}, {IDS[1]})"
    assert [row[0] for row in await stored.run(text)] == IDS[:2]
    with pytest.raises(InvalidRequestError, match="at least two"):
        await stored.run(f".merge dryrun T ({IDS[0]})")


@pytest.mark.fidelity(
    "clear-table-data-command.md", ".clear table T data takes extents and streamed rows"
)
async def test_clearing_takes_streamed_rows_too(stored):
    (key,) = stored.catalog.get("Sales").tables["T"].keys[:1]
    stored.node.row_stores.hold(key, 0, 5)
    assert await stored.run(".clear table T data") == [("Succeeded",)]
    assert left(stored) == []
    assert stored.node.row_stores.advanced == [(key, KeyPosition(5, 99))]


async def test_sealing_names_the_table_of_each_extent(stored, monkeypatch):
    (key,) = stored.catalog.get("Sales").tables["U"].keys[:1]

    async def seal(database, table=None):
        return (sealed(IDS[4], sources=((key, 0, 10),)),) if database == "Sales" else ()

    monkeypatch.setattr(stored.node.extents, "seal", seal)
    row = ("U", IDS[4], 10, 3 << 20, 1 << 20)
    assert await stored.run(".seal database") == [row]
    assert await stored.run(".seal database Sales", "NetDefaultDB") == [row]
    assert await stored.run(".seal table U") == [row]
    assert await stored.run(".seal database NetDefaultDB") == []


# In the background


async def ended(world, operation_id, state=OperationState.COMPLETED):
    """Waits until an operation is in its last state."""
    while world.node.history.operations_by_id((operation_id,))[0].state is (
        OperationState.IN_PROGRESS
    ):
        await trio.lowlevel.checkpoint()
    assert world.node.history.operations_by_id((operation_id,))[0].state is state


@pytest.mark.fidelity(
    "show-operations.md", ".show operation ID details gives what the command would have returned"
)
@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (".move async extents all from table T to table U", ("OriginalExtentId ResultExtentId "
         "Details")),
        (".clear async table T data", "Status"),
        (".drop async table T extent tags ('a')", ("OriginalExtentId ResultExtentId "
         "ResultExtentTags Details")),
    ],
)  # fmt: skip
async def test_details_of_an_operation_have_the_columns_of_its_command(stored, text, columns):
    result = await stored.service.execute("Sales", text)
    assert result.columns == (Column("OperationId", ScalarType.GUID),)
    ((operation_id,),) = result.rows
    await ended(stored, operation_id)
    details = await stored.service.execute("Sales", f".show operation {operation_id} details")
    assert [column.name for column in details.columns] == columns.split()
    assert details.rows


async def test_what_is_shown_inside_another_command_uses_the_same_database(stored):
    stored.node.queries.run_over = over = SimpleQueries()
    with pytest.raises(InvalidRequestError):
        await stored.run(
            ".drop extents <| .show table T extents;\n $command_results | distinct ExtentId"
        )
    assert over.asked == ["| distinct ExtentId"]


class SimpleQueries:
    """Answers with a table without columns."""

    def __init__(self):
        self.asked = []

    async def __call__(self, columns, rows, kql):
        self.asked.append(kql)
        return SimpleNamespace(columns=(), table=pa.table({}))
