"""The unmodified Node SDKs, in ``node/*.test.mjs``: one process, one test here for each there."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from sdk_setup import AUTHORITY, LEADER_HTTPS, Suite, installed, junit_outcomes, need

if TYPE_CHECKING:
    from pathlib import Path

    from sdk_setup import Outcomes

NODE = Suite("node", files="*.test.mjs", test=r'^test\("(.+?)"', comment="//")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder ``node_modules`` with what ``package-lock.json`` names, installed once."""
    need("Node", "node", "npm")
    sources = [NODE.folder / name for name in ("package.json", "package-lock.json", ".npmrc")]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()

    def install(folder: Path) -> None:
        for source in sources:
            shutil.copy(source, folder)
        command = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        subprocess.run(command, cwd=folder, check=True, timeout=500)

    return installed(f"node-{digest[:16]}", install) / "node_modules"


@pytest.fixture(scope="module")
def outcomes(
    packages: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Outcomes:
    """All of them, run."""
    folder = tmp_path_factory.mktemp("node")
    # Imports are looked up from where a file is, so the files go to where the packages are.
    for file in NODE.folder.glob("*.mjs"):
        shutil.copy(file, folder)
    (folder / "node_modules").symlink_to(packages)
    report = folder / "report.xml"
    run = subprocess.run(
        (
            "node",
            "--test",
            "--test-concurrency=2",
            "--test-reporter=junit",
            f"--test-reporter-destination={report}",
            *sorted(file.name for file in folder.glob(NODE.files)),
        ),
        cwd=folder,
        # Node's variables for a private authority and for who makes tokens.
        env={
            **environment,
            "NODE_EXTRA_CA_CERTS": environment[AUTHORITY],
            "AZURE_AUTHORITY_HOST": environment[LEADER_HTTPS],
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,  # the report says what failed
        timeout=500,
    )
    return junit_outcomes(report.read_text(), run.stdout)


@pytest.mark.parametrize("name", NODE.tests())
def test_node(outcomes: Outcomes, name: str) -> None:
    outcomes.check(name)
