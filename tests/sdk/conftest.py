"""A leader and a follower for the tests of every SDK: real processes, once a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sdk_setup import following, variables

from cluster.testing.plugin_setup import SessionSetup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cluster.testing.kusto import KustoPair


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """All tests of this folder are run by ``scripts/test sdk``."""
    here = config.rootpath / "tests" / "sdk"
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.sdk)


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionSetup]:
    """The processes."""
    session = SessionSetup(tmp_path_factory.mktemp("sdk"))
    yield session
    session.close()


@pytest.fixture
def pair(clusters: SessionSetup) -> Iterator[KustoPair]:
    """A fresh database on the leader that the follower follows, for one test."""
    with following(clusters) as pair:
        yield pair


@pytest.fixture(scope="module")
def shared_pair(clusters: SessionSetup) -> Iterator[KustoPair]:
    """The same for all tests of a file: each makes tables of its own."""
    with following(clusters) as pair:
        yield pair


@pytest.fixture(scope="module")
def environment(shared_pair: KustoPair, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a process that runs tests in another language."""
    folder: Path = tmp_path_factory.mktemp("work")
    return variables(shared_pair, folder)
