"""Campaigns: what a seed leaves behind, the sum of many, and workers that die."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil
import pytest
from campaign_worlds import GUARANTEE, drawn, run_seed

from cluster.conformance.campaign import SeedTask, parse_seeds, perform_seed
from cluster.conformance.checkers.sometimes import SOMETIMES
from cluster.conformance.replay import decode
from cluster.conformance.request import Endpoint, RunRequest, Target
from cluster.conformance.store import CampaignStore
from cluster.conformance.summary import (
    CRASH,
    MutantCounts,
    SeedOutcome,
    Tally,
    failure_line,
    unreached_line,
)
from cluster.conformance.verdict import Judgement
from cluster.conformance.worker import WorkerSettings, load_runner, perform_all


@pytest.mark.parametrize(
    ("text", "seeds"), [("7", range(7, 8)), ("1-200", range(1, 201)), ("0-0", range(1))]
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "neither"), ("a-b", "neither"), ("-3", "neither"), ("9-8", "ends before")],
)
def test_what_are_no_seeds(text, why):
    with pytest.raises(ValueError, match=why):
        parse_seeds(text)


@pytest.mark.parametrize(("last", "fits"), [(999_999, True), (1_000_000, True), (1_000_001, False)])
def test_a_campaign_has_a_million_seeds_at_most(last, fits):
    if fits:
        assert len(parse_seeds(f"1-{last}")) == last
    else:
        with pytest.raises(ValueError, match="1,000,000 seeds"):
            parse_seeds(f"1-{last}")


def outcome(seed, run=run_seed, tries=0):
    return perform_seed(SeedTask(RunRequest(seed=seed), tries), run).outcome


def test_a_seed_that_passes():
    passed = outcome(4)
    assert passed.failures == ()
    assert passed.judgements == dict.fromkeys(("G1", "R5", "R9"), Judgement.PASS)
    assert passed.reached == ("lease ran out",)
    assert passed.digest == run_seed(RunRequest(seed=4)).history.digest()


def test_a_failure_says_everything_in_a_line_that_replays_it():
    failed = outcome(5)
    (failure,) = failed.failures
    line = failure_line(5, failure)
    assert line.startswith(f"FAIL R5 seed=5 t=3.121s: {GUARANTEE}: row 9 was | replay: remora")
    replay = decode(line.partition("replay ")[2])
    assert replay.request == RunRequest(seed=5)
    assert replay.rule == "R5"
    assert failed.digest.startswith(replay.digest)


def test_a_shrunk_failure_replays_what_is_left():
    (failure,) = outcome(5, tries=150).failures
    assert (failure.shrunk.faults, failure.shrunk.of) == (2, 12)
    replay = decode(failure.line.partition("replay ")[2])
    again = run_seed(replay.request)
    assert [v.rule for v in again.verdicts if v.violations] == ["R5"]
    assert again.history.digest().startswith(replay.digest)


def test_only_the_rule_that_fails_first_is_shrunk():
    def both(request):
        return run_seed(request, mutant="G1")

    report = perform_seed(SeedTask(RunRequest(seed=5)), both)
    assert [f.violation.rule for f in report.outcome.failures] == ["G1", "R5"]
    assert list(report.shrunk) == ["G1"]
    asked = perform_seed(SeedTask(RunRequest(seed=5), rule="R5"), both)
    assert list(asked.shrunk) == ["R5"]


def test_a_run_against_endpoints_is_neither_shrunk_nor_replayed():
    there = Endpoint("a", "grpc://a:1")
    target = Target(leaders=(there,), followers=(there,), database="D")
    report = perform_seed(SeedTask(RunRequest(seed=5, target=target)), run_seed)
    assert report.shrunk == {}
    assert " | replay" not in failure_line(5, report.outcome.failures[0])


def test_a_crash_is_a_violation_that_tells_its_last_line():
    def crash(request):
        return replace(run_seed(request), error="Traceback\n  ...\nAssertionError: 7 < 9\n")

    (failure,) = outcome(1, crash).failures
    assert failure.violation.rule == CRASH
    assert failure.violation.message.endswith("AssertionError: 7 < 9")


def summed(outcomes, **options):
    tally = Tally("sim", **options)
    for item in outcomes:
        tally.add(item)
    return tally.summary(2.0)


def test_the_sum_does_not_depend_on_the_order():
    outcomes = [outcome(seed) for seed in range(1, 21)]
    shuffled = outcomes[:]
    random.Random(1).shuffle(shuffled)
    assert summed(outcomes) == summed(shuffled)
    assert summed(outcomes).line() == {
        "seeds": 20,
        "violations": 4,
        "unknown": 0,
        "sometimes": {**dict.fromkeys(SOMETIMES, 0), "lease ran out": 10},
        "mutants": {"caught": 0, "total": 0},
        "history_hash": summed(shuffled).history_hash,
    }


def test_another_history_is_another_hash():
    outcomes = [outcome(seed) for seed in range(1, 4)]
    other = [*outcomes[:2], msgspec.structs.replace(outcomes[2], digest="0")]
    assert summed(outcomes).history_hash != summed(other).history_hash
    assert summed(outcomes).history_hash != summed(outcomes[:2]).history_hash


def test_a_seed_is_added_once():
    with pytest.raises(ValueError, match="seed 1 was added already"):
        summed([outcome(1), outcome(1)])


@pytest.mark.parametrize(("seeds", "fails"), [(49, False), (50, True), (51, True)])
def test_fifty_seeds_must_have_reached_every_state(seeds, fails):
    outcomes = [outcome(5 * n + 1) for n in range(seeds)]
    summary = summed(outcomes, blamed=True)
    missed = tuple(state for state in SOMETIMES if state != "lease ran out")
    assert summary.unreached == (missed if fails else ())
    assert summary.exit_code == (1 if fails else 0)
    assert summed(outcomes).unreached == ()
    if fails:
        line = unreached_line(summary, "torn tail truncated")
        assert line.startswith(f"FAIL S1 seeds={seeds}: every interesting state is reached")
        assert line.endswith("none reached 'torn tail truncated'")


def judged(judgement):
    return SeedOutcome(
        seed=1,
        digest="",
        events=0,
        judgements={"R1": judgement, "R2": Judgement.PASS},
        virtual_seconds=1.0,
        real_seconds=1.0,
    )


@pytest.mark.parametrize(
    ("judgement", "code"),
    [(Judgement.PASS, 0), (Judgement.NOT_APPLICABLE, 0), (Judgement.UNKNOWN, 2)],
)
def test_exit_codes_without_a_violation(judgement, code):
    assert summed([judged(judgement)]).exit_code == code


def test_unknown_is_what_no_seed_shows_and_a_seed_that_shows_nothing():
    unknown = judged(Judgement.UNKNOWN)
    passed = msgspec.structs.replace(judged(Judgement.PASS), seed=2)
    blank = msgspec.structs.replace(unknown, seed=3, judgements={"R1": Judgement.UNKNOWN})
    assert summed([unknown]).unknown == 1
    assert summed([unknown, passed]).unknown == 0
    assert summed([unknown, passed, blank]).unknown == 1
    assert summed([blank]).unknown == 2


def test_other_exit_codes():
    assert summed([outcome(5)]).exit_code == 1
    assert summed([]).exit_code == 2
    tally = Tally("sim")
    tally.add(outcome(1))
    assert tally.summary(1.0, MutantCounts(caught=3, total=3)).exit_code == 0
    assert tally.summary(1.0, MutantCounts(caught=2, total=3)).exit_code == 1


@pytest.fixture
def worlds(monkeypatch):
    """Spawned workers find the module by its name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return WorkerSettings("campaign_worlds:run_badly", "no_such_mutants")


def everything(settings, seeds, jobs=2, **options):
    tasks = (SeedTask(RunRequest(seed=seed), 0) for seed in seeds)
    return {item.seed: item for _, item in perform_all(tasks, settings, jobs, **options)}


def test_workers_do_every_seed_and_what_they_say_is_what_a_run_here_says(worlds, tmp_path):
    store = CampaignStore(tmp_path, "c")
    settings = replace(worlds, store=store)
    found = everything(settings, [1, 5, 7, 8, 9])
    assert found == {seed: outcome(seed) for seed in [1, 5, 7, 8, 9]}
    assert [path.name for path in store.folder.iterdir()] == ["5"]


def test_a_seed_that_takes_its_process_down_or_hangs_costs_only_itself(worlds):
    found = everything(worlds, [1, 2, 3, 4, 5, 6, 7], hang_seconds=2.0)
    messages = {seed: item.failures[0].violation for seed, item in found.items() if item.failures}
    assert sorted(found) == [1, 2, 3, 4, 5, 6, 7]
    assert sorted(messages) == [2, 3, 4, 5, 6]
    assert [messages[seed].rule for seed in (2, 3, 4, 5, 6)] == ["crash"] * 3 + ["R5", "crash"]
    assert "killed by SIGKILL" in messages[2].message
    assert "did not end within 2 s" in messages[3].message
    assert "the checker is broken" in messages[4].message


ORPHAN = """
import os, sys
from cluster.conformance.campaign import SeedTask
from cluster.conformance.request import RunRequest
from cluster.conformance.worker import WorkerSettings, _Worker

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    worker = _Worker.start(WorkerSettings("campaign_worlds:run_badly", "no_such_mutants"))
    worker.give(SeedTask(RunRequest(seed=3), 0))
    print(worker.process.pid, flush=True)
    worker.connection.recv()  # the run that never ends has begun
    os._exit(9)
"""


def test_a_worker_ends_with_its_campaign_even_in_the_middle_of_a_run(tmp_path):
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    command = [sys.executable, str(script), str(Path(__file__).parent)]
    # its standard output is inherited by the worker: the end of it is the end of both
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 9
    pid = int(done.stdout)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_no_more_tasks_are_taken_than_workers_are_free(worlds):
    taken = []

    def tasks():
        for seed in (1, 5, 7, 8):
            taken.append(seed)
            yield SeedTask(RunRequest(seed=seed), 0)

    results = perform_all(tasks(), worlds, 1)
    next(results)
    assert taken == [1]
    results.close()


@pytest.mark.parametrize("jobs", [0, -1])
def test_at_least_one_worker(worlds, jobs):
    with pytest.raises(ValueError, match="at least 1"):
        everything(worlds, [1], jobs)


def test_a_runner_that_does_not_exist():
    with pytest.raises(ImportError, match="has no nothing"):
        load_runner("campaign_worlds:nothing")
    assert load_runner("campaign_worlds:run_seed")(RunRequest(seed=5)).schedule == drawn(5)
