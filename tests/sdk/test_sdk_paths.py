"""``PATHS.md`` is tried as a newcomer would: its files written, its commands run, in order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from namespace import Transparent, is_possible
from sdk_setup import HERE, need

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:#|//|<!--) (\S+)(?: -->)?\n")
_INSTALLING = re.compile(r"(pip|npm) install |go mod |mvn ")

pytestmark = pytest.mark.timeout(600)


def sections() -> dict[str, list[tuple[str, str]]]:
    """The blocks of each section: language and text."""
    parts = _SECTION.split((HERE / "PATHS.md").read_text())
    return {
        title: _BLOCK.findall(text) for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def commands(block: str) -> list[tuple[str, str]]:
    """What is typed, and what is printed for it if the page says."""
    found = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)[1:]
    return list(zip(found[::2], found[1::2], strict=True))


@pytest.mark.parametrize(
    ("language", "tools"),
    [
        ("Python", ()),
        ("Node", ("node", "npm")),
        ("Go", ("go",)),
        ("Java", ("java", "mvn")),
    ],
    ids=["Python", "Node", "Go", "Java"],
)
def test_a_path(language: str, tools: tuple[str, ...], tmp_path: Path) -> None:
    need(language, *tools)
    if not is_possible():
        if os.environ.get("CI") == "true":
            pytest.fail("NOT TESTED: this machine makes no namespaces (unshare)", pytrace=False)
        pytest.skip("NOT TESTED: this machine makes no namespaces (unshare)")
    page = sections()
    typed: list[tuple[str, str]] = []
    for kind, text in page["Start"] + page[language] + page["End"]:
        if kind == "console":
            typed += commands(text)
        else:
            name = _FILE.match(text)
            assert name, f"a block of {kind} does not name its file"
            (tmp_path / name[1]).write_text(text)
    installing = [line for line, _ in typed if _INSTALLING.match(line)]
    running = [(line, printed) for line, printed in typed if line not in installing]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("REMORA_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "REMORA_HOME": str(tmp_path / "home"),
    }
    for line in installing:
        subprocess.run(line, shell=True, cwd=tmp_path, env=environment, check=True, timeout=300)
    # A network of its own: there the ports of the page are free on every machine.
    script = ["set -e", "trap 'remora destroy --yes || true' EXIT"]
    script += [
        f"echo {shlex.quote('$ ' + line)}\n{line} > {number}.txt"
        for number, (line, _) in enumerate(running)
    ]
    (tmp_path / "script.sh").write_text("\n".join(script))
    with Transparent(9, ("localhost",)) as network:
        done = subprocess.run(
            network.command("bash", "script.sh"),
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stdout
    for number, (line, printed) in enumerate(running):
        if printed:
            assert (tmp_path / f"{number}.txt").read_text() == printed, line
    assert any(printed for _, printed in running)
