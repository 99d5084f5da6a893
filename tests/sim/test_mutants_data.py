"""Defects of the data plane are caught, each by the rule it breaks: this tests the oracle.

Where a defect shows follows from everything that draws from the seed, and moves with it. So a
mutant is run on the seed that caught it last, which costs one run; if that has moved, on others.
It has survived only if none of them catches it.
"""

from __future__ import annotations

import pytest

from cluster.conformance.request import RunRequest
from cluster.conformance.summary import violations_of
from cluster.testing.mutants import MUTANTS, follow, ingest, reads
from cluster.testing.sim.run import run_seed

SEEDS = 25

FAST = {
    "stale-batches": 1,
    "sent-again-after-acknowledgement": 3,
    "source-of-the-attempt": 1,
    "shown-in-two-steps": 1,
    "ack-when-staged": 1,
    "references-by-a-short-hash": 1,
    "first-delta-skipped": 1,
    "bookmark-of-the-log": 1,
    "memory-instead-of-the-log": 1,
    "older-than-the-one-before": 4,
    "token-ignored": 3,
    "bound-not-checked": 1,
}
"""One for each rule, and the seed that catches it."""

SLOW = {
    "outcomes-dropped-when-durable": 5,
    "source-ids-not-recovered": 5,
    "twins-not-noticed": 1,
    "compaction-drops-a-row": 8,
    "log-not-synced": 5,
    "segment-name-not-synced": 24,
    "failed-sync-tried-again": 47,
    "last-record-taken-for-torn": 5,
    "visible-when-staged": 10,
    "rows-before-the-bad-one-stored": 2,
    "first-key-of-a-frame-only": 1,
    "sent-again-after-metadata": 3,
    "resumes-at-the-end": 3,
    "first-record-skipped": 1,
    "bookmark-before-metadata": 1,
    "deltas-that-are-left": 1,
    "position-of-the-answer": 4,
    "snapshots-kept": 4,
    "rows-dropped-when-closed": 36,
    "token-of-the-version": 3,
    "pinned-before-waiting": 4,
    "waits-no-longer-than-a-second": 3,
    "lag-since-the-last-frame": 4,
    "stamp-answered-at-once": 23,
    "stamps-of-the-closed-gate": 4,
}

OURS = {mutant.name: mutant for mutant in (*ingest.MUTANTS, *follow.MUTANTS, *reads.MUTANTS)}


def is_caught(name: str, first_seed: int) -> bool:
    mutant = OURS[name]
    for seed in dict.fromkeys((first_seed, *range(1, SEEDS + 1))):
        with mutant.apply():
            result = run_seed(RunRequest(seed=seed, mutant=name))
        if any(violation.rule == mutant.rule for violation in violations_of(result)):
            return True
    return False


@pytest.mark.parametrize("name", FAST)
def test_a_defect_is_caught_by_the_rule_it_breaks(name):
    assert is_caught(name, FAST[name])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SLOW)
def test_every_other_defect_is_caught_by_the_rule_it_breaks(name):
    assert is_caught(name, SLOW[name])


def test_each_rule_of_the_data_plane_has_a_fast_one_and_no_mutant_is_left_out():
    assert {OURS[name].rule for name in FAST} == {f"R{number}" for number in range(1, 13)}
    assert FAST.keys() | SLOW.keys() == OURS.keys()
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names))


def test_a_mutant_is_gone_when_its_context_is_left():
    request = RunRequest(seed=FAST["stale-batches"])
    before = run_seed(request).history.digest()
    with OURS["stale-batches"].apply():
        during = run_seed(request).history.digest()
    assert before == run_seed(request).history.digest() != during
