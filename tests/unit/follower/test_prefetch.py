"""prefetch-extents: files are asked for before the metadata that names them is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from follow_cluster import running

from cluster.catalog.changes import ReplaceExtents
from cluster.catalog.following import Sharing
from cluster.limits import LIMITS


class Files:
    """What was asked for, and what was visible meanwhile."""

    def __init__(self, setup):
        self.setup = setup
        self.asked = []
        self.seen = []
        self.seconds = 12.0
        """Longer than a lease."""

    async def __call__(self, database, extents):
        self.asked.append((database.name, [extent.extent_id for extent in extents]))
        await trio.sleep(self.seconds)
        follower = self.setup.follower
        shown = follower.catalog.get("db").tables["T"].extents
        assert not any(extent.extent_id in shown for extent in extents)
        self.seen.append(follower.numbers())


@pytest.fixture
async def files(setup):
    """A follower that has been told to prefetch."""
    await setup.follower.until(lambda node: node.database and node.database.copy.is_stored)
    await setup.follower.stop()
    setup.follower.prefetch = files = Files(setup)
    await setup.follower.start()
    await prefetch(setup, on=True)
    return files


async def prefetch(setup, *, on):
    await setup.follower.catalog.set_following("db", lambda now: replace(now, prefetch_extents=on))


async def shown(setup, extents):
    wanted = {extent.extent_id for extent in extents}
    await setup.follower.until(
        lambda node: set(node.catalog.get("db").tables["T"].extents) == wanted
    )


async def test_nothing_is_asked_for_by_default(autojump_clock, setup, files):
    await prefetch(setup, on=False)
    await setup.leader.ingest([1, 2])
    await shown(setup, [await setup.leader.seal()])
    await setup.follower.shows([1, 2])
    assert files.asked == []


async def test_files_come_first_and_rows_stay_visible_meanwhile(autojump_clock, setup, files):
    await setup.leader.ingest([1, 2])
    await setup.follower.shows([1, 2])
    sessions = setup.leader.service.statistics().sessions_total
    extent = await setup.leader.seal()
    await setup.leader.ingest([3])
    await shown(setup, [extent])
    await setup.follower.shows([1, 2, 3])
    assert files.asked == [("db", [extent.extent_id])]
    assert files.seen == [[1, 2]], "streamed as before; what comes later waits"
    await trio.sleep(10)
    assert setup.leader.service.statistics().sessions_total == sessions, "no end takes it for death"


async def test_what_is_merged_and_what_is_of_tables_not_shared(autojump_clock, setup, files):
    await setup.leader.create_table("Secret")
    await setup.leader.ingest([1])
    await setup.leader.ingest([9], "Secret")
    setup.decide(sharing=Sharing(tables_to_exclude=("Secret",)))
    setup.tell()
    await setup.follower.until(lambda node: node.tables() == ["T"])
    await setup.leader.seal("Secret")
    first = await setup.leader.seal()
    await shown(setup, [first])
    merged = replace(first, extent_id=setup.leader.catalog.new_id(), file="db/merged.parquet")
    setup.leader.sealed[merged.extent_id] = [1]
    change = ReplaceExtents("T", (first.extent_id,), (merged,))
    await setup.leader.catalog.commit("db", [change], text="")
    await shown(setup, [merged])
    assert files.asked == [("db", [first.extent_id]), ("db", [merged.extent_id])]


async def test_a_snapshot_brings_what_was_missed(autojump_clock, tmp_path, no_threads):
    async with running(tmp_path, replace(LIMITS, catalog_history_deltas=2)) as setup:
        await setup.follower.until(lambda node: node.database and node.database.copy.is_stored)
        setup.follower.prefetch = files = Files(setup)
        await prefetch(setup, on=True)
        await setup.leader.ingest([1])
        await setup.follower.shows([1])
        await setup.follower.stop()
        extents = []
        for number in range(2, 6):
            await setup.leader.ingest([number])
            extents.append(await setup.leader.seal())
        await setup.follower.start()
        await shown(setup, extents)
        assert files.asked == [("db", sorted(extent.extent_id for extent in extents))]
        assert files.seen == [[1]]
        assert sorted(setup.follower.numbers()) == [1, 2, 3, 4, 5]


async def test_a_detach_does_not_wait_for_files(autojump_clock, setup, files):
    files.seconds = 1e6
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    await setup.leader.seal()
    await setup.follower.until(lambda node: files.asked)
    setup.decide(attached=False)
    setup.tell()
    await setup.follower.until(lambda node: node.database is None)
