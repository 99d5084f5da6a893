"""What every storage root promises: a folder, an object store behind obstore, the fake one."""

from __future__ import annotations

import random

import pytest
from obstore.store import MemoryStore

from cluster.errors import ConflictError, FileMissingError, LimitExceededError
from cluster.extents.disk import LocalRoot
from cluster.extents.link import RemoteRoot
from cluster.extents.root import check_name, check_prefix
from cluster.limits import Limits
from cluster.testing.root import FakeRoot

LIMITS = Limits(storage_object_bytes=10, storage_upload_bytes=5 << 20)


@pytest.fixture(params=["folder", "obstore", "fake"])
def root(request, tmp_path):
    if request.param == "folder":
        return LocalRoot(tmp_path / "root", limits=LIMITS)
    if request.param == "obstore":
        return RemoteRoot("memory://", MemoryStore(), limits=LIMITS, rng=random.Random(1))
    return FakeRoot(limits=LIMITS)


async def test_an_object_is_made_once_and_read_back(root):
    await root.put("a/one", b"12345")
    with pytest.raises(ConflictError):
        await root.put("a/one", b"12345")
    assert await root.get("a/one") == b"12345"
    assert await root.get_range("a/one", 1, 2) == b"23"
    assert await root.get_range("a/one", 3, 10) == b"45"
    assert await root.get_range("a/one", 5, 1) == b""
    assert await root.size_of("a/one") == 5
    assert root.statistics().put_bytes == 5
    assert root.statistics().failures == 0


async def test_a_file_goes_and_comes(root, tmp_path):
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(bytes(11 << 20))
    await root.put_file("a/file", sent)
    with pytest.raises(ConflictError):
        await root.put_file("a/file", sent)
    sent.unlink()
    await root.download("a/file", got)
    assert got.read_bytes() == bytes(11 << 20)


async def test_what_is_not_there_is_missing(root, tmp_path):
    for call in (
        root.get("none"),
        root.get_range("none", 0, 1),
        root.size_of("none"),
        root.download("none", tmp_path / "got"),
    ):
        with pytest.raises(FileMissingError):
            await call
    assert not (tmp_path / "got").exists()
    await root.delete(["none"])


async def test_objects_are_listed_by_folder(root):
    assert await root.list() == []
    assert await root.list("a/") == []
    for name in ("a/b/2", "a/1", "ab/3"):
        await root.put(name, b"x")
    assert [(found.name, found.size_bytes) for found in await root.list("a/")] == [
        ("a/1", 1),
        ("a/b/2", 1),
    ]
    await root.delete(["a/1", "ab/3"])
    assert [found.name for found in await root.list()] == ["a/b/2"]
    assert await root.sweep() == 0


@pytest.mark.parametrize(("size", "fits"), [(9, True), (10, True), (11, False)])
async def test_an_object_read_whole_is_bounded(root, size, fits):
    await root.put("a", bytes(size))
    if fits:
        assert len(await root.get("a")) == size
    else:
        with pytest.raises(LimitExceededError, match="storage_object_bytes is 10"):
            await root.get("a")


BAD_NAMES = ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", ".incoming/1", "a\\b", "a\0", "ä"]


@pytest.mark.parametrize("name", [*BAD_NAMES, "a" * 1025])
async def test_a_name_never_leaves_its_root(root, name, tmp_path):
    calls = [root.put, root.get, root.size_of]
    for call in calls:
        with pytest.raises(ValueError, match="not a name"):
            await (call(name, b"") if call == root.put else call(name))
    with pytest.raises(ValueError, match="not a name"):
        await root.delete([name])
    with pytest.raises(ValueError, match="not a name"):
        root.local_path(name)


def test_names_and_prefixes_that_are_allowed():
    check_name("a" * 1024)
    check_name("=a/-b/c._=-")
    check_prefix("")
    check_prefix("a/b/")
    for prefix in ("a", "/", "../"):
        with pytest.raises(ValueError, match=r"prefix|name"):
            check_prefix(prefix)
