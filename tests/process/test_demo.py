"""The demo, as a user runs it: every number in its summary was counted by a query."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

STORY = Path(__file__).resolve().parents[2] / "scripts" / "demo_story.py"


@pytest.mark.slow
def test_the_story_ends_well() -> None:
    done = subprocess.run(
        [sys.executable, STORY, "--json", "--seconds", "6"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    rows = summary["rows_acked"]
    assert summary["ok"] is True
    assert rows > 0
    assert summary["leader_rows"] == rows
    assert summary["lost"] == summary["duplicated"] == 0
    assert summary["up_seconds"] > 0
    first, second = (summary["followers"][name] for name in ("follower1", "follower2"))
    assert first["rows"] == second["rows"] == rows
    assert 0 < first["lag_ms_p50"] <= first["lag_ms_p99"]
    assert second["rows_while_off"] == 0
    assert "streaming ingestion is off on follower cluster 'follower2'" in second["refusal"]


def test_too_short_a_story_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, STORY, "--seconds", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "at least 5" in done.stderr
