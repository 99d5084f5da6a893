"""The unmodified Java SDKs, in ``java/``: one process, one test here for each there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from languages import JAVA, run_java

if TYPE_CHECKING:
    from sdk_setup import Outcomes

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def outcomes(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """All of them, compiled and run."""
    return run_java(environment, tmp_path_factory.mktemp("java"))


@pytest.mark.parametrize("name", JAVA.tests())
def test_java(outcomes: Outcomes, name: str) -> None:
    outcomes.check(f"{name}()")
