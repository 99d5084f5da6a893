"""Doors and the control plane over Remora's gRPC services, by whatever transport.

The simulated world, ``conform local`` and ``conform endpoint`` all use these; they differ in the
channels they pass.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

import pyarrow.compute as pc
import trio

from cluster.catalog.model import RowStoreKey, Version
from cluster.client import Client
from cluster.conformance.calls import Answer, Changed, Ingested, Ran
from cluster.conformance.payloads import payload_of
from cluster.conformance.plan import BASE_COLUMNS
from cluster.conformance.values import At
from cluster.replication.position import KeyPosition, Position
from cluster.rpc.convert import position_from_message
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc, types_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from cluster.transport.api import Channel

DATA_SECONDS: Final = 20.0
"""Deadline of a request to a node."""

CONTROL_SECONDS: Final = 80.0
"""Deadline of a request to the coordinator: off may wait until a lease has run out."""


class _Opened:
    """A channel that its first call opens, whoever else calls at the same time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ready: trio.Event | None = None

    async def open(self) -> None:
        """Returns when the channel can be called."""
        if self._ready is None:
            self._ready = trio.Event()
            # Half an opening could not be repeated: a channel is opened once.
            with trio.CancelScope(shield=True):
                await self._channel.__aenter__()
            self._ready.set()
        elif not self._ready.is_set():
            await self._ready.wait()

    async def aclose(self) -> None:
        """Ends all of its calls; nothing if it was never opened."""
        if self._ready is not None:
            await self._channel.__aexit__(None, None, None)


class GrpcDoor:
    """:class:`cluster.conformance.system.Door` of one cluster for one client.

    Owns ``channel``, which is not open yet: the first call opens it, :meth:`aclose` closes it.
    """

    def __init__(self, channel: Channel, *, timeout_seconds: float = DATA_SECONDS) -> None:
        self._opened = _Opened(channel)
        self._client = Client(channel)
        self._timeout_seconds = timeout_seconds

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._opened.aclose()

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
        """See :class:`cluster.conformance.system.Door`; rows are sent as CSV by position."""
        await self._opened.open()
        response = await self._client.ingest(
            database,
            table,
            payload_of(ids, columns, source, flaw),
            source_id=source,
            timeout_seconds=self._timeout_seconds,
        )
        position = position_from_message(response.position)
        return Ingested(position=At.of(position), repeated=response.duplicate)

    async def read(
        self,
        database: str,
        table: str,
        *,
        at_least: At | None = None,
        max_staleness_seconds: float | None = None,
    ) -> Answer:
        """See :class:`cluster.conformance.system.Door`; the query is the table's name."""
        await self._opened.open()
        result = await self._client.query(
            database,
            table,
            at_least=None if at_least is None else position_of(at_least),
            max_staleness_seconds=max_staleness_seconds,
            timeout_seconds=self._timeout_seconds,
        )
        return Answer(
            ids=tuple(result.table.column("Id").to_pylist()),
            position=None if result.position is None else At.of(result.position),
            columns=tuple(name for name, _type in result.columns),
            filled=filled(result.table),
            hidden_reason=result.hidden_reason,
            staleness_seconds=result.staleness_seconds,
        )

    async def command(self, database: str, text: str) -> Ran:
        """See :class:`cluster.conformance.system.Door`; nulls are empty texts."""
        await self._opened.open()
        result = await self._client.command(database, text, timeout_seconds=self._timeout_seconds)
        return Ran(
            columns=tuple(name for name, _type in result.columns),
            rows=tuple(tuple(_text(value) for value in row) for row in result.rows()),
        )


class GrpcControl:
    """:class:`cluster.conformance.system.Control` over the coordinator's service.

    Owns ``channel``, as :class:`GrpcDoor` does.
    """

    def __init__(self, channel: Channel, *, timeout_seconds: float = CONTROL_SECONDS) -> None:
        self._opened = _Opened(channel)
        self._stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        self._timeout_seconds = timeout_seconds

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._opened.aclose()

    async def set_capability(self, cluster: str, *, on: bool) -> Changed:
        """See :class:`cluster.conformance.system.Control`."""
        await self._opened.open()
        response = await self._stub.SetCapability(
            coordinator_pb2.SetCapabilityRequest(cluster=cluster, streaming_ingestion=on),
            timeout=self._timeout_seconds,
        )
        return Changed(epoch=response.epoch, certainty=_certainty(response.certainty))

    async def attach(
        self,
        leader: str,
        database: str,
        follower: str,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Changed:
        """See :class:`cluster.conformance.system.Control`.

        Sharing is always said, also when it is everything: what is not said would stay as it is.
        """
        await self._opened.open()
        response = await self._stub.Attach(
            coordinator_pb2.AttachRequest(
                leader_cluster=leader,
                database=database,
                follower_cluster=follower,
                sharing=types_pb2.TableLevelSharing(
                    tables_to_include=include, tables_to_exclude=exclude
                ),
            ),
            timeout=self._timeout_seconds,
        )
        grant = response.grant
        return Changed(
            epoch=grant.epoch,
            certainty=_certainty(response.certainty),
            rows_granted=grant.rows,
            reason=grant.reason,
        )

    async def detach(self, leader: str, database: str, follower: str, *, side: str) -> Changed:
        """See :class:`cluster.conformance.system.Control`.

        The leader's side names the attachment configuration, which :meth:`attach` leaves to be
        called ``LEADER.DATABASE``.
        """
        await self._opened.open()
        if side == "leader":
            response = await self._stub.DetachFollowerDatabases(
                coordinator_pb2.DetachFollowerDatabasesRequest(
                    leader_cluster=leader,
                    follower_cluster=follower,
                    configuration=f"{leader}.{database}",
                ),
                timeout=self._timeout_seconds,
            )
        else:
            response = await self._stub.Detach(
                coordinator_pb2.DetachRequest(
                    leader_cluster=leader, database=database, follower_cluster=follower
                ),
                timeout=self._timeout_seconds,
            )
        return Changed(certainty=_certainty(response.certainty))


def filled(table: pa.Table) -> dict[str, tuple[int, ...]]:
    """For each column added later the ids of rows in which it is not null."""
    ids = table.column("Id")
    return {
        name: tuple(ids.filter(pc.is_valid(table.column(name))).to_pylist())
        for name in table.column_names
        if name not in BASE_COLUMNS
    }


def _text(value: object) -> str:
    """A value as a command takes it; guids travel as 16 bytes, and nothing else as bytes."""
    if isinstance(value, bytes):
        return str(uuid.UUID(bytes=value))
    return "" if value is None else str(value)


def position_of(at: At) -> Position:
    """The position that was written so."""
    keys = {
        RowStoreKey(key): KeyPosition(ordinal, checksum)
        for key, (ordinal, checksum) in at.keys.items()
    }
    return Position(Version(*at.version), keys)


def _certainty(value: coordinator_pb2.Certainty.ValueType) -> str:
    """``CERTAINTY_LEASE_EXPIRED`` is ``lease_expired``; empty if it is not said."""
    if value == coordinator_pb2.CERTAINTY_UNSPECIFIED:
        return ""
    return coordinator_pb2.Certainty.Name(value).removeprefix("CERTAINTY_").lower()
