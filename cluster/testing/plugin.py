"""The pytest plugin ``remora``: ``kusto_cluster``, ``kusto_pair`` and ``kusto_faults``.

Installed with the package (entry point ``pytest11``); ``PYTEST.md`` is its guide. Loading it costs
nothing and starts nothing: all that Remora consists of is imported when the first of its fixtures
is used, and the processes are started then, once a session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from cluster.testing.kusto import Kusto, KustoPair
    from cluster.testing.kusto_faults import KustoFaults
    from cluster.testing.plugin_life import Life, Streaming
    from cluster.testing.plugin_setup import SessionSetup

MARKER: Final = (
    "kusto(streaming=True, follower_streaming=True): whether streaming ingestion is on in the "
    "leader cluster, and in the follower cluster, of the fixtures kusto_cluster and kusto_pair"
)

_life_key: Final = pytest.StashKey["Life"]()


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture(scope="session")
def _kusto_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionSetup]:
    """The processes, once a session; under xdist once a worker."""
    from cluster.testing.plugin_setup import SessionSetup

    session = SessionSetup(tmp_path_factory.mktemp("remora"))
    yield session
    session.close()


@pytest.fixture
def _kusto_life(request: pytest.FixtureRequest, _kusto_session: SessionSetup) -> Iterator[Life]:
    """What this test has of them. One for all the fixtures it uses, so that its end is in order."""
    from cluster.testing.plugin_life import Life

    life = Life(_kusto_session, _streaming(request.node))
    request.node.stash[_life_key] = life
    yield life
    life.close()


@pytest.fixture
def kusto_cluster(_kusto_life: Life) -> Kusto:
    """A fresh database on a leader cluster: see :class:`cluster.testing.kusto.Kusto`."""
    from cluster.testing.kusto import Kusto
    from cluster.testing.plugin_setup import LEADER

    return Kusto(_kusto_life, LEADER)


@pytest.fixture
def kusto_pair(_kusto_life: Life) -> KustoPair:
    """A leader with a follower that follows the fresh database: a ``KustoPair``."""
    from cluster.testing.kusto import KustoPair

    pair = KustoPair(_kusto_life)
    pair.attach()
    return pair


@pytest.fixture
def kusto_faults(_kusto_life: Life) -> KustoFaults:
    """What can go wrong, healed when the test ends: a ``KustoFaults``."""
    from cluster.testing.kusto_faults import KustoFaults

    return KustoFaults(_kusto_life)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds what the processes logged during a test that failed."""
    report = yield
    life = item.stash.get(_life_key, None)
    if report.failed and life is not None:
        for process, lines in life.session.logs().items():
            report.sections.append((f"remora log of {process}", lines))
    return report


def _streaming(node: pytest.Item) -> Streaming:
    """What the marker ``kusto`` says; the closest one counts."""
    from cluster.testing.plugin_life import Streaming

    marker = node.get_closest_marker("kusto")
    if marker is None:
        return Streaming()
    values = {"streaming": True, "follower_streaming": True, **marker.kwargs}
    unknown = [name for name in marker.kwargs if name not in ("streaming", "follower_streaming")]
    if marker.args or unknown or not all(isinstance(value, bool) for value in values.values()):
        raise pytest.UsageError(f"{node.nodeid}: the marker is {MARKER.partition(':')[0]}")
    return Streaming(values["streaming"], values["follower_streaming"])
