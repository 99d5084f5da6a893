"""The fidelity table is made of marks in the source of tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from cluster.commands.grammar import COMMANDS, Kind

ROOT = Path(__file__).resolve().parents[3]
SPEC = importlib.util.spec_from_file_location("fidelity", ROOT / "scripts" / "fidelity.py")
fidelity = importlib.util.module_from_spec(SPEC)
sys.modules["fidelity"] = fidelity
SPEC.loader.exec_module(fidelity)


def rules_of(folder, source):
    (folder / "tests").mkdir()
    (folder / "tests" / "test_it.py").write_text(source)
    return [rule for rule in fidelity.rules(folder) if rule.test.startswith("tests/")]


def test_a_mark_is_a_row(tmp_path):
    source = """
import pytest


@pytest.mark.fidelity("a.md", "It is so | or so")
@pytest.mark.fidelity("b.md", "It is not", differs="nobody says")
@pytest.mark.parametrize("x", [1])
async def test_it(x):
    pass
"""
    assert rules_of(tmp_path, source) == [
        fidelity.Rule("a.md", "It is so | or so", "emulated", "tests/test_it.py::test_it", ""),
        fidelity.Rule("b.md", "It is not", "differs", "tests/test_it.py::test_it", "nobody says"),
    ]
    rows = fidelity.table_text(fidelity.rules(tmp_path)).split("\n")
    link = "[it](../../tests/test_it.py)"
    assert f"| a.md | It is so \\| or so | emulated |  | {link} |" in rows
    assert f"| b.md | It is not | differs | nobody says | {link} |" in rows


@pytest.mark.parametrize(
    "mark",
    [
        '"a.md"',
        '"a.md", NAME',
        '"a.md", ""',
        '"a.md", "rule", why="x"',
        '"a.md", "rule", differs=1',
        '"a.md", "rule", "more"',
    ],
)
def test_a_mark_that_is_wrong_is_named(tmp_path, mark):
    source = f"@pytest.mark.fidelity({mark})\ndef test_it():\n    pass\n"
    with pytest.raises(fidelity.MarkError, match=r"tests/test_it.py::test_it"):
        rules_of(tmp_path, source)


def test_a_rule_is_said_once(tmp_path):
    source = "".join(
        f'@pytest.mark.fidelity("a.md", "rule")\ndef test_{n}():\n    pass\n' for n in (1, 2)
    )
    with pytest.raises(fidelity.MarkError, match=r"two tests.*rule"):
        rules_of(tmp_path, source)


def test_every_refused_command_has_its_row():
    found = fidelity.rules(ROOT)
    rows = {rule.test for rule in found if rule.state == "not modelled"}
    assert rows >= {spec.name for spec in COMMANDS if spec.kind is Kind.REFUSE}
    assert sum(rule.state != "not modelled" for rule in found) >= 250
    assert all(rule.why for rule in found if rule.state != "emulated")
