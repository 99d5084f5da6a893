"""Runs on real processes: a right build keeps every rule, a broken one is found."""

from __future__ import annotations

import pytest

from cluster.conformance.request import RunRequest
from cluster.conformance.verdict import Judgement
from cluster.testing.real.run import run_seed

pytestmark = [pytest.mark.process, pytest.mark.slow]

SEED = 3
FROM_OUTSIDE = {
    *("R1", "R3", "R4", "R5", "R6", "R10", "R11", "R12", "R13", "R14", "R15"),
    *("G1", "G4", "G5", "G6", "A3", "L1"),
}
"""Rules that a run of this seed judges whatever its processes are slowed down by."""


def test_a_right_build_keeps_every_rule_under_real_faults() -> None:
    result = run_seed(RunRequest(seed=SEED, system="local"))
    assert not result.error
    assert [item for verdict in result.verdicts for item in verdict.violations] == []
    passed = {item.rule for item in result.verdicts if item.judgement is Judgement.PASS}
    assert passed >= FROM_OUTSIDE


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", ["source-of-the-attempt", "gate-asked-once"])
def test_a_broken_build_is_found(mutant: str) -> None:
    """By one of a few seeds, mostly the first: real time is not the same twice."""
    assert any(broken(seed, mutant) for seed in (SEED, 2, 1, 4, 5, 6, 7, 8))


def broken(seed: int, mutant: str) -> set[str]:
    result = run_seed(RunRequest(seed=seed, system="local", mutant=mutant))
    return {item.rule for item in result.verdicts if item.judgement is Judgement.FAIL}
