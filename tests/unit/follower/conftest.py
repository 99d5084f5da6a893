from __future__ import annotations

import pytest
import trio
from follow_cluster import running
from trio.testing import MockClock
from trio_time import in_place


@pytest.fixture
def no_threads(monkeypatch):
    monkeypatch.setattr(trio.to_thread, "run_sync", in_place)


@pytest.fixture
async def setup(tmp_path, no_threads):
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock), "the test must take autojump_clock itself"
    async with running(tmp_path) as both:
        yield both
