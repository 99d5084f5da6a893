"""Attachments on real processes: names, sharing, all databases; detaching leaves nothing."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from rows import Ledger, count, make_table

from cluster.errors import ConflictError, DatabaseNotFoundError, RemoraError
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc, types_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from cluster.client import Client
    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

PATIENCE_SECONDS = 20.0
REATTACHMENTS = 6

Sharing = types_pb2.TableLevelSharing


class Attachments:
    """The coordinator's service, as a tool sees it."""

    def __init__(self, local: LocalSetup) -> None:
        self.local = local
        self.stub = coordinator_pb2_grpc.CoordinatorServiceStub(local.channel("coordinator"))

    async def put(self, name: str, **values: Any) -> coordinator_pb2.AttachmentConfigurationStatus:
        configuration = coordinator_pb2.AttachmentConfiguration(
            name=name,
            **{
                "follower_cluster": "follower1",
                "leader_cluster": "leader",
                "database": self.local.database,
                **values,
            },
        )
        request = coordinator_pb2.PutAttachmentConfigurationRequest(configuration=configuration)
        answer = await self.stub.PutAttachmentConfiguration(request, timeout=PATIENCE_SECONDS)
        return answer.status

    async def get(self, name: str) -> coordinator_pb2.AttachmentConfigurationStatus:
        request = coordinator_pb2.GetAttachmentConfigurationRequest(
            follower_cluster="follower1", name=name
        )
        answer = await self.stub.GetAttachmentConfiguration(request, timeout=PATIENCE_SECONDS)
        return answer.status

    async def delete(self, name: str) -> None:
        request = coordinator_pb2.DeleteAttachmentConfigurationRequest(
            follower_cluster="follower1", name=name
        )
        await self.stub.DeleteAttachmentConfiguration(request, timeout=PATIENCE_SECONDS)


@pytest.fixture
async def attachments(local_setup: LocalSetup) -> AsyncIterator[Attachments]:
    """Deletes every configuration of follower1 afterwards."""
    made = Attachments(local_setup)
    yield made
    request = coordinator_pb2.ListAttachmentConfigurationsRequest(follower_cluster="follower1")
    answer = await made.stub.ListAttachmentConfigurations(request, timeout=PATIENCE_SECONDS)
    for status in answer.configurations:
        await made.delete(status.configuration.name)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Returns when it holds."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - other processes tell no events
            await trio.sleep(0.02)


async def seen(client: Client, database: str, query: str) -> list[Any]:
    """The first column; nothing while the table or the database is not there."""
    try:
        result = await client.query(database, query)
    except RemoraError:
        return []
    return sorted(result.table.column(0).to_pylist())


async def databases(client: Client) -> set[str]:
    """The names a node shows."""
    result = await client.command("", ".show databases | project DatabaseName")
    return set(result.table.column(0).to_pylist())


def followed_files(setup: Setup, cluster: str) -> list[Path]:
    """What a follower keeps of databases it follows."""
    folder = setup.process(f"{cluster}/0").data / "followed"
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def make_tables(leader: Client, database: str, *tables: str) -> None:
    """Tables of one number each, streaming."""
    await leader.command("", f".create database {database} ifnotexists")
    for table in tables:
        await leader.command(database, f".create table {table} (Number: long)")
        await leader.command(database, f".alter table {table} policy streamingingestion enable")


async def test_what_is_shared_of_a_database_can_be_changed_while_it_is_followed(
    local_setup: LocalSetup, attachments: Attachments
) -> None:
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    database, here = local_setup.database, f"copy-of-{local_setup.database}"
    await make_tables(leader, database, "One", "Two", "LogsA", "LogsB")
    for table in ("One", "Two", "LogsA", "LogsB"):
        await leader.ingest(database, table, b"1\n")
    await leader.command(database, ".seal table Two")
    await leader.ingest(database, "Two", b"2\n")

    async def show() -> list[str]:
        result = await follower.command(here, ".show tables | project TableName")
        return sorted(result.table.column(0).to_pylist())

    async def shows(**wanted: list[int]) -> bool:
        try:
            tables = await show()
        except RemoraError:
            return False
        rows = {table: await seen(follower, here, table) for table in wanted}
        return tables == sorted(wanted) and rows == wanted

    status = await attachments.put(
        "part",
        database_name_override=here,
        sharing=Sharing(tables_to_include=["One", "Logs*"], tables_to_exclude=["LogsB"]),
    )
    assert status.attached[0].follower_database == here
    await until(lambda: shows(One=[1], LogsA=[1]))
    for text in ("Two", "LogsB", f"database('{here}').Two"):
        with pytest.raises(RemoraError):
            await follower.query(here, text)
    await make_tables(leader, database, "LogsC", "Other")
    await leader.ingest(database, "LogsC", b"3\n")
    await until(lambda: shows(One=[1], LogsA=[1], LogsC=[3]))
    # What is shared from now on arrives complete, what is not any more is gone when it is said.
    await attachments.put(
        "part", database_name_override=here, sharing=Sharing(tables_to_include=["Two"])
    )
    assert await show() in ([], ["Two"])
    with pytest.raises(RemoraError):
        await follower.query(here, "One")
    await until(lambda: shows(Two=[1, 2]))
    await leader.ingest(database, "One", b"4\n")
    await attachments.put("part", database_name_override=here)
    await until(lambda: shows(One=[1, 4], Two=[1, 2], LogsA=[1], LogsB=[1], LogsC=[3], Other=[]))
    with pytest.raises(ConflictError, match="database name override"):
        await attachments.put("part", database_name_override="Else")


async def test_a_star_follows_what_is_made_later_and_what_a_conflict_held_up(
    local_setup: LocalSetup,
    attachments: Attachments,
    processes: tuple[Launcher, Setup],
) -> None:
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    one, later = local_setup.database, f"{local_setup.database}Later"
    await make_tables(leader, one, "T")
    status = await attachments.put("all", database="*", database_name_prefix="p-")
    assert f"p-{one}" in {grant.follower_database for grant in status.attached}
    assert not status.unattached
    await make_tables(leader, later, "T")
    await leader.ingest(later, "T", b"7\n")
    await until(lambda: is_seen(follower, f"p-{later}", "T", [7]))
    # Without a prefix the database that every cluster has is in the way, for ever.
    await attachments.delete("all")
    status = await attachments.put("all", database="*")
    reasons = {item.database: item.reason for item in status.unattached}
    assert reasons == {
        "NetDefaultDB": "cluster 'follower1' has a database 'NetDefaultDB' of its own"
    }
    await until(lambda: is_seen(follower, later, "T", [7]))
    assert not any(name.startswith("p-") for name in await databases(follower))
    with pytest.raises(ConflictError, match="every database"):
        await local_setup_detach(attachments, one)
    await attachments.delete("all")
    assert {one, later}.isdisjoint(await databases(follower))
    await until(lambda: nothing_is_left(processes[1], "follower1"))


async def test_a_followed_database_is_dropped_only_after_it_is_detached(
    local_setup: LocalSetup, attachments: Attachments
) -> None:
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    database = local_setup.database
    await make_tables(leader, database, "T")
    await leader.ingest(database, "T", b"1\n")
    await attachments.put("one")
    await until(lambda: is_seen(follower, database, "T", [1]))
    with pytest.raises(ConflictError, match=r"it is followed by follower1\."):
        await leader.command("", f".drop database {database}")
    assert await seen(leader, database, "T") == [1]
    await leader.command(database, ".seal database")
    await attachments.delete("one")
    await leader.command("", f".drop database {database}")
    assert database not in await databases(leader)
    # Another one of the name has nothing of it, neither here nor there, nor after a restart.
    await make_tables(leader, database, "T")
    await leader.ingest(database, "T", b"2\n")
    await attachments.put("one")
    await until(lambda: is_seen(follower, database, "T", [2]))
    await local_setup.kill("leader/0")
    await local_setup.start("leader/0")
    assert await seen(leader, database, "T") == [2]


async def is_seen(client: Client, database: str, table: str, rows: list[int]) -> bool:
    return await seen(client, database, table) == rows


async def nothing_is_left(setup: Setup, cluster: str) -> bool:
    await trio.lowlevel.checkpoint()
    return not followed_files(setup, cluster)


async def local_setup_detach(attachments: Attachments, database: str) -> None:
    request = coordinator_pb2.DetachRequest(
        leader_cluster="leader", database=database, follower_cluster="follower1"
    )
    await attachments.stub.Detach(request, timeout=PATIENCE_SECONDS)


@asynccontextmanager
async def flooded(local: LocalSetup, ledger: Ledger) -> AsyncIterator[Any]:
    """Streams rows for as long as the block runs; afterwards every one is decided."""
    async with ledger.writer(local.channel("leader")) as writer, trio.open_nursery() as nursery:

        async def flood() -> None:
            while True:
                with trio.CancelScope(shield=True):
                    await writer.send(ledger.payload(50))
                await trio.lowlevel.checkpoint()

        nursery.start_soon(flood)
        yield writer
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await writer.drain()


async def test_attach_detach_and_attach_again_in_mid_transfer_leave_no_orphan(
    local_setup: LocalSetup,
    attachments: Attachments,
    processes: tuple[Launcher, Setup],
) -> None:
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    database = local_setup.database
    await make_table(leader, database)
    ledger = Ledger(database, "again")
    names = [f"{database}-{number % 2}" for number in range(REATTACHMENTS)]
    async with flooded(local_setup, ledger) as writer:
        for number, name in enumerate(names):
            if number % 3 == 2:
                await leader.command(database, ".seal database")
            await attachments.put("again", database_name_override=name)
            decided = len(ledger.acked)
            while len(ledger.acked) < decided + 1000:
                await writer.wait_decided()
            if number % 2:
                await until(lambda name=name: has_rows(follower, name))
            await attachments.delete("again")
            # Detached is detached when it is said, whatever was on its way.
            with pytest.raises(DatabaseNotFoundError):
                await follower.query(name, "T | count")
        await attachments.put("again")
    await local_setup.wait_for("follower1", writer.statistics().position)
    await ledger.assert_each_once(follower, writer.statistics().position)
    assert await count(follower, database) == ledger.next_number
    assert {database, *names} & await databases(follower) == {database}
    (folder,) = {path.parent for path in followed_files(processes[1], "follower1")}
    assert database.lower() in folder.name.lower()
    await attachments.delete("again")
    assert not {database, *names} & await databases(follower)
    await until(lambda: nothing_is_left(processes[1], "follower1"))


async def has_rows(client: Client, database: str) -> bool:
    return bool(await seen(client, database, "T | take 1 | project Number"))
