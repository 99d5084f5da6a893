"""The catalogue of rules, what they need, and what a campaign must reach."""

from __future__ import annotations

import dataclasses

import pytest
from stories import PROFILE, Story, at

from cluster.conformance import notes
from cluster.conformance.calls import Changed, Refused
from cluster.conformance.checkers.findings import MAXIMUM_VIOLATIONS
from cluster.conformance.history import History
from cluster.conformance.rules import RULES, SOMETIMES, check_all, judge_campaign, sometimes
from cluster.conformance.system import Feature
from cluster.conformance.verdict import Judgement

IDS = (
    *(f"R{n}" for n in range(1, 16)), *(f"G{n}" for n in range(1, 7)), "A1", "A2", "A3", "C1", "L1",
)  # fmt: skip


def test_every_rule_of_the_catalogue_is_there_once() -> None:
    assert tuple(rule.id for rule in RULES) == IDS


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_a_guarantee_is_a_sentence_that_begins_with_its_title(rule: object) -> None:
    found = next(r for r in RULES if r is rule)
    assert found.guarantee.startswith(f"{found.title}: ")
    assert found.guarantee.endswith(".")
    assert found.why
    assert found.check.__doc__
    assert found.check.__doc__.startswith(f"{found.id}. Facts: ")


def test_an_empty_history_proves_nothing_and_says_why() -> None:
    for verdict in check_all(History(), PROFILE):
        assert verdict.judgement is Judgement.UNKNOWN
        assert verdict.checked == 0
        assert verdict.why


def test_rules_that_need_more_than_there_is_are_not_applicable() -> None:
    bare = dataclasses.replace(PROFILE, features=frozenset())
    verdicts = {v.rule: v for v in check_all(History(), bare)}
    for rule in RULES:
        applicable = verdicts[rule.id].judgement is not Judgement.NOT_APPLICABLE
        assert applicable is not bool(rule.needs)
    assert verdicts["G1"].why == (
        "the system does not offer: turn streaming capabilities on and off"
    )


@pytest.mark.parametrize("feature", list(Feature))
def test_without_any_one_feature_a_good_history_stays_good(feature: Feature) -> None:
    story = Story(dataclasses.replace(PROFILE, features=PROFILE.features - {feature}))
    story.attach().wrote("a", 1, upto=1).off("follower1")
    story.read("follower1", position=at(), hidden="streaming is off").on("follower1")
    story.phase("quiet").read("leader", 1, upto=1).read("follower1", 1, upto=1).phase("end")
    assert story.passes("R5")


@pytest.mark.parametrize(
    "story",
    [
        Story().wrote("a", 1, upto=1).wrote("b", 1, upto=2),
        Story().wrote("a", 1, upto=1).wrote("a", 2, upto=2),
        Story().wrote("a", 1, upto=1).wrote("a", 1, upto=2, table="U"),
    ],
    ids=["a row of two sources", "a source of two rows", "a source of two tables"],
)
def test_a_history_that_cannot_be_judged_is_not(story: Story) -> None:
    for verdict in story.verdicts().values():
        assert verdict.judgement is Judgement.UNKNOWN
        assert verdict.why.startswith("the history is not one to judge: ")


def test_the_first_violations_are_told_in_their_order_and_the_rest_is_cut() -> None:
    story = Story().wrote("a", 1, upto=1)
    for _ in range(MAXIMUM_VIOLATIONS + 5):
        story.read("leader")
    found = story.verdicts()["R5"]
    assert found.checked == MAXIMUM_VIOLATIONS + 5
    assert len(found.violations) == MAXIMUM_VIOLATIONS
    assert [v.at for v in found.violations] == sorted(v.at for v in found.violations)
    assert found.violations[0].events == (1, 2, 3)


def test_verdicts_do_not_depend_on_what_was_judged_before() -> None:
    story = Story().wrote("a", 1, 2, upto=2).read("follower1", 1, upto=2)
    assert story.verdicts() == story.verdicts()


# -- S1 -----------------------------------------------------------------------------------------


def full() -> Refused:
    return Refused(code="General_InternalServerError", reason="STORAGE_FULL", message="disk full")


@pytest.mark.parametrize(
    ("state", "story"),
    [
        ("repeat suppressed", Story().lost("a", 1).wrote("a", 1, upto=1, repeated=True)),
        ("ENOSPC refused", Story().call(Story().request("a", 1), full())),
        ("lease ran out", Story().off("follower1", how="lease-expired")),
        ("lease ran out", Story().read("follower1", hidden="the lease has run out: ...")),
        ("resume at non-zero", Story().opened(3)),
        ("snapshot fallback", Story().opened(3).metadata(2)),
        (
            "coordinator restarted",
            Story().note(
                notes.ProcessBegan(process="coordinator"),
                notes.ProcessEnded(process="coordinator", how="kill"),
                notes.ProcessBegan(process="coordinator"),
            ),
        ),
        *((state, Story().note(notes.Reached(state=state))) for state in SOMETIMES),
    ],
)
def test_a_state_is_reached(state: str, story: Story) -> None:
    assert sometimes([story.history, History()])[state] == 1


@pytest.mark.parametrize(
    "story",
    [
        Story(),
        Story().note(notes.Reached(state="something else")),
        Story().wrote("a", 1, upto=1),
        Story().off("follower1"),
        Story().opened().metadata(1).opened(0, session=2),
        Story().opened(0).metadata(2, 1),
        Story().note(notes.ProcessBegan(process="coordinator")),
        Story().attach(outcome=Changed(epoch=1, rows_granted=True)),
    ],
)
def test_a_state_is_not_reached(story: Story) -> None:
    assert sometimes([story.history]) == dict.fromkeys(SOMETIMES, 0)


def test_s1_a_campaign_reaches_every_state() -> None:
    counts = dict.fromkeys(SOMETIMES, 1)
    assert judge_campaign(counts).judgement is Judgement.PASS
    found = judge_campaign({**counts, "lease ran out": 0})
    assert found.judgement is Judgement.FAIL
    (violation,) = found.violations
    assert violation.message.startswith("Sometimes: every interesting state is reached")
    assert violation.message.endswith("But no run reached 'lease ran out'.")
    assert len(judge_campaign({}).violations) == len(SOMETIMES)
