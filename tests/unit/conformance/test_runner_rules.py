"""Plans, schedules, runs and rules together: silent on a toy that keeps the rules, loud else."""

from __future__ import annotations

from collections import Counter

import pytest
from toy_run import run_toy
from toy_system import BREAKS, PROFILE

from cluster.conformance.rules import check_all
from cluster.conformance.verdict import Judgement

FEW_SEEDS = range(5)
SEEDS = range(5, 55)
SEEDS_OF_A_BREAK = range(25)


def judged(seed, breaks=frozenset()):
    return check_all(run_toy(seed, breaks=breaks).history, PROFILE)


def passed(seeds):
    """How often each rule passed; no rule fails."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        for verdict in judged(seed):
            assert verdict.judgement is not Judgement.FAIL, (seed, verdict.violations)
            counts[verdict.rule] += verdict.judgement is Judgement.PASS
    return counts


def test_no_rule_is_seen_broken_where_none_is():
    assert passed(FEW_SEEDS)["R5"] == len(FEW_SEEDS)


@pytest.mark.slow
def test_nor_in_many_seeds_which_reach_what_the_rules_are_about():
    assert {rule for rule, count in passed(SEEDS).items() if count} >= BREAKS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("rule", sorted(BREAKS))
def test_a_broken_rule_is_found_in_a_few_seeds(rule):
    for seed in SEEDS_OF_A_BREAK:
        verdicts = judged(seed, frozenset({rule}))
        if any(v.rule == rule and v.judgement is Judgement.FAIL for v in verdicts):
            return
    pytest.fail(f"{rule}: {BREAKS[rule]}: not found in {len(SEEDS_OF_A_BREAK)} seeds")
