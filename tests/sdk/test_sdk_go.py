"""The unmodified Go SDK, in ``go/data/*_test.go``: one process, one test here for each there."""

from __future__ import annotations

import json
import subprocess

import pytest
from sdk_setup import TRUST, Outcomes, Suite, need

GO = Suite("go", files="data/*_test.go", test=r"^func (Test\w+)\(t \*testing\.T\)", comment="//")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def outcomes(environment: dict[str, str]) -> Outcomes:
    """All of them, compiled (Go keeps what it compiled outside the tree) and run."""
    need("Go", "go")
    run = subprocess.run(
        ("go", "test", "-json", "-count=1", "-timeout=300s", "./..."),
        cwd=GO.folder / "data",
        # Go takes the authorities that it trusts from this variable, whoever starts it.
        env={**environment, "SSL_CERT_FILE": environment[TRUST]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,  # its events say what failed
        timeout=580,
    )
    return go_outcomes(run.stdout)


def go_outcomes(output: str) -> Outcomes:
    """Reads the events of ``go test -json``. A test that was skipped counts as failed."""
    words: dict[str, str] = {}
    failures: dict[str, str] = {}
    for line in output.splitlines():
        if not line.startswith("{"):
            continue
        event = json.loads(line)
        name, action = event.get("Test", "").partition("/")[0], event["Action"]
        if action == "output":
            words[name] = words.get(name, "") + event["Output"]
        elif name == event.get("Test") and action in ("pass", "fail", "skip"):
            failures[name] = "" if action == "pass" else f"{action}:\n{words.get(name, '')}"
    return Outcomes(failures, words.get("", "") or output)


@pytest.mark.parametrize("name", GO.tests())
def test_go(outcomes: Outcomes, name: str) -> None:
    outcomes.check(name)
