"""The folder root: order of syncs, crashes in the middle, errors of the file system."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from cluster.errors import (
    StorageFullError,
    StorageRefusedError,
    StorageUnavailableError,
)
from cluster.extents import disk
from cluster.extents.disk import LocalRoot


@pytest.fixture
def root(tmp_path):
    return LocalRoot(tmp_path / "root")


class Calls:
    """Records what is asked of the file system; makes one call fail."""

    def __init__(self, monkeypatch):
        self.seen = []
        self.fails_at = {}
        self._opened = {}
        for name in ("fsync", "link", "open"):
            monkeypatch.setattr(disk.os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name, real):
        def call(first, *args, **options):
            if name == "open":
                descriptor = real(first, *args, **options)
                self._opened[descriptor] = Path(first)
                return descriptor
            path = self._opened[first] if name == "fsync" else Path(args[0])
            self.seen.append((name, "temporary" if path.parent.name == ".incoming" else path.name))
            number = self.fails_at.get(name)
            if number is not None:
                raise OSError(number, os.strerror(number), str(path))
            return real(first, *args, **options)

        return call


async def test_bytes_are_durable_before_the_name_and_the_name_before_the_answer(
    root, monkeypatch, tmp_path
):
    await root.put("a/zero", b"0")  # makes the folders
    calls = Calls(monkeypatch)
    await root.put("a/one", b"1")
    assert calls.seen == [("fsync", "temporary"), ("link", "one"), ("fsync", "a")]
    calls.seen.clear()
    local = tmp_path / "file"
    local.write_bytes(b"2")
    await root.put_file("a/two", local)
    assert calls.seen == [
        ("link", "temporary"),
        ("fsync", "temporary"),
        ("link", "two"),
        ("fsync", "a"),
    ]


async def test_a_new_folder_is_durable_in_its_parent(root, monkeypatch, tmp_path):
    calls = Calls(monkeypatch)
    await root.put("a/b/one", b"1")
    synced = [name for kind, name in calls.seen if kind == "fsync"]
    assert synced == [tmp_path.name, "root", "temporary", "root", "a", "b"]


async def test_a_deletion_is_durable(root, monkeypatch):
    await root.put("a/one", b"1")
    calls = Calls(monkeypatch)
    await root.delete(["a/one"])
    assert calls.seen == [("fsync", "a")]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EACCES, StorageRefusedError),
        (errno.EROFS, StorageRefusedError),
        (errno.EIO, StorageUnavailableError),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "link"])
async def test_a_failed_put_is_typed_and_leaves_nothing(root, monkeypatch, call, number, error):
    await root.put("a/zero", b"0")
    with monkeypatch.context() as patch:
        Calls(patch).fails_at[call] = number
        with pytest.raises(error) as caught:
            await root.put("a/one", b"1")
    assert "cannot write a/one" in caught.value.message
    assert root.url in caught.value.message
    assert [found.name for found in await root.list()] == ["a/zero"]
    assert await root.sweep() == 0
    assert root.statistics().failures == 1


async def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "root").write_bytes(b"")
    with pytest.raises(StorageRefusedError):
        await LocalRoot(tmp_path / "root").put("a", b"1")


async def test_half_written_objects_are_invisible_and_swept(root, tmp_path):
    await root.put("a/one", b"1")
    incoming = tmp_path / "root/.incoming"
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = [f"{ended.pid}-ab-0", f"{os.getpid()}-ab-0", "no name of ours"]
    live = [f"{os.getppid()}-ab-0", f"{os.getpid()}-{root._token}-7"]
    for name in left + live:
        (incoming / name).write_bytes(b"half")
    assert [found.name for found in await root.list()] == ["a/one"]
    assert await root.sweep() == len(left)
    assert sorted(path.name for path in incoming.iterdir()) == sorted(live)


async def test_a_file_of_another_file_system_is_copied(root, monkeypatch, tmp_path):
    local = tmp_path / "file"
    local.write_bytes(b"12345")
    real = os.link

    def link(source, target):
        if Path(source) == local:
            raise OSError(errno.EXDEV, "cross-device link")
        real(source, target)

    monkeypatch.setattr(disk.os, "link", link)
    await root.put_file("a", local)
    assert await root.get("a") == b"12345"
    assert root.local_path("a").stat().st_ino != local.stat().st_ino


async def test_a_copy_that_fails_half_way_leaves_no_local_file(root, monkeypatch, tmp_path):
    await root.put("a", b"12345")

    def link(source, target):
        raise OSError(errno.EXDEV, "cross-device link")

    def copy(reading, writing, length):
        writing.write(reading.read(2))
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(disk.os, "link", link)
    monkeypatch.setattr(disk.shutil, "copyfileobj", copy)
    with pytest.raises(StorageFullError):
        await root.download("a", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


async def test_a_download_is_a_hard_link_where_possible(root, tmp_path):
    await root.put("a", b"1")
    await root.download("a", tmp_path / "copy")
    await root.delete(["a"])
    assert (tmp_path / "copy").read_bytes() == b"1"
    (tmp_path / "there").write_bytes(b"other")
    await root.put("b", b"2")
    with pytest.raises(StorageRefusedError):
        await root.download("b", tmp_path / "there")
    assert (tmp_path / "there").read_bytes() == b"other"
