"""Reports on disk: what stands there, and that it reads back as it was."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from campaign_worlds import PROFILE, drawn, run_badly, run_seed

from cluster.conformance.campaign import SeedTask, perform_seed
from cluster.conformance.checkers.parameters import RuleParameters
from cluster.conformance.request import RunRequest
from cluster.conformance.store import (
    CampaignStore,
    ReportError,
    parse_schedule_file,
    stored_runs,
)
from cluster.conformance.summary import Tally


def save(tmp_path, seed=5, run=run_seed, tries=150, name="one"):
    store = CampaignStore(tmp_path, name)
    request = RunRequest(seed=seed, mutant="m")
    report = perform_seed(SeedTask(request, tries), run)
    folder = store.save_seed(request, report)
    tally = Tally("sim")
    tally.add(report.outcome)
    store.save_summary(tally.summary(1.0))
    return store, folder, report


def test_a_failing_seed_leaves_all_of_this(tmp_path):
    store, folder, _ = save(tmp_path)
    found = sorted(str(path.relative_to(tmp_path)) for path in store.folder.rglob("*.*"))
    names = ["faults.json", "history.jsonl", "shrunk-R5/history.jsonl"]
    names += ["shrunk-R5/timeline.html", "shrunk-R5/verdict.json", "timeline.html", "verdict.json"]
    assert found == ["one/5/" + name for name in names] + ["one/junit.xml", "one/summary.json"]
    assert folder == tmp_path / "one" / "5"


def test_faults_are_told_as_scheduled_and_as_shrunk(tmp_path):
    _, folder, _ = save(tmp_path)
    faults = json.loads((folder / "faults.json").read_text())
    assert len(faults["scheduled"]) == 12
    assert [f["kind"] for f in faults["shrunk"]["R5"]["faults"]] == ["partition", "kill"]
    assert parse_schedule_file((folder / "faults.json").read_text()) == drawn(5)


def test_runs_read_back_as_they_were(tmp_path):
    def run(request):
        return replace(run_seed(request), parameters=RuleParameters(lease_seconds=2.0))

    _, folder, report = save(tmp_path, run=run)
    whole, shrunk = stored_runs(tmp_path / "one")
    assert (whole.folder, shrunk.folder) == (folder, folder / "shrunk-R5")
    assert list(whole.history) == list(report.result.history)
    assert whole.verdicts.digest == whole.history.digest()
    assert whole.verdicts.verdicts == report.result.verdicts
    assert whole.verdicts.profile.profile() == PROFILE
    assert whole.verdicts.parameters.lease_seconds == 2.0
    assert whole.verdicts.outcome == report.outcome
    assert shrunk.history.digest() == report.shrunk["R5"].result.history.digest()
    assert shrunk.verdicts.outcome is None


def test_a_crash_leaves_its_traceback(tmp_path):
    _, folder, _ = save(tmp_path, seed=6, run=run_badly, tries=0)
    assert (folder / "error.txt").read_text().endswith("AssertionError: ordinal 7 < 9\n")


def test_latest_is_the_last_campaign(tmp_path):
    save(tmp_path, name="one")
    save(tmp_path, name="two")
    assert (tmp_path / "latest").readlink().name == "two"
    summary = json.loads((tmp_path / "latest" / "summary.json").read_text())
    assert (summary["campaign"], summary["summary"]["violations"]) == ("two", 1)
    assert len(list(stored_runs(tmp_path / "latest"))) == 2


def test_seeds_come_in_order_of_their_numbers(tmp_path):
    for seed in (10, 5, 100):
        save(tmp_path, seed=seed, tries=0)
    assert [stored.verdicts.seed for stored in stored_runs(tmp_path)] == [5, 10, 100]


@pytest.mark.parametrize("name", ["verdict.json", "history.jsonl"])
def test_a_damaged_report_is_named(tmp_path, name):
    _, folder, _ = save(tmp_path, tries=0)
    (folder / name).write_text("{}\n")
    with pytest.raises(ReportError, match=name):
        list(stored_runs(tmp_path))
    (folder / name).unlink()
    if name == "history.jsonl":
        with pytest.raises(ReportError, match=name):
            list(stored_runs(tmp_path))


def test_what_is_no_folder(tmp_path):
    with pytest.raises(ReportError, match="is no folder"):
        list(stored_runs(tmp_path / "nothing"))


@pytest.mark.parametrize("text", ["", "[", "3", '{"faults": 3}', '[{"kind": "flood"}]', "{}"])
def test_what_is_no_schedule(text):
    with pytest.raises(ValueError, match="not a schedule of faults"):
        parse_schedule_file(text)
