"""Extent files fuzzed: the right answer or a refusal that names file, offset and remedy."""

from __future__ import annotations

import random
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from extent_data import ALL_TYPES, CREATED_US, DATABASE, LONGS, longs, rows_of, table_of

from cluster.catalog.model import Column, ScalarType
from cluster.errors import CorruptionError
from cluster.extents import checking, footer
from cluster.extents.checking import read_footer, verify_file
from cluster.extents.footer import decode_footer
from cluster.extents.writer import ExtentWriter
from cluster.limits import Limits
from cluster.testing.root import FakeRoot


async def write(tmp_path, table, batch, **options):
    root = FakeRoot()
    writer = ExtentWriter(
        root_of=lambda _: root,
        work=tmp_path / "work",
        rng=random.Random(1),
        blocks=False,
        **options,
    )
    (extent,) = await writer.write(
        DATABASE, table, 0, [batch], created_us=CREATED_US, original_bytes=1
    )
    return extent, root.content(extent.file)


async def test_every_flipped_bit_is_refused(tmp_path):
    table = table_of(*ALL_TYPES)
    extent, content = await write(tmp_path, table, rows_of(ALL_TYPES, 60))
    path = tmp_path / "file"
    path.write_bytes(content)
    verify_file(path, extent)
    statistics = read_footer(path, extent).statistics
    start = len(content) - len(checking._read_tail(path, len(content)))
    rng = random.Random(1)
    for offset in rng.sample(range(len(content)), 700):
        damaged = bytearray(content)
        damaged[offset] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(CorruptionError) as caught:
            verify_file(path, extent)
        error = caught.value
        assert error.metadata["file"] == str(path)
        assert error.remedy
        if offset < start:
            assert error.metadata["offset"] == "0"
            assert read_footer(path, extent).statistics == statistics
        else:
            if offset < len(content) - 8:  # the length of the footer says where it starts
                assert error.metadata["offset"] == str(start)
            with pytest.raises(CorruptionError):
                read_footer(path, extent)


async def test_the_block_that_is_damaged_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "BLOCK_BYTES", 100)
    extent, content = await write(
        tmp_path, LONGS, longs(*random.Random(1).sample(range(2**60), 100))
    )
    path = tmp_path / "file"
    for offset in (0, 99, 100, 250):
        damaged = bytearray(content)
        damaged[offset] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(CorruptionError) as caught:
            verify_file(path, extent)
        assert caught.value.metadata["offset"] == str(offset // 100 * 100)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 100, -8, -1, None])
async def test_a_file_of_another_size_is_refused(tmp_path, size):
    extent, content = await write(tmp_path, LONGS, longs(1))
    path = tmp_path / "file"
    path.write_bytes(content + b"x" if size is None else content[:size])
    with pytest.raises(CorruptionError, match=f"instead of {len(content)}"):
        verify_file(path, extent)
    with pytest.raises(CorruptionError, match="the footer of the extent file"):
        read_footer(path, extent)


async def test_the_file_of_another_extent_is_refused(tmp_path):
    extent, content = await write(tmp_path, LONGS, longs(1))
    other, _ = await write(tmp_path, LONGS, longs(2))
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(CorruptionError):
        verify_file(path, other)
    with pytest.raises(CorruptionError):
        read_footer(path, other)
    with pytest.raises(CorruptionError, match="1 rows, its metadata say 2"):
        read_footer(path, replace(extent, row_count=2))


async def test_a_footer_longer_than_one_read_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "TAIL_BYTES", 16)
    extent, content = await write(tmp_path, LONGS, longs(1))
    path = tmp_path / "file"
    path.write_bytes(content)
    assert read_footer(path, extent).statistics.row_count == 1


async def test_a_file_explains_itself(tmp_path, monkeypatch):
    extent, content = await write(tmp_path, LONGS, longs(1, 2))
    path = tmp_path / "file"
    path.write_bytes(content)
    metadata = pq.read_metadata(path).metadata
    assert metadata[b"remora.extent"] == b"1"
    assert metadata[b"remora.columns"] == b'[{"id": 0, "name": "x", "type": "long"}]'
    found = read_footer(path, extent)
    assert (found.extent_id, found.table_id) == (extent.extent_id, LONGS.table_id)
    for version in (0, 2):
        monkeypatch.setattr(footer, "FORMAT_VERSION", version)
        with pytest.raises(
            CorruptionError, match="has format version 1; this version of"
        ) as caught:
            read_footer(path, extent)
        assert caught.value.remedy == "Use the version of Remora that wrote it, or a newer one."


@pytest.mark.parametrize("metadata", [None, {}, {b"remora.extent": b"1"}])
def test_a_file_of_somebody_else_is_refused(metadata):
    with pytest.raises(CorruptionError, match="t is not an extent file"):
        decode_footer(metadata, "t")


@pytest.mark.parametrize(
    ("characters", "bounds"),
    [(3, ("abc", "abe")), (4, ("abcd", "abdd")), (5, ("abcd", "abdd"))],
)
async def test_long_strings_are_cut_outwards(tmp_path, characters, bounds):
    table = table_of(Column("s", ScalarType.STRING))
    batch = pa.record_batch({"s": ["abdd", "abcd"]})
    limits = Limits(extent_statistics_characters=characters)
    extent, content = await write(tmp_path, table, batch, limits=limits)
    path = tmp_path / "file"
    path.write_bytes(content)
    column = read_footer(path, extent).statistics.columns[0]
    assert (column.minimum, column.maximum) == bounds
