"""The real disk and the fake one keep the same promises; the fake one also breaks as told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cluster.errors import ConflictError
from cluster.rowstore.disk import RealDisk
from cluster.rowstore.filememory import FileMemory
from cluster.testing.disk import FakeDisk


@pytest.fixture(params=["real", "fake"])
def place(request, tmp_path):
    """A disk and a folder on it that does not exist yet."""
    if request.param == "real":
        return RealDisk(), tmp_path / "a" / "b"
    return FakeDisk(), Path("/a/b")


def test_files_are_appended_to_read_cut_and_removed(place) -> None:
    disk, folder = place
    disk.make_folder(folder)
    disk.make_folder(folder)
    path = folder / "one"
    file = disk.create(path)
    file.append([b"abc", bytearray(b"def"), memoryview(b"ghi")])
    file.datasync()
    file.close()
    with pytest.raises(OSError, match=r"Bad file|dead"):
        file.append([b"after close"])
    disk.sync_folder(folder)
    assert disk.list_names(folder) == ["one"]
    assert disk.read(path, 2, 4) == b"cdef"
    assert disk.read(path, 7, 100) == b"hi"
    assert disk.read(path, 100, 1) == b""
    assert disk.read_all(path, FileMemory(), from_device=True) == b"abcdefghi"
    disk.truncate(path, 4)
    file = disk.open(path)
    file.append([b"!"])
    file.close()
    assert disk.read_all(path, FileMemory(), from_device=False) == b"abcd!"
    disk.remove(path)
    assert disk.list_names(folder) == []


def test_appending_and_syncing_is_one_step_that_may_be_short(place, monkeypatch) -> None:
    disk, folder = place
    disk.make_folder(folder)
    file = disk.create(folder / "one")
    file.append_and_sync([b"abc", b"def"])
    file.append_and_sync([b"%04d" % n for n in range(3000)])
    real = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda fd, buffers, *more: real(fd, buffers[:1], *more))
    file.append_and_sync([b"gh", b"i"])

    def unsupported(*_args) -> int:
        raise OSError(errno.EOPNOTSUPP, "no flags here")

    monkeypatch.setattr(os, "pwritev", unsupported)
    file.append_and_sync([b"jk", b"l"])
    expected = b"abcdef" + b"".join(b"%04d" % n for n in range(3000)) + b"ghijkl"
    assert disk.read_all(folder / "one", FileMemory(), from_device=True) == expected


def test_what_is_missing_or_in_the_way_is_said(place) -> None:
    disk, folder = place
    disk.make_folder(folder)
    disk.create(folder / "one").close()
    with pytest.raises(FileExistsError):
        disk.create(folder / "one")
    for call in (disk.open, disk.remove, lambda p: disk.read(p, 0, 1)):
        with pytest.raises(FileNotFoundError):
            call(folder / "two")
    with pytest.raises(FileNotFoundError):
        disk.list_names(folder / "none")


def test_a_folder_has_one_owner(place) -> None:
    disk, folder = place
    disk.make_folder(folder)
    lock = disk.lock_folder(folder)
    with pytest.raises(ConflictError, match=f"in use by process {os.getpid()}"):
        disk.lock_folder(folder)
    lock.release()
    lock.release()
    disk.lock_folder(folder).release()


def test_thousands_of_buffers_and_short_writes_reach_the_file(tmp_path, monkeypatch) -> None:
    disk = RealDisk()
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, buffers: real(fd, [b"".join(buffers)[:5]]))
    file = disk.create(tmp_path / "one")
    file.append([b"%04d" % n for n in range(3000)])
    file.close()
    expected = b"".join(b"%04d" % n for n in range(3000))
    assert disk.read_all(tmp_path / "one", FileMemory(), from_device=False) == expected


FOLDER = Path("/f")
FILE = FOLDER / "log"


def started() -> tuple[FakeDisk, object]:
    disk = FakeDisk()
    disk.make_folder(FOLDER)
    file = disk.create(FILE)
    file.append([b"synced"])
    file.datasync()
    disk.sync_folder(FOLDER)
    file.append([b"loose", b"!"])
    file.append([b"more"])
    return disk, file


@pytest.mark.parametrize(
    ("kept", "left"),
    [(0, b"synced"), (3, b"syncedloo"), (6, b"syncedloose!"), (99, b"syncedloose!more")],
)
def test_a_power_loss_keeps_what_was_synced_and_so_much_of_the_rest(kept, left) -> None:
    disk, file = started()
    disk.crash(kept_bytes=kept)
    assert disk.content(FILE) == left
    with pytest.raises(OSError, match="dead"):
        file.append([b"x"])
    disk.crash()
    assert disk.content(FILE) == left


def test_a_killed_process_loses_nothing_it_wrote() -> None:
    disk, _ = started()
    lock = disk.lock_folder(FOLDER)
    disk.kill()
    assert disk.content(FILE) == b"syncedloose!more"
    other = disk.lock_folder(FOLDER)
    lock.release()
    with pytest.raises(ConflictError):
        disk.lock_folder(FOLDER)
    other.release()


def test_names_need_their_folder_synced() -> None:
    disk, _ = started()
    disk.create(FOLDER / "new").datasync()
    disk.remove(FILE)
    disk.crash()
    assert disk.paths() == [FILE]


def test_a_failed_sync_loses_bytes_that_reads_still_show() -> None:
    disk, file = started()
    disk.fail("datasync")
    with pytest.raises(OSError, match="Input/output"):
        file.datasync()
    file.append([b"later"])
    file.datasync()
    assert disk.content(FILE) == b"syncedloose!morelater"
    assert disk.read_all(FILE, FileMemory(), from_device=True) == b"synced" + bytes(10) + b"later"
    disk.crash()
    assert disk.content(FILE) == b"synced" + bytes(10) + b"later"


def test_a_full_disk_takes_what_fits() -> None:
    disk = FakeDisk(capacity_bytes=8)
    file = disk.create(FILE)
    file.append([b"12345"])
    with pytest.raises(OSError, match="No space") as caught:
        file.append([b"6789"])
    assert caught.value.errno == errno.ENOSPC
    assert disk.content(FILE) == b"12345678"


def test_calls_fail_when_told() -> None:
    disk, file = started()
    disk.fail("append", number=errno.ENOSPC, after=1, kept_bytes=2)
    file.append([b"1"])
    with pytest.raises(OSError, match="No space"):
        file.append([b"234"])
    file.append([b"5"])
    assert disk.content(FILE).endswith(b"1235")
    number = len(disk.operations)
    disk.halt_at(number + 1, kept_bytes=1)
    file.append([b"6"])
    with pytest.raises(OSError, match="power is off"):
        file.append([b"78"])
    with pytest.raises(OSError, match="power is off"):
        file.datasync()
    disk.crash(kept_bytes=1000)
    assert disk.content(FILE).endswith(b"67")
