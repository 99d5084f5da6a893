"""Real processes, real SIGKILL, real files: nothing acknowledged is lost, nothing comes twice."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio
from rows import Ledger, count, make_table

if TYPE_CHECKING:
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

OTHER_ROUNDS = 5


@pytest.mark.timeout(280)
@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.slow)])
async def test_leader_killed_at_random_moments_loses_no_acknowledged_row(
    local_setup: LocalSetup, rounds: int
) -> None:
    chance = random.Random(20261121)
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    await make_table(leader, local_setup.database)
    await local_setup.attach("follower1")
    await local_setup.until_followed("follower1")
    ledger = Ledger(local_setup.database, f"leader-killed-{rounds}")
    writer = ledger.writer(local_setup.channel("leader"))
    async with writer:
        for _ in range(rounds):
            goal = len(ledger.acked) + chance.randrange(1, 200)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_sending, writer, ledger, chance)
                while len(ledger.acked) < goal:
                    await writer.wait_decided()
                await local_setup.kill("leader/0")
                await local_setup.start("leader/0")
                nursery.cancel_scope.cancel()
        await writer.drain()
    statistics = writer.statistics()
    assert not statistics.refused
    assert statistics.reconnects >= rounds
    assert len(ledger.acked) == ledger.next_number
    for client in (leader, follower):
        await ledger.assert_each_once(client, statistics.position)
        assert await count(client, local_setup.database) == ledger.next_number


async def keep_sending(writer, ledger: Ledger, chance: random.Random) -> None:
    """Sends until cancelled; a payload taken from the ledger is always handed to the writer."""
    while True:
        with trio.CancelScope(shield=True):
            await writer.send(ledger.payload(rows=chance.randrange(1, 20)))
        await trio.lowlevel.checkpoint()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["follower1/0", "coordinator"])
async def test_other_processes_killed_under_load(local_setup: LocalSetup, victim: str) -> None:
    chance = random.Random(7)
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    await make_table(leader, local_setup.database)
    await local_setup.attach("follower1")
    await local_setup.until_followed("follower1")
    ledger = Ledger(local_setup.database, f"{victim}-killed")
    writer = ledger.writer(local_setup.channel("leader"))
    epochs = []
    async with writer:
        for _ in range(OTHER_ROUNDS):
            goal = len(ledger.acked) + chance.randrange(1, 100)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_sending, writer, ledger, chance)
                while len(ledger.acked) < goal:
                    await writer.wait_decided()
                await local_setup.kill(victim)
                await local_setup.start(victim)
                nursery.cancel_scope.cancel()
            epochs.append((await local_setup.status()).epoch)
        await writer.drain()
    position = writer.statistics().position
    await local_setup.wait_for("follower1", position)
    await ledger.assert_each_once(follower, position)
    assert await count(follower, local_setup.database) == ledger.next_number
    assert epochs == sorted(epochs)
