"""One setup of real processes for this folder; a database of its own for each test."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from quick_limits import LIMITS

from cluster.testing.local import LocalSetup, launch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup

_FOLDER = Path(__file__).parent
_numbers = itertools.count(1)


class Shared:
    """The setup, from the first test that asks for it until :meth:`end`."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._running: tuple[Launcher, Setup] | None = None

    def running(self) -> tuple[Launcher, Setup]:
        """Starts it if it is not there."""
        if self._running is None:
            self._running = trio.run(self._start)
        return self._running

    async def _start(self) -> tuple[Launcher, Setup]:
        return await launch(self._folders.mktemp("setup"), limits=LIMITS)

    def end(self) -> None:
        """Ends it if it is there."""
        if self._running is not None:
            launcher, _ = self._running
            self._running = None
            trio.run(launcher.destroy)


_SHARED = pytest.StashKey[Shared]()


@pytest.fixture(scope="session")
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    setup = request.config.stash[_SHARED] = Shared(tmp_path_factory)
    yield setup
    setup.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, None, None]:
    """No idle nodes beside the thousands of tests that follow: a setup takes 5 % of a core."""
    yield
    setup = item.config.stash.get(_SHARED, None)
    if setup is not None and (nextitem is None or _FOLDER not in nextitem.path.parents):
        setup.end()


@pytest.fixture
def processes(shared: Shared) -> tuple[Launcher, Setup]:
    return shared.running()


@pytest.fixture
async def local_setup(processes: tuple[Launcher, Setup]) -> AsyncIterator[LocalSetup]:
    launcher, setup = processes
    database = f"Database{next(_numbers)}"
    async with LocalSetup.connected(launcher, setup, database=database) as local:
        yield local
