"""Somebody's clusters as a :class:`cluster.conformance.system.System`: seen from outside only."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

import msgspec
import trio

from cluster.conformance import statements
from cluster.conformance.doors_grpc import GrpcControl, GrpcDoor
from cluster.conformance.doors_rest import NO_POSITION, REST_SECONDS, RestDoor
from cluster.conformance.system import Feature
from cluster.errors import DatabaseNotFoundError, NotSupportedError, RemoraError
from cluster.http_client import HttpClient
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc
from cluster.testing.endpoint.claims import GRPC_CALL_SECONDS, address_of, is_rest, profile_of
from cluster.testing.endpoint.control import EndpointControl
from cluster.testing.endpoint.planning import create_or_merge
from cluster.transport.select import transport_from_environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from cluster.conformance.calls import Answer, Ingested, Ran
    from cluster.conformance.faults import Fault
    from cluster.conformance.history import History
    from cluster.conformance.request import Endpoint, Target
    from cluster.conformance.system import Profile
    from cluster.conformance.values import At
    from cluster.testing.endpoint.claims import Times
    from cluster.testing.endpoint.planning import Tables

WHO: Final = "conform"
_CONTROL_SECONDS: Final = 80.0
_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 10.0
_CLEANING_SECONDS: Final = 120.0
_CLEAR_CACHE: Final = ".clear database cache streamingingestion schema"
"""Else Azure takes minutes to hear that a new table may be streamed into."""

_TRIAL_ID: Final = 1


class NotReadyError(Exception):
    """The clusters are not as described, or cannot be reached: nothing can be judged."""


class EndpointSystem:
    """Clusters under judgement. Make it with :meth:`opened`; see there for what is left behind."""

    def __init__(self, target: Target, times: Times, history: History) -> None:
        self.profile: Profile = profile_of(target)
        """What there is."""
        self.history: History = history
        """What has happened so far."""
        self._target = target
        self._times = times
        self._began = trio.current_time()
        self._transport = transport_from_environment()
        self._endpoints = {e.cluster: e for e in (*target.leaders, *target.followers)}
        self._doors: dict[tuple[str, str], NarrowDoor] = {}
        self._coordinator: GrpcControl | None = None
        if target.coordinator_url:
            self._coordinator = GrpcControl(
                self._transport.connect(address_of(target.coordinator_url)),
                timeout_seconds=_CONTROL_SECONDS,
            )
        self.control = EndpointControl(target, self._coordinator)
        """The control plane."""

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        target: Target,
        times: Times,
        tables: Tables,
        history: History,
        warn: Callable[[str], None],
    ) -> AsyncIterator[Self]:
        """The system when it is :meth:`ready`. On the way out, also of a failure or a cancellation,
        capabilities and attachments are put back and the run's tables dropped (``Target.keep``
        keeps those). ``warn`` is told what could not be put back.
        """
        system = cls(target, times, history)
        try:
            try:
                await system.ready(tables)
                yield system
            finally:
                with trio.CancelScope(shield=True):
                    if left := await system.clean(tables):
                        warn(f"{target.database}: {left}")
        finally:
            with trio.CancelScope(shield=True):
                await system.aclose()

    async def aclose(self) -> None:
        """Closes all connections."""
        if self._coordinator is not None:
            await self._coordinator.aclose()
        for door in self._doors.values():
            await door.aclose()

    def now(self) -> float:
        """Real seconds since the run began."""
        return trio.current_time() - self._began

    async def sleep(self, seconds: float) -> None:
        """Waits in real time."""
        await trio.sleep(seconds)

    def door(self, cluster: str, client: str) -> NarrowDoor:
        """A connection of that client's own, kept for the run."""
        door = self._doors.get((cluster, client))
        if door is None:
            whole = self._connect(self._endpoints[cluster])
            door = self._doors[cluster, client] = NarrowDoor(whole, self.profile)
        return door

    def _connect(self, endpoint: Endpoint) -> GrpcDoor | RestDoor:
        if not is_rest(endpoint):
            channel = self._transport.connect(address_of(endpoint.url))
            return GrpcDoor(channel, timeout_seconds=GRPC_CALL_SECONDS)
        return RestDoor(
            HttpClient(endpoint.url),
            token=os.environ.get(endpoint.token_variable, "") if endpoint.token_variable else "",
            timeout_seconds=REST_SECONDS,
            visible_seconds=self._times.visible,
        )

    async def begin(self, number: int, fault: Fault) -> None:
        """Raises NotSupportedError: nobody's clusters are hurt from outside."""
        raise NotSupportedError(f"endpoints take no faults: {fault.kind.value}")

    async def end(self, number: int) -> None:
        """Raises NotSupportedError, as :meth:`begin` does."""
        raise NotSupportedError("endpoints take no faults")

    async def heal(self) -> None:
        """Nothing was hurt."""
        await trio.lowlevel.checkpoint()

    # -- before and after -----------------------------------------------------------------------

    async def ready(self, tables: Tables) -> None:
        """Makes the tables and returns when the leader streams into one and all followers show it.

        Raises NotReadyError: what was waited for, for how long, and the last error.
        """
        leader, database = self._target.leaders[0], self._target.database
        door = self.door(leader.cluster, WHO)
        for table in (*tables.all, tables.trial):
            for text in (create_or_merge(table), statements.streaming_policy(table, on=True)):
                await self._until(
                    f"{leader.cluster}: {text}",
                    door.command,
                    database,
                    text,
                    final=DatabaseNotFoundError,
                )
        if is_rest(leader):
            await self._until(_CLEAR_CACHE, door.command, database, _CLEAR_CACHE)
        what = f"{leader.cluster}: streaming ingestion into {database}.{tables.trial}"
        columns = ("Id", "Source", "At", "Payload")

        async def write() -> Ingested:
            return await door.ingest(
                database, tables.trial, (_TRIAL_ID,), columns, f"{tables.prefix}trial"
            )

        await self._until(what, write)
        for endpoint in self._target.followers:
            theirs = self.door(endpoint.cluster, WHO)
            for table in (*tables.all, tables.trial):
                what = f"{endpoint.cluster}: a read of {table}; does it follow {database}?"
                await self._until(what, theirs.read, database, table)
        await self._until(
            f"{leader.cluster}: drop", door.command, database, statements.drop_table(tables.trial)
        )
        self._began = trio.current_time()

    async def _until(
        self,
        what: str,
        call: Callable[..., Awaitable[object]],
        *arguments: object,
        final: type[RemoraError] | tuple[()] = (),
    ) -> None:
        """A call until it works, as long as followers may take to catch up; ``final`` errors are
        not waited out."""
        began, pause = trio.current_time(), _PAUSE_SECONDS
        while True:
            try:
                await call(*arguments)
            except (RemoraError, trio.BrokenResourceError, OSError) as error:
                if isinstance(error, final):
                    raise NotReadyError(f"{what}: {error} {error.remedy}") from error
                if trio.current_time() + pause - began > self._times.liveness:
                    raise NotReadyError(
                        f"{what}: not within {self._times.liveness:g} seconds: {error}"
                    ) from error
                await trio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                return

    async def clean(self, tables: Tables) -> str:
        """Puts everything back; see :meth:`opened`. Returns what is left, or nothing."""
        left = ""
        with trio.move_on_after(max(_CLEANING_SECONDS, 3 * self._times.call)) as scope:
            try:
                await self.control.restore()
            except RemoraError as error:
                left = f"capabilities and attachments are not as they were: {error}"
            if not self._target.keep:
                try:
                    await self._drop(tables)
                except (RemoraError, trio.BrokenResourceError, OSError) as error:
                    left = f"{left} tables {tables.prefix}* are left: {error}".strip()
        if scope.cancelled_caught:
            left = f"tables {tables.prefix}* may be left: dropping them took too long"
        return left

    async def _drop(self, tables: Tables) -> None:
        """Whatever begins with the run's own prefix, so that nothing else can be meant."""
        leader, database = self._target.leaders[0].cluster, self._target.database
        door = self.door(leader, WHO)
        found = await door.command(database, ".show tables")
        names = found.columns.index("TableName") if "TableName" in found.columns else 0
        for row in found.rows:
            if row[names].startswith(tables.prefix):
                await door.command(database, f"{statements.drop_table(row[names])} ifexists")


class NarrowDoor:
    """A door that says no more than the system as a whole offers.

    One endpoint's positions mean nothing where another tells none: rules would compare them.
    """

    def __init__(self, door: GrpcDoor | RestDoor, profile: Profile) -> None:
        self._door = door
        self._features = profile.features

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._door.aclose()

    async def ingest(
        self,
        database: str,
        table: str,
        ids: Sequence[int],
        columns: Sequence[str],
        source: str,
        *,
        flaw: str = "",
    ) -> Ingested:
        """See :class:`cluster.conformance.system.Door`."""
        outcome = await self._door.ingest(database, table, ids, columns, source, flaw=flaw)
        if Feature.POSITIONS in self._features:
            return outcome
        return msgspec.structs.replace(outcome, position=NO_POSITION)

    async def read(
        self,
        database: str,
        table: str,
        *,
        at_least: At | None = None,
        max_staleness_seconds: float | None = None,
    ) -> Answer:
        """See :class:`cluster.conformance.system.Door`."""
        answer = await self._door.read(
            database, table, at_least=at_least, max_staleness_seconds=max_staleness_seconds
        )
        if Feature.POSITIONS not in self._features:
            answer = msgspec.structs.replace(answer, position=None)
        if Feature.STALENESS not in self._features:
            answer = msgspec.structs.replace(answer, staleness_seconds=None)
        if Feature.HIDDEN_REASON not in self._features:
            answer = msgspec.structs.replace(answer, hidden_reason="")
        return answer

    async def command(self, database: str, text: str) -> Ran:
        """See :class:`cluster.conformance.system.Door`."""
        return await self._door.command(database, text)


async def resolved(target: Target) -> Target:
    """The target with each endpoint called as its coordinator calls it, and with its capability.

    Without a coordinator the target itself. Raises NotReadyError if the coordinator does not know
    an endpoint, neither by its address nor by its name.
    """
    if not target.coordinator_url:
        return target
    channel = transport_from_environment().connect(address_of(target.coordinator_url))
    try:
        async with channel:
            stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
            status = await stub.GetStatus(
                coordinator_pb2.GetStatusRequest(), timeout=GRPC_CALL_SECONDS
            )
    except (RemoraError, trio.BrokenResourceError, OSError) as error:
        raise NotReadyError(f"coordinator {target.coordinator_url}: {error}") from error
    return replace(
        target,
        leaders=tuple(_known(endpoint, status) for endpoint in target.leaders),
        followers=tuple(_known(endpoint, status) for endpoint in target.followers),
    )


def _known(endpoint: Endpoint, status: coordinator_pb2.GetStatusResponse) -> Endpoint:
    address = address_of(endpoint.url)
    by_address = [
        cluster
        for cluster in status.clusters
        if any(address_of(f"grpc://{node.grpc_address}") == address for node in cluster.nodes)
    ]
    by_name = [cluster for cluster in status.clusters if cluster.name == endpoint.cluster]
    for cluster in (*by_address, *by_name):
        return replace(endpoint, cluster=cluster.name, streaming=bool(cluster.streaming_ingestion))
    names = ", ".join(sorted(cluster.name for cluster in status.clusters)) or "none"
    raise NotReadyError(f"the coordinator knows no cluster at {endpoint.url}; it knows: {names}")
