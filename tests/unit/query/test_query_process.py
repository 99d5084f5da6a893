"""The translator process: bounded in time, killed, replaced; the engine goes on."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
import trio

from cluster.errors import InternalError, LimitExceededError, NotSupportedError, SemanticError
from cluster.limits import LIMITS
from cluster.query.messages import Query
from cluster.query.process import TranslatorProcess

pytestmark = pytest.mark.process

BOMB = "let x0 = 1;" + "".join(f"let x{n + 1} = x{n} + x{n};" for n in range(22)) + "print x22"


@pytest.fixture
async def translator():
    process = TranslatorProcess(LIMITS)
    yield process
    await process.aclose()


async def test_one_process_answers_many_questions_and_keeps_errors_whole(translator):
    assert translator.statistics().pid is None
    schemas = {"T": (("a", "long"),)}
    first = await translator.translate(Query("T | count", "Home", schemas))
    assert [use.table for use in first.tables] == ["T"]
    with pytest.raises(SemanticError, match="named 'b'") as refused:
        await translator.translate(Query("T | where b == 1", "Home", schemas))
    assert refused.value.metadata == {"name": "b"}
    with pytest.raises(NotSupportedError) as unsupported:
        await translator.translate(Query("T | consume", "Home", schemas))
    assert unsupported.value.metadata == {"line": "1", "column": "5"}
    statistics = translator.statistics()
    assert (statistics.started, statistics.asked, statistics.killed) == (1, 3, 0)
    assert statistics.resident_bytes > 10_000_000
    assert statistics.start_seconds > 0


async def test_a_bomb_is_stopped_in_time_and_the_next_query_answered(engine_with, snapshot, limits):
    tight = limits(query_translate_seconds=1.0)
    translator = TranslatorProcess(tight)
    async with engine_with(tight, translator=translator) as engine:
        await engine.prewarm()
        with trio.fail_after(10), pytest.raises(LimitExceededError, match="too complex"):
            await engine.run(BOMB, snapshot)
        result = await engine.run("T | count", snapshot)
        assert result.table.to_pylist() == [{"Count": 3}]
    assert translator.statistics().pid is None


async def test_a_bomb_cannot_take_more_memory_than_allowed(limits):
    tight = limits(query_translator_bytes=300 * 1024 * 1024, query_translate_seconds=60.0)
    translator = TranslatorProcess(tight)
    try:
        with pytest.raises((LimitExceededError, InternalError)):
            await translator.translate(
                Query(BOMB.replace("print x22", "print " + "x22+" * 400 + "1"), "", {})
            )
        assert translator.statistics().resident_bytes < 300 * 1024 * 1024
    finally:
        await translator.aclose()


async def test_a_process_that_is_killed_is_replaced(translator):
    await translator.translate(Query("print 1", "", {}))
    first = translator.statistics().pid
    os.kill(first, signal.SIGKILL)
    await translator.translate(Query("print 1", "", {}))
    statistics = translator.statistics()
    assert statistics.pid != first
    assert (statistics.started, statistics.crashed) == (2, 1)


async def test_a_caller_that_goes_away_takes_no_answer_of_the_next(translator):
    await translator.translate(Query("print 1", "", {}))
    asked = translator.statistics().asked
    async with trio.open_nursery() as nursery:
        nursery.start_soon(translator.translate, Query(BOMB, "", {}))
        while translator.statistics().asked == asked:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    answer = await translator.translate(Query("print y = 2", "", {}))
    assert '"y"' in answer.sql
    assert translator.statistics().killed == 1


async def test_questions_wait_their_turn(translator):
    answers = {}

    async def ask(number: int) -> None:
        answers[number] = await translator.translate(Query(f"print {number}", "", {}))

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(ask, number)
    assert all(f"CAST({n} AS BIGINT)" in answers[n].sql for n in range(8))
    assert translator.statistics().started == 1


async def test_closing_ends_the_process(translator):
    await translator.translate(Query("print 1", "", {}))
    pid = translator.statistics().pid
    await translator.aclose()
    assert not psutil.pid_exists(pid)


async def test_the_process_ends_when_nobody_holds_its_input(translator):
    await translator.translate(Query("print 1", "", {}))
    process = translator._process
    await process.stdin.aclose()
    with trio.fail_after(10):
        assert await process.wait() == 0
