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
        self.drained = False

    def is_drained(self):
        return self.drained

    async def drain(self):
        await trio.lowlevel.checkpoint()
        self.calls += 1
        result = self.results.pop(0) if self.results else True
        if isinstance(result, Exception):
            raise result
        self.drained = result
        return Drained((), is_empty=result)


class FakeLogs:
    """Rows that are staged and become durable when the test says so."""

    def __init__(self):
        self.waiting_bytes = 0
        self.committed = trio.Event()

    def statistics(self):
        return SimpleNamespace(total=lambda counter: getattr(self, counter))

    def end_lsn(self):
        return 0

    async def wait_beyond(self, lsn):
        await self.committed.wait()

    def commit(self):
        self.waiting_bytes = 0
        self.committed.set()


class Cluster:
    """A capability that the test sets, and what follows from it."""

    def __init__(self, keeper):
        self.authority = SimpleNamespace(view=None)
        self.logs = FakeLogs()
        self.told = []
        self.revision = 0
        self.drain = CapabilityDrain(
            keeper,
            self.logs,
            self.authority,
            retry_seconds=5.0,
            on_news=lambda: self.told.append((self.drain.drained_revision, self.drain.trouble)),
        )

    async def becomes(self, capability):
        self.revision += 1
        self.authority.view = SimpleNamespace(capability=capability, revision=self.revision)
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
    assert cluster.drain.drained_revision == 2
    await cluster.becomes(Capability.ON)
    assert cluster.drain.drained_revision == 0
    keeper.drained = False  # rows came
    await cluster.becomes(Capability.OFF)
    assert keeper.calls == 2
    assert cluster.drain.drained_revision == 4
    assert cluster.told == [(1, ""), (4, "")]


async def test_with_nothing_to_seal_the_promise_is_there_at_once():
    keeper = FakeKeeper()
    keeper.drained = True
    cluster = Cluster(keeper)
    await cluster.becomes(Capability.OFF)
    assert cluster.drain.drained_revision == 1
    assert keeper.calls == 0


async def test_rows_on_their_way_to_the_disk_are_waited_for(nursery, autojump_clock):
    keeper = FakeKeeper()
    keeper.drained = True  # they are not visible yet
    cluster = Cluster(keeper)
    cluster.logs.waiting_bytes = 10
    nursery.start_soon(cluster.drain.run)
    await cluster.becomes(Capability.OFF)
    assert cluster.drain.drained_revision == 0
    assert keeper.calls == 0
    cluster.logs.commit()
    await wait_all_tasks_blocked()
    assert keeper.calls == 1
    assert cluster.drain.drained_revision == 1


async def test_why_rows_cannot_be_sealed_is_told_once(nursery, autojump_clock):
    keeper = FakeKeeper(*[UnavailableError("the root is away")] * 3, True)
    cluster = Cluster(keeper)
    nursery.start_soon(cluster.drain.run)
    await cluster.becomes(Capability.OFF)
    assert "the root is away" in cluster.drain.trouble
    await trio.sleep(60)
    assert [(revision, bool(trouble)) for revision, trouble in cluster.told] == [
        (0, True),
        (1, False),
    ]


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
