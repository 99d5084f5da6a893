"""Operations: every one ends in a documented state, waited for or not."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing

from cluster.errors import InvalidRequestError, ThrottledError, UnavailableError
from cluster.history.driver import OperationRunner
from cluster.history.log import History
from cluster.limits import Limits


class StillClock:
    def now_ns(self) -> int:
        return 10**18

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
def history():
    return History(StillClock())


@pytest.fixture
async def runner(history, nursery):
    numbers = itertools.count(1)
    runner = OperationRunner(
        history,
        clock=StillClock(),
        new_id=lambda: f"id-{next(numbers)}",
        limits=Limits(background_operations=2),
    )
    await nursery.start(runner.run)
    return runner


def states(history, operation_id="id-1"):
    return [o.state.value for o in history.operations() if o.operation_id == operation_id]


async def give(value):
    await trio.lowlevel.checkpoint()
    return value


async def test_an_operation_waited_for_gives_its_result(runner, history):
    ended = await runner.execute("TableAppend", "D", ".append", lambda: give(7))
    assert (ended.operation_id, ended.result) == ("id-1", 7)
    assert states(history) == ["InProgress", "Completed"]
    assert runner.result("id-1") is None  # nobody else will ask


async def test_the_result_of_one_in_the_background_is_kept(runner, history):
    operation_id = runner.start("TableAppend", "D", ".append async", lambda: give([1]))
    assert states(history) == ["InProgress"]
    await trio.testing.wait_all_tasks_blocked()
    assert runner.result(operation_id) == [1]
    assert states(history) == ["InProgress", "Completed"]


async def test_a_failure_is_raised_and_told(runner, history):
    async def fail():
        await trio.lowlevel.checkpoint()
        raise InvalidRequestError("the query is wrong")

    with pytest.raises(InvalidRequestError, match="the query is wrong"):
        await runner.execute("TableAppend", "D", ".append", fail)
    runner.start("TableAppend", "D", ".append", fail)
    await trio.testing.wait_all_tasks_blocked()
    for operation_id in ("id-1", "id-2"):
        (newest,) = history.operations_by_id([operation_id])
        assert newest.state.value == "Failed"
        assert newest.status == "General_BadRequest: the query is wrong"
        assert not newest.should_retry
    assert runner.statistics().failed == 2


@pytest.mark.parametrize("already", [0, 1, 2])
async def test_too_many_at_once_are_throttled(runner, history, already):
    for _ in range(already):
        runner.start("Merge", "D", ".merge", trio.sleep_forever)
    if already < 2:
        await runner.execute("Merge", "D", ".merge", lambda: give(1))
        return
    with pytest.raises(ThrottledError, match="Capacity: 2"):
        await runner.execute("Merge", "D", ".merge", lambda: give(1))
    assert states(history, "id-3") == ["InProgress", "Throttled"]
    assert history.operations_by_id(["id-3"])[0].should_retry


async def test_an_operation_can_be_canceled(runner, history):
    operation_id = runner.start("Merge", "D", ".merge", trio.sleep_forever)
    assert runner.cancel(operation_id)
    await trio.testing.wait_all_tasks_blocked()
    assert states(history) == ["InProgress", "Canceled"]
    assert not runner.cancel(operation_id)
    assert not runner.cancel("unknown")


async def test_who_stops_waiting_cancels(runner, history):
    with trio.CancelScope() as scope:
        scope.cancel()
        await runner.execute("Merge", "D", ".merge", trio.sleep_forever)
    await trio.testing.wait_all_tasks_blocked()
    assert states(history) == ["InProgress", "Canceled"]


async def test_what_runs_when_the_node_stops_is_canceled(history):
    runner = OperationRunner(history, clock=StillClock(), new_id=lambda: "id-1")
    async with trio.open_nursery() as nursery:
        await nursery.start(runner.run)
        runner.start("Merge", "D", ".merge", trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert states(history) == ["InProgress", "Canceled"]
    with pytest.raises(UnavailableError):
        runner.start("Merge", "D", ".merge", trio.sleep_forever)
