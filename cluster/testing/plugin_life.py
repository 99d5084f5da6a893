"""What one test has of the session's processes: a database, attachments, faults; and its end.

Everything here runs in the portal's loop. The classes people see are in
:mod:`cluster.testing.kusto` and :mod:`cluster.testing.kusto_faults`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from cluster.errors import ConflictError, EntityNotFoundError, RemoraError, TimedOutError
from cluster.launcher.topology import COORDINATOR
from cluster.replication.position import Position
from cluster.rpc.v1 import faults_pb2, faults_pb2_grpc
from cluster.testing.plugin_setup import FOLLOWER, LEADER, process_of

if TYPE_CHECKING:
    from cluster.client import Result
    from cluster.testing.plugin_setup import SessionSetup

PATIENCE_SECONDS: Final = 30.0
"""How long a wait lasts unless told otherwise."""

_RETRY_SECONDS: Final = 0.01
_LONGEST_RETRY_SECONDS: Final = 0.1

_DISK_FAULTS: Final = frozenset({"disk-full", "fsync-error"})
"""A row store that could not write takes nothing more in this life of its process."""


@dataclass(frozen=True, slots=True)
class Streaming:
    """Whether streaming ingestion is on in the leader cluster and in the follower cluster."""

    leader: bool = True
    follower: bool = True


class Life:
    """One test's part of the setup. ``database`` is its own, on the leader."""

    def __init__(self, session: SessionSetup, streaming: Streaming) -> None:
        self.session = session
        self.portal = session.portal
        self.database = session.next_database()
        self.streaming = {LEADER: streaming.leader, FOLLOWER: streaming.follower}
        self._struck: set[str] = set()
        self._local, self._leave = session.connect(self.database)
        try:
            self.portal.run(self._begin)
        except BaseException:
            self._leave()
            raise

    def close(self) -> None:
        """Heals everything, ends the attachment, drops the database; capabilities as they were."""
        try:
            self.portal.run(self.heal)
            self.portal.run(self._drop_followed)
        finally:
            self._leave()

    async def _begin(self) -> None:
        leader = self._local.client(LEADER)
        await leader.command("", f".create database {self.database}")
        await leader.command(
            self.database, f".alter database {self.database} policy streamingingestion enable"
        )
        # Last: the policy cannot be set in a cluster without streaming ingestion.
        for cluster, on in self.streaming.items():
            if not on:
                await self._local.capability(cluster, on=False)

    async def _drop_followed(self) -> None:
        await self._local.detach_all()
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                try:
                    await self._local.client(LEADER).command(
                        "", f".drop database {self.database} ifexists"
                    )
                except ConflictError:  # the follower has let go; the leader hears of it next
                    await trio.sleep(_RETRY_SECONDS)
                else:
                    return

    # What a database is asked

    async def command(self, cluster: str, text: str, timeout_seconds: float) -> Result:
        """Runs a management command in the database."""
        return await self._local.client(cluster).command(
            self.database, text, timeout_seconds=timeout_seconds
        )

    async def query(
        self, cluster: str, kql: str, at_least: Position | None, timeout_seconds: float
    ) -> Result:
        """Answers a query."""
        return await self._local.client(cluster).query(
            self.database, kql, at_least=at_least, timeout_seconds=timeout_seconds
        )

    async def ingest(
        self, cluster: str, table: str, payload: bytes, data_format: str, mapping: str
    ) -> tuple[int, Position]:
        """Streams one payload; how many rows it had, and the position that includes them."""
        response = await self._local.client(cluster).ingest(
            self.database, table, payload, data_format=data_format, mapping=mapping
        )
        return response.row_count, self._local.position(response)

    async def position(self, cluster: str) -> Position:
        """How far the database has come there."""
        result = await self._local.client(cluster).query(self.database, "print 1")
        assert result.position is not None, "a query's answer has a position"
        return result.position

    async def wait_for(self, cluster: str, position: Position, timeout_seconds: float) -> None:
        """Waits in the node for the position. A node that is away, or knows nothing, is retried."""
        last: RemoraError | None = None
        with trio.move_on_after(timeout_seconds):
            while True:
                try:
                    await self._local.client(cluster).wait_for(
                        self.database, position, timeout_seconds=timeout_seconds
                    )
                except TimedOutError as error:
                    last = error
                    break
                except RemoraError as error:
                    last = error
                    await trio.sleep(_RETRY_SECONDS)
                else:
                    return
        raise TimedOutError(
            f"cluster '{cluster}' did not come to {position} of database '{self.database}' within "
            f"{timeout_seconds:g} s",
            remedy="Look at the logs of its node, and whether a fault is still there.",
        ) from last

    async def wait_for_rows(
        self, cluster: str, table: str, count: int, timeout_seconds: float
    ) -> int:
        """Asks until so many rows are visible: who sends them, and when, is not known here."""
        kql = f"['{table}'] | count"
        seen, pause, last = 0, _RETRY_SECONDS, None
        with trio.move_on_after(timeout_seconds):
            while True:
                try:
                    result = await self._local.client(cluster).query(self.database, kql)
                except RemoraError as error:  # the table, or the node, may come yet
                    last = error
                else:
                    seen, last = int(result.scalar()), None
                    if seen >= count:
                        return seen
                await trio.sleep(pause)
                pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
        raise TimedOutError(
            f"'{table}' had {seen} of {count} rows on cluster '{cluster}' after "
            f"{timeout_seconds:g} s"
        ) from last

    # The pair

    async def attach(self) -> None:
        """Lets the follower follow; returns when it has the database."""
        await self._local.attach(FOLLOWER)
        await self._local.until_followed(FOLLOWER)

    async def detach(self) -> None:
        """Ends following; returns when the follower cannot show the database any more."""
        await self._local.detach(FOLLOWER)

    async def set_streaming(self, cluster: str, on: bool) -> None:
        """Turns a capability on or off; returns when that is certain."""
        await self._local.capability(cluster, on=on)
        self.streaming[cluster] = on

    async def wait_until_followed(self, timeout_seconds: float) -> Position:
        """The follower has what the leader shows now; what is sealed, if it follows only that."""
        position = await self.position(LEADER)
        if not (self.streaming[LEADER] and self.streaming[FOLLOWER]):
            position = Position(position.version)
        await self.wait_for(FOLLOWER, position, timeout_seconds)
        return position

    # Faults

    @property
    def _faults(self) -> Any:
        return faults_pb2_grpc.FaultServiceStub(self._local.channel(COORDINATOR))

    async def add_fault(self, fault: faults_pb2.Fault, seconds: float) -> str:
        """Makes it go wrong; returns its id when it does, else raises TimedOutError."""
        if fault.kind in _DISK_FAULTS:
            self._struck.add(process_of(fault.target))
        response: faults_pb2.AddFaultResponse = await self._faults.AddFault(
            faults_pb2.AddFaultRequest(fault=fault, duration_seconds=seconds),
            timeout=PATIENCE_SECONDS,
        )
        if not response.fault.in_effect:
            await self.clear_fault(response.fault.id)
            raise TimedOutError(
                f"the fault '{fault.kind}' of '{fault.target}' was not confirmed",
                remedy="Somebody it strikes is down, paused or cut off already.",
            )
        identity: str = response.fault.id
        return identity

    async def clear_fault(self, identity: str) -> None:
        """Ends one fault, or with ``""`` all. One whose time has run out is over already."""
        with contextlib.suppress(EntityNotFoundError):
            await self._faults.ClearFaults(
                faults_pb2.ClearFaultsRequest(id=identity), timeout=PATIENCE_SECONDS
            )

    async def kill(self, name: str) -> None:
        """SIGKILL; returns when the process is gone."""
        await self._local.kill(process_of(name))

    async def start(self, name: str) -> None:
        """Starts a killed process; returns when it serves."""
        await self._local.start(process_of(name))

    async def pause(self, name: str) -> None:
        """SIGSTOP."""
        await self._local.pause(process_of(name))

    async def resume(self, name: str) -> None:
        """SIGCONT."""
        await self._local.resume(process_of(name))

    async def heal(self) -> None:
        """Every process runs, nothing goes wrong on purpose."""
        await self.session.start_all()
        await self.clear_fault("")
        while self._struck:
            name = self._struck.pop()
            await self._local.kill(name)
            await self._local.start(name)
