"""The fake root fails as it is told, and keeps what it has confirmed."""

from __future__ import annotations

import pytest
import trio

from cluster.errors import StorageFullError, StorageUnavailableError
from cluster.testing.root import FakeRoot, RootCall


@pytest.mark.parametrize(("takes_effect", "left"), [(False, ["a"]), (True, ["a", "b"])])
async def test_the_power_fails_at_a_call(takes_effect, left):
    root = FakeRoot()
    root.halt_at(1, takes_effect=takes_effect)
    await root.put("a", b"1")
    for name in ("b", "c"):
        with pytest.raises(StorageUnavailableError):
            await root.put(name, b"1")
    root.crash()
    assert root.names() == left
    assert root.calls == [RootCall("put", "a"), RootCall("put", "b"), RootCall("put", "c")]
    await root.put("c", b"1")


async def test_a_root_that_is_cut_off_answers_nothing():
    root = FakeRoot()
    root.disconnect()
    for call in (root.get("a"), root.list(), root.delete(["a"]), root.sweep(), root.put("a", b"")):
        with pytest.raises(StorageUnavailableError):
            await call
    root.reconnect()
    assert await root.list() == []
    assert root.statistics().failures == 5


@pytest.mark.parametrize(("size", "fits"), [(9, True), (10, True), (11, False)])
async def test_a_full_root_takes_no_more(size, fits):
    root = FakeRoot(capacity_bytes=10)
    if fits:
        await root.put("a", bytes(size))
    else:
        with pytest.raises(StorageFullError):
            await root.put("a", bytes(size))
    assert root.names() == (["a"] if fits else [])


async def test_a_slow_root_takes_its_time(autojump_clock):
    root = FakeRoot(delay_seconds=5)
    await root.put("a", b"1")
    assert trio.current_time() == 5


async def test_a_folder_shows_the_same_objects(tmp_path):
    root = FakeRoot(folder=tmp_path)
    await root.put("a/b", b"1")
    assert root.local_path("a/b").read_bytes() == b"1"
    root.flip_bit("a/b", 0)
    assert root.local_path("a/b").read_bytes() == await root.get("a/b") == b"0"
    await root.delete(["a/b"])
    assert not root.local_path("a/b").exists()
