"""`remora conform endpoint` as a user runs it, against a right build and against broken ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from cluster.launcher.lifecycle import Commands, Launcher
from cluster.launcher.setup import Home
from cluster.testing.local import LocalSetup, default_topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.process

LIMITS = {"lease_seconds": 2.0, "heartbeat_seconds": 0.25, "upkeep_check_seconds": 0.5}
DATABASE = "Black"
SEEDS = ("1", "2", "3")
"""Tried until one shows the broken rule: real time decides whether a read falls into the moment,
and a defect can break other rules before."""

QUICK = ("--safety", "12", "--liveness", "30")

FEATURES_WITHOUT_COORDINATOR = {"R1", "R3", "R4", "R5", "R6", "R10", "R11", "R12", "R13", "R14"} | {
    *("R15", "G5", "A3", "L1")
}
CAPABILITIES = {"G1", "G2", "G3", "G4", "G6"}


@asynccontextmanager
async def launched(folder: Path, mutant: str = "") -> AsyncIterator[tuple[LocalSetup, dict]]:
    """The default topology with a database that both followers follow; addresses by cluster."""
    commands = None
    if mutant:
        line = (sys.executable, "-P", "-m", "cluster.testing.real.mutated", mutant)
        commands = Commands(
            coordinator=(*line, "cluster.coordinator.main"), node=(*line, "cluster.node.main")
        )
    launcher = Launcher(Home(folder / "home"), "black-box", commands=commands)
    setup = await launcher.up(default_topology(LIMITS), folder / "data")
    try:
        urls = {
            record.id.partition("/")[0]: f"grpc://{record.grpc}"
            for record in setup.processes.values()
        }
        async with LocalSetup.connected(launcher, setup, database=DATABASE) as local:
            await local.client("leader").command("", f".create database {DATABASE}")
            for follower in ("follower1", "follower2"):
                await local.attach(follower)
                await local.until_followed(follower)
            yield local, urls
    finally:
        await launcher.destroy()


def conform(*arguments: str) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("REMORA_CONFORM")}
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli.main", "conform", "endpoint", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def rules(output: str) -> dict[str, str]:
    """Verdict by rule, of the table that people get."""
    found = {}
    for line in output.splitlines():
        words = line.split()
        if len(words) > 1 and words[0][:1] in "RGACL" and words[0][1:].isdigit():
            found.setdefault(words[0], " ".join(words[1:3]) if words[1] == "not" else words[1])
    return found


async def tables(local: LocalSetup) -> list:
    result = await local.client("leader").command(DATABASE, ".show tables")
    return result.rows()


@pytest.mark.slow
async def test_a_right_build(tmp_path: Path) -> None:
    async with launched(tmp_path) as (local, urls):
        leader, followers = urls["leader"], (urls["follower1"], urls["follower2"])
        # Without a coordinator: what it is told of a follower's capability is believed.
        done = conform(
            *("--leader", leader, "--follower", followers[0], "--database", DATABASE, *QUICK)
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = rules(done.stdout)
        passed = {rule for rule, verdict in found.items() if verdict == "pass"}
        assert passed == FEATURES_WITHOUT_COORDINATOR
        assert {found[rule] for rule in set(found) - passed} == {"not applicable"}
        assert await tables(local) == []

        # With one: it knows names and capabilities, and the gate itself can be judged.
        profile = tmp_path / "profile.toml"
        profile.write_text(
            f'database = "{DATABASE}"\ncoordinator = "{urls["coordinator"]}"\n'
            'features = ["ATTACH", "SHARING"]\n'
            f'[[leader]]\nname = "a"\nurl = "{leader}"\n'
            f'[[follower]]\nname = "b"\nurl = "{followers[0]}"\n'
            f'[[follower]]\nname = "c"\nurl = "{followers[1]}"\n'
        )
        done = conform("--profile", str(profile), "--keep", "--safety", "20", *QUICK[2:])
        assert done.returncode == 0, done.stdout + done.stderr
        passed = {rule for rule, verdict in rules(done.stdout).items() if verdict == "pass"}
        assert passed == FEATURES_WITHOUT_COORDINATOR | CAPABILITIES | {"A1", "A2"}
        assert len(await tables(local)) == 3
        status = {c.name: c.streaming_ingestion for c in (await local.status()).clusters}
        assert status == {"leader": True, "follower1": True, "follower2": False}
        for follower in ("follower1", "follower2"):
            await local.until_followed(follower)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutant", "rule", "coordinated"),
    [("rows-before-the-bad-one-stored", "R6", False), ("closed-keeps-rows", "G1", True)],
)
async def test_a_broken_build(tmp_path: Path, mutant: str, rule: str, coordinated: bool) -> None:
    async with launched(tmp_path, mutant) as (local, urls):
        for seed in SEEDS:
            done = conform(
                *("--leader", urls["leader"], "--follower", urls["follower1"]),
                *(("--coordinator", urls["coordinator"]) if coordinated else ()),
                *("--database", DATABASE, "--json", "--seeds", seed, *QUICK),
            )
            if f"FAIL {rule} " in done.stdout:
                break
        assert f"FAIL {rule} " in done.stdout, done.stdout + done.stderr
        assert done.returncode == 1
        assert json.loads(done.stdout.splitlines()[-1])["violations"] >= 1
        assert await tables(local) == []


def test_refusals() -> None:
    far = conform("--leader", "grpc://192.0.2.1:1", "--follower", "grpc://127.0.0.1:1",
                  "--database", DATABASE)  # fmt: skip
    assert far.returncode == 2
    assert "--yes" in far.stderr
    nobody = conform("--leader", "grpc://127.0.0.1:1", "--follower", "grpc://127.0.0.1:1",
                     "--database", DATABASE, "--liveness", "1")  # fmt: skip
    assert nobody.returncode == 2
    assert set(rules(nobody.stdout).values()) == {"unknown", "not applicable"}
