"""A leader and a follower for the tests of every SDK: real processes, once a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from azure.kusto.data import KustoClient
from sdk_setup import SdkClusters, following, variables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cluster.testing.kusto import KustoPair


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """All tests of this folder are run by ``scripts/test sdk``; SDKs may warn of what they do."""
    here = config.rootpath / "tests" / "sdk"
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.sdk)
            item.add_marker(pytest.mark.filterwarnings(r"ignore:::azure\."))


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkClusters]:
    """The processes."""
    session = SdkClusters(tmp_path_factory.mktemp("sdk"))
    yield session
    session.close()


@pytest.fixture
def pair(clusters: SdkClusters) -> Iterator[KustoPair]:
    """A fresh database on the leader that the follower follows, for one test."""
    with following(clusters) as pair:
        yield pair


@pytest.fixture(scope="module")
def shared_pair(clusters: SdkClusters) -> Iterator[KustoPair]:
    """The same for all tests of a file: each makes tables of its own."""
    with following(clusters) as pair:
        yield pair


@pytest.fixture(scope="module")
def environment(
    clusters: SdkClusters, shared_pair: KustoPair, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The variables of a process that runs tests in another language."""
    folder: Path = tmp_path_factory.mktemp("work")
    return variables(clusters, shared_pair, folder)


@dataclass(frozen=True, slots=True)
class Ends:
    """One test's database with the clients of Python: written on the leader, read on both."""

    pair: KustoPair
    leader: KustoClient
    follower: KustoClient
    leader_url: str

    @property
    def database(self) -> str:
        """Its name, in both clusters."""
        return self.pair.database

    def command(self, text: str) -> None:
        """Runs a command on the leader."""
        self.leader.execute_mgmt(self.database, text)

    def rows(self, query: str) -> list[list[Any]]:
        """What the follower answers when it has all that the leader shows."""
        self.pair.wait_until_followed()
        answer = self.follower.execute_query(self.database, query)
        return [list(row) for row in answer.primary_results[0]]


@pytest.fixture
def ends(clusters: SdkClusters, pair: KustoPair) -> Iterator[Ends]:
    """A fresh database, and clients of Python at both ends."""
    url = clusters.url("leader")
    with KustoClient(url) as leader, KustoClient(clusters.url("follower")) as follower:
        yield Ends(pair, leader, follower, url)
