"""Targets, kinds, quantities, the active set and what several faults come to."""

from __future__ import annotations

import re

import pytest

from cluster.conformance.faults import Fault, FaultKind
from cluster.errors import (
    EntityNotFoundError,
    InvalidRequestError,
    LimitExceededError,
    RemoraError,
)
from cluster.faults.active import FOREVER, ActiveFault, ActiveFaults
from cluster.faults.composition import (
    NO_DIRECTION_FAULTS,
    NO_DISK_FAULTS,
    ClockFaults,
    clock_faults,
    direction_faults,
    disk_faults,
)
from cluster.faults.kinds import KINDS, LONGEST_SECONDS, check_fault, parse_kind, values_text
from cluster.faults.messages import active_from_message, active_to_message
from cluster.faults.quantities import parse_rate, parse_seconds, rate_text, seconds_text
from cluster.faults.routing import routed_pairs
from cluster.faults.targets import LONGEST_CHARACTERS, Known, parse_target

KNOWN = Known({"leader": ("leader/0",), "follower1": ("follower1/0", "follower1/1")})


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("leader", "leader/0"),
        (" follower1/1 ", "follower1/1"),
        ("coordinator", "coordinator"),
        ("leader->follower1", "leader->follower1"),
        ("link leader->follower1", "leader->follower1"),
        ("link  leader -> follower1", "leader->follower1"),
        ("link leader→follower1", "leader->follower1"),
        ("link leader to follower1", "leader->follower1"),
        ("follower1/1->coordinator", "follower1->coordinator"),
        ("coordinator->leader/0", "coordinator->leader"),
    ],
)
def test_targets_are_read(text, means):
    assert str(parse_target(text, KNOWN)) == means


@pytest.mark.parametrize(
    ("text", "error", "says", "remedy"),
    [
        ("", InvalidRequestError, "needs a target", "leader/0"),
        ("follower9", EntityNotFoundError, "follower9", "coordinator, follower1/0, follower1/1"),
        ("leader->follower9", EntityNotFoundError, "follower9", "coordinator, follower1, leader"),
        ("leader->leader/0", InvalidRequestError, "two different ends", ""),
        ("link leader-", InvalidRequestError, "two ends", "quotes"),
        ("link leader", InvalidRequestError, "two ends", "quotes"),
        ("x" * (LONGEST_CHARACTERS + 1), InvalidRequestError, "at most", ""),
    ],
)
def test_targets_that_are_none_are_refused(text, error, says, remedy):
    with pytest.raises(error, match=says) as refused:
        parse_target(text, KNOWN)
    assert remedy in refused.value.remedy


def test_the_longest_target_is_looked_up():
    with pytest.raises(EntityNotFoundError):
        parse_target("x" * LONGEST_CHARACTERS, KNOWN)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("50ms", 0.05), ("30s", 30), ("2m", 120), ("1.5h", 5400), ("-10s", -10), ("7", 7)],
)  # fmt: skip
def test_durations(text, seconds):
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "rate"), [("1MB/s", 10**6), ("512KiB/s", 524288), ("800", 800), ("2 kb", 2000)]
)
def test_rates(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "soon", "10 parsecs", "1s2", "--", "nan"])
def test_quantities_that_are_none(text):
    for parse in (parse_seconds, parse_rate):
        with pytest.raises(InvalidRequestError, match="is not a"):
            parse(text)


def test_quantities_for_people():
    shown = [seconds_text(value) for value in (0, 0.05, 1.5, 90, 600, 7200, FOREVER)]
    assert shown == ["0 s", "50 ms", "1.5 s", "90 s", "10 min", "2 h", "inf"]
    assert [rate_text(value) for value in (5, 1500, 2_000_000)] == ["5 B/s", "1.5 KB/s", "2 MB/s"]


def fault(kind, target="leader->follower1", **values):
    return Fault(kind=kind, target=target, **values)


GOOD = [
    fault(FaultKind.PARTITION),
    fault(FaultKind.ONE_WAY),
    fault(FaultKind.DELAY, seconds=0.05, jitter_seconds=0.01, duration=30.0),
    fault(FaultKind.DELAY, seconds=LONGEST_SECONDS),
    fault(FaultKind.DROP, ratio=1.0),
    fault(FaultKind.BANDWIDTH, bytes_per_second=1),
    fault(FaultKind.STALL, duration=LONGEST_SECONDS),
    fault(FaultKind.RESET),
    fault(FaultKind.RESET, ratio=0.5),
    fault(FaultKind.DISK_FULL, "leader/0"),
    fault(FaultKind.SLOW_FSYNC, "leader/0", seconds=1.0),
    fault(FaultKind.FSYNC_ERROR, "leader/0"),
    fault(FaultKind.CLOCK_JUMP, "coordinator", seconds=-60.0),
    fault(FaultKind.CLOCK_JUMP, "coordinator", monotonic_seconds=60.0),
]


@pytest.mark.parametrize("good", GOOD, ids=lambda good: good.kind.value)
def test_what_fits_is_taken_and_survives_the_wire(good):
    assert check_fault(good, KNOWN) == good
    active = ActiveFault("f1", good, 100.0, 100.0 + good.duration if good.duration else FOREVER)
    back = active_from_message(active_to_message(active, 103.0), 203.0)
    assert back.began_at == 200.0
    assert back.ends_at == active.ends_at + 100.0
    assert values_text(back.fault) == values_text(good)
    assert back.fault.kind is good.kind


def test_every_kind_is_taken():
    assert {good.kind for good in GOOD} == KINDS.keys()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (fault(FaultKind.STALL, "leader"), "'stall' does not fit the process leader/0"),
        (fault(FaultKind.DISK_FULL), "'disk-full' does not fit the link leader->follower1"),
        (fault(FaultKind.KILL, "leader"), "'kill' does not fit"),
        (fault(FaultKind.DELAY), "'delay' needs --seconds"),
        (fault(FaultKind.DELAY, jitter_seconds=1.0), "'delay' needs --seconds"),
        (fault(FaultKind.DELAY, seconds=-1.0), "--seconds must be from 0 to 86400 s"),
        (fault(FaultKind.DELAY, seconds=LONGEST_SECONDS + 1), "--seconds must be from 0"),
        (fault(FaultKind.DELAY, seconds=float("nan")), "must be a number"),
        (fault(FaultKind.DROP), "'drop' needs --ratio"),
        (fault(FaultKind.DROP, ratio=1.01), "--ratio must be from 0 to 1, not 1.01"),
        (fault(FaultKind.BANDWIDTH), "'bandwidth' needs --bandwidth"),
        (fault(FaultKind.BANDWIDTH, bytes_per_second=-1), "--bandwidth must be more than 0"),
        (fault(FaultKind.PARTITION, ratio=0.5), "'partition' does not take --ratio"),
        (fault(FaultKind.STALL, duration=LONGEST_SECONDS + 1), "lasts up to 86400 s"),
        (fault(FaultKind.STALL, duration=-1.0), "lasts up to"),
        (fault(FaultKind.CLOCK_JUMP, "leader"), "'clock' needs --seconds or --leap"),
        (fault(FaultKind.CLOCK_JUMP, "leader", monotonic_seconds=-1.0), "never goes back"),
        (fault(FaultKind.CLOCK_JUMP, "leader", seconds=1e12), "within"),
    ],
)
def test_what_does_not_fit_is_refused(bad, says):
    with pytest.raises(InvalidRequestError, match=re.escape(says)):
        check_fault(bad, KNOWN)


def test_kinds_by_name():
    assert parse_kind("clock") is parse_kind("clock-jump") is FaultKind.CLOCK_JUMP
    with pytest.raises(InvalidRequestError, match="no kind of fault 'explode'") as unknown:
        parse_kind("explode")
    assert "partition" in unknown.value.remedy
    with pytest.raises(InvalidRequestError) as elsewhere:
        parse_kind("pause")
    assert "remora pause" in elsewhere.value.remedy
    with pytest.raises(InvalidRequestError):
        parse_kind("reorder")


def test_the_limit_of_faults():
    active = ActiveFaults()
    for _ in range(3):
        active, _ = active.add(fault(FaultKind.STALL), 0.0, 3)
    with pytest.raises(LimitExceededError, match="the limit is 3"):
        active.add(fault(FaultKind.STALL), 0.0, 3)
    active, _ = active.clear("f2")
    active, added = active.add(fault(FaultKind.STALL), 0.0, 3)
    assert added.id == "f4"


def test_faults_end_by_themselves_or_are_cleared():
    active, first = ActiveFaults().add(fault(FaultKind.STALL, duration=5.0), 10.0, 9)
    active, second = active.add(fault(FaultKind.DISK_FULL, "leader/0"), 11.0, 9)
    assert active.next_end == 15.0
    assert active.expire(14.9) == active
    assert active.expire(15.0).faults == (second,)
    assert active.expire(15.0).next_end == FOREVER
    with pytest.raises(RemoraError, match="no fault 'f9'") as unknown:
        active.clear("f9")
    assert "f1, f2" in unknown.value.remedy
    rest, gone = active.clear("f1")
    assert (rest.faults, gone) == ((second,), (first,))
    assert active.clear("")[1] == (first, second)
    assert active.without_links().faults == (second,)
    assert active.of_process("leader/0") == (second,)


def actives(*faults, began_at=0.0):
    return [ActiveFault(f"f{n}", one, began_at) for n, one in enumerate(faults, 1)]


def test_faults_of_a_link_add_up():
    there = actives(
        fault(FaultKind.DELAY, seconds=1.0, jitter_seconds=0.5),
        fault(FaultKind.DELAY, seconds=2.0),
        fault(FaultKind.BANDWIDTH, bytes_per_second=500),
        fault(FaultKind.BANDWIDTH, bytes_per_second=200),
        fault(FaultKind.DROP, ratio=0.5),
        fault(FaultKind.RESET, ratio=0.5),
        fault(FaultKind.STALL, "follower1->leader"),
    )
    forth = direction_faults(there, "leader", "follower1")
    assert (forth.delay_seconds, forth.jitter_seconds) == (3.0, 0.5)
    assert forth.bytes_per_second == 200
    assert forth.break_ratio == pytest.approx(0.75)
    assert forth.resets == {"f6"}
    assert not forth.is_held
    back = direction_faults(there, "follower1", "leader")
    assert back.is_stalled
    assert not back.is_cut
    assert direction_faults(there, "leader", "follower2") == NO_DIRECTION_FAULTS


def test_a_partition_cuts_both_ways_and_a_one_way_one():
    both = actives(fault(FaultKind.PARTITION))
    assert direction_faults(both, "leader", "follower1").is_cut
    assert direction_faults(both, "follower1", "leader").is_cut
    one = actives(fault(FaultKind.ONE_WAY))
    assert direction_faults(one, "leader", "follower1").is_cut
    assert direction_faults(one, "follower1", "leader") == NO_DIRECTION_FAULTS


def test_faults_of_a_process_add_up():
    there = actives(
        fault(FaultKind.SLOW_FSYNC, "leader/0", seconds=1.0),
        fault(FaultKind.SLOW_FSYNC, "leader/0", seconds=0.5),
        fault(FaultKind.FSYNC_ERROR, "leader/0", ratio=0.5),
        fault(FaultKind.FSYNC_ERROR, "leader/0"),
        fault(FaultKind.DISK_FULL, "leader/0"),
        fault(FaultKind.CLOCK_JUMP, "leader/0", seconds=5.0),
        fault(FaultKind.CLOCK_JUMP, "leader/0", seconds=-2.0, monotonic_seconds=9.0),
        began_at=50.0,
    )
    disk = disk_faults(there)
    assert (disk.is_full, disk.fsync_seconds, disk.fsync_error_ratio) == (True, 1.5, 0.5)
    assert disk.fail_once == {"f4"}
    assert clock_faults(there, born_at=40.0) == ClockFaults(3.0, (("f7", 9.0),))
    assert clock_faults(there, born_at=60.0) == ClockFaults(3.0), "it was born after the leap"
    assert disk_faults(()) == NO_DISK_FAULTS


def test_only_struck_links_pass_through_the_proxy():
    clusters = ("a", "b", "c")
    struck = actives(fault(FaultKind.STALL, "a->b"))
    assert routed_pairs(struck, clusters) == {("a", "b"), ("b", "a")}
    assert routed_pairs((), clusters) == frozenset()


def test_whoever_cannot_be_told_later_dials_the_proxy_at_once():
    struck = actives(fault(FaultKind.ONE_WAY, "coordinator->b"))
    assert routed_pairs(struck, ("a", "b", "c")) == {("b", "coordinator"), ("b", "a"), ("b", "c")}
