"""Stored functions, commands' results and given batches as tables, the record of queries."""

from __future__ import annotations

import datetime as dt

import pytest
import trio
import trio.testing

from cluster.catalog.model import Function
from cluster.errors import NotSupportedError, SemanticError, ThrottledError
from cluster.query.binding import QuerySnapshot
from cluster.query.lexical import functions_mentioned
from cluster.query.records import QueryState, storage_batches


def functions(**texts):
    """``name="(a:long) { body }"``"""
    found = {}
    for name, text in texts.items():
        end = text.index(")") + 1
        found[name] = Function(name, text[:end], text[end:].strip())
    return found


STORED = functions(
    Ones="() { U | where l == 1 }",
    Above="(least:long = 2) { U | where l > least }",
    Twice="(x:long) { x * 2 }",
    Fourfold="(x:long) { Twice(Twice(x)) }",
    Nested="() { Above(0) | extend q = Fourfold(l) }",
    Loop="() { Pool() }",
    Pool="() { Loop() }",
    Self="(x:long) { Self(x) + 1 }",
    Elsewhere="() { database('Away').U }",
)


@pytest.fixture
def ask(answer, snapshot):
    async def run(kql):
        over = QuerySnapshot(snapshot.database, snapshot.tables, snapshot.others, STORED)
        return await answer(kql, over)

    return run


@pytest.mark.parametrize(
    ("kql", "rows"),
    [
        ("Ones()", [(1, "one")]),
        ("Ones", [(1, "one")]),
        ("Above()", [(5, "five")]),
        ("Above(0) | count", [(2,)]),
        ("U | where l == 1 | extend t = Twice(l) | project t", [(2,)]),
        ("print Fourfold(3)", [(12,)]),
        ("Nested() | where l == 5 | project q", [(20,)]),
        ("union Ones(), (Above(2)) | summarize sum(l)", [(6,)]),
        ("let Twice = (x:long) { x * 100 }; print Twice(1)", [(100,)]),
        ("let Ones = U | where l == 5; Ones | project l", [(5,)]),
        ("Elsewhere() | project l", [(9,)]),
        ("print toscalar(Ones() | project l)", [(1,)]),
    ],
)
async def test_stored_functions(ask, kql, rows):
    assert await ask(kql) == rows


@pytest.mark.parametrize("kql", ["Loop()", "print Self(1)"])
async def test_recursion_is_refused(ask, kql):
    with pytest.raises((SemanticError, NotSupportedError), match=r"SEM0057|not allowed"):
        await ask(kql)


OVER_TABLES = functions(
    U="() { U | where l == 5 }",
    Through="() { U | project z }",
    T="(least:long) { T | where l > least | join kind=leftanti (T | where l > 100) on l }",
    Empty="() { Empty() | take 1 }",
    Sorted="() { toscalar(Sorted | count) }",
    l="(x:dynamic) { tolong(x.l) }",
)


@pytest.mark.parametrize(
    ("kql", "rows"),
    [
        ("U", [(5, "five")]),
        ("U()", [(5, "five")]),
        ("Through()", [("five",)]),
        ("union U, U() | count", [(2,)]),
        ("T(0) | count", [(2,)]),
        ("print l(dynamic({'l': 7}))", [(7,)]),
    ],
)
async def test_a_function_reads_the_table_whose_name_it_has(answer, snapshot, kql, rows):
    over = QuerySnapshot("Home", snapshot.tables, functions=OVER_TABLES)
    assert await answer(kql, over) == rows


async def test_a_function_of_another_database_reads_its_own_table(answer, snapshot):
    away = {"Away": functions(U="() { U | extend far = true }")}
    over = QuerySnapshot("Home", snapshot.tables, snapshot.others, {}, other_functions=away)
    assert await answer("database('Away').U() | project l, far", over) == [(9, True)]


@pytest.mark.parametrize("kql", ["Empty", "let U = () { U | take 1 }; U"])
async def test_with_parentheses_or_in_a_let_its_own_name_is_a_call_of_itself(answer, snapshot, kql):
    over = QuerySnapshot("Home", snapshot.tables, functions=OVER_TABLES)
    with pytest.raises(SemanticError, match="SEM0057"):
        await answer(kql, over)


@pytest.mark.parametrize("kql", ["Missing()", "print Missing(1)"])
async def test_what_is_no_function_is_refused(ask, kql):
    with pytest.raises((SemanticError, NotSupportedError)):
        await ask(kql)


@pytest.mark.parametrize("body", ["{ 1 }", "{ 'no' }", "{ print z = 1 }", "{ T | take 1 }"])
@pytest.mark.parametrize(
    ("name", "kql", "rows"),
    [
        ("strlen", "U | where l == 1 | project strlen(z)", [(3,)]),
        ("tolower", "print tolower('A')", [("a",)]),
        ("bin_at", "print bin_at(7, 5, 1)", [(6,)]),
        ("new_guid", "print isnull(new_guid())", [(False,)]),
        ("sum", "U | summarize sum(l)", [(6,)]),
        ("current_database", "print current_database()", [("Home",)]),
        ("tolower", "Lower('A')", [("a",)]),
    ],
)
async def test_no_function_stands_for_a_built_in_one(answer, snapshot, name, kql, rows, body):
    stored = {
        name: Function(name, "(a:long = 0, b:long = 0, c:long = 0)", body),
        "Lower": Function("Lower", "(x:string)", "{ print tolower(x) }"),
    }
    over = QuerySnapshot("Home", snapshot.tables, functions=stored)
    assert await answer(kql, over) == rows


@pytest.mark.parametrize("body", ["{ 1 }", "{ print z = 1 }"])
@pytest.mark.parametrize(
    ("name", "kql", "rows"),
    [
        ("datetime", "print datetime(2020-01-01) < now()", [(True,)]),
        ("time", "print time(1h) > 1s", [(True,)]),
        ("dynamic", "print tolong(dynamic([7])[0])", [(7,)]),
        ("long", "print long(7)", [(7,)]),
        ("toscalar", "print toscalar(U | count)", [(2,)]),
        ("materialize", "let m = materialize(U); m | count", [(2,)]),
        ("datatable", "datatable(a:long)[7]", [(7,)]),
        ("l-strlen", "U | where l == 1 | project l-strlen(z)", [(-2,)]),
    ],
)
async def test_no_function_stands_for_a_word_of_the_language(
    answer, snapshot, name, kql, rows, body
):
    stored = {name: Function(name, "()", body)}
    assert await answer(kql, QuerySnapshot("Home", snapshot.tables, functions=stored)) == rows


async def test_a_function_that_cannot_be_read_is_refused_where_it_is_called(answer, snapshot):
    over = QuerySnapshot("Home", snapshot.tables, functions=functions(Bad="() { U | | take 1 }"))
    assert await answer("U | count", over) == [(2,)]
    with pytest.raises(NotSupportedError, match="'Bad' is not supported: its text cannot be read"):
        await answer("Bad()", over)


async def test_without_parentheses_the_name_of_a_built_in_function_is_of_the_stored_one(
    answer, snapshot
):
    stored = functions(strlen="() { U | where l == 5 }", bin_at="() { strlen | project l }")
    over = QuerySnapshot("Home", snapshot.tables, functions=stored)
    assert await answer("strlen | project z", over) == [("five",)]
    assert await answer("bin_at", over) == [(5,)]
    with pytest.raises((SemanticError, NotSupportedError)):
        await answer("strlen() | project z", over)


async def test_a_scalar_function_with_the_name_of_a_built_in_one_is_no_table(answer, snapshot):
    over = QuerySnapshot("Home", snapshot.tables, functions=functions(strlen="() { 1 }"))
    with pytest.raises(SemanticError, match="SEM0100"):
        await answer("strlen", over)


async def test_a_changed_function_is_never_answered_from_the_cache(own_answer, snapshot):
    for body, value in (("{ 1 }", 1), ("{ 2 }", 2)):
        stored = {"F": Function("F", "()", body)}
        over = QuerySnapshot("Home", snapshot.tables, functions=stored)
        assert await own_answer("print F()", over) == [(value,)]


def test_only_functions_that_can_be_called_travel():
    found = functions_mentioned("U | extend q = Fourfold(l)", STORED)
    assert [name for name, _, _ in found] == ["Twice", "Fourfold"]
    assert functions_mentioned("U", STORED) == ()


async def test_a_commands_result_goes_through_kql(answer, make):
    columns, _ = make
    described = columns(Name="string", Rows="long", At="datetime", Id="guid", More="dynamic")
    at = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    guid = "00000000-0000-0000-0000-000000000007"
    rows = [("a", 1, at, guid, '{"x":1}'), (None, None, None, None, None)]
    run = answer.engine.run_over
    result = await run(described, rows, "| where Rows > 0 | project Name, At, Id, More.x")
    assert [list(row.values()) for row in result.table.to_pylist()] == [
        ["a", at.replace(tzinfo=None), guid, "1"]
    ]
    assert (await run(described, rows, "count")).table.to_pylist() == [{"Count": 2}]
    assert (await run(described, [], "| count")).table.to_pylist() == [{"Count": 0}]
    with pytest.raises(SemanticError, match="SEM0100"):
        await run(described, rows, "| join (U) on $left.Name == $right.z")


async def test_an_update_policy_reads_exactly_its_batch(answer, make, snapshot):
    columns, batch = make
    pairs = columns(l="long", g="guid")
    given = batch(pairs, (1, bytes(range(16))), (2, None))
    run = answer.engine.run_on_batch
    kql = "U | where l > 0 | extend twice = l * 2, at = ingestion_time()"
    result = await run(kql, "U", pairs, given, database="Home", ingested_us=5)
    (rows,) = storage_batches(result)
    assert rows.column("g").equals(given.column("g"))
    assert rows.column("twice").to_pylist() == [2, 4]
    assert rows.column("at").to_pylist() == [dt.datetime(1970, 1, 1, 0, 0, 0, 5)] * 2
    with pytest.raises(SemanticError, match="SEM0100"):
        await run("U | join T on l", "U", pairs, given, database="Home")
    others = {"T": snapshot.tables["T"]}
    joined = await run(
        "U | join kind=inner (T | project l, s) on l", "U", pairs, given,
        database="Home", others=others,
    )  # fmt: skip
    assert joined.table.num_rows == 1
    through = await run(
        "F()", "U", pairs, given, database="Home", functions=functions(F="() { U }")
    )
    assert through.table.num_rows == 2


async def test_each_query_is_told_when_it_begins_and_when_it_ends(engine_with, snapshot, limits):
    told = []
    allowed = limits(queries_per_core=1)
    async with engine_with(allowed, on_query=told.append) as engine:
        await engine.run("U | where l > 0", snapshot, client_request_id="mine")
        with pytest.raises(SemanticError):
            await engine.run("Nothing", snapshot)
        async with trio.open_nursery() as nursery:
            endless = "range x from 1 to 1000000000000 step 1 | summarize max(x % 7)"
            nursery.start_soon(engine.run, endless, snapshot)
            while engine.statistics().running < 1:
                await trio.lowlevel.checkpoint()
            with pytest.raises(ThrottledError):
                await engine.run("print 1", snapshot)
            nursery.cancel_scope.cancel()
    states = [(record.number, record.state) for record in told]
    assert states == [
        (1, QueryState.IN_PROGRESS),
        (1, QueryState.COMPLETED),
        (2, QueryState.IN_PROGRESS),
        (2, QueryState.FAILED),
        (3, QueryState.IN_PROGRESS),
        (4, QueryState.IN_PROGRESS),
        (4, QueryState.THROTTLED),
        (3, QueryState.CANCELLED),
    ]
    done = told[1]
    assert (done.text, done.database, done.request.request_id) == (
        "U | where l > 0",
        "Home",
        "mine",
    )
    assert (done.row_count, done.scanned.streamed_rows, done.failure) == (2, 2, "")
    assert done.result_bytes > 0
    assert "SEM0100" in told[3].failure


AWAY = functions(
    Big="(least:long = 5) { let m = least; U | where l > m }",
    Through="() { Big(1) | project z }",
    Taking="(R:(l:long), n:long) { R | where l > n }",
)


@pytest.mark.parametrize(
    ("kql", "rows"),
    [
        ("database('Away').Big() | project z", [("nine",)]),
        ("database('AWAY').Big(100) | count", [(0,)]),
        ("database('Away').Big | count", [(1,)]),
        ("database('Away').Through()", [("nine",)]),
        ("let X = database('Away').Big(); X | count", [(1,)]),
        ("union U, database('Away').Big() | count", [(3,)]),
        ("Taking(U, 1) | project l", [(5,)]),
        ("Taking((U | where l < 5), 0) | project l", [(1,)]),
    ],
)
async def test_functions_of_other_databases_and_those_that_take_rows(answer, snapshot, kql, rows):
    over = QuerySnapshot(
        snapshot.database,
        snapshot.tables,
        snapshot.others,
        {"Taking": AWAY["Taking"]},
        other_functions={"Away": AWAY},
    )
    assert await answer(kql, over) == rows


async def test_a_function_of_a_database_that_may_not_be_read_is_not_there(answer, snapshot):
    over = QuerySnapshot(snapshot.database, snapshot.tables, {}, other_functions={"Away": AWAY})
    with pytest.raises((NotSupportedError, SemanticError)):
        await answer("database('Away').Big()", over)
