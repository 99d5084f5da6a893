"""The storage engine on real processes, through its commands: the same answers all the way."""

from __future__ import annotations

import contextlib
import random
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import trio
from rows import Ledger, count, make_table

from cluster.errors import CanceledError, EntityNotFoundError, ReadOnlyError, TransientError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cluster.client import Client
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

SHOWN = [
    ".show rowstores",
    ".show rowstore RowStore-0",
    ".show rowstore transactions",
    ".show rowstore seals 'T'",
    ".show table T rowstores",
    ".show table T rowstore_references",
    ".show table T rowstore_sealinfo",
    ".show table T extents",
    ".show table T extents metadata",
    ".show database extents hot",
    ".show cluster extents where tags !has 'x'",
    ".show database extent tags statistics",
    ".show table T data statistics",
    ".show operations",
    ".show data operations",
    ".show ingestion failures",
    ".show streamingingestion statistics",
    ".show streamingingestion failures",
    ".show queries",
    ".show running queries",
    ".show commands",
    ".show commands-and-queries",
    ".show cache",
    ".show diagnostics",
    ".show cluster services",
    ".show cluster details",
    ".show capacity",
]


async def until_count(client: Client, database: str, wanted: int) -> None:
    """Waits until the table has that many rows."""
    for _ in range(400):
        seen = await count(client, database)
        if seen == wanted:
            return
        await trio.sleep(0.05)
    raise AssertionError(f"{seen} rows, never {wanted}")


async def shown(client: Client, database: str, command: str) -> list[dict[str, Any]]:
    """The rows of a command by column."""
    return (await client.command(database, command)).table.to_pylist()


@dataclass
class Rows:
    """What a test has streamed, each time from a new source: sources number their requests."""

    local: LocalSetup
    ledgers: list[Ledger] = field(default_factory=list)

    async def stream(self, payloads: int = 3) -> Any:
        """Streams three rows a payload; returns the position that has them."""
        ledger = Ledger(self.local.database, f"source-{len(self.ledgers)}")
        self.ledgers.append(ledger)
        async with ledger.writer(self.local.channel("leader")) as writer:
            for _ in range(payloads):
                await writer.send(ledger.payload())
            await writer.drain()
        return writer.statistics().position

    async def assert_each_once(self, *clients: Client) -> None:
        """Every row is visible exactly once."""
        for client in clients:
            for ledger in self.ledgers:
                await ledger.assert_each_once(client, None)


async def followed(local: LocalSetup, *names: str) -> None:
    for name in names:
        await local.attach(name)
        await local.until_followed(name)


@asynccontextmanager
async def watched(clients: list[Client], database: str) -> AsyncIterator[list[set[int]]]:
    """What each of them counts while the body runs, and once at least."""
    seen: list[set[int]] = [set() for _ in clients]
    counted = [trio.Event() for _ in clients]

    async def watch(number: int) -> None:
        while True:
            seen[number].add(await count(clients[number], database))
            counted[number].set()

    async with trio.open_nursery() as nursery:
        for number in range(len(clients)):
            nursery.start_soon(watch, number)
        yield seen
        for event in counted:
            await event.wait()
        nursery.cancel_scope.cancel()


async def test_a_seal_changes_no_answer_but_where_streaming_is_off(
    local_setup: LocalSetup,
) -> None:
    leader, follower, closed = (
        local_setup.client(name) for name in ("leader", "follower1", "follower2")
    )
    database = local_setup.database
    await make_table(leader, database)
    await followed(local_setup, "follower1", "follower2")
    rows = Rows(local_setup)
    position = await rows.stream()
    await local_setup.wait_for("follower1", position)
    assert await count(closed, database) == 0
    async with watched([leader, follower], database) as seen:
        (sealed,) = await shown(leader, database, ".seal table T")
        await until_count(closed, database, 9)
    assert seen == [{9}, {9}]
    assert (sealed["TableName"], sealed["RowCount"]) == ("T", 9)
    await rows.stream()
    await until_count(follower, database, 18)
    assert await count(closed, database) == 9
    assert [r["RowCount"] for r in await shown(leader, database, ".seal database")] == [9]
    await until_count(closed, database, 18)
    assert await shown(leader, database, ".seal table T") == []
    for client in (leader, follower, closed):
        await rows.assert_each_once(client)
        extents = await shown(client, database, ".show table T extents")
        assert sum(extent["RowCount"] for extent in extents) == 18
        assert all(r["IsSealed"] for r in await shown(client, database, ".show table T rowstores"))
    with pytest.raises(ReadOnlyError):
        await follower.command(database, ".seal table T")


async def test_extents_merge_take_tags_move_and_go(local_setup: LocalSetup) -> None:
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    database = local_setup.database
    await make_table(leader, database)
    await followed(local_setup, "follower1")
    rows = Rows(local_setup)
    for _ in range(3):
        await rows.stream(payloads=1)
        await leader.command(database, ".seal table T")
    extents = await shown(leader, database, ".show table T extents")
    assert [extent["RowCount"] for extent in extents] == [3, 3, 3]
    await until_count(follower, database, 9)

    ids = await leader.command(database, ".show table T extents | project x = tostring(ExtentId)")
    first, second, third = (row[0] for row in ids.rows())
    async with watched([leader, follower], database) as seen:
        merged = await shown(leader, database, f".merge T ({first}, {second})")
    assert seen == [{9}, {9}]
    assert [row["OriginalExtentId"] for row in merged] == [first, second]
    assert len({row["ResultExtentId"] for row in merged}) == 1

    (tagged,) = await shown(
        leader, database,
        ".alter table T extent tags ('drop-by:x') <| .show table T extents | where RowCount == 3",
    )  # fmt: skip
    assert (tagged["OriginalExtentId"], tagged["ResultExtentTags"]) == (third, "drop-by:x")
    drop = "<| .show table T extents where tags has 'drop-by:x'"
    await leader.command(database, f".create table U ({(await _schema(leader, database))})")
    assert len(await shown(leader, database, f".drop extents whatif {drop}")) == 1
    (moved,) = await shown(
        leader, database, ".move extents to table U <| T | where Source == 'source-2' | "
        "distinct ExtentId = extent_id(), TableName = 'T'",
    )  # fmt: skip
    assert moved["OriginalExtentId"] == tagged["ResultExtentId"]
    await until_count(follower, database, 6)
    await leader.command(database, ".move extents all from table U to table T")
    await until_count(follower, database, 9)
    (dropped,) = await shown(leader, database, f".drop extents {drop}")
    assert dropped["TableName"] == "T"
    await until_count(follower, database, 6)
    with pytest.raises(EntityNotFoundError):
        await leader.command(database, f".drop extent {third}")


async def _schema(client: Client, database: str) -> str:
    return str((await shown(client, database, ".show table T cslschema"))[0]["Schema"])


async def test_clear_in_the_background_and_its_operation(local_setup: LocalSetup) -> None:
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    database = local_setup.database
    await make_table(leader, database)
    await followed(local_setup, "follower1")
    rows = Rows(local_setup)
    await rows.stream()
    await leader.command(database, ".seal table T")
    await rows.stream()
    started = await leader.command(database, ".clear async table T data")
    operation = uuid.UUID(bytes=started.scalar())
    await until_count(leader, database, 0)
    await until_count(follower, database, 0)
    found = await shown(
        leader, database, f".show operations {operation} | project State, Operation"
    )
    assert found == [{"State": "Completed", "Operation": "TableDataClear"}]
    details = await leader.command(database, f".show operation {operation} details")
    assert details.columns == (("Status", "string"),)
    assert details.rows() == [("Succeeded",)]


@pytest.mark.slow
async def test_nothing_is_lost_or_doubled_when_the_leader_dies_between(
    local_setup: LocalSetup,
) -> None:
    leader, follower, closed = (
        local_setup.client(name) for name in ("leader", "follower1", "follower2")
    )
    database = local_setup.database
    await make_table(leader, database)
    await followed(local_setup, "follower1", "follower2")
    rows = Rows(local_setup)
    for _ in range(3):
        await rows.stream()
        await leader.command(database, ".seal table T")
        await rows.stream(payloads=2)
        await local_setup.kill("leader/0")
        await local_setup.start("leader/0")
    for client in (leader, follower):
        await until_count(client, database, 45)
    await rows.assert_each_once(leader, follower)
    await leader.command(database, ".seal table T")
    await until_count(closed, database, 45)
    await rows.assert_each_once(closed)
    await local_setup.kill("follower1/0")
    await local_setup.start("follower1/0")
    await until_count(follower, database, 45)
    await rows.assert_each_once(follower)


@pytest.mark.slow
async def test_the_leader_dies_while_it_seals(local_setup: LocalSetup) -> None:
    chance = random.Random(20261121)
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    database = local_setup.database
    await make_table(leader, database)
    await followed(local_setup, "follower1")
    rows = Rows(local_setup)

    async def seal() -> None:
        with contextlib.suppress(TransientError):  # whether it was done is not known
            await leader.command(database, ".seal table T")

    for _ in range(6):
        await rows.stream()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seal)
            await trio.sleep(chance.uniform(0.0, 0.05))
            await local_setup.kill("leader/0")
        await local_setup.start("leader/0")
    for client in (leader, follower):
        await until_count(client, database, 54)
    await rows.assert_each_once(leader, follower)


async def test_retention_reaches_followers(local_setup: LocalSetup) -> None:
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    database = local_setup.database
    await make_table(leader, database)
    await followed(local_setup, "follower1")
    await Rows(local_setup).stream()
    await leader.command(database, ".seal table T")
    await until_count(follower, database, 9)
    await leader.command(
        database, ".alter-merge table T policy retention softdelete = 1s recoverability = disabled"
    )
    await until_count(leader, database, 0)
    await until_count(follower, database, 0)


async def test_what_a_node_shows_of_itself(local_setup: LocalSetup) -> None:
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    database = local_setup.database
    await make_table(leader, database)
    await followed(local_setup, "follower1")
    rows = Rows(local_setup)
    await rows.stream()
    await leader.command(database, ".seal table T")
    position = await rows.stream()
    await local_setup.wait_for("follower1", position)
    for client in (leader, follower):
        for command in SHOWN:
            table = (await client.command(database, command)).table
            piped = (await client.command(database, f"{command} | count")).scalar()
            # What these list grows by the commands that look at them.
            if "operations" not in command and "commands" not in command:
                assert piped == table.num_rows, command
    ((kind, row_count),) = (
        await leader.command(
            database,
            f".show data operations | where Database == '{database}' "
            "| project OperationKind, RowCount",
        )
    ).rows()
    assert (kind, row_count) == ("RowStoreSeal", 9)
    (sealed,) = await shown(leader, database, ".show rowstore seals 'T'")
    assert sealed["Reason"] == "Command"
    statistics = await shown(leader, database, ".show streamingingestion statistics")
    mine = [row for row in statistics if row["Database"] == database]
    assert sum(row["TotalRowCount"] for row in mine) == 18
    assert {row["IngestionStatus"] for row in mine} == {"Success"}
    for client in (leader, follower):
        found = await shown(client, database, ".show table T rowstores")
        assert sum(r["OrdinalTo"] - r["OrdinalFrom"] for r in found) == 18
        assert {row["IsSealed"] for row in found} == {False, True}
    (state,) = await shown(leader, database, ".show diagnostics")
    assert state["IsHealthy"]
    assert not state["IsRowStoreUnhealthy"]


async def test_a_query_is_canceled_by_its_activity(local_setup: LocalSetup) -> None:
    leader, database = local_setup.client("leader"), local_setup.database
    await make_table(leader, database)
    slow = (
        "range x from 1 to 100000000 step 1 | extend k = x % 1000 | join kind=inner (range y "
        "from 1 to 100000 step 1 | extend k = y % 1000) on k | summarize sum(x * y)"
    )
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(CanceledError):
                await leader.query(database, slow)

        nursery.start_soon(ask)
        running: list[dict[str, Any]] = []
        while not running:
            command = f".show running queries | where Database == '{database}'"
            running = await shown(leader, database, command)
        (query,) = running
        activity = query["ClientActivityId"]
        (row,) = await shown(leader, database, f".cancel query '{activity}'")
        assert row["RunningQueryCanceled"]
    (again,) = await shown(leader, database, f".cancel query '{activity}'")
    assert not again["RunningQueryCanceled"]
