"""Many readers, a small cache and a bad network, by seed: held files are there and right."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import trio
from extent_data import CREATED_US, DATABASE, LONGS, longs

from cluster.errors import CorruptionError, StorageUnavailableError, ThrottledError
from cluster.extents.checking import verify_file
from cluster.extents.copies import Place
from cluster.extents.files import ExtentFiles
from cluster.extents.writer import ExtentWriter
from cluster.limits import Limits
from cluster.testing.root import FakeRoot

READERS = 5
READS = 12
COPIES = 4
EXTENTS = 8


class World:
    def __init__(self, seed, tmp_path):
        self.rng = random.Random(seed)
        self.tmp_path = tmp_path
        self.root = FakeRoot()
        self.outcomes = Counter()

    async def start(self):
        writer = ExtentWriter(
            root_of=lambda _: self.root, work=self.tmp_path / "work", rng=self.rng, blocks=False
        )
        self.extents = await writer.write(
            DATABASE,
            LONGS,
            0,
            [longs(*range(EXTENTS))],
            created_us=CREATED_US,
            original_bytes=1,
            max_rows=1,
        )
        self.root.delay_seconds = 1
        largest = max(extent.file_bytes for extent in self.extents)
        self.limits = Limits(extent_cache_bytes=COPIES * largest, extent_fetches=2)
        self.open()

    def open(self):
        self.files = ExtentFiles(
            place_of=lambda _: Place(self.root),
            cache=self.tmp_path / "cache",
            limits=self.limits,
            blocks=False,
        )

    async def read(self):
        for _ in range(READS):
            wanted = self.rng.sample(self.extents, self.rng.randint(1, 3))
            patience = self.rng.choice([0.5, 1.5, 30])
            if self.rng.random() < 0.2:
                self.root.fail("download", after=self.rng.randint(0, 2))
            try:
                with trio.move_on_after(patience) as scope:
                    await self.hold(wanted)
            except (StorageUnavailableError, ThrottledError) as error:
                self.outcomes[type(error).__name__] += 1
            self.outcomes["cancelled" if scope.cancelled_caught else "ended"] += 1
            await trio.sleep(self.rng.random() * 3)

    async def hold(self, wanted):
        async with self.files.acquire(DATABASE, wanted) as paths:
            self.check(wanted, paths)
            await trio.sleep(self.rng.random() * 4)
            self.check(wanted, paths)
            self.outcomes["held"] += 1

    def check(self, wanted, paths):
        for extent in wanted:
            assert self.files.is_pinned(extent.file)
            verify_file(paths[extent.file], extent)

    def check_at_rest(self):
        sizes = [path.stat().st_size for path in (self.tmp_path / "cache").iterdir()]
        statistics = self.files.statistics()
        assert statistics.pinned_files == 0
        assert statistics.cached_bytes == sum(sizes) <= self.limits.extent_cache_bytes
        assert statistics.cached_files == len(sizes)
        self.outcomes["evicted"] += statistics.evictions


async def run(seed, tmp_path):
    world = World(seed, tmp_path)
    await world.start()
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            for _ in range(READERS):
                nursery.start_soon(world.read)
        world.check_at_rest()
        for path in (tmp_path / "cache").iterdir():
            if world.rng.random() < 0.5:
                path.write_bytes(path.read_bytes()[:-1] + b"x")
        world.open()  # a restart, after which damaged copies are found
    return world.outcomes


@pytest.mark.parametrize("seed", range(12))
async def test_held_files_are_there_and_right(seed, tmp_path, autojump_clock):
    outcomes = await run(seed, tmp_path)
    assert outcomes["held"], "how often depends on worker threads"


async def test_the_interesting_things_happen(tmp_path, autojump_clock):
    outcomes = Counter()
    for seed in range(4):
        (tmp_path / str(seed)).mkdir()
        outcomes += await run(seed, tmp_path / str(seed))
    reached = {"held", "cancelled", "evicted", "StorageUnavailableError", "ThrottledError"}
    assert reached <= set(outcomes)


async def test_the_checker_notices_a_damaged_copy(tmp_path, autojump_clock):
    world = World(1, tmp_path)
    await world.start()
    async with world.files.acquire(DATABASE, world.extents[:1]) as paths:
        paths[world.extents[0].file].write_bytes(b"damaged")
        with pytest.raises(CorruptionError):
            world.check(world.extents[:1], paths)
