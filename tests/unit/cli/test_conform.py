"""``remora conform`` against runs that are pure functions: output, reports and exit codes."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer.main
from typer.testing import CliRunner

from cluster.cli import conform_systems
from cluster.cli.main import app
from cluster.conformance.checkers.sometimes import SOMETIMES

WORLDS = Path(__file__).parents[1] / "conformance"
MUTANTS = """
import contextlib
from types import SimpleNamespace
import campaign_worlds

@contextlib.contextmanager
def plant():
    campaign_worlds.PLANTED.append("G1")
    try:
        yield
    finally:
        campaign_worlds.PLANTED.clear()

MUTANTS = (
    SimpleNamespace(name="open-gate", rule="G1", story="forgets the gate", apply=plant),
    SimpleNamespace(name="harmless", rule="R9", story="changes nothing that R9 sees", apply=plant),
)
"""
VERBS = ["sim", "local", "endpoint", "replay", "mutants", "revalidate"]


@pytest.fixture
def conform(monkeypatch, tmp_path):
    """Runs a verb; workers and this process find the worlds by their name."""
    monkeypatch.syspath_prepend(str(WORLDS))
    for system in conform_systems.RUNNERS:
        monkeypatch.setitem(conform_systems.RUNNERS, system, "campaign_worlds:run_planted")
    monkeypatch.setattr(conform_systems, "MUTANTS_MODULE", "no_such_mutants")

    def run(*arguments):
        return CliRunner().invoke(app, ["conform", *arguments], catch_exceptions=False)

    return run


@pytest.fixture
def mutants(conform, monkeypatch, tmp_path):
    """A build with two mutants, for spawned workers too."""
    (tmp_path / "their_mutants.py").write_text(MUTANTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(conform_systems, "MUTANTS_MODULE", "their_mutants")
    yield
    sys.modules.pop("their_mutants", None)


def last_line(result):
    return json.loads(result.stdout.splitlines()[-1])


def test_the_verbs_are_these():
    group = typer.main.get_command(app).commands["conform"]
    assert list(group.commands) == VERBS
    for verb in group.commands.values():
        options = [o for o in verb.params if o.param_type_name == "option"]
        assert [o.opts[0] for o in options if not str(o.envvar).startswith("REMORA_")] == []


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_teaches_and_says_what_exit_codes_mean(conform, verb):
    result = conform(*verb.split(), "--help")
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    assert "Exit codes: 0 every rule that could be judged holds; 1 a rule is violated" in words
    assert f"remora conform {verb}" in words
    if verb == "endpoint":
        assert "[[leader]]" in words
        assert "[commands]" in words


def test_a_campaign_that_passes(conform):
    result = conform("sim", "--seeds", "1-4", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    value = json.loads(line)
    assert list(value) == [
        "seeds", "violations", "unknown", "sometimes", "mutants", "history_hash",
    ]  # fmt: skip
    assert (value["seeds"], value["violations"], value["unknown"]) == (4, 0, 0)
    assert value["sometimes"] == {**dict.fromkeys(SOMETIMES, 0), "lease ran out": 2}
    assert value["mutants"] == {"caught": 0, "total": 0}


def test_a_rule_that_no_seed_could_judge_says_what_was_missing(conform):
    result = conform("sim", "--seeds", "1-2", "--intensity", "0")
    assert result.exit_code == 2
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("R9 ")]
    assert line.split()[1:5] == ["0", "0", "2", "0"]
    assert len(line.split()) > 5
    assert "Nothing was proved of a rule that no seed could judge; more seeds may." in result.stdout


def test_the_hash_does_not_depend_on_how_many_work(conform):
    hashes = {
        last_line(conform("sim", "--seeds", "1-6", "--json", "--jobs", jobs))["history_hash"]
        for jobs in ("1", "3")
    }
    assert len(hashes) == 1


def test_a_failure_is_a_line_and_exit_1_and_replays(conform):
    result = conform("sim", "--seeds", "4-6", "--shrink")
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("FAIL")]
    head, _, command = line.partition(" | replay: ")
    assert head == "FAIL R5 seed=5 t=3.121s: an acknowledged row is never lost: row 9 was"
    assert "3 seeds, 1 violations, 0 unknown" in result.stdout
    words = shlex.split(command)
    assert words[:3] == ["remora", "conform", "replay"]
    again = conform(*words[2:])
    assert again.exit_code == 1
    assert "rule R5 fails again" in again.stdout
    assert "the history is the recorded one, byte for byte" in again.stdout
    assert last_line(conform(*words[2:], "--json"))["violations"] == 1


def test_a_line_of_drawn_faults_replays_and_shrinks(conform, tmp_path):
    line = conform("sim", "--seeds", "5", "--json").stdout.splitlines()[0]
    words = shlex.split(line.partition(" | replay: ")[2])
    assert "faults=drawn:" in words[-1]
    again = conform(*words[2:], "--shrink", "--report", str(tmp_path))
    assert "byte for byte" in again.stdout
    assert (tmp_path / "latest" / "5" / "shrunk-R5" / "timeline.html").is_file()
    assert f"timeline in {tmp_path}" in again.stdout


def test_a_replay_of_what_is_repaired(conform):
    line = "v=1;history=1;seed=5;rule=R5;hash=00000000;faults=none"
    result = conform("replay", line)
    assert result.exit_code == 0
    assert "rule R5 does not fail any more" in result.stdout
    assert "note: the history is another than the recorded one" in result.stdout


@pytest.mark.parametrize(("rule", "code"), [("R5", 0), ("R9", 2)])
def test_a_replay_is_about_the_rule_of_its_line(conform, rule, code):
    """With no faults, this world has nothing by which R9 could be judged."""
    line = f"v=1;history=1;seed=5;rule={rule};intensity=0;faults=none"
    assert conform("replay", line).exit_code == code


def test_a_report_and_what_todays_rules_say_of_it(conform, tmp_path):
    result = conform("sim", "--seeds", "5-7", "--report", str(tmp_path), "--keep-all")
    assert result.exit_code == 1
    latest = tmp_path / "latest"
    assert sorted(path.name for path in latest.iterdir()) == [
        "5", "6", "7", "junit.xml", "summary.json",
    ]  # fmt: skip
    assert latest.readlink().name.endswith("Z-sim-5-7")
    judged = conform("revalidate", str(tmp_path), "--json")
    assert last_line(judged)["seeds"] == 3
    assert "latest" not in judged.stdout
    told = conform("revalidate", str(latest)).stdout
    assert "5: R5 was fail, is" in told
    assert "verdicts are others than when the runs were made" in told


def test_only_seeds_that_say_something_are_kept(conform, tmp_path):
    conform("sim", "--seeds", "4-7", "--report", str(tmp_path))
    kept = [path.name for path in (tmp_path / "latest").iterdir() if path.is_dir()]
    assert kept == ["5"]


def test_a_campaign_that_never_gets_anywhere_fails(conform):
    seeds = conform("sim", "--seeds", "11-60", "--json")
    lines = [line for line in seeds.stdout.splitlines() if line.startswith("FAIL S1 seeds=50: ")]
    assert len(lines) == len(SOMETIMES) - 1
    assert seeds.exit_code == 1


def test_a_budget_ends_a_campaign(conform):
    result = conform("sim", "--seeds", "1-1000000", "--seconds", "0.000001", "--json")
    assert (result.exit_code, last_line(result)["seeds"]) == (2, 0)


def test_faults_from_a_file(conform, tmp_path):
    file = tmp_path / "faults.json"
    file.write_text(
        '[{"kind":"kill","target":"leader/0","at":1},'
        '{"kind":"partition","target":"leader->follower1","at":2}]'
    )
    assert conform("sim", "--seeds", "1-2", "--faults", str(file)).exit_code == 1


def test_mutants(conform, mutants):
    result = conform("mutants", "open-gate", "--clean", "4", "--json")
    assert (result.exit_code, last_line(result)["mutants"]) == (0, {"caught": 1, "total": 1})
    table = conform("mutants", "--clean", "4", "--seeds", "3")
    assert table.exit_code == 1
    assert "SURVIVED harmless: R9 did not fail in 3 runs; only G1 failed" in table.stdout
    ending = "1 of 2 mutants caught; 4 clean seeds; shrunk schedules: 0 faults in the median"
    assert ending in table.stdout
    names = conform("mutants", "--names")
    assert "forgets the gate" in names.stdout
    assert names.exit_code == 0


def test_a_false_alarm_ends_the_search_for_mutants(conform, mutants):
    result = conform("mutants", "--clean", "5")
    assert result.exit_code == 1
    assert "false alarm: a rule fails without any mutant" in result.stdout
    assert "caught" not in result.stdout


def test_sim_with_a_mutant(conform, mutants):
    result = conform("sim", "--seeds", "1", "--mutant", "open-gate")
    assert result.exit_code == 1
    assert "FAIL G1 seed=1" in result.stdout
    assert ";mutant=open-gate;" in result.stdout


PROFILE = """
database = "D"
confirmed = true
[[leader]]
name = "a"
url = "https://a"
[[follower]]
name = "b"
url = "https://b"
"""


def test_endpoint_tells_each_rule(conform, tmp_path):
    file = tmp_path / "profile.toml"
    file.write_text(PROFILE)
    result = conform("endpoint", "--profile", str(file))
    assert result.exit_code == 0
    rows = [line.split()[:2] for line in result.stdout.splitlines()]
    assert ["R5", "pass"] in rows
    broken = conform("endpoint", "--profile", str(file), "--seeds", "5")
    assert broken.exit_code == 1
    assert "replay" not in broken.stdout
    file.write_text(PROFILE.replace("confirmed = true", ""))
    assert conform("endpoint", "--profile", str(file)).exit_code == 2
    assert conform("endpoint", "--profile", str(file), "--yes").exit_code == 0


def test_local_runs_the_seeds_that_judge_every_rule(conform):
    result = conform("local", "--json")
    assert (result.exit_code, last_line(result)["seeds"]) == (0, 4)
    result = conform("local", "--seeds", "3", "--json")
    assert (result.exit_code, last_line(result)["seeds"]) == (0, 1)


def test_local_knows_its_mutants(conform):
    result = conform("local", "--mutant", "x")
    assert (result.exit_code, "no mutant 'x'" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["sim", "--seeds", "9-1"], "ends before it begins"),
        (["sim", "--seeds", "x"], "neither a seed"),
        (["sim", "--faults", "/dev/null"], "not a schedule of faults"),
        (["sim", "--mutant", "x"], "no mutant 'x'"),
        (["sim", "--jobs", "-1"], "--jobs"),
        (["mutants"], "comes without mutants"),
        (["replay", "v=9"], "version 9, this build replays 1"),
        (["replay", "v=1;history=1;seed=1;system=x;faults=none"], "there is no system 'x'"),
        (["replay", "v=1;history=1;seed=1;mutant=x;faults=none"], "no mutant 'x'"),
        (["revalidate", "/no/such"], "does not exist"),
        (["endpoint"], "--leader URL, --follower URL and --database DB"),
        (["endpoint", "--leader", "grpc://a:1", "--profile", "pyproject.toml"], "already"),
        (["endpoint", "--profile", "pyproject.toml"], "no such key"),
    ],
)
def test_wrong_usage_is_exit_2(conform, arguments, why):
    result = conform(*arguments)
    assert result.exit_code == 2
    assert why in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""


def test_a_folder_without_reports_proves_nothing(conform, tmp_path):
    result = conform("revalidate", str(tmp_path))
    assert result.exit_code == 2
    assert "there is no verdict.json" in result.stderr


@pytest.mark.parametrize("system", ["sim", "local", "endpoint"])
def test_a_system_that_this_build_has_not_is_said_to_be_missing(monkeypatch, system):
    monkeypatch.setitem(conform_systems.RUNNERS, system, "no_such_package.run:run_seed")
    urls = ["--leader", "grpc://a:1", "--follower", "grpc://b:1", "--database", "D"]
    more = urls if system == "endpoint" else []
    result = CliRunner().invoke(app, ["conform", system, *more])
    assert result.exit_code == 2
    assert f"this build has no system '{system}'" in result.stderr
    assert "nothing is proved" in result.stderr


def test_progress_is_for_terminals_only(monkeypatch):
    from cluster.cli import conform_campaign

    written = []

    class Terminal:
        encoding = "utf-8"

        def isatty(self):
            return True

        def write(self, text):
            written.append(text)

        def flush(self):
            pass

        def fileno(self):
            return 2

    monkeypatch.setattr(sys, "stderr", Terminal())
    with conform_campaign.progress("seeds", 2) as bar:
        bar.advance("1 violations")
        bar.advance("2 violations")
    assert "seeds" in "".join(written)
    count = len(written)
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: False))
    with conform_campaign.progress("seeds", 2) as bar:
        bar.advance("")
    assert len(written) == count
