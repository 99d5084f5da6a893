"""A copy whose rows are not the leader's, though nothing of it is damaged."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import trio

from cluster.catalog.arrow_types import arrow_schema
from cluster.rowstore.driver import RowStore
from cluster.rowstore.record import RequestSpan
from follower.store import folder_name

FOLDER = Path("/follower/followed") / folder_name("leader", "db")


async def replace_rows(setup, *records):
    """Puts valid records of other numbers in the place of what the stopped follower has stored."""
    table = setup.leader.table()
    schema = arrow_schema(table.columns)

    async def store(folder, nursery):
        opened = await RowStore.open(
            folder,
            disk=setup.follower.disk,
            clock=setup.clock,
            limits=setup.limits,
            sync=False,
            schema_of=lambda key, version: schema,
        )
        await nursery.start(opened.run)
        return opened

    async with trio.open_nursery() as nursery:
        forged = await store(Path("/forged"), nursery)
        for numbers in records:
            names = [f"row {number}" for number in numbers]
            batch = pa.RecordBatch.from_arrays(
                [pa.array(numbers, pa.int64()), pa.array(names, pa.string())], schema=schema
            )
            staged = forged.stage(table.key, 0, batch, [RequestSpan(b"", len(numbers))])
            await staged.committed()
        lsn = forged.start_lsn_for({}, [table.key])
        chunk = await forged.read(lsn, [table.key], {}, 1 << 20)
        copy = await store(FOLDER, nursery)
        copy.reset(table.key)
        await copy.apply(chunk.records)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("forged", "found_by"),
    [
        ([[7, 8], [9]], "the checksum in the position, when the call begins"),
        ([[7, 8]], "the checksum of the next record, which is sent on top of it"),
    ],
)
async def test_what_is_not_the_leaders_is_replaced_by_a_snapshot(
    autojump_clock, setup, forged, found_by, caplog
):
    await setup.leader.ingest([1, 2])
    await setup.leader.ingest([3])
    await setup.follower.shows([1, 2, 3])
    await setup.follower.stop()
    await replace_rows(setup, *forged)
    await setup.follower.start()
    await setup.follower.shows([1, 2, 3])
    statistics = setup.follower.database.statistics()
    assert statistics.session.snapshots_installed == 1, found_by
    assert statistics.session.resets == 1
    assert statistics.copies_dropped == 0, "it can be read"
    assert "are not those of its leader" in caplog.text
    (session,) = setup.leader.service.statistics().sessions
    assert session.snapshots_sent == 1
    await setup.leader.ingest([4])
    await setup.follower.shows([1, 2, 3, 4])
    assert setup.follower.database.statistics().session.resets == 1


async def test_a_first_snapshot_is_no_reset(autojump_clock, setup, caplog):
    await setup.leader.ingest([1])
    await setup.follower.shows([1])
    assert setup.follower.database.statistics().session.resets == 0
    assert "are not those" not in caplog.text
