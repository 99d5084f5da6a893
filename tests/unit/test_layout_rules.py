"""The rules of the house that a script checks find what breaks them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_layout.py"
ERRORS = """
class RemoraError(Exception): ...
class UnavailableError(RemoraError): ...
"""


@pytest.fixture(scope="module")
def rules():
    spec = importlib.util.spec_from_file_location("check_layout", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("class AwayError(UnavailableError): ...", 1),
        ("class AwayError(errors.UnavailableError): ...", 1),
        ("def make():\n    class AwayError(RemoraError, OSError): ...", 1),
        ("class ReplayError(ValueError): ...", 0),
        ("class Door(Protocol): ...", 0),
    ],
)
def test_errors_that_callers_see_are_in_one_file(rules, text, found):
    known = rules.known_errors(ERRORS)
    lines = list(rules.error_violations(Path("cluster/x.py"), text, known))
    assert len(lines) == found
    assert all("AwayError belongs into cluster/errors.py" in line for line in lines)


@pytest.mark.parametrize(("lines", "found"), [(69, 0), (70, 0), (71, 1)])
def test_functions_have_a_length_that_can_be_read(rules, lines, found):
    text = "def long():\n" + "    x = 1\n" * (lines - 1)
    assert len(list(rules.size_violations(Path("cluster/x.py"), text))) == found


@pytest.mark.parametrize(("lines", "found"), [(399, 0), (400, 0), (401, 1)])
def test_files_have_a_length_that_can_be_read(rules, lines, found):
    assert len(list(rules.size_violations(Path("cluster/x.py"), "x = 1\n" * lines))) == found


def test_a_pure_module_is_listed_and_what_is_listed_exists(rules):
    modules = {"cluster.query.bins", "cluster.query.driver", "cluster.node.app"}
    assert list(rules.purity_violations(modules, {"cluster.query.bins"})) == []
    (line,) = rules.purity_violations(modules, set())
    assert "list cluster.query.bins in pyproject.toml" in line
    (line,) = rules.purity_violations(modules, {"cluster.query.bins", "cluster.query.gone"})
    assert "cluster.query.gone, which does not exist" in line
