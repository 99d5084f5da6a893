"""Following on real processes, seen from inside: what a leader sends, and what it does not.

The leader's extents are in a bucket for which only the leader has the keys.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import trio
from rows import TABLE, Ledger, count, make_table
from storage_services import Moto
from test_faults import acked, streaming
from watching import Watched, launch_watched

from cluster.cli.status import read_status
from cluster.launcher.topology import ClusterSpec, Topology
from cluster.testing.local import LocalSetup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cluster.client import Client
    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup

pytestmark = pytest.mark.process

LEASE_SECONDS = 2.0
LIMITS = {
    "lease_seconds": LEASE_SECONDS,
    "heartbeat_seconds": 0.25,
    "upkeep_check_seconds": 0.5,
    "storage_attempts": 2,
    "catalog_history_deltas": 8,
    "replication_window_bytes": 1024 * 1024,
}

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Launcher, Setup]]:
    service = Moto()
    leader = ClusterSpec(
        "leader", streaming_ingestion=True, limits=LIMITS, storage_root=service.url
    )
    follower = ClusterSpec("follower1", streaming_ingestion=True, limits=LIMITS)
    topology = Topology(clusters=(leader, follower), limits=LIMITS)

    async def start() -> tuple[Launcher, Setup]:
        folder = tmp_path_factory.mktemp("watched")
        return await launch_watched(folder, topology, {"leader/0": service.options})

    launcher, setup = trio.run(start)
    yield launcher, setup
    trio.run(launcher.destroy)
    service.end()


@pytest.fixture
async def local(watched: tuple[Launcher, Setup]) -> AsyncIterator[LocalSetup]:
    launcher, setup = watched
    async with LocalSetup.connected(launcher, setup, database=f"W{next(_numbers)}") as local:
        await make_table(local.client("leader"), local.database)
        await local.attach("follower1")
        await local.until_followed("follower1")
        yield local


async def details(local: LocalSetup) -> dict[str, Any]:
    """What the follower says of the database."""
    command = f".show follower database {local.database} details"
    (row,) = (await local.client("follower1").command(local.database, command)).table.to_pylist()
    return dict(row)


async def seal(client: Client, local: LocalSetup) -> int:
    """Seals the table; returns how many rows there were to seal."""
    result = await client.command(local.database, f".seal table {TABLE}")
    return sum(result.table.column("RowCount").to_pylist())


async def ingested(local: LocalSetup, ledger: Ledger, payloads: int) -> Any:
    """So many acknowledged payloads; returns the position after them."""
    writer = ledger.writer(local.channel("leader"))
    async with writer:
        for _ in range(payloads):
            await writer.send(ledger.payload())
        await writer.drain()
    return writer.statistics().position


async def test_sealed_rows_come_through_the_leader_where_its_root_cannot_be_read(
    watched: tuple[Launcher, Setup], local: LocalSetup
) -> None:
    leader, follower = local.client("leader"), local.client("follower1")
    there, here = Watched(watched[1], "leader"), Watched(watched[1], "follower1")
    ledger = Ledger(local.database, "fetched")
    await local.wait_for("follower1", await ingested(local, ledger, 20))
    before, before_here = await there.fresh(), await here.fresh()
    assert await seal(leader, local) == 60
    result = await leader.query(local.database, f"{TABLE} | count")
    await local.wait_for("follower1", result.position)
    await ledger.assert_each_once(follower, result.position)
    shown = await leader.command(local.database, f".show table {TABLE} extents")
    size = sum(shown.table.column("CompressedSize").to_pylist())
    extents = shown.table.num_rows
    after, after_here = await there.fresh(), await here.fresh()
    assert after["extents_sent"] - before["extents_sent"] == extents
    assert after["extent_bytes_sent"] - before["extent_bytes_sent"] >= size
    assert after_here["fetched"] - before_here["fetched"] == extents
    assert after["records_sent"] == before["records_sent"], "not as rows"


async def test_a_copy_that_was_damaged_is_fetched_again(
    watched: tuple[Launcher, Setup], local: LocalSetup
) -> None:
    leader, follower = local.client("leader"), local.client("follower1")
    ledger = Ledger(local.database, "damaged")
    await local.wait_for("follower1", await ingested(local, ledger, 5))
    await seal(leader, local)
    position = (await leader.query(local.database, f"{TABLE} | count")).position
    await local.wait_for("follower1", position)
    await ledger.assert_each_once(follower, position)
    await local.kill("follower1/0")
    folder = watched[1].node_of("follower1").data / "extent-cache"
    copies = [path for path in folder.iterdir() if path.is_file()]
    assert copies
    for path in copies:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    await local.start("follower1/0")
    await local.wait_for("follower1", position)
    await ledger.assert_each_once(follower, position)
    found = await Watched(watched[1], "follower1").fresh()
    assert found["corrupt"] > 0
    assert found["fetched"] > 0


async def test_prefetched_files_are_there_before_a_query_wants_them(
    watched: tuple[Launcher, Setup], local: LocalSetup
) -> None:
    leader, follower = local.client("leader"), local.client("follower1")
    here = Watched(watched[1], "follower1")
    before = await here.fresh()
    command = f".alter follower database {local.database} prefetch-extents = true"
    await follower.command(local.database, command)
    ledger = Ledger(local.database, "prefetched")
    await local.wait_for("follower1", await ingested(local, ledger, 5))
    await seal(leader, local)
    found = await here.until(lambda now: now["prefetched"] > before["prefetched"])
    position = (await leader.query(local.database, f"{TABLE} | count")).position
    await local.wait_for("follower1", position)
    await ledger.assert_each_once(follower, position)
    after = await here.fresh()
    assert after["fetched"] == found["fetched"], "the query fetched nothing more"


async def test_a_killed_follower_goes_on_from_its_own_position(
    watched: tuple[Launcher, Setup], local: LocalSetup
) -> None:
    leader, follower = local.client("leader"), local.client("follower1")
    there, name = Watched(watched[1], "leader"), f"follower1/{local.database}"
    ledger = Ledger(local.database, "killed")

    async def one_by_one(payloads: int) -> Any:
        """A record each."""
        for _ in range(payloads):
            answer = await leader.ingest(local.database, TABLE, ledger.payload())
        ledger.acked.update(range(ledger.next_number))
        return local.position(answer)

    await local.wait_for("follower1", await one_by_one(40))
    await local.kill("follower1/0")
    await there.until(lambda now: name not in now["sessions"])
    position = await one_by_one(7)
    before = await there.fresh()
    await local.start("follower1/0")
    await local.wait_for("follower1", position)
    await ledger.assert_each_once(follower, position)
    after = await there.fresh()
    assert after["records_sent"] - before["records_sent"] == 7, "only what was missing"
    assert after["sessions"][name]["snapshots_sent"] == 0
    here = await Watched(watched[1], "follower1").fresh()
    assert here["followed"][local.database]["copies_dropped"] == 0
    assert here["followed"][local.database]["snapshots"] == 0


@pytest.mark.timeout(120)
async def test_a_stopped_follower_is_left_and_comes_back_by_itself(
    watched: tuple[Launcher, Setup], local: LocalSetup
) -> None:
    """While it is stopped the leader streams, seals and merges, beyond the history it keeps."""
    leader, follower = local.client("leader"), local.client("follower1")
    there, name = Watched(watched[1], "leader"), f"follower1/{local.database}"
    ledger = Ledger(local.database, "stopped")
    most = 0
    async with streaming(local, ledger) as writer:
        await acked(writer, ledger, 60)
        await local.pause("follower1/0")
        try:
            with trio.fail_after(LEASE_SECONDS + 10):
                while name in (now := await there.fresh())["sessions"]:
                    most = max(most, now["sessions"][name]["bytes_unacknowledged"])
            for _ in range(int(LIMITS["catalog_history_deltas"]) + 1):
                await acked(writer, ledger, 30)
                await seal(leader, local)
            extents = (
                (await leader.command(local.database, f".show table {TABLE} extents"))
                .table.column("ExtentId")
                .to_pylist()
            )
            await leader.command(
                local.database,
                f".merge {TABLE} ({', '.join(str(UUID(bytes=one)) for one in extents)})",
            )
            gone = await there.fresh()
        finally:
            await local.resume("follower1/0")
        await acked(writer, ledger, 30)
    position = writer.statistics().position
    await local.wait_for("follower1", position)
    await ledger.assert_each_once(follower, position)
    assert await count(follower, local.database) == ledger.next_number
    assert most <= LIMITS["replication_window_bytes"]
    assert name not in gone["sessions"]
    after = await there.fresh()
    assert after["sessions"][name]["snapshots_sent"] == 1, "the history does not go that far back"


async def test_details_and_status_say_the_same(
    watched: tuple[Launcher, Setup], local: LocalSetup
) -> None:
    ledger = Ledger(local.database, "details")
    await local.wait_for("follower1", await ingested(local, ledger, 3))
    found = await details(local)
    assert (found["Gate"], found["IsConnected"], found["RowsVisible"]) == ("open", True, 9)
    assert json.loads(found["Position"]) == {TABLE: 9}
    await local.capability("follower1", on=False)
    found = await details(local)
    assert (found["Gate"], found["RowsVisible"]) == ("closed", 0)
    assert found["Reason"]

    with trio.fail_after(10):
        while True:
            view = await read_status(watched[0].home.load(watched[1].name))
            (cluster,) = (one for one in view["clusters"] if one["name"] == "follower1")
            (told,) = (one for one in cluster["attachments"] if one["database"] == local.database)
            if told["gate"] == "closed":
                break
            await trio.sleep(0.1)
    assert (found["Reason"], found["Epoch"]) == (told["refusal"], told["epoch"])
