"""Faults asked for by a user, on real processes: what they do, and that they end."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import trio
from rows import Ledger, count, make_table

from cluster.errors import (
    EntityNotFoundError,
    InvalidRequestError,
    RemoraError,
    RowStoreReadOnlyError,
)
from cluster.launcher.identity import ProcessState, send_signal, state_of, wait_exit
from cluster.launcher.proxy import load_proxy
from cluster.rpc.v1 import faults_pb2, faults_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from cluster.launcher.lifecycle import Launcher
    from cluster.launcher.setup import Setup
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process

FOLLOW = "leader->follower1"
CONTROL = "follower1->coordinator"
PATIENCE_SECONDS = 30


class Faults:
    """The coordinator's FaultService, as a test speaks to it."""

    def __init__(self, local: LocalSetup) -> None:
        self._stub: Any = faults_pb2_grpc.FaultServiceStub(local.channel("coordinator"))

    async def ask(self, target: str, kind: str, lasts: float = 0.0, **values: Any) -> Any:
        """Asks for a fault, which may wait for somebody who is away."""
        fault = faults_pb2.Fault(target=target, kind=kind, **values)
        request = faults_pb2.AddFaultRequest(fault=fault, duration_seconds=lasts)
        return (await self._stub.AddFault(request, timeout=PATIENCE_SECONDS)).fault

    async def add(self, target: str, kind: str, lasts: float = 0.0, **values: Any) -> str:
        """Asks for a fault; it is in effect on return. Returns its id."""
        added = await self.ask(target, kind, lasts, **values)
        assert added.in_effect
        return str(added.id)

    async def clear(self, fault_id: str = "") -> None:
        request = faults_pb2.ClearFaultsRequest(id=fault_id)
        assert (await self._stub.ClearFaults(request, timeout=PATIENCE_SECONDS)).confirmed

    async def list(self) -> list[faults_pb2.ActiveFault]:
        response = await self._stub.ListFaults(faults_pb2.ListFaultsRequest(), timeout=10)
        return list(response.faults)


@pytest.fixture
async def faults(local_setup: LocalSetup) -> AsyncIterator[Faults]:
    faults = Faults(local_setup)
    yield faults
    await faults.clear()


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Returns when it is so."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not await is_so():  # noqa: ASYNC110 - another process is asked
            await trio.sleep(0.02)


async def followed(local_setup: LocalSetup, follower: str = "follower1") -> None:
    await make_table(local_setup.client("leader"), local_setup.database)
    await local_setup.attach(follower)
    await local_setup.until_followed(follower)


@asynccontextmanager
async def streaming(local_setup: LocalSetup, ledger: Ledger) -> AsyncIterator[Any]:
    """Rows are streamed to the leader all the time, all decided at the end; yields the writer."""

    async def flood() -> None:
        while True:
            with trio.CancelScope(shield=True):
                await writer.send(ledger.payload())
            await trio.lowlevel.checkpoint()

    writer = ledger.writer(local_setup.channel("leader"))
    async with writer, trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        yield writer
        nursery.cancel_scope.cancel()
        await writer.drain()


async def acked(writer: Any, ledger: Ledger, more: int) -> None:
    """Returns when so many more rows are acknowledged."""
    wanted = len(ledger.acked) + more
    while len(ledger.acked) < wanted:
        await writer.wait_decided()


async def test_a_partition_stops_rows_and_its_end_brings_each_once(
    processes: tuple[Launcher, Setup], local_setup: LocalSetup, faults: Faults
) -> None:
    await followed(local_setup)
    follower = local_setup.client("follower1")
    ledger = Ledger(local_setup.database, "partition")
    async with streaming(local_setup, ledger) as writer:
        await acked(writer, ledger, 30)
        await faults.add(f"link {FOLLOW}", "partition")
        stopped_at = await count(follower, local_setup.database)
        await acked(writer, ledger, 300)  # the leader goes on

        async def lags() -> bool:
            report = await local_setup.following("follower1")
            return not report.connected and report.lag_ms > 500

        await until(lags)
        assert await count(follower, local_setup.database) == stopped_at
        (shown,) = (await local_setup.status()).faults
        assert (shown.fault.kind, shown.fault.target) == ("partition", FOLLOW)
        await faults.clear()
        await acked(writer, ledger, 30)
    position = writer.statistics().position
    await local_setup.wait_for("follower1", position)
    await ledger.assert_each_once(follower, position)
    proxy = load_proxy(processes[1].coordinator.data)
    assert proxy is not None
    port = int(processes[1].node_of("leader").grpc.rpartition(":")[2])

    async def is_direct() -> bool:
        connections = psutil.Process(proxy.identity.pid).net_connections("tcp")
        return not [one for one in connections if one.raddr and one.raddr.port == port]

    await until(is_direct)


async def test_a_delay_shows_as_lag_and_a_stall_leaves_the_leader_alone(
    local_setup: LocalSetup, faults: Faults
) -> None:
    await followed(local_setup)
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    late = await faults.add(FOLLOW, "delay", seconds=0.2, jitter_seconds=0.05)
    position = None
    with trio.move_on_after(0.2):
        response = await leader.ingest(local_setup.database, "T", b"2026-11-21,one,1,s\n")
        position = local_setup.position(response)
        await local_setup.wait_for("follower1", position)
        raise AssertionError("it came at once")
    assert position is not None
    await local_setup.wait_for("follower1", position)

    async def lags() -> bool:
        return (await local_setup.following("follower1")).apply_lag_ms_p99 >= 200

    await until(lags)
    await faults.add(FOLLOW, "stall")
    await faults.clear(late)
    ledger = Ledger(local_setup.database, "stall")
    async with streaming(local_setup, ledger) as writer:
        await acked(writer, ledger, 900)
        assert await count(follower, local_setup.database) == 1
        await faults.clear()
    position = writer.statistics().position
    await local_setup.wait_for("follower1", position)
    await ledger.assert_each_once(follower, position)


async def test_broken_connections_and_a_narrow_link_lose_nothing(
    local_setup: LocalSetup, faults: Faults
) -> None:
    await followed(local_setup)
    follower = local_setup.client("follower1")
    ledger = Ledger(local_setup.database, "broken")
    async with streaming(local_setup, ledger) as writer:
        await faults.add(FOLLOW, "bandwidth", bytes_per_second=200_000)
        await faults.add("follower1->leader", "reset")
        await acked(writer, ledger, 60)
        await faults.add(FOLLOW, "drop", ratio=0.2)
        await acked(writer, ledger, 60)
    assert len(await faults.list()) == 3
    await faults.clear()
    position = writer.statistics().position
    await local_setup.wait_for("follower1", position)
    await ledger.assert_each_once(follower, position)


async def test_without_the_coordinator_a_leap_of_the_clock_ends_the_lease(
    local_setup: LocalSetup, faults: Faults
) -> None:
    await followed(local_setup)
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    response = await leader.ingest(local_setup.database, "T", b"2026-11-21,one,1,s\n")
    await local_setup.wait_for("follower1", local_setup.position(response))
    await faults.add(f"link {CONTROL}", "partition")
    await faults.add("follower1", "clock", monotonic_seconds=3600.0, seconds=-60.0)
    result = await follower.query(local_setup.database, "T | count")
    assert result.scalar() == 0
    assert "lease" in result.hidden_reason

    async def is_not_heard() -> bool:
        for cluster in (await local_setup.status()).clusters:
            if cluster.name == "follower1":
                return all(node.heartbeat_age_ms > 1000 for node in cluster.nodes)
        return False

    await until(is_not_heard)
    assert await count(follower, local_setup.database) == 0
    await faults.clear()

    async def reopened() -> bool:
        return await count(follower, local_setup.database) == 1

    await until(reopened)


async def test_a_clock_that_leaps_closes_the_gate_until_the_next_heartbeat(
    local_setup: LocalSetup, faults: Faults
) -> None:
    await followed(local_setup)
    leader, follower = local_setup.client("leader"), local_setup.client("follower1")
    response = await leader.ingest(local_setup.database, "T", b"2026-11-21,one,1,s\n")
    await local_setup.wait_for("follower1", local_setup.position(response))
    await faults.add("follower1/0", "clock", monotonic_seconds=600.0)

    async def is_open() -> bool:
        return await count(follower, local_setup.database) == 1

    await until(is_open)
    await faults.add("leader", "clock", seconds=3600.0, lasts=60.0)
    wall = await leader.query("NetDefaultDB", "print now() - datetime(2000-01-01)")
    true = await follower.query("NetDefaultDB", "print now() - datetime(2000-01-01)")
    assert (wall.scalar() - true.scalar()).total_seconds() > 3500
    await faults.clear()


@pytest.mark.parametrize(
    ("kind", "words", "ratio"),
    [
        ("disk-full", "No space left", 0.0),
        pytest.param("fsync-error", "a fault of fsync", 1.0, marks=pytest.mark.slow),
    ],
)
async def test_a_disk_that_fails_makes_the_leader_refuse_and_loses_nothing(
    local_setup: LocalSetup, faults: Faults, kind: str, words: str, ratio: float
) -> None:
    await make_table(local_setup.client("leader"), local_setup.database)
    leader = local_setup.client("leader")
    for number in range(5):
        await leader.ingest(local_setup.database, "T", b"2026-11-21,acked,%d,s\n" % number)
    await faults.add("leader", kind, ratio=ratio)
    for _ in range(2):  # once failed, it is read-only
        with pytest.raises(RowStoreReadOnlyError, match=words):
            await leader.ingest(local_setup.database, "T", b"2026-11-21,refused,9,s\n")
    result = await leader.query(local_setup.database, "T | where Name == 'acked' | count")
    assert result.scalar() == 5
    await faults.clear()
    await local_setup.kill("leader/0")
    await local_setup.start("leader/0")
    await leader.ingest(local_setup.database, "T", b"2026-11-21,acked,5,s\n")
    result = await leader.query(
        local_setup.database, "T | where Name == 'acked' | summarize count(), dcount(Number)"
    )
    assert result.rows() == [(6, 6)]


async def test_a_slow_fsync_makes_acks_late_until_its_time_has_run_out(
    local_setup: LocalSetup, faults: Faults
) -> None:
    leader = local_setup.client("leader")
    await make_table(leader, local_setup.database)
    await faults.add("leader", "slow-fsync", seconds=0.3, lasts=1.0)
    began = trio.current_time()
    await leader.ingest(local_setup.database, "T", b"2026-11-21,late,1,s\n")
    assert trio.current_time() - began >= 0.3

    async def is_over() -> bool:
        return not await faults.list()

    await until(is_over)


async def test_what_does_not_fit_is_refused_with_what_would(
    local_setup: LocalSetup, faults: Faults
) -> None:
    with pytest.raises(EntityNotFoundError, match="follower9") as missing:
        await faults.add("follower9", "disk-full")
    assert "follower1/0" in missing.value.remedy
    with pytest.raises(InvalidRequestError, match="does not fit") as unfit:
        await faults.add("leader", "stall")
    assert "slow-fsync" in unfit.value.remedy
    with pytest.raises(InvalidRequestError, match="needs --seconds"):
        await faults.add(FOLLOW, "delay")


@pytest.mark.slow
async def test_faults_outlive_a_killed_coordinator_but_not_a_killed_proxy(
    processes: tuple[Launcher, Setup], local_setup: LocalSetup, faults: Faults
) -> None:
    folder = processes[1].coordinator.data
    await followed(local_setup)
    ledger = Ledger(local_setup.database, "outlive")
    slow = await faults.add("leader", "slow-fsync", seconds=0.01)
    stalled = await faults.add(FOLLOW, "stall")
    proxy = load_proxy(folder)
    assert proxy is not None
    await local_setup.kill("coordinator")
    await local_setup.start("coordinator")

    async def are_in_effect() -> bool:
        try:
            return [one.in_effect for one in await faults.list()] == [True, True]
        except RemoraError:
            return False

    await until(are_in_effect)
    assert load_proxy(folder) == proxy
    async with streaming(local_setup, ledger) as writer:
        await acked(writer, ledger, 30)
    assert await count(local_setup.client("follower1"), local_setup.database) == 0
    send_signal(proxy.identity, 9)
    await wait_exit(proxy.identity)

    async def is_gone() -> bool:
        return [one.id for one in await faults.list()] == [slow]

    await until(is_gone)
    position = writer.statistics().position
    await local_setup.wait_for("follower1", position)
    await ledger.assert_each_once(local_setup.client("follower1"), position)
    assert await faults.add(FOLLOW, "stall") != stalled  # by a new proxy
    again = load_proxy(folder)
    assert again is not None
    assert again.identity != proxy.identity
    assert state_of(again.identity) is ProcessState.RUNNING


STORM = (
    (FOLLOW, "partition", {}),
    (FOLLOW, "one-way", {}),
    ("follower1->leader", "one-way", {}),
    (FOLLOW, "delay", {"seconds": 0.1, "jitter_seconds": 0.1}),
    (FOLLOW, "drop", {"ratio": 0.1}),
    (FOLLOW, "bandwidth", {"bytes_per_second": 50_000}),
    (FOLLOW, "stall", {}),
    (FOLLOW, "reset", {"ratio": 0.05}),
    (CONTROL, "partition", {}),
    (CONTROL, "delay", {"seconds": 0.5}),
    ("coordinator->leader", "stall", {}),
    ("leader", "slow-fsync", {"seconds": 0.05}),
    ("follower1", "slow-fsync", {"seconds": 0.2}),
    ("follower1", "disk-full", {}),
    ("follower1", "fsync-error", {}),
    ("follower1", "clock", {"monotonic_seconds": 5.0, "seconds": -30.0}),
    ("leader", "clock", {"monotonic_seconds": 5.0, "seconds": 30.0}),
    ("coordinator", "clock", {"monotonic_seconds": 1.0}),
)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_a_storm_of_faults_and_crashes_passes_and_each_row_is_there_once(
    local_setup: LocalSetup, faults: Faults, seed: int
) -> None:
    rng = random.Random(seed)
    await followed(local_setup)
    follower = local_setup.client("follower1")
    ledger = Ledger(local_setup.database, f"storm{seed}")
    async with streaming(local_setup, ledger) as writer:
        for _ in range(30):
            target, kind, values = rng.choice(STORM)
            await faults.ask(target, kind, lasts=rng.uniform(0.3, 2.0), **values)
            crash = rng.random()
            if crash < 0.1:
                process = rng.choice(("coordinator", "follower1/0"))
                await local_setup.kill(process)
                await local_setup.start(process)
            elif crash < 0.2:
                await local_setup.pause("follower1/0")
                await acked(writer, ledger, 30)
                await local_setup.resume("follower1/0")
            await acked(writer, ledger, 3)
        await faults.clear()
    position = writer.statistics().position
    await local_setup.wait_for("follower1", position)
    await ledger.assert_each_once(follower, position)
    assert not (await local_setup.status()).faults
