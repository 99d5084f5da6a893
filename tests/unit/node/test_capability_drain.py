"""Row stores are drained when the capability goes off: once, and until nothing is left."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cluster.errors import UnavailableError
from cluster.extents.keeping import Drained
from cluster.node.draining import CapabilityDrain
from cluster.replication.authority import Capability


class FakeKeeper:
    """Drains as told: an error, rows left, or nothing left."""

    def __init__(self, *results):
        self.results = list(results)
        self.calls = 0

    async def drain(self):
        await trio.lowlevel.checkpoint()
        self.calls += 1
        result = self.results.pop(0) if self.results else True
        if isinstance(result, Exception):
            raise result
        return Drained((), is_empty=result)


class Cluster:
    """A capability that the test sets, and what follows from it."""

    def __init__(self, keeper):
        self.authority = SimpleNamespace(view=None)
        self.drain = CapabilityDrain(keeper, self.authority, retry_seconds=5.0)

    async def becomes(self, capability):
        self.authority.view = SimpleNamespace(capability=capability)
        self.drain.authority_changed()
        await wait_all_tasks_blocked()


@pytest.mark.parametrize("capability", [Capability.ON, Capability.UNKNOWN])
async def test_nothing_is_drained_unless_it_is_off(capability, nursery, autojump_clock):
    keeper = FakeKeeper()
    cluster = Cluster(keeper)
    nursery.start_soon(cluster.drain.run)
    await cluster.becomes(capability)
    assert keeper.calls == 0


async def test_each_time_it_goes_off_is_one_drain(nursery, autojump_clock):
    keeper = FakeKeeper()
    cluster = Cluster(keeper)
    nursery.start_soon(cluster.drain.run)
    await cluster.becomes(Capability.OFF)
    await cluster.becomes(Capability.OFF)  # a lease renewed
    assert keeper.calls == 1
    await cluster.becomes(Capability.ON)
    await cluster.becomes(Capability.OFF)
    assert keeper.calls == 2


async def test_what_fails_or_leaves_rows_is_done_again(nursery, autojump_clock):
    keeper = FakeKeeper(UnavailableError("the root is away"), False, True)
    cluster = Cluster(keeper)
    nursery.start_soon(cluster.drain.run)
    await cluster.becomes(Capability.OFF)
    await trio.sleep(60)
    assert keeper.calls == 3


async def test_it_gives_up_when_the_capability_is_on_again(nursery, autojump_clock):
    keeper = FakeKeeper(*[False] * 100)
    cluster = Cluster(keeper)
    nursery.start_soon(cluster.drain.run)
    await cluster.becomes(Capability.OFF)
    await cluster.becomes(Capability.ON)
    calls = keeper.calls
    await trio.sleep(60)
    assert keeper.calls == calls
