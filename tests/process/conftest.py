"""One setup of real processes a session; a database of its own for each test."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import trio
from quick_limits import LIMITS

from cluster.testing.local import LocalSetup, launch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Launcher, Setup]]:
    async def start() -> tuple[Launcher, Setup]:
        return await launch(tmp_path_factory.mktemp("setup"), limits=LIMITS)

    launcher, setup = trio.run(start)
    yield launcher, setup
    trio.run(launcher.destroy)


@pytest.fixture
async def local_setup(processes: tuple[Launcher, Setup]) -> AsyncIterator[LocalSetup]:
    launcher, setup = processes
    database = f"Database{next(_numbers)}"
    async with LocalSetup.connected(launcher, setup, database=database) as local:
        yield local
