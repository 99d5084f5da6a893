"""Defects of storage, gates, attachments and leases are caught, each by the rule it breaks.

As in ``test_mutants_data``: a mutant is looked for from the seed that caught it last on, which
costs one run, and it has survived if no other seed does either.
"""

from __future__ import annotations

import pytest

from cluster.conformance.request import RunRequest
from cluster.conformance.summary import violations_of
from cluster.testing.mutants import attachments, control, gate, storage
from cluster.testing.sim.run import run_seed

CAUGHT_BY = {
    2: ("followers-take-rows", "open-gate-stays-open", "refusal-is-internal",
        "window-not-given-back", "gate-asked-once", "closed-keeps-rows"),
    3: ("followers-take-commands", "added-columns-not-sealed", "off-for-good",
        "nothing-to-describe"),
    4: ("lease-never-ends", "coordinator-given-up", "columns-remembered", "lease-not-watched"),
    7: ("off-at-end-of-lease", "policy-while-off", "none-unites", "closed-time-left-out",
        "off-with-policies", "rows-without-policy", "union-replaces"),
    12: ("filter-at-attach-only",),
    13: ("leader-sends-everything",),
    15: ("overrides-lost",),
    16: ("include-wins",),
    25: ("any-view-is-newer",),
    40: ("off-without-waiting",),
}  # fmt: skip
CAUGHT = {name: seed for seed, names in CAUGHT_BY.items() for name in names}
"""The seed that caught it last, if it was not the first."""

SEEDS = 25
SAFETY_SECONDS = 200.0
LONG_SECONDS = 600.0
"""For C1: a coordinator must be away for longer than a lease, and somebody look meanwhile."""

FAST = {
    "followers-take-commands", "columns-remembered", "floors-of-deltas-ignored", "gate-asked-once",
    "off-for-good", "off-without-waiting", "epoch-of-the-first-grant", "closed-and-no-more",
    "off-with-policies", "copy-stays", "include-wins", "union-replaces", "leader-given-up",
}  # fmt: skip
"""One for each rule that has one that is caught soon."""

MUTANTS = (*storage.MUTANTS, *gate.MUTANTS, *attachments.MUTANTS, *control.MUTANTS)
OWN_RULES = {
    "R13", "R14", "R15", "G1", "G2", "G3", "G4", "G5", "G6", "A1", "A2", "A3", "C1", "L1",
}  # fmt: skip


def rules_broken(mutant, seed: int) -> set[str]:
    seconds = LONG_SECONDS if mutant.rule == "C1" else SAFETY_SECONDS
    with mutant.apply():
        result = run_seed(RunRequest(seed=seed, mutant=mutant.name, safety_seconds=seconds))
    return {violation.rule for violation in violations_of(result)}


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(each, id=each.name, marks=() if each.name in FAST else pytest.mark.slow)
        for each in MUTANTS
    ],
)
def test_a_mutant_is_caught_by_its_own_rule(mutant) -> None:
    first = CAUGHT.get(mutant.name, 1)
    seeds = [first, *(seed for seed in range(1, SEEDS + 1) if seed != first)]
    assert any(mutant.rule in rules_broken(mutant, seed) for seed in seeds)


def test_every_rule_has_a_mutant() -> None:
    assert {mutant.name for mutant in MUTANTS} >= FAST
    assert {mutant.rule for mutant in MUTANTS} == OWN_RULES


def test_nothing_of_a_mutant_is_left() -> None:
    """Whatever was planted is taken out: the same seed is clean, and the same, afterwards."""
    before = run_seed(RunRequest(seed=1, safety_seconds=30.0, liveness_seconds=30.0))
    for mutant in MUTANTS:
        with mutant.apply():
            pass
    after = run_seed(RunRequest(seed=1, safety_seconds=30.0, liveness_seconds=30.0))
    assert before.history.digest() == after.history.digest()
