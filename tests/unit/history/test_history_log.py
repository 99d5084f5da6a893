"""The node's logs: bounded by number and age, grouped as documented."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.history.log import DAY_NS, OPERATION_BY_ID_RETENTION_NS, History
from cluster.history.records import (
    DataOperation,
    DataOperationKind,
    Executed,
    Operation,
    OperationState,
    StreamedRequest,
)
from cluster.limits import Limits


class HandClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.ns = 100 * DAY_NS

    def now_ns(self) -> int:
        return self.ns

    def monotonic(self) -> float:
        return self.ns / 1e9


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def history(clock: HandClock, entries: int = 3) -> History:
    return History(clock, Limits(history_entries=entries))


def operation(clock: HandClock, name: str) -> Operation:
    return Operation(
        name, "ExtentsMerge", "D", ".merge", clock.ns, clock.ns, OperationState.IN_PROGRESS
    )


def seal(clock: HandClock, rows: int) -> DataOperation:
    kind = DataOperationKind.ROW_STORE_SEAL
    return DataOperation(kind, "D", "T", clock.ns, 0.5, rows, 1, 10, 5)


def request(clock: HandClock, **changes: object) -> StreamedRequest:
    base = StreamedRequest("D", "T", clock.ns, 0.25, 100, 7, "Csv")
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("added", [2, 3, 4])
def test_a_log_keeps_its_newest_entries_up_to_the_limit(clock: HandClock, added: int) -> None:
    log = history(clock, entries=3)
    for rows in range(added):
        log.data_operation(seal(clock, rows))
    expected = list(range(added))[-3:]
    assert [entry.row_count for entry in log.data_operations()] == expected
    assert log.statistics().data_operations == added


@pytest.mark.fidelity(
    "streaming-ingestion-statistics.md",
    "Statistics and failures are kept for 14 days",
    differs="At most so many entries as limits.py says",
)
def test_entries_leave_after_two_weeks(clock: HandClock) -> None:
    log = history(clock)
    log.data_operation(seal(clock, 1))
    clock.ns += 14 * DAY_NS
    assert len(log.data_operations()) == 1
    clock.ns += 1
    assert log.data_operations() == ()


@pytest.mark.fidelity("show-operations.md", "Each change of state is a row; an id finds the newest")
def test_every_change_of_an_operation_is_an_entry_and_its_id_finds_the_newest(
    clock: HandClock,
) -> None:
    log = history(clock)
    log.operation(operation(clock, "a"))
    clock.ns += 5
    log.operation_changed("a", OperationState.FAILED, "the disk is full", retry=True)
    assert [entry.state.value for entry in log.operations()] == ["InProgress", "Failed"]
    (newest,) = log.operations_by_id(["a", "unknown"])
    assert (newest.status, newest.should_retry) == ("the disk is full", True)
    assert newest.updated_ns - newest.started_ns == 5


@pytest.mark.fidelity("show-operations.md", "An operation is found by its id for six hours")
def test_an_id_is_forgotten_six_hours_after_its_last_change(clock: HandClock) -> None:
    log = history(clock)
    log.operation(operation(clock, "a"))
    clock.ns += OPERATION_BY_ID_RETENTION_NS
    assert log.operations_by_id(["a"])
    clock.ns += 1
    assert not log.operations_by_id(["a"])
    assert log.operations()


def test_a_query_is_running_until_it_has_ended(clock: HandClock) -> None:
    log = history(clock)
    state = OperationState.IN_PROGRESS
    query = Executed("id", "Query", "T | count", "D", clock.ns, clock.ns, state)
    log.begun(query)
    assert log.running() == (query,)
    assert log.executed() == ()
    done = replace(query, state=OperationState.COMPLETED, row_count=1)
    log.ended(done)
    assert log.running() == ()
    assert log.executed() == (done,)


@pytest.mark.fidelity(
    "streaming-ingestion-statistics.md", "Requests alike share a bucket of a minute"
)
def test_requests_alike_share_the_bucket_of_their_minute(clock: HandClock) -> None:
    log = history(clock, entries=10)
    log.streaming.add(request(clock, byte_count=100, duration_seconds=0.1, row_count=1))
    clock.ns += 1
    log.streaming.add(request(clock, byte_count=300, duration_seconds=0.3, row_count=3))
    log.streaming.add(request(clock, format="Json"))
    (first, json) = log.streaming.buckets(clock.ns)
    assert (first.count, first.bytes_min, first.bytes_max, first.bytes_total) == (2, 100, 300, 400)
    assert (first.rows_min, first.rows_max, first.rows_total) == (1, 3, 4)
    assert (first.seconds_min, first.seconds_max) == (0.1, 0.3)
    assert first.end_ns - first.start_ns == 1
    assert json.count == 1
    clock.ns += 60 * 1_000_000_000
    log.streaming.add(request(clock))
    assert len(list(log.streaming.buckets(clock.ns))) == 3


@pytest.mark.fidelity(
    "streaming-ingestion-failures.md",
    "Failures alike are one row with a count, the first and the last time",
)
def test_failures_alike_are_counted_together_whenever_they_were(clock: HandClock) -> None:
    log = history(clock)
    bad = request(clock, error_code="BadRequest_StreamIngest", details="first", is_permanent=True)
    log.streaming.add(bad)
    first = clock.ns
    clock.ns += DAY_NS
    log.streaming.add(replace(bad, ended_ns=clock.ns, details="second"))
    log.streaming.add(request(clock))
    (group,) = log.streaming.failures(clock.ns)
    assert (group.count, group.first_ns, group.last_ns) == (2, first, clock.ns)
    assert group.sample.details == "second"


@pytest.mark.parametrize("kinds", [2, 3, 4])
def test_buckets_and_failures_are_bounded(clock: HandClock, kinds: int) -> None:
    log = history(clock, entries=3)
    for number in range(kinds):
        log.streaming.add(request(clock, table=f"T{number}", error_code="x"))
    assert len(list(log.streaming.buckets(clock.ns))) == min(kinds, 3)
    assert len(list(log.streaming.failures(clock.ns))) == min(kinds, 3)
