"""The gate on real processes: stops across a lease, answers under way, sealing before off is done.

Nothing here sleeps to hope for the best: what is waited for is asked of the processes.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import trio
from quick_limits import LIMITS
from rows import Ledger, count, make_table

from cluster.errors import ConflictError, RemoraError, UnavailableError
from cluster.rpc.v1 import coordinator_pb2
from cluster.testing.local import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cluster.client import Client
    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

LEASE = LIMITS["lease_seconds"]
DISABLED = ".alter table {table} policy streamingingestion disable"


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Returns when it holds; asks a hundred times a second."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - processes have no event for it
            await trio.sleep(0.01)


async def followed_rows(local: LocalSetup, rows: int = 3) -> Ledger:
    """Rows on the leader that follower1 shows."""
    leader = local.client("leader")
    await make_table(leader, local.database)
    await local.attach("follower1")
    await local.until_followed("follower1")
    ledger = Ledger(local.database, "gate")
    response = await leader.ingest(local.database, "T", ledger.payload(rows))
    await local.wait_for("follower1", local.position(response))
    assert await count(local.client("follower1"), local.database) == rows
    return ledger


async def ingest_more(local: LocalSetup, ledger: Ledger) -> object:
    response = await local.client("leader").ingest(local.database, "T", ledger.payload())
    return local.position(response)


async def numbers(client: Client, database: str) -> list[int]:
    """The rows that are visible now, each as often as it is there."""
    result = await client.query(database, "T | project Number")
    return sorted(result.table.column(0).to_pylist())


async def lapse(local: LocalSetup, cluster: str) -> None:
    """Returns when the coordinator has seen the lease of a cluster's node run out."""

    async def is_gone() -> bool:
        for entry in (await local.status()).clusters:
            if entry.name == cluster:
                return not entry.nodes[0].alive
        return False

    await until(is_gone)


async def test_a_follower_stopped_over_its_lease_shows_nothing_before_a_new_one(
    local_setup: LocalSetup,
) -> None:
    """Turned off while it stands still: the first answer after it goes on must be empty."""
    await followed_rows(local_setup)
    await local_setup.pause("follower1/0")
    await lapse(local_setup, "follower1")
    done = await local_setup.capability("follower1", on=False)
    assert done.certainty != coordinator_pb2.CERTAINTY_CONFIRMED
    answers: list[int] = []
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(await count(local_setup.client("follower1"), local_setup.database))

        for _ in range(5):
            nursery.start_soon(ask)  # they wait in the stopped process's socket
        await local_setup.resume("follower1/0")
    assert answers == [0] * 5


async def test_a_leader_stopped_over_its_lease_goes_on_with_nothing_lost(
    local_setup: LocalSetup,
) -> None:
    ledger = await followed_rows(local_setup)
    await local_setup.pause("leader/0")
    await lapse(local_setup, "leader")
    follower = local_setup.client("follower1")
    assert await count(follower, local_setup.database) == 3, "its own grant and lease allow it"
    done = await local_setup.capability("follower1", on=False)
    assert done.certainty == coordinator_pb2.CERTAINTY_CONFIRMED
    await local_setup.resume("leader/0")
    position = await ingest_more(local_setup, ledger)
    assert await count(follower, local_setup.database) == 0
    await local_setup.capability("follower1", on=True)
    await local_setup.wait_for("follower1", position)
    assert await count(follower, local_setup.database) == 6


async def test_a_coordinator_stopped_over_the_lease_closes_and_opens_again(
    local_setup: LocalSetup,
) -> None:
    ledger = await followed_rows(local_setup)
    follower = local_setup.client("follower1")
    await local_setup.pause("coordinator")

    async def is_hidden() -> bool:
        try:
            return await count(follower, local_setup.database) == 0
        except UnavailableError:  # it closed while the answer was being sent
            return False

    await until(is_hidden)
    result = await follower.query(local_setup.database, "T | count")
    assert "lease" in result.hidden_reason
    position = await ingest_more(local_setup, ledger)
    await local_setup.resume("coordinator")
    await local_setup.wait_for("follower1", position)
    assert await count(follower, local_setup.database) == 6


async def test_an_answer_being_sent_when_the_gate_closes_is_not_finished(
    local_setup: LocalSetup,
) -> None:
    """The rows of an answer that leave after off was acknowledged must be none."""
    await followed_rows(local_setup)
    follower = local_setup.client("follower1")
    seen_after: list[int] = []
    acknowledged = trio.Event()

    async def ask(barrier: trio.Event) -> None:
        while not acknowledged.is_set():
            try:
                result = await follower.query(local_setup.database, "T | project Number")
            except RemoraError:
                continue  # it was called back
            if acknowledged.is_set():
                # Sent or computed before, it may arrive now; asked after, it may not.
                break
            barrier.set()
            assert result.table.num_rows in (0, 3)
        seen_after.append(await count(follower, local_setup.database))

    barriers = [trio.Event() for _ in range(4)]
    async with trio.open_nursery() as nursery:
        for barrier in barriers:
            nursery.start_soon(ask, barrier)
        for barrier in barriers:
            await barrier.wait()
        done = await local_setup.capability("follower1", on=False)
        acknowledged.set()
    assert done.certainty == coordinator_pb2.CERTAINTY_CONFIRMED
    assert seen_after == [0] * 4


async def test_off_of_a_leader_is_done_when_its_rows_are_in_extents(
    local_setup: LocalSetup,
) -> None:
    """Refused while a policy is enabled, with its tables; then nothing is left in row stores."""
    ledger = await followed_rows(local_setup)
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    with pytest.raises(
        ConflictError, match="the streaming ingestion policy is enabled on"
    ) as raised:
        await local_setup.capability("leader", on=False)
    assert f"{local_setup.database}.T" in raised.value.metadata["tables"].split(", ")
    position = await ingest_more(local_setup, ledger)
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            try:
                done = await local_setup.capability("leader", on=False)
            except ConflictError as error:
                for name in error.metadata["tables"].split(", "):  # other tests' among them
                    database, _, table = name.partition(".")
                    await leader.command(database, DISABLED.format(table=table))
                await trio.sleep(0.01)  # the report of it is on its way
            else:
                break
    assert done.certainty == coordinator_pb2.CERTAINTY_CONFIRMED
    status = await local_setup.status()
    (entry,) = (cluster for cluster in status.clusters if cluster.name == "leader")
    assert (entry.phase, list(entry.waiting_for)) == ("off", [])
    shown = await leader.command(local_setup.database, ".show table T extents")
    assert sum(shown.table.column("RowCount").to_pylist()) == 6
    with pytest.raises(RemoraError):
        await leader.ingest(local_setup.database, "T", b"2026-11-21,one,1,s\n")
    await local_setup.wait_for("follower1", position)
    assert await numbers(follower, local_setup.database) == list(range(6))
    await local_setup.capability("follower1", on=False)

    async def is_sealed_there() -> bool:
        return await numbers(follower, local_setup.database) == list(range(6))

    await until(is_sealed_there)  # as extents, which follow without the capability


async def test_an_old_copy_of_the_coordinators_data_closes_and_is_adopted(
    local_setup: LocalSetup, processes: tuple[Launcher, Setup]
) -> None:
    _, setup = processes
    await followed_rows(local_setup)
    follower = local_setup.client("follower1")
    await local_setup.kill("coordinator")
    copy = setup.coordinator.data.with_name("coordinator-copy")
    shutil.copytree(setup.coordinator.data, copy)
    await local_setup.start("coordinator")
    await local_setup.capability("follower1", on=False)
    assert await count(follower, local_setup.database) == 0
    await local_setup.kill("coordinator")
    shutil.rmtree(setup.coordinator.data)
    copy.rename(setup.coordinator.data)
    await local_setup.start("coordinator")

    async def is_in_doubt() -> bool:
        assert await count(follower, local_setup.database) == 0
        return bool((await local_setup.status()).doubt)

    await until(is_in_doubt)
    with pytest.raises(ConflictError, match="copy of its data"):
        await local_setup.capability("follower1", on=True)

    async def says_why() -> bool:
        result = await follower.query(local_setup.database, "T | count")
        assert result.scalar() == 0
        return "copy of its data" in result.hidden_reason

    await until(says_why)
    await local_setup.adopt()

    async def is_decided() -> bool:
        try:
            await local_setup.capability("follower1", on=True)
        except ConflictError:
            return False
        return await count(follower, local_setup.database) == 3

    await until(is_decided)
