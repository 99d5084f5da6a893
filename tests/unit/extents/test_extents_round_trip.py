"""Rows written as extents and read back through the files at hand."""

from __future__ import annotations

import random
from dataclasses import replace

import pyarrow as pa
import pytest
from extent_data import ALL_TYPES, CREATED_US, DATABASE, LONGS, longs, rows_of, table_of

from cluster.catalog.model import Column, Provenance, RowStoreKey, ScalarType
from cluster.errors import CorruptionError
from cluster.extents.columns import INGESTION_TIME
from cluster.extents.copies import Place
from cluster.extents.files import ExtentFiles
from cluster.extents.parquet import read_extent
from cluster.extents.writer import ExtentWriter
from cluster.limits import Limits
from cluster.testing.root import FakeRoot


class Store:
    """A writer and the files it wrote, over one root in memory."""

    def __init__(self, tmp_path, limits=None):
        self.root = FakeRoot(folder=tmp_path / "root")
        limits = limits or Limits()
        self.writer = ExtentWriter(
            root_of=lambda _: self.root,
            work=tmp_path / "work",
            rng=random.Random(1),
            limits=limits,
            blocks=False,
        )
        self.files = ExtentFiles(
            place_of=lambda _: Place(self.root, in_place=True),
            cache=tmp_path / "cache",
            limits=limits,
            blocks=False,
        )

    async def write(self, table, *batches, **options):
        options = {"created_us": CREATED_US, "original_bytes": 100, **options}
        return await self.writer.write(DATABASE, table, table.schema_version, batches, **options)

    async def read(self, extents, table, **options):
        async with self.files.acquire(DATABASE, extents) as paths:
            batches = [
                batch
                for extent in extents
                for batch in read_extent(paths[extent.file], extent, table, **options)
            ]
        return pa.Table.from_batches(batches)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


async def test_every_type_comes_back_as_it_went(store):
    table = table_of(*ALL_TYPES)
    rows = rows_of(ALL_TYPES, 500)
    (extent,) = await store.write(table, rows, ingested_us=5, tags=("drop-by:a",))
    assert (await store.read([extent], table)).equals(pa.Table.from_batches([rows]))
    assert (extent.row_count, extent.column_ids) == (500, tuple(range(10)))
    assert (extent.created_min_us, extent.created_max_us) == CREATED_US
    assert (extent.ingested_min_us, extent.ingested_max_us) == (5, 5)
    assert (extent.original_bytes, extent.tags) == (100, ("drop-by:a",))
    assert extent.file_bytes == len(store.root.content(extent.file))
    assert not list((store.writer._work).iterdir())


async def test_no_rows_make_no_extent(store):
    assert await store.write(LONGS) == ()
    assert await store.write(LONGS, longs()) == ()
    assert store.root.names() == []


@pytest.mark.parametrize(("rows", "sizes"), [(9, [9]), (10, [10]), (11, [10, 1]), (20, [10, 10])])
async def test_a_new_extent_begins_after_so_many_rows(store, rows, sizes):
    batches = [longs(*range(first, min(first + 7, rows))) for first in range(0, rows, 7)]
    extents = await store.write(LONGS, *batches, max_rows=10)
    assert [extent.row_count for extent in extents] == sizes
    assert (await store.read(extents, LONGS))["x"].to_pylist() == list(range(rows))


@pytest.mark.parametrize(("size", "count"), [(79, 2), (80, 1), (81, 1)])
async def test_a_new_extent_begins_after_so_many_bytes(tmp_path, size, count):
    store = Store(tmp_path, Limits(extent_original_bytes=size))
    assert len(await store.write(LONGS, longs(*range(10)))) == count  # 80 bytes


@pytest.mark.parametrize(("rows", "groups"), [(9, 1), (10, 1), (11, 2)])
async def test_a_row_group_has_so_many_rows(tmp_path, rows, groups):
    store = Store(tmp_path, Limits(extent_row_group_rows=10))
    (extent,) = await store.write(LONGS, *[longs(n) for n in range(rows)])
    path = store.root.local_path(extent.file)
    assert pa.parquet.read_metadata(path).num_row_groups == groups


async def test_bytes_and_sources_are_shared_out_by_rows(store):
    first = Provenance(RowStoreKey(1), 100, 103)
    second = Provenance(RowStoreKey(2), 0, 5)
    extents = await store.write(
        LONGS, longs(*range(8)), max_rows=4, original_bytes=101, sources=(first, second)
    )
    assert [extent.original_bytes for extent in extents] == [50, 51]
    assert extents[0].sources == (first, Provenance(RowStoreKey(2), 0, 1))
    assert extents[1].sources == (Provenance(RowStoreKey(2), 1, 5),)


async def test_sources_of_only_some_rows_are_those_of_every_extent(store):
    source = Provenance(RowStoreKey(1), 0, 3)
    extents = await store.write(LONGS, longs(*range(8)), max_rows=4, sources=(source,))
    assert [extent.sources for extent in extents] == [(source,), (source,)]


def stamped(values, times):
    batch = longs(*values)
    return batch.append_column(INGESTION_TIME, pa.array(times, pa.timestamp("us")))


async def test_ingestion_times_that_vary_are_in_the_file(store):
    (extent,) = await store.write(LONGS, stamped([1, 2], [7, 9]), stamped([3], [8]))
    assert (extent.ingested_min_us, extent.ingested_max_us) == (7, 9)
    assert extent.column_ids == (0, -1)
    read = await store.read([extent], LONGS, with_ingestion_time=True)
    assert read[INGESTION_TIME].cast(pa.int64()).to_pylist() == [7, 9, 8]
    assert (await store.read([extent], LONGS)).column_names == ["x"]


async def test_one_ingestion_time_or_none_is_not_in_the_file(store):
    for us in (5, None):
        (extent,) = await store.write(LONGS, longs(1, 2), ingested_us=us)
        read = await store.read([extent], LONGS, with_ingestion_time=True)
        assert extent.column_ids == (0,)
        assert read[INGESTION_TIME].cast(pa.int64()).to_pylist() == [us, us]


async def test_an_ingestion_time_set_later_hides_those_in_the_file(store):
    (extent,) = await store.write(LONGS, stamped([1, 2], [7, 9]))
    moved = replace(extent, ingested_min_us=99, ingested_max_us=99)
    read = await store.read([moved], LONGS, with_ingestion_time=True)
    assert read[INGESTION_TIME].cast(pa.int64()).to_pylist() == [99, 99]


async def test_some_rows_without_an_ingestion_time_stay_so(store):
    (extent,) = await store.write(LONGS, stamped([1, 2], [7, None]))
    read = await store.read([extent], LONGS, with_ingestion_time=True)
    assert read[INGESTION_TIME].cast(pa.int64()).to_pylist() == [7, None]


async def test_columns_are_read_by_id(store):
    text, number = Column("s", ScalarType.STRING), Column("n", ScalarType.LONG)
    old = table_of(text, number, ids=(0, 1))
    rows = pa.record_batch({"s": ["a", "b"], "n": [1, 2]})
    (extent,) = await store.write(old, rows)
    new = replace(
        old,
        schemas=(
            *old.schemas,
            (
                Column("n2", ScalarType.LONG),
                Column("new", ScalarType.STRING),
                Column("s", ScalarType.LONG),
            ),
        ),
        column_ids=(*old.column_ids, (1, 2, 3)),
    )
    read = await store.read([extent], new)
    assert read.to_pydict() == {"n2": [1, 2], "new": ["", ""], "s": [None, None]}


async def test_names_with_dots_are_names_not_paths(store):
    table = table_of(Column("a", ScalarType.LONG), Column("a.b", ScalarType.LONG))
    rows = pa.record_batch({"a": [1], "a.b": [2]})
    (extent,) = await store.write(table, rows)
    assert (await store.read([extent], table)).to_pydict() == {"a": [1], "a.b": [2]}


async def test_rows_of_another_schema_are_refused(store):
    wrong = pa.record_batch({"y": [1]})
    with pytest.raises(ValueError, match=r"rows of \['x'\] expected, not of \['y'\]"):
        await store.write(LONGS, longs(1), wrong)
    assert store.root.names() == []
    assert not list((store.writer._work).iterdir())


async def test_metadata_of_another_file_are_refused(store):
    (extent,) = await store.write(LONGS, longs(1))
    wrong = replace(extent, column_ids=(0, 1))
    with pytest.raises(CorruptionError, match="1 columns, its metadata say 2"):
        await store.read([wrong], LONGS)
