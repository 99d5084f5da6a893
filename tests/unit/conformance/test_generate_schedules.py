"""Schedules: functions of their seed, and nothing in them that could not be recovered from."""

from __future__ import annotations

import dataclasses

import pytest
from toy_system import PROFILE

from cluster.conformance.faults import FaultKind, Schedule
from cluster.conformance.generate import CLIENTS, FaultMenu, generate_schedule
from cluster.conformance.schedule import (
    COORDINATOR_KINDS,
    DISK_KINDS,
    DRIFT_RATIO,
    LINK_KINDS,
    PROCESS_KINDS,
)
from cluster.conformance.system import Feature
from cluster.limits import LIMITS

EVERYTHING = dataclasses.replace(PROFILE, features=frozenset(Feature))
MENU = FaultMenu(crash_points=("before-fsync", "after-seal"), clients=CLIENTS)
SEEDS = range(200)


@pytest.fixture(scope="module")
def schedules():
    return [generate_schedule(seed, EVERYTHING, menu=MENU) for seed in SEEDS]


@pytest.fixture(scope="module")
def faults(schedules):
    return [fault for schedule in schedules for fault in schedule.faults]


def test_the_same_seed_gives_the_same_schedule(schedules):
    again = [generate_schedule(seed, EVERYTHING, menu=MENU) for seed in SEEDS]
    assert again == schedules
    assert all(Schedule.decode(schedule.encode()) == schedule for schedule in schedules)


def test_some_runs_are_calm_and_some_are_storms(schedules):
    counts = sorted(len(schedule.faults) for schedule in schedules)
    assert counts[0] == 0
    assert counts[len(counts) // 2] in range(4, 16)
    assert counts[-1] > 25


def test_every_kind_strikes_in_some_run_and_not_in_every_one(schedules):
    for kind in FaultKind:
        runs = sum(any(f.kind is kind for f in schedule.faults) for schedule in schedules)
        assert 0.1 * len(schedules) < runs < 0.6 * len(schedules), kind


def test_faults_are_by_time_and_end_within_the_safety_phase(schedules):
    for schedule in schedules:
        times = [fault.at for fault in schedule.faults]
        assert times == sorted(times)
        assert all(fault.at >= 18.0 and fault.ends_at <= 552.001 for fault in schedule.faults)
        assert all(fault.duration > 0 for fault in schedule.faults)


def test_short_phases_bound_them_too():
    for seed in SEEDS:
        schedule = generate_schedule(seed, EVERYTHING, menu=MENU, safety_seconds=20.0)
        assert all(fault.at >= 0.6 and fault.ends_at <= 18.401 for fault in schedule.faults)


def test_some_outlast_a_lease(faults):
    assert any(fault.duration > 60 for fault in faults if fault.kind is FaultKind.PAUSE)
    assert any(fault.duration < 1 for fault in faults if fault.kind is FaultKind.PAUSE)


def test_processes_and_links_are_those_of_the_system(faults):
    processes = {"leader/0", "follower1/0", "follower2/0", "coordinator"}
    hosts = {"leader", "follower1", "follower2", "coordinator", *CLIENTS}
    links = {fault.link for fault in faults if fault.link}
    assert {f.target for f in faults if not f.link} <= processes
    assert {host for link in links for host in link} <= hosts
    assert {("leader", "follower1"), ("follower1", "leader"), ("leader", "writer1")} <= links
    assert all(bool(fault.link) == (fault.kind in LINK_KINDS) for fault in faults)


def test_no_only_copy_is_destroyed(faults):
    for kind in (FaultKind.REPLACE, FaultKind.BIT_FLIP):
        targets = {fault.target for fault in faults if fault.kind is kind}
        assert targets == {"follower1/0", "follower2/0"}
    assert {f.detail for f in faults if f.kind is FaultKind.BIT_FLIP} == {"cache"}


def test_clocks_stay_within_what_the_rule_allows_for(faults):
    drifts = [fault.ratio for fault in faults if fault.kind is FaultKind.CLOCK_DRIFT]
    assert max(drifts) > DRIFT_RATIO / 2
    assert min(drifts) < -DRIFT_RATIO / 2
    fastest, slowest = 1 + max(drifts), 1 + min(drifts)
    assert fastest / slowest <= 1 + LIMITS.clock_drift_ratio
    leaps = [fault for fault in faults if fault.kind is FaultKind.CLOCK_JUMP]
    assert any(f.seconds < 0 for f in leaps)
    assert any(f.seconds > 0 for f in leaps)
    assert not any(f.monotonic_seconds for f in leaps if f.target == "coordinator")
    assert any(f.monotonic_seconds > 30 for f in leaps)


def test_a_process_has_one_trouble_of_a_sort_at_a_time(schedules):
    for schedule in schedules:
        for kinds in (PROCESS_KINDS + COORDINATOR_KINDS, DISK_KINDS):
            ends: dict[str, float] = {}
            for fault in schedule.faults:
                if fault.kind in kinds:
                    assert fault.at >= ends.get(fault.target, 0.0) + 1.0
                    ends[fault.target] = fault.ends_at


def test_a_menu_restricts_and_changes_nothing_else():
    whole = FaultMenu(clients=CLIENTS)
    less = dataclasses.replace(whole, kinds=whole.kinds - {FaultKind.STALL})
    for seed in SEEDS:
        expected = generate_schedule(seed, EVERYTHING, menu=whole).faults
        assert generate_schedule(seed, EVERYTHING, menu=less).faults == tuple(
            fault for fault in expected if fault.kind is not FaultKind.STALL
        )


@pytest.mark.parametrize("kind", [FaultKind.CRASH_POINT, FaultKind.BIT_FLIP])
def test_kinds_that_need_a_name_are_left_out_without_one(kind):
    menu = FaultMenu(kinds=frozenset({kind}), bit_flips=())
    assert not any(generate_schedule(seed, EVERYTHING, menu=menu).faults for seed in SEEDS)


def test_a_short_menu_is_not_a_calm_one():
    menu = FaultMenu(kinds=frozenset({FaultKind.KILL, FaultKind.PAUSE}))
    struck = [generate_schedule(seed, EVERYTHING, menu=menu, intensity=1.0) for seed in SEEDS]
    assert sum(bool(schedule.faults) for schedule in struck) > 0.75 * len(SEEDS)


def test_intensity_may_be_asked_for():
    calm = [generate_schedule(seed, EVERYTHING, intensity=0.0) for seed in SEEDS]
    assert not any(schedule.faults for schedule in calm)
    usual = sum(len(generate_schedule(s, EVERYTHING, intensity=1.0).faults) for s in SEEDS)
    storm = sum(len(generate_schedule(s, EVERYTHING, intensity=4.0).faults) for s in SEEDS)
    assert storm > 2 * usual


def test_a_system_without_faults_or_clocks_has_none():
    profile = dataclasses.replace(PROFILE, features=frozenset(Feature) - {Feature.FAULTS})
    assert not any(generate_schedule(seed, profile).faults for seed in SEEDS)
    met = {fault.kind for seed in SEEDS for fault in generate_schedule(seed, PROFILE).faults}
    assert met == set(FaultKind) - {
        FaultKind.CLOCK_JUMP, FaultKind.CLOCK_DRIFT, FaultKind.CRASH_POINT,
    }  # fmt: skip
