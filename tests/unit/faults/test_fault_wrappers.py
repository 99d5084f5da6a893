"""A disk and a clock that suffer, the process that has them, and what is kept in files."""

from __future__ import annotations

import errno
import random

import pytest
import trio
import trio.testing

from cluster.conformance.faults import Fault, FaultKind
from cluster.faults.active import ActiveFault, ActiveFaults
from cluster.faults.clock import FaultyClock
from cluster.faults.composition import ClockFaults, DiskFaults
from cluster.faults.disk import FaultyDisk
from cluster.faults.process import ProcessFaults
from cluster.faults.store import FaultyPersistence, load_faults, save_faults
from cluster.launcher.proxy import FAULTS_FILE
from cluster.testing.disk import FakeDisk


class TrioClock:
    """Virtual time, as trio has it."""

    def now_ns(self):
        return 10**18 + round(trio.current_time() * 1e9)

    def monotonic(self):
        return trio.current_time()


class SetClock:
    def __init__(self):
        self.ns, self.seconds = 10**18, 100.0

    def now_ns(self):
        return self.ns

    def monotonic(self):
        return self.seconds


def test_the_wall_clock_is_ahead_while_a_fault_says_so():
    base = SetClock()
    clock = FaultyClock(base)
    assert (clock.now_ns(), clock.monotonic()) == (base.ns, base.seconds)
    clock.suffer(ClockFaults(wall_seconds=-2.5))
    assert clock.now_ns() == base.ns - 2_500_000_000
    clock.suffer()
    assert clock.now_ns() == base.ns


def test_the_monotonic_clock_leaps_once_and_never_goes_back():
    clock = FaultyClock(SetClock())
    clock.suffer(ClockFaults(leaps=(("f1", 30.0),)))
    clock.suffer(ClockFaults(leaps=(("f1", 30.0), ("f2", 5.0))))
    assert clock.monotonic() == 135.0
    clock.suffer()
    assert clock.monotonic() == 135.0


@pytest.fixture
def disk(tmp_path):
    base = FakeDisk()
    base.make_folder(tmp_path)
    disk = FaultyDisk(base, random.Random(1))
    return disk, disk.create(tmp_path / "log"), base, tmp_path


def test_an_idle_disk_passes_everything_on(disk):
    faulty, file, base, folder = disk
    file.append([b"a", b"b"])
    file.append_and_sync([b"c"])
    file.datasync()
    faulty.sync_folder(folder)
    assert base.content(folder / "log") == b"abc"
    assert faulty.read(folder / "log", 1, 1) == b"b"
    assert faulty.list_names(folder) == ["log"]
    assert faulty.blocks is base.blocks


def test_a_full_disk_takes_no_byte_more(disk):
    faulty, file, base, folder = disk
    file.append_and_sync([b"abc"])
    faulty.suffer(DiskFaults(is_full=True))
    for write in (file.append, file.append_and_sync):
        with pytest.raises(OSError, match="a fault") as full:
            write([b"d"])
        assert full.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="a fault"):
        faulty.create(folder / "other")
    assert base.content(folder / "log") == b"abc"
    file.datasync()
    faulty.suffer()
    file.append_and_sync([b"d"])
    assert base.content(folder / "log") == b"abcd"


def test_fsync_fails_once_or_by_its_share(disk):
    faulty, file, _, folder = disk
    faulty.suffer(DiskFaults(fail_once=frozenset({"f1"})))
    with pytest.raises(OSError, match="a fault of fsync") as failed:
        file.append_and_sync([b"a"])
    assert failed.value.errno == errno.EIO
    file.datasync()
    faulty.suffer(DiskFaults(fail_once=frozenset({"f1", "f2"})))
    with pytest.raises(OSError, match="a fault of fsync"):
        faulty.sync_folder(folder)
    file.datasync()
    faulty.suffer(DiskFaults(fsync_error_ratio=1.0))
    for _ in range(2):
        with pytest.raises(OSError, match="a fault of fsync"):
            file.datasync()


async def test_a_held_up_fsync_notices_that_its_fault_is_over(disk):
    faulty, file, _, _ = disk
    faulty.suffer(DiskFaults(fsync_seconds=3600.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, file.datasync)
        await trio.testing.wait_all_tasks_blocked()
        faulty.suffer()


async def test_faults_of_a_process_end_by_themselves(autojump_clock):
    process = ProcessFaults(TrioClock(), FakeDisk(), random.Random(1))
    full = Fault(kind=FaultKind.DISK_FULL, target="leader/0")
    ahead = Fault(kind=FaultKind.CLOCK_JUMP, target="leader/0", seconds=60.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.run)
        now = trio.current_time()
        faults = (ActiveFault("f1", full, now, now + 5.0), ActiveFault("f2", ahead, now, now + 9.0))
        process.suffer(faults)
        assert process.disk.faults.is_full
        await trio.sleep(5.1)
        assert not process.disk.faults.is_full
        assert process.clock.now_ns() - process.base.now_ns() == 60 * 10**9
        await trio.sleep(4.0)
        assert process.clock.now_ns() == process.base.now_ns()
        assert process.active == ()
        process.suffer((ActiveFault("f3", full, now, now + 5.0),))
        assert process.active == (), "it has run out already"
        nursery.cancel_scope.cancel()


def test_faults_are_found_again_after_a_crash(tmp_path):
    fault = Fault(kind=FaultKind.STALL, target="leader->follower1", duration=30.0)
    active, _ = ActiveFaults().add(fault, 100.0, 9)
    active, second = active.add(Fault(kind=FaultKind.DISK_FULL, target="leader/0"), 110.0, 9)
    save_faults(tmp_path, active, 120.0, 1e9)
    # Five seconds later, in a process whose monotonic clock began elsewhere.
    again = load_faults(tmp_path, 7.0, 1e9 + 5)
    assert [one.id for one in again.faults] == ["f1", "f2"]
    assert again.faults[0].ends_at == pytest.approx(7.0 + 5.0)
    assert again.faults[0].fault == fault
    assert again.faults[1].ends_at == second.ends_at
    assert again.next_number == 3
    assert load_faults(tmp_path, 7.0, 1e9 + 11).faults[0].id == "f2"
    save_faults(tmp_path, ActiveFaults(), 121.0, 1e9 + 1)
    assert not list(tmp_path.iterdir())
    assert load_faults(tmp_path, 0.0, 1e9) == ActiveFaults()


@pytest.mark.parametrize("text", ["", "{}", '{"next_number": 1, "faults": [{"id": "f1"}]}', "[]"])
def test_a_damaged_file_of_faults_is_named(tmp_path, text):
    (tmp_path / FAULTS_FILE).write_text(text)
    with pytest.raises(ValueError, match=FAULTS_FILE):
        load_faults(tmp_path, 0.0, 0.0)


async def test_the_coordinators_store_suffers_too():
    saved = []

    class Store:
        async def save(self, before, after):
            saved.append(after)

    disk = FaultyDisk(FakeDisk(), random.Random(1))
    store = FaultyPersistence(Store(), disk)
    await store.save(1, 2)
    disk.suffer(DiskFaults(is_full=True))
    with pytest.raises(OSError, match="a fault"):
        await store.save(2, 3)
    assert saved == [2]
