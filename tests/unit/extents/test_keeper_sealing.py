"""Seals end to end: rows leave the row stores, each counted once at every moment."""

from __future__ import annotations

import pytest
from keeper_world import DATABASE, World

from cluster.extents.keeping import CrashPoint

SEAL_POINTS = [point for point in CrashPoint if point.value.startswith("seal.")]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def test_a_sealed_row_is_in_an_extent_and_nowhere_else(world):
    async with world.running() as keeper:
        await world.create("T")
        written = await world.stream(5) + await world.stream(7, reference=1)
        extents = await keeper.seal(DATABASE, "T")
        assert await world.rows() == written
        assert [extent.row_count for extent in extents] == [12]
        assert world.extents() == list(extents)
        assert not world.row_stores.unsealed(world.table().keys)
        sealed = await world.sealed()
        assert sorted(row[0] for row in sealed) == written
        assert {row[1] for row in sealed} == {f"row {n}" for n in written}
        assert len({row[-1] for row in sealed}) == 2, "each row keeps the time of its record"


@pytest.mark.parametrize("power_loss", [False, True])
@pytest.mark.parametrize("point", SEAL_POINTS)
async def test_a_crash_at_any_point_of_a_seal_leaves_every_row_once(world, point, power_loss):
    async with world.running() as keeper:
        await world.create("T")
        written = await world.stream(5) + await world.stream(4, reference=1)
        with world.dies(point):
            await keeper.seal(DATABASE)
    async with world.running(power_loss=power_loss) as keeper:
        assert await world.rows() == written
        await keeper.sweep(at_start=True)
        assert await world.rows() == written
        named = [extent.file for extent in world.extents()]
        assert await world.files_in_root() == named, "no file is left that nothing names"
        written += await world.stream(3)
        await keeper.seal(DATABASE)
        assert await world.rows() == written
        assert sum(extent.row_count for extent in world.extents()) == len(written)
