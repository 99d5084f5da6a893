"""``.show ... extents``: what each form selects, and what it says of an extent."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime

import pytest
from data_world import MIB, sealed

from cluster.catalog.changes import ReplaceExtents
from cluster.errors import InvalidRequestError, SyntaxRefusedError, TableNotFoundError

HOUR_US = 3_600_000_000
IDS = [str(uuid.UUID(int=number)) for number in range(1, 6)]
TAGS = [(), ("drop-by:x", "plain"), ("ingest-by:y",), ("Plain text",)]


@pytest.fixture
async def stored(world):
    """Table T has four extents, one an hour; table U has one."""
    world.node.clock.ns = 10 * HOUR_US * 1000
    await world.run(".create table U (a:long)")
    extents = tuple(
        sealed(IDS[number], created_us=(number + 1) * HOUR_US, tags=TAGS[number])
        for number in range(4)
    )
    await world.catalog.commit("Sales", [ReplaceExtents("T", (), extents)], text="")
    await world.catalog.commit("Sales", [ReplaceExtents("U", (), (sealed(IDS[4]),))], text="")
    return world


async def ids(world, text):
    return [IDS.index(row[0]) for row in await world.run(text)]


@pytest.mark.fidelity(
    "show-extents.md", "Extents are listed by table, database and cluster, by id and by tags"
)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("table T extents", [0, 1, 2, 3]),
        ("table U extents", [4]),
        ("tables (U, T, U) extents", [4, 0, 1, 2, 3]),
        ("database extents", [0, 1, 2, 3, 4]),
        ("database Sales extents", [0, 1, 2, 3, 4]),
        ("database NetDefaultDB extents", []),
        ("databases (NetDefaultDB, Sales) extents", [0, 1, 2, 3, 4]),
        ("cluster extents", [0, 1, 2, 3, 4]),
        (f"table T extents ({IDS[2]}, {IDS[0]}, {IDS[4]})", [0, 2]),
        (f"database extents ('{IDS[4]}', guid({IDS[1]}))", [1, 4]),
        ("table T extents where tags has 'plain'", [1]),
        ("table T extents where tags has 'Plain'", []),
        ("table T extents where tags contains 'PLAIN'", [1, 3]),
        ("table T extents where tags !has 'plain'", [0, 2, 3]),
        ("table T extents where tags !contains 'plain'", [0, 2]),
        ("table T extents where tags contains 'by:' and tags !has 'plain'", [2]),
        (f"table T extents ({IDS[1]}) where tags has 'ingest-by:y'", []),
    ],
)
@pytest.mark.parametrize("metadata", [False, True])
async def test_which_extents(stored, text, expected, metadata):
    if metadata:
        text = text.replace(" where", " metadata where") if "where" in text else f"{text} metadata"
    assert await ids(stored, f".show {text}") == expected


@pytest.mark.fidelity("show-extents.md", "hot lists the extents in the hot cache")
async def test_hot_ones(stored):
    await stored.run(".alter table T policy caching hot = 7h")
    assert await ids(stored, ".show table T extents hot") == [2, 3]
    assert await ids(stored, ".show database extents hot where tags contains 'y'") == [2]


@pytest.mark.fidelity(
    "show-extents.md",
    "extentsShowFilteringRuntimePolicy bounds the result",
    differs="MaximumResultsCount only",
)
@pytest.mark.parametrize(("most", "count"), [(0, 0), (3, 3), (4, 4), (5, 4)])
async def test_the_filtering_policy_bounds_the_result(stored, most, count):
    policy = f"with (extentsShowFilteringRuntimePolicy='{{\"MaximumResultsCount\":{most}}}')"
    assert len(await stored.run(f".show table T extents {policy}")) == count


@pytest.mark.parametrize(
    "policy",
    ['"{"', '"[]"', "'{\"MaximumResultsCount\":-1}'", "'{\"MaximumResultsCount\":true}'",
     "'{\"Other\":1}'", "5"],
)  # fmt: skip
async def test_a_filtering_policy_that_is_none(stored, policy):
    with pytest.raises(InvalidRequestError, match=r"extentsShow|MaximumResultsCount"):
        await stored.run(f".show table T extents with (extentsShowFilteringRuntimePolicy={policy})")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (".show table X extents", TableNotFoundError),
        (".show table T extents where tags is 'x'", SyntaxRefusedError),
        (".show table T extents where tags ! has2 'x'", SyntaxRefusedError),
        (".show table T extents where tags has 'x' and", SyntaxRefusedError),
        (".show table T extents (1)", SyntaxRefusedError),
        (".show table T extents with (x=1)", InvalidRequestError),
    ],
)
async def test_what_is_refused(stored, text, error):
    with pytest.raises(error):
        await stored.run(text)


@pytest.mark.fidelity(
    "show-extents.md",
    "Each extent has its sizes, times and tags in the documented columns",
    differs="Kind, Blocks, Segments and IndexSize are constants: an extent is one file",
)
async def test_a_row_of_an_extent(stored):
    (row,) = await stored.run(f".show table T extents ({IDS[1]})")
    created = datetime(1970, 1, 1, 2, tzinfo=UTC)
    assert row[:10] == (
        IDS[1], "Sales", "T", created, 3.0 * MIB, 1.0 * MIB, 1.0 * MIB, 0.0, None, 1,
    )  # fmt: skip
    assert uuid.UUID(row[10])
    assert row[11:] == (10, created, "drop-by:x\r\nplain", "StorageV3", 0)


async def test_metadata_of_an_extent(stored):
    extent = sealed(str(uuid.UUID(int=9)), sources=((0xAB, 3, 7),))
    await stored.catalog.commit("Sales", [ReplaceExtents("U", (), (extent,))], text="")
    rows = await stored.run(f".show table U extents ({extent.extent_id}) metadata")
    ((_, database, table, text),) = rows
    found = json.loads(text)
    assert (database, table, found["File"]) == ("Sales", "U", extent.file)
    assert found["Checksum"] == "00000000000000ab"
    assert found["RowStoreSources"] == [
        {"RowStoreKey": "00000000000000ab", "OrdinalFrom": 3, "OrdinalTo": 7}
    ]


@pytest.mark.fidelity(
    "published grammar", ".show database extent tags statistics counts tags by table"
)
async def test_statistics_of_tags(stored):
    assert await stored.run(".show database extent tags statistics") == [
        ("T", 4, 3, 4, 35, 1, 9, 1, 11),
        ("U", 1, 0, 0, 0, 0, 0, 0, 0),
    ]
    later = "with (minCreationTime=datetime(1970-01-01T03:00:00Z))"
    assert await stored.run(f".show database extent tags statistics {later}") == [
        ("T", 2, 2, 2, 21, 0, 0, 1, 11),
        ("U", 0, 0, 0, 0, 0, 0, 0, 0),
    ]


@pytest.mark.fidelity(
    "show-table-data-statistics.md", "Statistics of data leave rows in row stores out"
)
async def test_statistics_of_data_are_of_extents(stored):
    whole, column, _ = await stored.run(".show table T data statistics")
    assert whole[3:8] == (12 * MIB, 4 * MIB, 3.0, 4 * MIB, 0)
    assert whole[11:] == (40, 0, 100.0, True)
    assert (column[0], column[1], column[3], column[11]) == ("a", "I64", None, 40)
    some = "with (from=datetime(1970-01-01T02:00:00Z), to='1970-01-01T03:00:00Z')"
    assert (await stored.run(f".show table T data statistics {some}"))[0][11] == 20
    with pytest.raises(InvalidRequestError, match="'from' must be a datetime"):
        await stored.run(".show table T data statistics with (from='x')")
