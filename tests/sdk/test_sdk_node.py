"""The unmodified Node SDKs, in ``node/*.test.mjs``: one process, one test here for each there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from languages import NODE, run_node

if TYPE_CHECKING:
    from sdk_setup import Outcomes

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def outcomes(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """All of them, run."""
    return run_node(environment, tmp_path_factory.mktemp("node"))


@pytest.mark.parametrize("name", NODE.tests())
def test_node(outcomes: Outcomes, name: str) -> None:
    outcomes.check(name)
