"""Functions of Python stop with their query; their work for a row and their values are bounded."""

from __future__ import annotations

import sys

import pytest
import trio
import trio.testing

from cluster.errors import LimitExceededError, NotSupportedError
from cluster.query.native.spec import MOST_MADE_BYTES, MOST_STEPS, require_room, require_steps
from cluster.query.native.switching import Switching

SLOW = "range i from 1 to 2000 step 1 | extend s = range(i, i + 999, 1)"  # 0.2 s a row
TEXTS = "range i from 1 to 2000 step 1 | extend s = strcat(strrep('b=c,', 1000), i)"
PAIRS = "parse-kv s as (a: string) with (pair_delimiter=',', kv_delimiter='=')"
LONG = "strrep(strrep('a', 1000), 500)"  # half of what a string may have
MANY = "range(1, 500000, 1)"
FOR_EVER_SECONDS = 100  # some were at it for hours; on a busy machine the right ones take ten


@pytest.mark.parametrize(
    "query",
    [
        f"{SLOW} | summarize sum(array_length(series_fir(s, s, false)))",
        f"{TEXTS} | {PAIRS} | summarize countif(a == 'x')",
    ],
    ids=["function", "pairs"],
)
async def test_a_query_that_is_cancelled_stops_within_a_chunk(engine_with, snapshot, query):
    async with engine_with() as engine:
        await engine.run(query.replace("2000", "0"), snapshot)  # translated
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.run, query, snapshot)
                while engine.statistics().running == 0:
                    await trio.lowlevel.checkpoint()
                await trio.testing.wait_all_tasks_blocked(0.5)  # a function is at work
                nursery.cancel_scope.cancel()
        assert (await engine.run("print x = parse_csv('a')", snapshot)).table.num_rows == 1


@pytest.fixture
def usual_interval():
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield 0.005
    sys.setswitchinterval(before)


async def test_functions_of_python_let_others_in_sooner_while_they_run(
    engine_with, snapshot, usual_interval
):
    async with engine_with() as engine:
        await engine.run("print 1", snapshot)
        assert sys.getswitchinterval() == pytest.approx(usual_interval)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(engine.run, TEXTS + " | " + PAIRS, snapshot)
                while sys.getswitchinterval() > 0.0006:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        assert sys.getswitchinterval() == pytest.approx(usual_interval)


def test_whoever_has_a_shorter_interval_keeps_it():
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.0001)
        with Switching().quick():
            assert sys.getswitchinterval() == pytest.approx(0.0001)
        assert sys.getswitchinterval() == pytest.approx(0.0001)
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("series_fir(range(1, 10000, 1), range(1, 1000, 1))", NotSupportedError),
        ("series_iir(range(1, 10000, 1), range(1, 1000, 1), dynamic([1]))", NotSupportedError),
        (f"has_any_index({LONG}, {MANY})", NotSupportedError),
        (f"replace_strings({LONG}, repeat('b', 10000), repeat('b', 10000))", NotSupportedError),
        (f"replace_strings({LONG}, pack_array('a'), pack_array({LONG}))", LimitExceededError),
        (f"repeat({LONG}, 1000000)", LimitExceededError),
        (f"array_iff({MANY}, {LONG}, 'b')", LimitExceededError),
        (f"array_iff({MANY}, 'b', {LONG})", LimitExceededError),
        (f"array_shift_left(range(1, 100000, 1), 100000, {LONG})", LimitExceededError),
        (f"series_fill_const(repeat(0, 100000), {LONG}, 0)", LimitExceededError),
        (f"series_fill_forward(array_concat(pack_array({LONG}), repeat(0, 100000)), 0)",
         LimitExceededError),
        (f"series_fill_linear(repeat(0, 100000), 0, true, {LONG})", LimitExceededError),
        (f"strrep({LONG}, 1000, ',')", LimitExceededError),
        ("punycode_domain_to_string(strrep('ä.', 1000))", NotSupportedError),
        ("punycode_domain_from_string(strrep('xn--a.', 1000))", NotSupportedError),
    ],
)  # fmt: skip
async def test_work_and_values_for_one_row_are_bounded(answer, call, error):
    with trio.fail_after(FOR_EVER_SECONDS), pytest.raises(error):
        await answer(f"print x = {call}")


async def test_work_that_was_quadratic_is_not(answer):
    line = "strcat('p ', strrep(strrep(@'\\a', 1000), 300))"
    found = [
        f"print array_length(parse_command_line({line}, 'windows'))",
        f"print s = strrep(strrep(',', 1000), 900) | {PAIRS} | project strlen(a)",
        "print has_any_ipv4_prefix(strrep(strrep('1.1.1.1 ', 1000), 100), repeat('9.', 100000))",
        "print array_length(treepath(dynamic({'a': [{'b': 1}, {'b': 2, 'c': [3]}]})))",
    ]
    with trio.fail_after(FOR_EVER_SECONDS):
        assert [(await answer(kql))[0][0] for kql in found] == [2, 0, False, 5]


def test_bounds_are_exact():
    for count, value in ((1024, "a" * (MOST_MADE_BYTES // 1024)), (1, "a" * MOST_MADE_BYTES)):
        require_room(value[:-1], count)
        require_room(value, count)
        with pytest.raises(ValueError, match="E_VALUE_TOO_LONG"):
            require_room(value + "a", count)
    require_room("a" * (MOST_MADE_BYTES + 1), 0)
    require_steps(MOST_STEPS - 1, "f()")
    require_steps(MOST_STEPS, "f()")
    with pytest.raises(ValueError, match="values so long"):
        require_steps(MOST_STEPS + 1, "f()")
