"""A storage root with extents in it, and a node that reads them, for tests."""

from __future__ import annotations

import random

from extent_data import CREATED_US, DATABASE, LONGS, longs

from cluster.extents.copies import Place
from cluster.extents.files import ExtentFiles
from cluster.extents.parquet import read_extent
from cluster.extents.writer import ExtentWriter
from cluster.limits import Limits
from cluster.testing.root import FakeRoot


class Leader:
    """A root with some extents in it, and a node that reads them."""

    def __init__(self, tmp_path, root=None):
        self.tmp_path = tmp_path
        self.root = root or FakeRoot()
        self.fetched = []

    async def write(self, count=3):
        writer = ExtentWriter(
            root_of=lambda _: self.root,
            work=self.tmp_path / "work",
            rng=random.Random(1),
            blocks=False,
        )
        extents = await writer.write(
            DATABASE,
            LONGS,
            0,
            [longs(*range(count))],
            created_us=CREATED_US,
            original_bytes=1,
            max_rows=1,
        )
        self.size = extents[0].file_bytes
        return extents

    def files(self, *, copies=None, in_place=False, root=True, fetch=False, blocks=False):
        limits = Limits(extent_cache_bytes=10**6 if copies is None else copies)
        place = Place(
            self.root if root else None, in_place=in_place, fetch=self.fetch if fetch else None
        )
        return ExtentFiles(
            place_of=lambda _: place, cache=self.tmp_path / "cache", limits=limits, blocks=blocks
        )

    async def fetch(self, database, extent, path):
        self.fetched.append((database.name, extent.file))
        path.write_bytes(self.root.content(extent.file))

    def copies(self):
        return list((self.tmp_path / "cache").iterdir())


async def values(files, extents):
    async with files.acquire(DATABASE, extents) as paths:
        return [
            value
            for extent in extents
            for batch in read_extent(paths[extent.file], extent, LONGS)
            for value in batch["x"].to_pylist()
        ]


def flip(path, offset=100):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
