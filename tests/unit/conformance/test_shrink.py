"""Cutting a failing run down: to the faults that matter, by the same rule, within a bound."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from campaign_worlds import GUILTY, OPERATIONS, drawn, is_skipped, run_seed
from hypothesis import given
from hypothesis import strategies as st

from cluster.conformance.faults import Fault, FaultKind, Schedule
from cluster.conformance.request import RunRequest
from cluster.conformance.shrink import ddmin, merged, shrink
from cluster.conformance.verdict import Violation, judge


@given(st.sets(st.integers(0, 30)), st.integers(31, 60))
def test_ddmin_leaves_what_is_needed_and_no_more(needed, total):
    tried = []

    def fails(items):
        tried.append(items)
        return needed <= set(items)

    assert ddmin(range(total), fails) == tuple(sorted(needed))
    assert all(list(items) == sorted(items) for items in tried)


@given(st.integers(2, 20), st.integers(0, 2**20))
def test_ddmin_is_1_minimal_where_needs_depend_on_each_other(total, seed):
    def fails(items):  # not monotonic: removing one may heal what removing two does not
        return len(items) > 0 and (sum(items) * 7919 + seed) % 3 != 0

    if not fails(tuple(range(total))):
        return
    kept = ddmin(range(total), fails)
    assert fails(kept)
    assert not any(fails(kept[:n] + kept[n + 1 :]) for n in range(len(kept)))


def test_nothing_is_left_of_what_fails_anyway():
    assert ddmin(range(9), lambda items: True) == ()


def shrunk(request=None, rule="R5", run=run_seed, **options):
    request = request or RunRequest(seed=5)
    return shrink(request, run(request), rule, run, **options)


def test_two_of_twelve_faults_are_left_short_and_simple():
    found = shrunk()
    assert [(f.kind, f.at, f.duration) for f in found.schedule.faults] == [
        (FaultKind.PARTITION, 11.0, 1.0),
        (FaultKind.KILL, 20.0, 1.0),
    ]
    assert found.complete
    assert found.reproduced


def test_operations_that_do_not_matter_are_left_out():
    found = shrunk()
    assert not is_skipped(found.request, GUILTY)
    kept = OPERATIONS - sum(end - first for first, end in found.request.skipped)
    assert kept <= OPERATIONS // 32 + 1
    assert run_seed(found.request).verdicts == found.result.verdicts


def test_the_result_is_of_the_request_and_the_search_is_deterministic():
    first, second = shrunk(), shrunk()
    assert first.request == second.request
    assert first.tries == second.tries
    assert first.result.history.digest() == run_seed(first.request).history.digest()


@pytest.mark.parametrize("tries", [1, 2, 10])
def test_it_never_runs_more_than_it_may_and_keeps_what_failed(tries):
    runs = []

    def counted(request):
        runs.append(request)
        return run_seed(request)

    found = shrink(RunRequest(seed=5), run_seed(RunRequest(seed=5)), "R5", counted, tries=tries)
    assert len(runs) == found.tries == tries
    assert not found.complete
    assert any(verdict.violations for verdict in found.result.verdicts)


def test_no_run_is_made_twice():
    runs = []

    def counted(request):
        runs.append(request)
        return run_seed(request)

    shrink(RunRequest(seed=5), run_seed(RunRequest(seed=5)), "R5", counted)
    assert len(runs) == len(set(runs))


def test_tries_must_be_at_least_one():
    with pytest.raises(ValueError, match="at least 1"):
        shrunk(tries=0)


def test_another_rule_that_fails_instead_does_not_count():
    """Without the kill another rule fails: a shrinker that took any failure would drop it."""

    def run(request):
        result = run_seed(request)
        if any(verdict.violations for verdict in result.verdicts):
            return result
        other = Violation(rule="R1", at=1.0, message="something else")
        return replace(result, verdicts=(judge("R1", 1, (other,)),))

    kinds = {fault.kind for fault in shrunk(run=run).schedule.faults}
    assert kinds == {FaultKind.PARTITION, FaultKind.KILL}


def test_a_failure_that_does_not_come_again_is_left_alone():
    request = RunRequest(seed=5)

    def healed(request):
        return run_seed(replace(request, schedule=Schedule()))

    found = shrink(request, run_seed(request), "R5", healed)
    assert not found.reproduced
    assert found.schedule == drawn(5)
    assert found.tries == 1


def test_a_fault_is_made_as_weak_as_it_still_fails():
    strong = Fault(
        kind=FaultKind.DROP,
        target="leader->follower1",
        at=3.25,
        duration=60.0,
        ratio=0.8,
        jitter_seconds=2.0,
    )

    def run(request):
        result = run_seed(request)
        fails = any(f.ratio >= 0.3 and f.duration >= 14 for f in request.schedule.faults)
        lost = (Violation(rule="R5", at=1.0, message="lost"),) if fails else ()
        return replace(result, verdicts=(judge("R5", 1, lost),))

    request = RunRequest(seed=1, schedule=Schedule(faults=(strong,)))
    (left,) = shrunk(request, run=run).schedule.faults
    assert (left.at, left.duration, left.ratio, left.jitter_seconds) == (3.0, 15.0, 0.4, 0.0)


def test_a_crash_is_shrunk_like_a_rule():
    def run(request):
        result = run_seed(request)
        killed = any(f.kind is FaultKind.KILL for f in request.schedule.faults)
        other = "" if request.schedule.faults else "Bang: something else"
        return replace(result, verdicts=(), error="Oops: killed" if killed else other)

    request = RunRequest(seed=5, schedule=drawn(5))
    (left,) = shrunk(request, "crash", run).schedule.faults
    assert left.kind is FaultKind.KILL


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=8))
def test_merged_ranges_cover_the_same_and_do_not_touch(pairs):
    given_ranges = tuple((first, first + length) for first, length in pairs)
    union = merged(given_ranges)
    assert {n for a, b in union for n in range(a, b)} == {
        n for a, b in given_ranges for n in range(a, b)
    }
    assert all(a < b for a, b in union)
    assert all(one[1] < two[0] for one, two in pairwise(union))
