"""Queries over streamed rows of several keys and over extents, by column id, each row once."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from cluster.catalog.model import Database
from cluster.errors import InternalError, NotSupportedError, SemanticError
from cluster.query.binding import QuerySnapshot
from cluster.query.cursors import cursor_text

ZERO = "00000000-0000-0000-0000-000000000000"
DATABASE = Database("Home", "8a7e2f10-0000-4000-8000-00000000000d")


def moment(us: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=us)


@pytest.fixture(params=["cold", "hot"])
def tier(request):
    """Extents are read from their files, or from memory."""
    return request.param


@pytest.mark.fidelity(
    "how-it-works.md", "A query reads rows in row stores and extents as one table"
)
async def test_streamed_rows_of_several_keys_and_extents_are_one_table(world, tier):
    await world.seal((1, "x"), (2, "y"))
    await world.seal((3, "z"))
    world.stream((4, "p"))
    world.stream((5, "q"), (6, "r"))
    if tier == "hot":
        await world.warm()
    expected = [(1, "x"), (2, "y"), (3, "z"), (4, "p"), (5, "q"), (6, "r")]
    assert await world.ask("T | sort by a asc") == expected
    assert await world.ask("T | count") == [(6,)]
    assert await world.ask("T | where a > 2 | summarize sum(a), count()") == [(18, 4)]
    result = await world.run("T | where s != ''")
    hot, cold = (2, 0) if tier == "hot" else (0, 2)
    assert (result.scanned.extents_hot, result.scanned.extents_cold) == (hot, cold)
    assert (result.scanned.streamed_rows, result.scanned.rows_total) == (3, 6)


async def test_a_query_may_use_hidden_columns_alone(world, tier):
    await world.seal((1, "x"), (2, "y"))
    world.stream((3, "p"))
    if tier == "hot":
        await world.warm()
    assert await world.ask("T | where isnull(ingestion_time()) | count") == [(2,)]
    assert await world.ask(f"T | where extent_id() == guid({ZERO}) | count") == [(1,)]
    assert len(await world.ask("T | summarize count() by extent_id()")) == 2


async def test_columns_are_found_by_id_after_every_change_of_the_schema(world, tier):
    """Renamed, swapped, dropped, added, retyped: sealed and streamed rows follow one rule."""
    columns = world.columns
    await world.seal((1, "one"))
    world.stream((2, "two"))
    if tier == "hot":
        await world.warm()
    world.evolve(columns(s="string", a="long", n="int"), (0, 1, 2))  # ids kept, names swapped
    world.table = replace(
        world.table,
        schemas=(*world.table.schemas[:1], columns(s="long", a="string", n="int")),
    )
    assert await world.ask("T | sort by s asc") == [(1, "one", None), (2, "two", None)]
    await world.seal((3, "three", 30))
    world.stream((4, "four", 40))
    if tier == "hot":
        await world.hot.settle()
    world.evolve(columns(n="int", t="string", s="real"), (2, 3, 4))  # a dropped, s retyped
    await world.seal((50, "new", 5.0))
    if tier == "hot":
        await world.hot.settle()
    expected = [
        (None, "", None),
        (None, "", None),
        (30, "", None),
        (40, "", None),
        (50, "new", 5.0),
    ]
    assert await world.ask("T | sort by n asc nulls first") == expected
    assert await world.ask("T | where isnull(s) | count") == [(4,)]
    assert await world.ask("T | where t == '' | count") == [(4,)]


async def test_every_type_reads_the_same_streamed_cold_and_hot(world, make):
    columns, _ = make
    every = columns(
        b="bool", t="datetime", d="decimal", j="dynamic", g="guid",
        i="int", l="long", r="real", s="string", ts="timespan",
    )  # fmt: skip
    world.table = replace(world.table, schemas=(every,), column_ids=(tuple(range(10)),))
    rows = [
        (True, moment(5), 1, '{"a":[1]}', bytes(range(16)), 1, 2, 1.5, "ü", dt.timedelta(days=-2)),
        (None, None, None, None, None, None, None, None, "", None),
    ]
    questions = (
        "T | sort by l asc",
        "T | getschema",
        "T | project j.a[0], ts + 1h, g == guid(00010203-0405-0607-0809-0a0b0c0d0e0f), t + ts",
        "T | summarize max(ts), min(t), dcount(g), max(d), sum(r)",
    )
    world.stream(*rows)
    streamed = [await world.ask(q) for q in questions]
    world.fresh.clear()
    await world.seal(*rows)
    cold = [await world.ask(q) for q in questions]
    await world.warm()
    result = await world.run("T")
    assert result.scanned.extents_hot == 1
    hot = [await world.ask(q) for q in questions]
    assert streamed == cold == hot


@pytest.mark.fidelity(
    "extent-id-function.md",
    "extent_id() and extent_tags() tell of the extent of a row, empty for rows in row stores",
)
async def test_hidden_columns(world, tier):
    one = await world.seal((1, "x"), ingested_us=1_000, tags=("drop-by:a", "b"))
    batch = world.batch(world.table.columns, (2, "y"), (3, "z"))
    timed = batch.append_column(
        "$IngestionTime", world.streamed([batch], [0], 2_000).ingestion_times()
    )
    (varying,) = await world.writer.write(
        DATABASE, world.table, 0, [timed], created_us=(1, 1), original_bytes=10
    )
    world.add(varying)
    await world.seal((4, "never"))
    world.stream((5, "p"), (6, "q"), first_us=3_000)
    if tier == "hot":
        await world.warm()
    rows = await world.ask(
        "T | sort by a asc | project a, ingestion_time(), extent_id(), extent_tags()"
    )
    tagged = '["drop-by:a","b"]'
    assert [(a, t, i, g.replace(" ", "")) for a, t, i, g in rows] == [
        (1, moment(1_000), one.extent_id, tagged),
        (2, moment(2_000), varying.extent_id, "[]"),
        (3, moment(2_001), varying.extent_id, "[]"),
        (4, None, rows[3][2], "[]"),
        (5, moment(3_000), ZERO, "[]"),
        (6, moment(3_001), ZERO, "[]"),
    ]
    cut = f"cursor_after('{cursor_text(2_000)}')"
    assert await world.ask(f"T | where {cut} | project a | sort by a asc") == [(3,), (5,), (6,)]
    cut = f"cursor_before_or_at('{cursor_text(2_000)}')"
    assert await world.ask(f"T | where {cut} | project a | sort by a asc") == [(1,), (2,)]
    assert (await world.run("T | where extent_tags() has 'drop-by:a'")).table.num_rows == 1
    result = await world.run("T | extend x = ingestion_time() | take 1")
    assert [column.name for column in result.columns] == ["a", "s", "x"]


@pytest.mark.fidelity(
    "databasecursor.md",
    "A cursor taken from a query has exactly the rows it saw",
    differs="No lag of up to 60 seconds for streamed rows",
)
async def test_the_cursor_of_a_query_is_that_of_its_snapshot(world):
    world.stream((1, "p"), (2, "q"), first_us=7)
    snapshot = world.snapshot(cursor_us=7)
    result = await world.run("T | where cursor_before_or_at(cursor_current())", snapshot)
    assert result.table["a"].to_pylist() == [1]
    assert result.cursor == cursor_text(7)
    assert (await world.run("T", snapshot)).cursor == ""
    assert await world.ask("print current_cursor()", snapshot) == [(cursor_text(7),)]
    with pytest.raises(NotSupportedError, match="no cursor"):
        await world.run("print cursor_current()")
    with pytest.raises(SemanticError, match="not a database cursor"):
        await world.run("T | where cursor_after('x')", snapshot)


@pytest.mark.fidelity(
    "ingestion-time-policy.md", "ingestion_time() is null where the policy is off"
)
async def test_ingestion_times_are_hidden_where_the_policy_is_off(world):
    world.stream((1, "p"), first_us=7)
    off = replace(world.snapshot().tables["T"], has_ingestion_times=False)
    rows = await world.ask("T | project ingestion_time()", QuerySnapshot("Home", {"T": off}))
    assert rows == [(None,)]


async def test_a_union_keeps_hidden_columns_of_its_branches(world, tier):
    await world.seal((1, "x"), ingested_us=1_000)
    world.stream((2, "y"), first_us=2_000)
    if tier == "hot":
        await world.warm()
    late = "ingestion_time() > todatetime('1970-01-01T00:00:00.0015')"
    rows = await world.ask(f"union T, (T | where a == 2) | where {late} | project a")
    assert rows == [(2,), (2,)]
    with pytest.raises(NotSupportedError, match="ingestion_time"):
        await world.ask("T | project a | where ingestion_time() > ago(1h)")
    with pytest.raises(NotSupportedError, match="branch"):
        await world.ask("union T, (T | project a) | where ingestion_time() > ago(1h)")


@pytest.mark.fidelity(
    "how-it-works.md", "A row is counted once while it moves from a row store to an extent"
)
async def test_rows_are_counted_once_before_during_and_after_a_seal_and_a_merge(world):
    """Snapshots pinned at each step, all asked again at the end, hot cache included."""
    world.engine.serve(world.files, world.hot)
    for number in range(20):
        world.stream((number, "x"))
    pinned = [world.snapshot()]
    extents = []
    for number in range(20):  # one key after the other is sealed
        world.fresh.pop(0)
        extents.append(await world.seal((number, "x"), created_us=number + 1))
        pinned.append(world.snapshot())
        if number % 3 == 0:
            await world.hot.settle()
    merged = await world.seal(*[(number, "x") for number in range(12)], created_us=30)
    world.drop(*extents[:12])
    pinned.append(world.snapshot())
    await world.hot.settle()
    world.drop(*extents[12:])
    world.add(replace(merged, extent_id=ZERO[:-1] + "1", tags=("new",)))
    world.drop(merged)
    for snapshot in pinned:
        for kql in ("T | count", "T | where a >= 0 | summarize count(), sum(a), dcount(a)"):
            expected = (20,) if kql == "T | count" else (20, 190, 20)
            assert await world.ask(kql, snapshot) == [expected]
    await world.hot.settle()
    assert await world.ask("T | summarize count(), sum(a)") == [(12, 66)]
    statistics = world.hot.statistics()
    assert statistics.rows < 24, "what no tree names is gone, or soon will be"
    assert (statistics.waiting_drops, statistics.failures) == (0, 0)
    assert statistics.joins > 0


async def test_an_extent_that_cannot_match_is_not_read(world):
    early = await world.seal((1, "a"), (9, "b"), ingested_us=1_000)
    late = await world.seal((10, "c"), (20, "d"), ingested_us=2_000)
    for kql, wanted in {
        "T | where a < 10": early,
        "T | where a between (15 .. 30) and s != 'x'": late,
        "let low = 12; T | where low <= a": late,
        "T | where a in (3, 4)": early,
        "T | where s == 'b'": early,
        "T | where s startswith_cs 'd'": late,
        "T | where s startswith 'A'": early,
        "T | where s =~ 'A'": early,
        "T | where ingestion_time() > datetime(1970-01-01T00:00:00.0015)": late,
        f"T | where cursor_after('{cursor_text(1_500)}')": late,
        "T | where a > 0 | where a < 3 | count": early,
    }.items():
        result = await world.run(kql)
        assert result.scanned.extents_cold == 1, kql
        (row,) = await world.ask(f"{kql.removesuffix(' | count')} | summarize take_any(s), count()")
        assert row[0] in ("ab" if wanted is early else "cd"), kql
    for kql in (
        "T | where a < 10 or s == 'c'",
        "T | extend a = 5 | where a < 3",
        "T | where a != 1",
    ):
        assert (await world.run(kql)).scanned.extents_cold == 2, kql
    result = await world.run("T | where a < 5 | union (T | where a > 15)")
    assert result.scanned.extents_cold == 2
    assert result.table["a"].to_pylist() == [1, 20]
    assert (await world.run("T | where a > 100")).scanned.extents_cold == 0


async def test_relative_times_are_those_of_the_query(world, make):
    columns, _ = make
    world.table = replace(world.table, schemas=(columns(t="datetime"),), column_ids=((0,),))
    now = dt.datetime(2023, 11, 14, 22, 13, 20)
    await world.seal((now - dt.timedelta(days=3),))
    await world.seal((now - dt.timedelta(minutes=1),))
    for kql, read, rows in (
        ("T | where t > ago(1h)", 1, 1),
        ("T | where t between (ago(4d) .. 2d)", 1, 1),
        ("T | where t < now() - 1d", 1, 1),
        ("set query_now = datetime(2023-11-12); T | where t > ago(1h)", 1, 1),
        ("T | where t > datetime(2020-01-01)", 2, 2),
    ):
        result = await world.run(kql)
        assert (result.scanned.extents_cold, result.table.num_rows) == (read, rows), kql


async def test_counting_reads_nothing(world):
    extent = await world.seal((1, "x"), (2, "y"))
    world.stream((3, "z"))
    lost = replace(extent, file="lost.parquet", extent_id=ZERO[:-1] + "2")
    world.add(lost)
    for kql in ("T | count", "T | summarize count()", "T | summarize n = count() | where n > 0"):
        assert await world.ask(kql) == [(5,)]
    assert await world.ask("print x = toscalar(T | count)") == [(5,)]
    assert (await world.run("T | count")).scanned.extents_cold == 0


async def test_files_outside_the_folders_given_cannot_be_read(world):
    await world.seal((1, "x"))
    world.engine._runner._folders = frozenset()
    with pytest.raises(InternalError, match="outside the folders"):
        await world.ask("T")
