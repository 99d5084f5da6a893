"""The engine's limits, its cancellation, and that DuckDB is locked in."""

from __future__ import annotations

import duckdb
import pytest
import trio
import trio.testing

from cluster.catalog.model import Column, ScalarType
from cluster.errors import (
    InternalError,
    LimitExceededError,
    QueryThrottledError,
    SemanticError,
    TimedOutError,
)
from cluster.limits import LIMITS
from cluster.query.binding import QuerySnapshot, given_table
from cluster.query.execution import SETTINGS, Bounds, Execution, open_database
from cluster.query.native.runs import Runs
from cluster.query.relation import Input
from cluster.query.translation import TableUse, Translation

ENDLESS = "range x from 1 to 1000000000000 step 1 | summarize max(x % 7)"


@pytest.mark.parametrize(("extra", "fits"), [(-1, True), (0, True), (1, False)])
async def test_text_bytes(engine_with, snapshot, limits, extra, fits):
    kql = "print x='é" + "a" * (50 + extra) + "'"
    limit = len(kql.encode()) - extra
    async with engine_with(limits(query_text_bytes=limit)) as engine:
        if fits:
            assert (await engine.run(kql, snapshot)).table.num_rows == 1
        else:
            with pytest.raises(LimitExceededError, match=f"the limit is {limit}") as refused:
                await engine.run(kql, snapshot)
            assert refused.value.metadata == {"limit": "query_text_bytes"}


async def test_a_megabyte_of_text_never_reaches_the_translator(engine_with, snapshot):
    async with engine_with() as engine:
        with pytest.raises(LimitExceededError):
            await engine.run("print '" + "x" * 1024 * 1024 + "'", snapshot)
        assert engine.statistics().translator.asked == 0


@pytest.mark.parametrize(("rows", "fits"), [(99, True), (100, True), (101, False)])
async def test_rows(engine_with, snapshot, limits, rows, fits):
    async with engine_with(limits(query_rows=100)) as engine:
        kql = f"range x from 1 to {rows} step 1"
        if fits:
            assert (await engine.run(kql, snapshot)).table.num_rows == rows
        else:
            with pytest.raises(LimitExceededError, match=r"record count limit 100.*TOO_LARGE"):
                await engine.run(kql, snapshot)


@pytest.mark.parametrize(("extra", "fits"), [(-1, True), (0, True), (1, False)])
async def test_bytes(engine_with, snapshot, limits, extra, fits):
    kql = "range x from 1 to 100 step 1"
    async with engine_with() as engine:
        size = (await engine.run(kql, snapshot)).table.nbytes
    async with engine_with(limits(query_result_bytes=size - extra)) as engine:
        if fits:
            assert (await engine.run(kql, snapshot)).table.num_rows == 100
        else:
            with pytest.raises(LimitExceededError, match=f"data size limit {size - extra}"):
                await engine.run(kql, snapshot)


async def test_memory(engine_with, snapshot, limits):
    async with engine_with(
        limits(query_memory_bytes=60 * 1024 * 1024, hot_cache_bytes=4 * 1024 * 1024)
    ) as engine:
        with pytest.raises(LimitExceededError, match="E_LOW_MEMORY_CONDITION"):
            await engine.run("range x from 1 to 5000000 step 1 | summarize make_list(x)", snapshot)
        assert (await engine.run("print 1", snapshot)).table.num_rows == 1


@pytest.mark.fidelity("query-limits.md", "A query ends after its timeout")
async def test_a_query_that_runs_too_long_times_out_and_stops(engine_with, snapshot, limits):
    async with engine_with(limits(query_seconds=0.2)) as engine:
        with pytest.raises(TimedOutError, match=r"longer than 0\.2 seconds"):
            await engine.run(ENDLESS, snapshot)
        assert engine.statistics().running == 0
        assert (await engine.run("print 1", snapshot)).table.num_rows == 1


async def test_a_query_can_be_cancelled_at_every_step(engine_with, snapshot):
    """Also when its thread is about to begin: then nothing is there to be interrupted."""
    async with engine_with() as engine:
        await engine.run("print 1", snapshot)  # translated
        for steps in range(30):
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(engine.run, "print 1", snapshot)
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()
        assert engine.statistics().running == 0


async def test_cancelling_interrupts_duckdb(engine_with, snapshot):
    async with engine_with() as engine:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.run, ENDLESS, snapshot)
                await trio.testing.wait_all_tasks_blocked(0.05)  # DuckDB is at work
                nursery.cancel_scope.cancel()
        statistics = engine.statistics()
        assert (statistics.running, statistics.cancelled, statistics.answered) == (0, 1, 0)


async def test_more_queries_than_allowed_are_throttled(engine_with, snapshot, limits):
    async with engine_with(limits(queries_per_core=2)) as engine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.run, ENDLESS, snapshot)
            while engine.statistics().running < 1:
                await trio.lowlevel.checkpoint()
            await engine.run("print 1", snapshot)  # the second of two
            nursery.start_soon(engine.run, ENDLESS, snapshot)
            while engine.statistics().running < 2:
                await trio.lowlevel.checkpoint()
            with pytest.raises(QueryThrottledError, match="2 queries") as caught:
                await engine.run("print 1", snapshot)
            assert caught.value.retry_after_seconds
            with trio.fail_after(10):  # what follows a command does not wait for them
                counted = await engine.run_over([Column("a", ScalarType.LONG)], [(1,)], "| count")
            assert counted.table.to_pylist() == [{"Count": 1}]
            nursery.cancel_scope.cancel()
        assert engine.statistics().throttled == 1
        assert (await engine.run("print 1", snapshot)).table.num_rows == 1


async def test_the_cache_is_bounded(engine_with, snapshot, limits):
    async with engine_with(limits(query_cache_entries=2)) as engine:
        for number in (1, 2, 3, 1):
            await engine.run(f"print {number}", snapshot)
        statistics = engine.statistics()
        assert (statistics.cache_entries, statistics.cache_hits) == (2, 0)


async def test_only_tables_that_are_mentioned_are_described(engine_with, snapshot):
    async with engine_with() as engine:
        await engine.run("U | count", snapshot)
        await engine.run("['Empty'] | count", snapshot)
        assert [sorted(s) for s in engine._translations._translator.schemas] == [
            ["U"],
            sorted(snapshot.tables),
        ]


DUCKDB_ERRORS = {
    "T | where s > 5": "SEM0064: Cannot compare values of types string and long",
    "T | extend q = s + 1": r"arguments of types \(string, long\)",
    "T | extend x = l * 9223372036854775807": "does not fit",
    "T | project x = s - t": "Semantic error",
}


@pytest.mark.parametrize("kql", DUCKDB_ERRORS)
async def test_errors_of_duckdb_become_semantic_errors_without_sql(answer, kql):
    with pytest.raises(SemanticError, match=DUCKDB_ERRORS[kql]) as refused:
        await answer(kql)
    for word in ("SELECT", "_s0", "LINE", "BIGINT", "VARCHAR", "Binder"):
        assert word not in refused.value.message


async def test_a_batch_of_other_types_is_a_defect_not_an_answer(answer, make):
    columns, batch = make
    wrong = given_table("T", columns(a="long"), (batch(columns(a="string"), ("x",)),))
    with pytest.raises(InternalError, match="does not have the types"):
        await answer("T", QuerySnapshot("Home", {"T": wrong}))


@pytest.fixture
def locked():
    connection = open_database(LIMITS, 1, Runs())
    yield connection
    connection.close()


secret_df = object()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "ATTACH '/tmp/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM secret_df",
        "SET threads=4",
        "SET enable_external_access=true",
        "RESET lock_configuration",
        "SET memory_limit='1TB'",
    ],
)
def test_duckdb_is_locked_in(locked, sql):
    with pytest.raises(duckdb.Error):
        locked.cursor().execute(sql).fetchall()


def test_settings_are_in_force_and_json_needs_no_download(locked):
    for name, value in SETTINGS:
        got = locked.execute(f"SELECT current_setting('{name}')").fetchone()[0]
        assert str(got).lower() == value.strip("'").lower(), name
    assert locked.execute("SELECT '[1]'::JSON->0").fetchone() == ("1",)


def test_what_one_query_registers_no_other_sees(locked, snapshot):
    translation = Translation(
        'SELECT * FROM "$0"', (TableUse("U", "home", "U", columns=("l", "z")),)
    )
    source = Input(snapshot.tables["U"], translation.tables[0])
    bounds = Bounds(now_us=0, rows=9, result_bytes=999, string_bytes=9)
    execution = Execution(locked, translation, [source], bounds, Runs())
    assert execution.run().table.num_rows == 2
    for name in ("$0", "$0f"):
        with pytest.raises(duckdb.CatalogException):
            locked.cursor().execute(f'SELECT * FROM "{name}"')
