"""What commands and batch ingestion do with extents: all or nothing, rows never doubled."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from keeper_world import DATABASE, NAME, N, World

from cluster.catalog.changes import AppendColumns, DropTable, RenameTables, SetSchema
from cluster.catalog.model import Column, ScalarType
from cluster.errors import (
    ConflictError,
    EntityNotFoundError,
    InvalidRequestError,
    ReadOnlyError,
    TableNotFoundError,
)
from cluster.extents.keeping import CrashPoint
from cluster.extents.operations import Addition, Selection, TagChange


@pytest.fixture
async def world(tmp_path):
    made = World(tmp_path)
    async with made.running():
        await made.create("T", "Other")
        yield made


async def sealed(world, *counts, table="T"):
    """One extent for each count; returns all numbers and the extents, oldest first."""
    numbers, extents = [], []
    for count in counts:
        world.clock.us += 1_000_000
        numbers += await world.stream(count, table)
        extents.extend(await world.keeper.seal(DATABASE, table))
    return numbers, extents


async def written(world, numbers, table="T", tags=()):
    """Extents in the root that nothing names yet."""
    found = world.table(table)
    batch = pa.RecordBatch.from_pydict({"n": numbers, "name": ["batch"] * len(numbers)})
    now = world.clock.us
    return await world.writer.write(
        world.catalog.get(DATABASE),
        found,
        found.schema_version,
        [batch],
        created_us=(now, now),
        original_bytes=100,
        ingested_us=now,
        tags=tags,
    )


def addition(world, extents, table="T", **more):
    return Addition(table, world.table(table).key, extents, **more)


async def test_extents_are_added_to_several_tables_in_one_transaction(world):
    before = world.catalog.get(DATABASE).version
    one, two = await written(world, [1, 2]), await written(world, [3], "Other")
    assert await world.keeper.add_extents(
        DATABASE, [addition(world, one), addition(world, two, "Other")]
    )
    assert world.catalog.get(DATABASE).version == before.next()
    assert await world.rows() == [1, 2]
    assert await world.rows("Other") == [3]


async def test_ingest_if_not_exists_adds_nothing_twice_and_leaves_no_file(world):
    first = await written(world, [1], tags=("ingest-by:a",))
    assert await world.keeper.add_extents(DATABASE, [addition(world, first)])
    again = await written(world, [1], tags=("ingest-by:a",))
    skipped = [addition(world, again, if_not_exists=("z", "a"))]
    assert not await world.keeper.add_extents(DATABASE, skipped)
    assert await world.rows() == [1]
    assert await world.files_in_root() == [first[0].file]
    other = await written(world, [2])
    assert await world.keeper.add_extents(
        DATABASE, [addition(world, other, if_not_exists=("b", "ingest-by:a"))]
    )


async def test_one_refused_table_refuses_the_whole_transaction(world):
    one, two = await written(world, [1]), await written(world, [2], "Other")
    additions = [addition(world, one), addition(world, two, "Other")]
    await world.commit(DropTable("Other"))
    with pytest.raises(TableNotFoundError):
        await world.keeper.add_extents(DATABASE, additions)
    await world.create("Other")
    with pytest.raises(ConflictError):
        await world.keeper.add_extents(DATABASE, additions)
    assert await world.rows() == []
    assert await world.files_in_root() == []


async def test_set_or_replace_takes_the_place_of_sealed_and_streamed_rows(world):
    await sealed(world, 3)
    await world.stream(2)
    new = await written(world, [100, 101])
    assert await world.keeper.add_extents(DATABASE, [addition(world, new, replace_all=True)])
    assert await world.rows() == [100, 101]
    assert not world.row_stores.unsealed(world.table().keys)
    later = await world.stream(1)
    assert await world.rows() == [*later, 100, 101]


@pytest.mark.fidelity("drop-extents.md", ".drop extents leaves rows in row stores")
async def test_extents_are_dropped_by_id_and_streamed_rows_stay(world):
    numbers, (one, two) = await sealed(world, 2, 3)
    numbers += await world.stream(1)
    dropped = await world.keeper.drop_extents(
        DATABASE, Selection(table="T", extent_ids=(one.extent_id,))
    )
    assert [(d.extent_id, d.table, d.created_us) for d in dropped] == [
        (one.extent_id, "T", one.created_max_us)
    ]
    assert await world.rows() == numbers[2:]
    both = Selection(extent_ids=(two.extent_id, one.extent_id))
    with pytest.raises(EntityNotFoundError):
        await world.keeper.drop_extents(DATABASE, both)
    assert await world.rows() == numbers[2:]


async def test_extents_are_selected_by_age_size_and_number_oldest_first(world):
    _, extents = await sealed(world, 1, 1, 1)
    await sealed(world, 1, table="Other")
    ids = [extent.extent_id for extent in extents]

    def selected(**bounds):
        found = world.keeper.preview_drop(DATABASE, Selection(table="T", **bounds))
        return [ids.index(item.extent_id) for item in found]

    assert selected() == [0, 1, 2]
    assert selected(created_before_us=extents[1].created_max_us) == [0]
    assert selected(created_before_us=extents[1].created_max_us + 1) == [0, 1]
    assert selected(limit=2) == [0, 1]
    total = sum(extent.file_bytes for extent in extents)
    assert selected(keep_bytes=total) == []
    assert selected(keep_bytes=total - 1) == [0]
    assert selected(keep_bytes=0) == [0, 1, 2]
    original = sum(extent.original_bytes for extent in extents)
    assert selected(keep_bytes=original - 1, keep_original=True) == [0]
    everywhere = world.keeper.preview_drop(DATABASE, Selection())
    assert {item.table for item in everywhere} == {"T", "Other"}
    assert len(world.extents()) == 3, "a preview changes nothing"


async def test_moved_extents_are_new_extents_of_the_same_file(world):
    numbers, extents = await sealed(world, 2, 3)
    # The columns of the target: other order, other ids, one more.
    more = Column("more", ScalarType.REAL)
    await world.commit(SetSchema("Other", (more, NAME, N), (5, 1, 0)))
    moved = await world.keeper.move_extents(DATABASE, [("T", None)], "Other")
    assert [item.original_id for item in moved] == sorted(
        (extent.extent_id for extent in extents), key=[m.original_id for m in moved].index
    )
    assert await world.rows() == []
    rows = await world.sealed("Other")
    assert sorted(row[2] for row in rows) == numbers
    assert {row[0] for row in rows} == {None}
    assert {row[1] for row in rows} == {f"row {n}" for n in numbers}
    assert sorted(e.file for e in world.extents("Other")) == sorted(e.file for e in extents)
    assert {e.extent_id for e in world.extents("Other")}.isdisjoint(e.extent_id for e in extents)
    assert world.catalog.garbage() == ()


async def test_a_moved_column_that_was_dropped_stays_unknown(world):
    await sealed(world, 2)
    await world.commit(SetSchema("T", (N,), (0,)))
    await world.keeper.move_extents(DATABASE, [("T", None)], "Other")
    assert [row[1] for row in await world.sealed("Other")] == ["", ""]


@pytest.mark.fidelity(
    "move-extents.md", "Each column of the source must be in the target with its type"
)
@pytest.mark.parametrize("column", [Column("n", ScalarType.INT), Column("m", ScalarType.LONG)])
async def test_extents_do_not_move_where_a_column_does_not_fit(world, column):
    numbers, _ = await sealed(world, 2)
    await world.commit(SetSchema("Other", (column, NAME), (5, 1)))
    with pytest.raises(InvalidRequestError, match="no column 'n' of type long"):
        await world.keeper.move_extents(DATABASE, [("T", None)], "Other")
    assert await world.rows() == numbers


async def test_a_move_to_itself_and_of_a_missing_extent_are_refused(world):
    numbers, (one, _) = await sealed(world, 1, 1)
    with pytest.raises(InvalidRequestError):
        await world.keeper.move_extents(DATABASE, [("T", None)], "T")
    with pytest.raises(EntityNotFoundError):
        await world.keeper.move_extents(DATABASE, [("T", [one.extent_id, "no"])], "Other")
    assert await world.rows() == numbers
    assert await world.rows("Other") == []


async def test_a_move_can_set_a_new_ingestion_time(world):
    await sealed(world, 2)
    await world.keeper.move_extents(DATABASE, [("T", None)], "Other", ingested_us=5)
    times = {row[-1].timestamp() for row in await world.sealed("Other")}
    assert len(times) == 1
    assert world.extents("Other")[0].ingested_max_us == 5


async def test_extents_are_replaced_in_one_transaction(world):
    old, (one, two) = await sealed(world, 2, 3)
    new, (three,) = await sealed(world, 4, table="Other")
    before = world.catalog.get(DATABASE).version
    results = await world.keeper.replace_extents(
        DATABASE, "T", [one.extent_id], [("Other", [three.extent_id])]
    )
    assert world.catalog.get(DATABASE).version == before.next()
    assert await world.rows() == old[2:] + new
    assert [(r.original_id, r.result is None) for r in results] == [
        (one.extent_id, True),
        (three.extent_id, False),
    ]
    with pytest.raises(EntityNotFoundError):
        await world.keeper.replace_extents(DATABASE, "Other", [two.extent_id], [("T", None)])
    assert await world.rows() == old[2:] + new


async def test_tags_change_on_new_extents_of_the_same_files(world):
    numbers, (one, two) = await sealed(world, 1, 1)
    ids = [one.extent_id, two.extent_id]
    set_tags = await world.keeper.retag(DATABASE, "T", ids, TagChange.SET, ("a", "b", "a"))
    assert [item.result.tags for item in set_tags] == [("a", "b")] * 2
    ids = [item.result.extent_id for item in set_tags]
    merged = await world.keeper.retag(DATABASE, "T", ids[:1], TagChange.MERGE, ("c", "a"))
    assert [item.result.tags for item in merged] == [("a", "b", "c")]
    same = await world.keeper.retag(DATABASE, "T", ids[1:], TagChange.MERGE, ("b",))
    assert same == ()
    ids = [item.extent_id for item in world.extents()]
    await world.keeper.retag(DATABASE, "T", ids, TagChange.DROP, ("a", "c"))
    assert [item.tags for item in world.extents()] == [("b",)] * 2
    assert await world.rows() == numbers
    assert await world.files_in_root() == sorted([one.file, two.file])
    assert world.catalog.garbage() == ()


async def test_clearing_a_table_takes_sealed_and_streamed_rows_and_no_later_ones(world):
    await sealed(world, 3)
    await world.stream(2)
    await world.stream(2, reference=1)
    await world.keeper.clear_table(DATABASE, "T")
    assert await world.rows() == []
    later = await world.stream(4)
    assert await world.rows() == later
    await world.keeper.seal(DATABASE, "T")
    assert await world.rows() == later
    before = world.catalog.get(DATABASE).version
    await world.keeper.clear_table(DATABASE, "Other")
    assert world.catalog.get(DATABASE).version == before, "nothing to clear, no version"


@pytest.mark.parametrize("power_loss", [False, True])
async def test_a_crash_after_clearing_brings_nothing_back(tmp_path, power_loss):
    world = World(tmp_path)
    async with world.running() as keeper:
        await world.create("T")
        await sealed(world, 3)
        await world.stream(2)
        with world.dies(CrashPoint.CHANGE_COMMITTED):
            await keeper.clear_table(DATABASE, "T")
    async with world.running(power_loss=power_loss):
        assert await world.rows() == []
        assert await world.stream(1) == await world.rows()


async def test_a_dropped_table_comes_back_with_its_sealed_rows(world):
    numbers, (extent,) = await sealed(world, 3)
    await world.stream(2)
    version = world.catalog.get(DATABASE).version
    await world.commit(DropTable("T", world.clock.us))
    table = await world.keeper.undo_drop(DATABASE, "T", version, new_name="Back")
    assert table.name == "Back"
    assert list(table.extents) == [extent.extent_id]
    assert await world.rows("Back") == numbers
    numbers += await world.stream(2, "Back")
    assert await world.rows("Back") == numbers
    with pytest.raises(TableNotFoundError):
        await world.keeper.undo_drop(DATABASE, "T", version)


async def test_rows_keep_their_columns_whatever_happens_to_the_names(world):
    numbers, _ = await sealed(world, 2)
    await world.commit(
        AppendColumns("T", (Column("more", ScalarType.LONG),)), RenameTables((("T", "New"),))
    )
    numbers += await world.stream(2, "New")
    await world.commit(SetSchema("New", (replace(N, name="count"), NAME), (0, 1)))
    await world.keeper.seal(DATABASE)
    rows = sorted(await world.sealed("New"))
    assert [row[:2] for row in rows] == [(n, f"row {n}") for n in numbers]


async def test_a_follower_database_is_left_alone(world):
    tree = world.catalog.get(DATABASE)
    await world.catalog.install_snapshot("Copy", "leader", DATABASE, tree)
    for attempt in (
        world.keeper.seal("Copy"),
        world.keeper.merge("Copy"),
        world.keeper.clear_table("Copy", "T"),
        world.keeper.drop_extents("Copy", Selection(table="T")),
    ):
        with pytest.raises(ReadOnlyError):
            await attempt
    assert await world.keeper.retain() == 0
    assert (await world.keeper.drain()).is_empty
