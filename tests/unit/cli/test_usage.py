"""What every verb promises: help, variables, exit codes, speed."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer.main

from cluster.cli.main import app
from cluster.errors import ConflictError, UnavailableError

VERBS = [
    *("up", "status", "command", "ingest", "query", "attach", "detach", "followers"),
    *("capability", "adopt", "kill", "pause", "resume", "start", "logs", "down", "destroy"),
]

OF_NO_SETUP = ["certs"]
"""Verbs about what all setups share."""

EXAMPLES = {
    "status": [],
    "command": ["leader", "D", ".show tables"],
    "query": ["leader", "D", "T"],
    "attach": ["leader/D", "follower1"],
    "detach": ["leader/D", "follower1"],
    "followers": ["leader"],
    "capability": ["leader", "on"],
    "adopt": [],
    "kill": ["leader/0"],
    "pause": ["leader/0"],
    "resume": ["leader/0"],
    "start": ["leader/0"],
    "logs": ["leader/0"],
    "down": [],
    "destroy": ["--yes"],
}


def commands():
    return typer.main.get_command(app).commands


def test_the_verbs_are_these():
    verbs = [verb for verb, made in commands().items() if not hasattr(made, "commands")]
    assert [verb for verb in verbs if verb not in OF_NO_SETUP] == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_also_a_variable_and_every_verb_takes_a_name(verb):
    options = [o for o in commands()[verb].params if o.param_type_name == "option"]
    assert "--name" in [o.opts[0] for o in options]
    assert {o.opts[0]: o.envvar for o in options if not str(o.envvar).startswith("REMORA_")} == {}
    by_variable = {}
    for option in options:
        by_variable.setdefault(option.envvar, []).append(option.opts[0])
    assert all(len(flags) == 1 for flags in by_variable.values())


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_says_what_exit_codes_mean(world, verb):
    result = world.run(*verb.split(), "--help")
    assert result.exit_code == 0
    words = " ".join(result.output.split())
    assert "Exit codes: 0 done; 1 refused or failed" in words
    assert "3 a process that is needed is not running" in words


def test_version(world):
    result = world.run("--version")
    assert result.output.startswith("remora 0.")
    assert result.exit_code == 0


@pytest.mark.parametrize("verb", EXAMPLES)
def test_a_setup_that_is_not_up_is_exit_3(world, verb):
    world.home.forget("default")
    result = world.run(verb, *EXAMPLES[verb])
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "error: ServiceUnavailable: no setup named 'default' is up",
        "remedy: Start it: remora up",
    ]


@pytest.mark.parametrize("verb", EXAMPLES)
def test_the_name_may_come_from_the_environment(world, verb, monkeypatch):
    monkeypatch.setenv("REMORA_NAME", "other")
    result = world.run(verb, *EXAMPLES[verb])
    assert result.exit_code == 3
    assert "no setup named 'other' is up; there are: default" in result.stderr
    assert "remedy: Start it: remora up --name other, or choose one with --name" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["query", "leader"],
        ["query", "leader", "D", "T", "--json", "--csv"],
        ["command", "leader", "D", ".x", "--json", "--csv"],
        ["attach", "leader", "follower1"],
        ["attach", "/D", "follower1"],
        ["attach", "leader/D", "follower1", "--include", "view:V"],
        ["detach", "leader/", "follower1"],
        ["detach", "leader/D"],
        ["detach", "leader/D", "--config", "C"],
        ["detach", "a", "b", "c", "--config", "C"],
        ["capability", "leader", "maybe"],
        ["up", "/no/such/file.toml"],
        ["status", "--timeout", "0"],
        ["query", "leader", "D", "T", "--timeout", "0"],
        ["ingest", "leader", "D", "T", "/no/such/file.csv"],
        ["ingest", "leader", "D", "T", "-"],
        ["ingest", "leader", "D", "T", "-", "--format", "orc"],
        ["destroy"],
    ],
)
def test_wrong_usage_is_exit_2_and_asks_nobody(world, arguments):
    result = world.run(*arguments)
    assert result.exit_code == 2
    assert world.requests == []


@pytest.mark.parametrize("verb", ["query", "command"])
def test_a_text_without_quotes_is_answered_with_how_to_write_it(world, verb):
    result = world.run(verb, "leader", "D", ".show", "tables", "--json")
    assert result.exit_code == 2
    words = " ".join(result.stderr.replace("\u2502", " ").split())
    assert "the text ends before 'tables'; put all of it between single quotes" in words
    assert world.requests == []


def test_a_typed_error_is_printed_with_code_and_remedy_and_is_exit_1(world):
    world.error = ConflictError("tables T have the policy", remedy="Disable it first.")
    result = world.run("capability", "leader", "off")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "error: Conflict: tables T have the policy\nremedy: Disable it first.\n"
    )


def test_a_remote_that_is_unavailable_is_exit_3(world):
    world.error = UnavailableError("the node is stopping")
    result = world.run("query", "leader", "D", "T")
    assert (result.exit_code, world.addresses) == (3, ["127.0.0.1:5002"])
    assert "error: ServiceUnavailable: the node is stopping" in result.stderr


def test_a_cluster_that_does_not_exist_is_answered_with_those_that_do(world):
    for verb in ("query", "command"):
        result = world.run(verb, "lead", "D", "T")
        assert result.exit_code == 1
        assert "setup 'default' has no cluster 'lead'" in result.stderr
        assert "Use one of: leader, follower1, follower2." in result.stderr
    assert world.requests == []


def test_a_process_that_is_down_is_exit_3_before_anything_is_sent(world):
    world.mark("leader/0", identity=None)
    result = world.run("query", "leader", "D", "T")
    assert result.exit_code == 3
    assert "leader/0 is not running" in result.stderr
    assert "remedy: Start it: remora start leader/0" in result.stderr


def test_an_unknown_transport_is_named(world, monkeypatch):
    def refuse(**_):
        raise ValueError("REMORA_TRANSPORT must be one of core, fallback, not 'x'")

    monkeypatch.setattr("cluster.transport.select.transport_from_environment", refuse)
    result = world.run("query", "leader", "D", "T")
    assert result.exit_code == 1
    assert "REMORA_TRANSPORT must be one of core, fallback" in result.stderr


def test_help_does_not_load_what_only_verbs_need():
    script = "import sys, cluster.cli.main; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    heavy = {"grpc", "pyarrow", "trio", "duckdb", "psutil", "rich"}
    assert heavy & set(done.stdout.split()) == set()
