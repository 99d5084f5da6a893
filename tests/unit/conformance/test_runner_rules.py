"""Plans, schedules, runs and rules together: silent on a toy that keeps the rules, loud else."""

from __future__ import annotations

from collections import Counter

import pytest
from toy_run import run_toy
from toy_system import BREAKS, PROFILE

from cluster.conformance.rules import check_all
from cluster.conformance.verdict import Judgement

SEEDS = range(50)
SEEDS_OF_A_BREAK = range(25)


def judged(seed, breaks=frozenset()):
    return check_all(run_toy(seed, breaks=breaks).history, PROFILE)


def test_no_rule_is_seen_broken_where_none_is():
    passed: Counter[str] = Counter()
    for seed in SEEDS:
        for verdict in judged(seed):
            assert verdict.judgement is not Judgement.FAIL, (seed, verdict.violations)
            passed[verdict.rule] += verdict.judgement is Judgement.PASS
    # What the toy can be judged by was judged: runs reach what the rules are about.
    assert {rule for rule, count in passed.items() if count} >= BREAKS.keys()


@pytest.mark.parametrize("rule", sorted(BREAKS))
def test_a_broken_rule_is_found_in_a_few_seeds(rule):
    for seed in SEEDS_OF_A_BREAK:
        verdicts = judged(seed, frozenset({rule}))
        if any(v.rule == rule and v.judgement is Judgement.FAIL for v in verdicts):
            return
    pytest.fail(f"{rule}: {BREAKS[rule]}: not found in {len(SEEDS_OF_A_BREAK)} seeds")
