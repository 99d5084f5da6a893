"""No false alarms on histories of a model that keeps the rules; any answer changed is noticed."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import Story
from story_model import Model

from cluster.conformance.calls import Answer, Ingest
from cluster.conformance.history import History
from cluster.conformance.verdict import Judgement


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_model_that_keeps_the_rules_breaks_none(data: st.DataObject) -> None:
    story = Model(lambda n: data.draw(st.integers(0, n - 1))).run(data.draw(st.integers(1, 25)))
    assert story.passes()


def test_longer_histories_of_the_model_rest_on_facts() -> None:
    passed: set[str] = set()
    for seed in range(6):
        found = Model(random.Random(seed).randrange).run(400).verdicts()
        assert not [v.violations[0].message for v in found.values() if v.violations]
        passed |= {rule for rule, v in found.items() if v.judgement is Judgement.PASS}
    assert passed >= {
        "R1", "R3", "R4", "R5", "R6", "R10", "R12", "R14", "R15",
        "G1", "G2", "G3", "G4", "G5", "L1",
    }  # fmt: skip


def _mangled(story: Story, number: int, ids: tuple[int, ...]) -> Story:
    found = Story()
    found.history = History(
        msgspec.structs.replace(event, what=msgspec.structs.replace(event.what, ids=ids))
        if event.number == number
        else event
        for event in story.history
    )
    return found


@pytest.mark.parametrize("seed", range(12))
def test_a_row_taken_out_of_or_put_into_any_answer_is_noticed(seed: int) -> None:
    choices = random.Random(seed)
    story = Model(choices.randrange).run(60)
    answers = [
        event for event in story.history if isinstance(event.what, Answer) and event.what.ids
    ]
    for event in choices.sample(answers, 5):
        assert isinstance(event.what, Answer)
        ids = event.what.ids
        place = choices.randrange(len(ids))
        twice = _mangled(story, event.number, (*ids, ids[place]))
        assert "R3" in twice.broken()
        unknown = _mangled(story, event.number, (*ids, 10_000))
        assert "R6" in unknown.broken()
        if len(ids) > 1 and (batch := _batch(story, ids[place])) & set(ids) != {ids[place]}:
            assert batch <= set(ids)
            less = _mangled(story, event.number, (*ids[:place], *ids[place + 1 :]))
            assert "R4" in less.broken()


def _batch(story: Story, row: int) -> set[int]:
    return next(
        set(event.what.ids)
        for event in story.history
        if isinstance(event.what, Ingest) and row in event.what.ids
    )
