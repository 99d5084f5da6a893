"""Planted defects: they must be caught by the rule they break, and are gone afterwards."""

from __future__ import annotations

import contextlib
import itertools
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import campaign_worlds
import pytest

from cluster.conformance.campaign import SeedTask, perform_seed
from cluster.conformance.mutation import (
    HuntTask,
    Planted,
    UnknownMutantError,
    load_mutants,
    perform_hunt,
    select_mutants,
)
from cluster.conformance.request import RunRequest

PLANTED = []


@contextlib.contextmanager
def plant():
    PLANTED.append("m")
    try:
        yield
    finally:
        PLANTED.clear()


@dataclass(frozen=True)
class Defect:
    name: str
    rule: str
    story: str = "forgets"
    apply = staticmethod(plant)


MUTANTS = (Defect("open-gate", "G1"), Defect("harmless", "R9"))


def run(request):
    return campaign_worlds.run_seed(request, mutant="G1" if PLANTED else "")


planted = Planted(run, lambda: MUTANTS)


def hunt(name, rule, *, seeds=10, seconds=100.0, tick=1.0, tries=0):
    ticks = itertools.count()
    request = RunRequest(seed=1, mutant=name)
    task = HuntTask(request, rule, seeds, seconds, tries)
    return perform_hunt(task, planted, lambda: next(ticks) * tick)


def test_a_mutant_is_caught_by_its_rule():
    found = hunt("open-gate", "G1", tries=50)
    assert (found.caught, found.seed, found.runs, found.others) == (True, 1, 1, ())
    assert found.faults == 0
    assert ";mutant=open-gate;rule=G1;" in found.replay
    assert PLANTED == []


def test_a_mutant_that_only_other_rules_notice_survives():
    found = hunt("harmless", "R9")
    assert (found.caught, found.runs, found.others) == (False, 10, ("G1", "R5"))


@pytest.mark.parametrize(("seconds", "runs"), [(2.5, 2), (3.0, 3), (3.5, 3)])
def test_a_hunt_ends_with_its_budget(seconds, runs):
    assert hunt("harmless", "R9", seconds=seconds).runs == runs


def test_a_run_without_a_mutant_is_left_alone_and_an_unknown_one_is_refused():
    assert perform_seed(SeedTask(RunRequest(seed=1), 0), planted).outcome.failures == ()
    with pytest.raises(UnknownMutantError, match="no mutant 'x'; there are: open-gate, harmless"):
        planted(RunRequest(seed=1, mutant="x"))


def test_a_mutant_goes_even_if_the_run_raises():
    def broken(request):
        assert PLANTED == ["m"]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Planted(broken, lambda: MUTANTS)(RunRequest(seed=1, mutant="open-gate"))
    assert PLANTED == []


def test_selection_keeps_the_order_that_was_asked_for():
    assert select_mutants(MUTANTS, []) == MUTANTS
    assert [m.name for m in select_mutants(MUTANTS, ["harmless", "open-gate"])] == [
        "harmless",
        "open-gate",
    ]


def test_a_build_without_mutants_has_none(monkeypatch):
    assert load_mutants("no.such.module") == ()
    monkeypatch.setitem(sys.modules, "their_mutants", SimpleNamespace(MUTANTS=MUTANTS))
    assert load_mutants("their_mutants") == MUTANTS


def test_mutants_that_cannot_be_imported_are_not_taken_for_none(tmp_path, monkeypatch):
    (tmp_path / "broken_mutants.py").write_text("import there_is_no_such_thing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="there_is_no_such_thing"):
        load_mutants("broken_mutants")
