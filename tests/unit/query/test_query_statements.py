"""Texts of several statements, their options and parameters, through the door of the engine."""

from __future__ import annotations

import datetime as dt
import decimal

import pytest

from cluster.errors import (
    InvalidRequestError,
    LimitExceededError,
    NotSupportedError,
    SemanticError,
    SyntaxRefusedError,
)
from cluster.query.options import options_of
from cluster.query.statements import take_apart
from cluster.request import Caller, ClientRequest


def request(options=None, parameters=None) -> ClientRequest:
    return ClientRequest(Caller(), options=options or {}, parameters=parameters or {})


@pytest.fixture
def ask(answer, snapshot):
    """Answers a text; rows of each result."""

    async def run(text, options=None, parameters=None):
        got = await answer.engine.answer(text, snapshot, request(options, parameters))
        return [[tuple(row.values()) for row in r.table.to_pylist()] for r in got.results]

    return run


SEVERAL = {
    "print 1": [[(1,)]],
    "print 1;": [[(1,)]],
    "print 1; print 2": [[(1,)], [(2,)]],
    "print ';'; print 2 // ; print 3": [[(";",)], [(2,)]],
    "let a = 5; print a; let b = a + 1; print b": [[(5,)], [(6,)]],
    "T | where l > 0 | fork (count) n=(summarize m = max(l) | extend k = m)": [[(2,)], [(3, 3)]],
    "let k = 1; U | where l > k | fork (count) (project z); U | count": [
        [(1,)], [("five",)], [(2,)],
    ],
    "let f = (x: long) { let y = x; y * 2 }; print f(3); print f(4)": [[(6,)], [(8,)]],
}  # fmt: skip


@pytest.mark.parametrize("text", SEVERAL)
async def test_every_query_of_a_text_has_its_result(ask, text):
    assert await ask(text) == SEVERAL[text]


async def test_the_legs_of_a_fork_name_their_results(answer, snapshot):
    got = await answer.engine.answer("U | fork first=(count) (take 1)", snapshot)
    assert [result.name for result in got.results] == ["first", ""]


async def test_one_result_is_one_where_only_one_can_be_taken(answer, snapshot):
    with pytest.raises(InvalidRequestError, match="2 results"):
        await answer.engine.run("print 1; print 2", snapshot)


@pytest.mark.parametrize(("count", "fits"), [(2, True), (3, True), (4, False)])
async def test_results_of_one_text(engine_with, snapshot, limits, count, fits):
    async with engine_with(limits(query_statements=3)) as engine:
        text = ";".join(["print 1"] * count)
        if fits:
            assert len((await engine.answer(text, snapshot)).results) == count
            return
        with pytest.raises(LimitExceededError, match="more than 3 results") as refused:
            await engine.answer(text, snapshot)
        assert refused.value.metadata == {"limit": "query_statements"}


def test_a_text_of_many_statements_is_refused_at_once():
    with pytest.raises(LimitExceededError):
        take_apart("T;" * 100_000, 64)


async def test_a_text_without_a_query_is_refused(ask):
    with pytest.raises(SemanticError, match="no query"):
        await ask("let x = 1;")


async def test_an_error_names_its_place_in_the_whole_text(ask):
    with pytest.raises(SyntaxRefusedError) as refused:
        await ask("print 1;\nset notruncation;\nprint )")
    assert (refused.value.metadata["line"], refused.value.metadata["column"]) == ("3", "7")


async def test_a_later_error_leaves_no_answer_to_an_earlier_query(ask):
    with pytest.raises(SemanticError, match="Nope"):
        await ask("print 1; Nope")


OPTIONS = [
    ({"truncationmaxrecords": 2}, "range x from 1 to 3 step 1", "record count limit 2"),
    ({"truncationmaxrecords": "2"}, "range x from 1 to 3 step 1", "record count limit 2"),
    ({}, "set truncationmaxrecords=2; range x from 1 to 3 step 1", "record count limit 2"),
    ({"truncationmaxsize": 100}, "range x from 1 to 100 step 1", "data size limit 100"),
    ({}, "range x from 1 to 500001 step 1", "record count limit 500000"),
]


@pytest.mark.parametrize(("options", "text", "message"), OPTIONS)
async def test_a_result_set_too_large_fails_with_the_documented_text(ask, options, text, message):
    expected = f"exceeded the internal {message} \\(E_QUERY_RESULT_SET_TOO_LARGE\\)"
    with pytest.raises(LimitExceededError, match=expected):
        await ask(text, options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"notruncation": True}, "range x from 1 to 500001 step 1"),
        ({"truncationmaxrecords": 600_000}, "range x from 1 to 500001 step 1"),
        ({"truncationmaxrecords": 1}, "set notruncation; range x from 1 to 500001 step 1"),
    ],
)
async def test_a_caller_may_lift_the_bounds_of_a_result(ask, options, text):
    assert len((await ask(text, options))[0]) == 500_001


async def test_no_caller_lifts_what_the_node_holds_of_a_result(engine_with, snapshot, limits):
    async with engine_with(limits(ingest_query_bytes=1000)) as engine:
        for options in ({"notruncation": True}, {"truncationmaxsize": 10**12}):
            with pytest.raises(LimitExceededError, match="data size limit 1000"):
                await engine.answer("range x from 1 to 1000 step 1", snapshot, request(options))


@pytest.mark.parametrize(("most", "rows"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3)])
async def test_take_max_records_cuts_without_an_error(ask, most, rows):
    text = "range x from 1 to 3 step 1"
    assert len((await ask(text, {"query_take_max_records": most}))[0]) == rows
    assert (await ask("T | count", {"query_take_max_records": 9}))[0] == [(3,)]


async def test_the_time_of_a_query_can_be_set(ask):
    at = dt.datetime(2020, 1, 2, 3)
    assert await ask("print now()", {"query_now": "2020-01-02T03:00:00Z"}) == [[(at,)]]
    assert await ask("set query_now=datetime(2020-01-02 03:00); print now()") == [[(at,)]]


async def test_all_results_of_a_text_are_of_one_moment(ask):
    one, other = await ask("print now(); print now()")
    assert one == other


def test_options_are_read_in_all_their_spellings(limits):
    def options(**given):
        return options_of(given, (), limits(query_seconds=240.0))

    assert options(servertimeout="00:01:00.000").seconds == 60
    assert options(servertimeout="0:00:30").seconds == 30
    assert options(servertimeout="1 day, 0:00:00").seconds == 240
    assert options(servertimeout="time(90s)").seconds == 90
    assert options(servertimeout=5).seconds == 5
    assert options(servertimeout="00:00:05", norequesttimeout=True).seconds == 240
    assert options(NoTruncation="true").result_bytes == limits().ingest_query_bytes
    assert options(queryconsistency="weakconsistency", query_language="csl", additional="x") == (
        options()
    )
    assert (
        options_of({"truncationmaxrecords": 5}, (("truncationmaxrecords", "7"),), limits()).rows
        == 7
    )


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"query_language": "sql"}, NotSupportedError),
        ({"queryconsistency": "eventual"}, InvalidRequestError),
        ({"servertimeout": "soon"}, InvalidRequestError),
        ({"servertimeout": "00:00:00"}, InvalidRequestError),
        ({"truncationmaxrecords": -1}, InvalidRequestError),
        ({"truncationmaxrecords": True}, InvalidRequestError),
        ({"notruncation": "perhaps"}, InvalidRequestError),
        ({"query_now": "tomorrow"}, InvalidRequestError),
    ],
)
def test_an_option_that_cannot_be_read_is_refused(limits, given, error):
    with pytest.raises(error):
        options_of(given, (), limits())


PARAMETERS = [
    ("long", "5", 5), ("long", 5, 5), ("long", "long(5)", 5), ("int", "int(-5)", -5),
    ("string", "a'; drop", "a'; drop"), ("string", '"asdf"', "asdf"), ("string", "", ""),
    ("string", "@'x''y'", "x'y"), ("real", "1.5e2", 150.0), ("real", 2, 2.0),
    ("bool", True, True), ("bool", "bool(false)", False), ("bool", "true", True),
    ("datetime", "datetime(2020-01-02T03:00:00Z)", dt.datetime(2020, 1, 2, 3)),
    ("datetime", "2020-01-02", dt.datetime(2020, 1, 2)),
    ("datetime", "2020-01-02T03:00:00.0000000Z", dt.datetime(2020, 1, 2, 3)),
    ("timespan", "timespan(1.00:00:01)", dt.timedelta(days=1, seconds=1)),
    ("timespan", "90s", dt.timedelta(seconds=90)),
    ("guid", "guid(74be27de-1e4e-49d9-b579-fe0b331d3642)", "74be27de-1e4e-49d9-b579-fe0b331d3642"),
    ("dynamic", 'dynamic({"a":[1,"x"]})', '{"a":[1,"x"]}'), ("dynamic", [1, 2], "[1,2]"),
    ("decimal", "0.1", decimal.Decimal("0.1")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "expected"), PARAMETERS)
async def test_a_parameter_has_its_value(ask, kind, value, expected):
    text = f"declare query_parameters(p:{kind}); print p"
    ((row,),) = await ask(text, parameters={"p": value})
    (got,) = row
    assert (got.replace(" ", "") if kind == "dynamic" else got) == expected


async def test_parameters_have_defaults_and_narrow_tables(ask):
    text = (
        "declare query_parameters(n:long = 3, q:string = 'x,y)'); T | where l == n | project l, q"
    )
    assert await ask(text) == [[(3, "x,y)")]]
    assert await ask(text, parameters={"n": 1, "other": 2}) == [[(1, "x,y)")]]


async def test_a_column_wins_over_a_parameter_of_its_name(ask):
    text = "declare query_parameters(l:long = 3); T | where l == 1 | count"
    assert await ask(text, parameters={"l": 7}) == [[(1,)]]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("long", "5; drop"), ("long", "1.5"), ("long", True), ("int", 2**31), ("string", []),
        ("bool", 2), ("datetime", "now()"), ("timespan", "1h + 1h"), ("guid", "x"),
        ("dynamic", "{"), ("long", "datetime(2020-01-01)"), ("real", "1)"), ("table", "T"),
        ("long", None), pytest.param("dynamic", "[" * 50_000 + "]" * 50_000, id="deep"),
    ],
)  # fmt: skip
async def test_a_value_of_another_type_is_refused(ask, kind, value):
    with pytest.raises(SemanticError, match="query parameter"):
        await ask(f"declare query_parameters(p:{kind}); print p", parameters={"p": value})


async def test_a_declaration_that_cannot_be_read_is_refused(ask):
    with pytest.raises(SyntaxRefusedError):
        await ask("declare query_parameters(p); print p")


async def test_render_is_passed_on_and_changes_no_row(answer, snapshot):
    text = (
        "T | sort by l | render timechart with (title='x y', ycolumns=l, r, ymin=0, kind=stacked)"
    )
    (result,) = (await answer.engine.answer(text, snapshot)).results
    said = result.visualization
    assert said == {
        "Visualization": "timechart", "Title": "x y", "XColumn": None, "Series": None,
        "YColumns": "l,r", "AnomalyColumns": None, "XTitle": None, "YTitle": None, "XAxis": None,
        "YAxis": None, "Legend": None, "YSplit": None, "Accumulate": False, "IsQuerySorted": True,
        "Kind": "stacked", "Ymin": "0", "Ymax": "NaN", "Xmin": None, "Xmax": None,
    }  # fmt: skip
    assert result.table.num_rows == 3
    (plain,) = (await answer.engine.answer("T", snapshot)).results
    assert plain.visualization is None


async def test_render_is_the_last_operator_or_refused(ask):
    with pytest.raises(SemanticError, match="last operator"):
        await ask("T | render table | take 1")
    with pytest.raises(SyntaxRefusedError):
        await ask("T | render table with (nope=1)")
