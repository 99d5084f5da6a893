"""The pytest plugin as its users have it: pytest runs of their own, which succeed, fail and die."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import cluster.testing
from cluster.launcher.identity import Identity, ProcessState, identify, state_of, wait_exit
from cluster.testing.local import launch

pytestmark = [pytest.mark.process, pytest.mark.slow]

GUIDE = Path(cluster.testing.__file__).with_name("PYTEST.md")
PATIENCE_SECONDS = 150

SHARED = """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_alone(kusto_cluster, request, number):
    # Every test makes the same table, in a database of its own.
    kusto_cluster.command(".create table T (A: long)")
    kusto_cluster.ingest("T", [(number,)])
    assert kusto_cluster.query("T").rows() == [(number,)]
    session = request.getfixturevalue("_kusto_session")
    with open(FOLDER + f"/{session.setup.process('leader').pid}", "a") as file:
        print(kusto_cluster.database, file=file)
"""

FAILING = """
import pytest

def test_fails(kusto_pair, kusto_faults):
    kusto_faults.kill("leader")
    kusto_faults.start("leader")
    assert kusto_pair.leader.query("print 1").scalar() == 2

@pytest.mark.kusto(stream=True)
def test_misspelled(kusto_cluster): ...

@pytest.mark.kusto(False)
def test_positional(kusto_cluster): ...

@pytest.mark.kusto(streaming="no")
def test_no_bool(kusto_cluster): ...

def test_is_no_worse_off(kusto_pair):
    assert kusto_pair.follower.query("print 1").scalar() == 1
"""

WAITING = """
import json, os, signal

def test_waits(kusto_cluster, request):
    setup = request.getfixturevalue("_kusto_session").setup
    found = {"folder": str(setup.folder), "pids": [
        [process.pid, process.identity.created_at_seconds, process.identity.command]
        for process in setup.processes.values()
    ]}
    with open(os.environ["KUSTO_TEST_PIPE"], "w") as pipe:
        json.dump(found, pipe)
    signal.pause()
"""


def command(folder: Path, text: str, *options: str) -> list[str]:
    """A run of pytest over one file, with settings of its own."""
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -W error\n")
    (folder / "test_of_user.py").write_text(text)
    # -P: what the user's tests import is what is installed.
    return [sys.executable, "-P", "-m", "pytest", *options, "--basetemp", str(folder / "tmp"),
            str(folder / "test_of_user.py")]  # fmt: skip


def run(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, text, *options), cwd=folder, capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip


def test_the_example_of_the_guide_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    done = run(tmp_path, example)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{example.count('def test_')} passed" in done.stdout
    assert not list((tmp_path / "tmp").rglob("setup.json"))


@pytest.mark.slow
def test_workers_of_xdist_have_processes_of_their_own(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    text = SHARED.replace("FOLDER", repr(str(seen)))
    done = run(tmp_path, text, "-n", "2", "--dist", "each")
    assert done.returncode == 0, done.stdout + done.stderr
    leaders = [path.read_text().split() for path in seen.iterdir()]
    assert leaders == [[f"Test{number}" for number in range(1, 5)]] * 2


def test_what_fails_says_why_and_harms_no_other_test(tmp_path: Path) -> None:
    done = run(tmp_path, FAILING)
    assert "1 failed, 1 passed, 3 errors" in done.stdout, done.stdout + done.stderr
    assert "remora log of leader/0" in done.stdout
    assert "remora log of coordinator" in done.stdout
    assert done.stdout.count("the marker is kusto(streaming=True, follower_streaming=True)") >= 3


def test_nothing_is_imported_before_a_fixture_is_used(tmp_path: Path) -> None:
    look = (
        "import pytest, sys; before = set(sys.modules); import cluster.testing.plugin\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", look], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['cluster', 'cluster.testing', 'cluster.testing.plugin']"


async def test_no_process_outlives_a_killed_pytest(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    running = subprocess.Popen(
        command(tmp_path, WAITING), cwd=tmp_path, stdout=subprocess.DEVNULL,
        env={**os.environ, "KUSTO_TEST_PIPE": str(pipe)}, start_new_session=True,
    )  # fmt: skip
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            found = json.loads(await trio.to_thread.run_sync(pipe.read_text))
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    processes = [Identity(pid, created, tuple(line)) for pid, created, line in found["pids"]]
    assert len(processes) == 3
    with trio.fail_after(PATIENCE_SECONDS):
        for process in processes:
            await wait_exit(process)
    assert {state_of(process) for process in processes} == {ProcessState.DOWN}


ORPHANED = """
import os, subprocess, sys
keeper = subprocess.Popen(
    [sys.executable, "-P", "-m", "cluster.testing.plugin_keeper", sys.argv[1], "local",
     str(os.getpid())],
    start_new_session=True,
)
print(keeper.pid, flush=True)
os._exit(0)
"""


def orphaned_keeper(home: Path) -> Identity:
    """A keeper whose parent ends as soon as it has started it."""
    told = subprocess.run(
        [sys.executable, "-P", "-c", ORPHANED, str(home)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    pid = int(told.stdout)
    line = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    return identify(pid, line)


async def test_a_keeper_without_a_parent_deletes_the_setup(tmp_path: Path) -> None:
    launcher, setup = await launch(tmp_path, limits={})
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            await wait_exit(orphaned_keeper(tmp_path / "home"))
        assert not launcher.exists()
        states = {state_of(process.identity) for process in setup.processes.values()}
        assert states == {ProcessState.DOWN}
        assert not setup.coordinator.data.exists()
    finally:
        if launcher.exists():
            await launcher.destroy()
