"""The fixtures of the pytest plugin, used as anybody's tests use them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import trio

from cluster.errors import (
    EntityNotFoundError,
    InvalidRequestError,
    RemoraError,
    RowStoreReadOnlyError,
    TableNotFoundError,
    TimedOutError,
)

if TYPE_CHECKING:
    from cluster.testing.kusto import Kusto, KustoPair
    from cluster.testing.kusto_faults import KustoFaults

pytestmark = pytest.mark.process

TABLE = ".create table T (A: long)"


def test_a_database_is_fresh_and_called_as_it_says(kusto_cluster: Kusto) -> None:
    with pytest.raises(TableNotFoundError):
        kusto_cluster.ingest("T", [(1,)])
    result = kusto_cluster.command(".show database schema")
    assert {row[0] for row in result.rows()} == {kusto_cluster.database}


def test_a_dropped_database_is_no_trouble(kusto_pair: KustoPair) -> None:
    kusto_pair.detach()
    kusto_pair.leader.command(f".drop database {kusto_pair.database}")


def test_waiting_ends_with_what_was_missing(kusto_cluster: Kusto) -> None:
    kusto_cluster.command(TABLE)
    kusto_cluster.ingest("T", [(1,)])
    assert kusto_cluster.wait_for_rows("T", 1) == 1
    with pytest.raises(TimedOutError, match="of 2 rows on cluster 'leader'"):
        kusto_cluster.wait_for_rows("T", 2, timeout_seconds=0.05)
    with pytest.raises(TimedOutError, match="'Missing' had 0 of 1 rows"):
        kusto_cluster.wait_for_rows("Missing", 1, timeout_seconds=0.05)


def test_rows_of_somebody_else_are_waited_for(kusto_cluster: Kusto) -> None:
    async def both() -> int:
        waiting = asyncio.create_task(kusto_cluster.aio.wait_for_rows("T", 2))
        await kusto_cluster.aio.command(TABLE)
        await kusto_cluster.aio.ingest("T", [(1,), (2,)])
        return await waiting

    assert asyncio.run(both()) == 2


async def test_a_position_of_the_leader_is_waited_for_in_the_follower(
    kusto_pair: KustoPair,
) -> None:
    await kusto_pair.leader.aio.command(TABLE)
    await kusto_pair.aio.wait_until_followed()
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(kusto_pair.leader.aio.ingest, "T", [(number,)])
    position = await kusto_pair.leader.aio.position()
    result = await kusto_pair.follower.aio.query("T | count", at_least=position)
    assert result.scalar() == 10


@pytest.mark.kusto(follower_streaming=False)
def test_streaming_is_turned_on_in_a_test(kusto_pair: KustoPair) -> None:
    kusto_pair.leader.command(TABLE)
    kusto_pair.leader.ingest("T", [(1,)])
    kusto_pair.wait_until_followed()
    assert kusto_pair.follower.query("T | count").scalar() == 0
    kusto_pair.set_streaming("follower", on=True)
    kusto_pair.wait_until_followed()
    assert kusto_pair.follower.query("T | count").scalar() == 1


def test_streaming_is_as_the_marker_says_again(kusto_pair: KustoPair) -> None:
    kusto_pair.leader.command(TABLE)
    kusto_pair.leader.ingest("T", [(1,)])
    kusto_pair.wait_until_followed()
    assert kusto_pair.follower.query("T | count").scalar() == 1


def test_a_detached_follower_has_nothing_until_it_is_attached(kusto_pair: KustoPair) -> None:
    kusto_pair.detach()
    with pytest.raises(RemoraError):
        kusto_pair.follower.query("print 1")
    kusto_pair.attach()
    assert kusto_pair.follower.query("print 1").scalar() == 1


def test_a_stall_keeps_rows_back_until_it_is_cleared(
    kusto_faults: KustoFaults, kusto_pair: KustoPair
) -> None:
    kusto_pair.leader.command(TABLE)
    kusto_pair.wait_until_followed()
    fault = kusto_faults.stall()
    written = kusto_pair.leader.ingest("T", [(1,)])
    with pytest.raises(TimedOutError, match="follower"):
        kusto_pair.follower.wait_for(written.position, timeout_seconds=0.1)
    fault.clear()
    fault.clear()  # over already
    kusto_pair.follower.wait_for(written.position)


def test_a_paused_process_and_a_full_disk_are_healed(
    kusto_cluster: Kusto, kusto_faults: KustoFaults
) -> None:
    kusto_cluster.command(TABLE)
    kusto_faults.disk_full("leader")
    with pytest.raises(RowStoreReadOnlyError):
        kusto_cluster.ingest("T", [(1,)])
    kusto_faults.pause("follower")
    kusto_faults.kill("coordinator")
    kusto_faults.heal()
    kusto_cluster.ingest("T", [(2,)])
    assert kusto_cluster.query("T").rows() == [(2,)]
    kusto_faults.kill("leader")  # left to the end of the test


def test_what_the_last_test_broke_is_whole(kusto_pair: KustoPair) -> None:
    kusto_pair.leader.command(TABLE)
    kusto_pair.wait_until_followed()


def test_a_fault_that_fits_nothing_is_refused(kusto_faults: KustoFaults) -> None:
    with pytest.raises(EntityNotFoundError, match="leader2"):
        kusto_faults.slow_fsync(0.1, "leader2")
    with pytest.raises(InvalidRequestError, match="does not fit"):
        kusto_faults.add("stall", "leader")
