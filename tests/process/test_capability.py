"""The rule on real processes: capability flips under load, refusals, leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from rows import Ledger, count, make_table

from cluster.rpc.v1 import coordinator_pb2

if TYPE_CHECKING:
    from cluster.client import Client, StreamWriter
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

FLIPS = 20
MANY_FLIPS = 200


async def test_a_follower_without_capability_is_refused_and_told_why(
    local_setup: LocalSetup,
) -> None:
    leader, follower = local_setup.client("leader"), local_setup.client("follower2")
    await make_table(leader, local_setup.database)
    await leader.ingest(local_setup.database, "T", b"2026-11-21,one,1,s\n")
    grant = await local_setup.attach("follower2")
    assert not grant.rows
    assert "follower2" in grant.reason
    assert "capability" in grant.reason
    await local_setup.until_followed("follower2")
    assert await count(follower, local_setup.database) == 0
    report = await local_setup.following("follower2")
    assert report.gate == "closed"
    assert "follower2" in report.refusal
    result = await follower.query(local_setup.database, "T | count")
    assert "follower2" in result.hidden_reason


async def flood(writer: StreamWriter, ledger: Ledger) -> None:
    while True:
        with trio.CancelScope(shield=True):
            await writer.send(ledger.payload())
        await trio.lowlevel.checkpoint()


async def watch_closed(client: Client, local_setup: LocalSetup, seen: list[int]) -> None:
    while True:
        seen.append(await count(client, local_setup.database))


@pytest.mark.parametrize("flips", [FLIPS, pytest.param(MANY_FLIPS, marks=pytest.mark.slow)])
async def test_flips_under_load_hide_everything_then_deliver_everything_once(
    local_setup: LocalSetup, flips: int
) -> None:
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    await make_table(leader, local_setup.database)
    await local_setup.attach("follower1")
    await local_setup.until_followed("follower1")
    ledger = Ledger(local_setup.database, "flips")
    writer = ledger.writer(local_setup.channel("leader"))
    while_off: list[int] = []
    async with writer, trio.open_nursery() as nursery:
        nursery.start_soon(flood, writer, ledger)
        for _ in range(flips):
            done = await local_setup.capability("follower1", on=False)
            assert done.certainty == coordinator_pb2.CERTAINTY_CONFIRMED
            acked_before = len(ledger.acked)
            async with trio.open_nursery() as closed:
                closed.start_soon(watch_closed, follower, local_setup, while_off)
                while len(ledger.acked) < acked_before + 50:
                    await writer.wait_decided()
                closed.cancel_scope.cancel()
            while_off.append(await count(follower, local_setup.database))
            await local_setup.capability("follower1", on=True)
            position = writer.statistics().position
            await local_setup.wait_for("follower1", position)
            assert await count(follower, local_setup.database) >= acked_before
        nursery.cancel_scope.cancel()
        await writer.drain()
    assert while_off
    assert set(while_off) == {0}
    position = writer.statistics().position
    await local_setup.wait_for("follower1", position)
    await ledger.assert_each_once(follower, position)
    assert await count(follower, local_setup.database) == ledger.next_number


async def test_off_is_certain_after_the_lease_when_the_follower_cannot_answer(
    local_setup: LocalSetup,
) -> None:
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    await make_table(leader, local_setup.database)
    await local_setup.attach("follower1")
    await local_setup.until_followed("follower1")
    response = await leader.ingest(local_setup.database, "T", b"2026-11-21,one,1,s\n")
    await local_setup.wait_for("follower1", local_setup.position(response))
    assert await count(follower, local_setup.database) == 1
    await local_setup.pause("follower1/0")
    done = await local_setup.capability("follower1", on=False)
    assert done.certainty == coordinator_pb2.CERTAINTY_LEASE_EXPIRED
    await local_setup.resume("follower1/0")
    assert await count(follower, local_setup.database) == 0
