"""A campaign as JUnit XML, whatever stands in its messages."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import msgspec
import pytest
from campaign_worlds import run_seed

from cluster.conformance.campaign import SeedTask, perform_seed
from cluster.conformance.junit import junit_xml
from cluster.conformance.request import RunRequest
from cluster.conformance.summary import SeedOutcome, Tally, lost_outcome
from cluster.conformance.verdict import Judgement


def outcome(seed):
    return perform_seed(SeedTask(RunRequest(seed=seed), 0), run_seed).outcome


def document(outcomes, *, blamed=False):
    tally = Tally("sim", blamed=blamed)
    for item in outcomes:
        tally.add(item)
    root = ET.fromstring(junit_xml("c", tally.summary(1.5)))
    return root, {suite.get("name"): suite for suite in root}


def case(suite, name):
    (found,) = [item for item in suite if item.get("name") == name]
    return found


def numbers(suite):
    return [int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")]


def test_rules_states_and_seeds_are_suites():
    root, suites = document([outcome(seed) for seed in (4, 5, 6, 10)])
    assert (root.get("name"), root.get("time")) == ("c", "1.500")
    assert list(suites) == ["rules", "sometimes", "seeds"]
    assert numbers(suites["rules"]) == [3, 1, 0, 0]
    assert numbers(suites["seeds"]) == [4, 2, 0, 0]
    failure = case(suites["rules"], "R5").find("failure")
    assert failure.get("message") == "broken in 2 of 4 seeds"
    assert [line[:17] for line in failure.text.splitlines()] == [
        "FAIL R5 seed=5 t=",
        "FAIL R5 seed=10 t",
    ]
    assert case(suites["seeds"], "seed 5").find("failure").get("message") == "R5"
    assert list(case(suites["seeds"], "seed 4")) == []


def test_a_state_that_was_not_reached_fails_a_campaign_and_is_skipped_in_a_short_one():
    _, suites = document([outcome(2)])
    assert list(case(suites["sometimes"], "lease ran out")) == []
    assert case(suites["sometimes"], "torn tail truncated").find("skipped") is not None
    _, suites = document([outcome(5 * n + 1) for n in range(50)], blamed=True)
    failure = case(suites["sometimes"], "torn tail truncated").find("failure")
    assert "none reached 'torn tail truncated'" in failure.get("message")


def test_unknown_is_an_error_and_not_applicable_is_skipped():
    blank = SeedOutcome(
        seed=1,
        digest="",
        events=0,
        judgements={"R1": Judgement.UNKNOWN, "R2": Judgement.NOT_APPLICABLE},
        virtual_seconds=1.0,
        real_seconds=1.0,
        why_unknown={"R1": "nothing was read"},
    )
    _, suites = document([blank])
    assert case(suites["rules"], "R1").find("error").text == "seed 1: nothing was read"
    assert case(suites["rules"], "R2").find("skipped") is not None
    assert case(suites["seeds"], "seed 1").find("error").get("message") == "unknown: R1"


def test_a_crash_is_an_error_of_its_seed():
    _, suites = document([lost_outcome(3, "killed", "", 1.0)])
    assert case(suites["seeds"], "seed 3").find("error").get("message") == "crash"
    assert case(suites["rules"], "crash").find("failure") is not None


@pytest.mark.parametrize("nasty", ["\x00", "\x1b[31m", "\ufffe", "]]>", "<&\"'>", "\u2028"])
def test_any_message_is_written_as_xml(nasty):
    whole = outcome(5)
    (failure,) = whole.failures
    violation = msgspec.structs.replace(failure.violation, message=f"a{nasty}b")
    changed = msgspec.structs.replace(failure, violation=violation)
    _, suites = document([msgspec.structs.replace(whole, failures=(changed,))])
    text = case(suites["rules"], "R5").find("failure").text
    assert text.startswith("FAIL R5 seed=5 t=3.121s: a")


def test_of_many_failures_some_are_told_and_the_others_counted():
    _, suites = document([outcome(5 * n) for n in range(1, 31)])
    lines = case(suites["rules"], "R5").find("failure").text.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "and 10 more seeds"
