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


def judged(judgement: Judgement, mutant: str = "") -> set[str]:
    result = run_seed(RunRequest(seed=SEED, system="local", mutant=mutant))
    assert not result.error
    return {item.rule for item in result.verdicts if item.judgement is judgement}


def test_a_right_build_keeps_every_rule_under_real_faults() -> None:
    result = run_seed(RunRequest(seed=SEED, system="local"))
    assert not result.error
    assert [item for verdict in result.verdicts for item in verdict.violations] == []
    passed = {item.rule for item in result.verdicts if item.judgement is Judgement.PASS}
    assert passed >= FROM_OUTSIDE


@pytest.mark.parametrize(
    ("mutant", "rule"), [("source-of-the-attempt", "R3"), ("gate-asked-once", "G1")]
)
def test_a_broken_build_is_found(mutant: str, rule: str) -> None:
    assert rule in judged(Judgement.FAIL, mutant)
