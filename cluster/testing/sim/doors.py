"""Clients of the simulated setup: the real client over the memory network."""

from __future__ import annotations

import datetime
import gzip
import hashlib
from typing import TYPE_CHECKING, Final

import pyarrow.compute as pc

from cluster.catalog.model import RowStoreKey, Version
from cluster.client import Client
from cluster.conformance.calls import Answer, Changed, Ingested, Ran
from cluster.conformance.values import At
from cluster.replication.position import KeyPosition, Position
from cluster.rpc.convert import position_from_message
from cluster.rpc.v1 import coordinator_pb2, coordinator_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.transport.api import Channel

BASE_COLUMNS: Final = ("Id", "Source", "At", "Payload")
"""Columns of every table of a run, in their order."""

_EPOCH: Final = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
_DATA_SECONDS: Final = 20.0
_CONTROL_SECONDS: Final = 120.0


class MemoryDoor:
    """:class:`cluster.conformance.system.Door` of one cluster for one client."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._client = Client(channel)
        self._is_open = False

    async def _opened(self) -> Client:
        if not self._is_open:
            self._is_open = True
            await self._channel.__aenter__()
        return self._client

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
        client = await self._opened()
        payload = payload_of(ids, columns, source, flaw)
        response = await client.ingest(
            database, table, payload, source_id=source, timeout_seconds=_DATA_SECONDS
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
        """See :class:`cluster.conformance.system.Door`."""
        client = await self._opened()
        wanted = None if at_least is None else position_of(at_least)
        result = await client.query(database, table, at_least=wanted, timeout_seconds=_DATA_SECONDS)
        names = tuple(name for name, _ in result.columns)
        ids = result.table.column("Id")
        filled = {
            name: tuple(ids.filter(pc.is_valid(result.table.column(name))).to_pylist())
            for name in names
            if name not in BASE_COLUMNS
        }
        return Answer(
            ids=tuple(ids.to_pylist()),
            position=None if result.position is None else At.of(result.position),
            columns=names,
            filled=filled,
            hidden_reason=result.hidden_reason,
        )

    async def command(self, database: str, text: str) -> Ran:
        """See :class:`cluster.conformance.system.Door`."""
        client = await self._opened()
        result = await client.command(database, text, timeout_seconds=_DATA_SECONDS)
        return Ran(
            columns=tuple(name for name, _ in result.columns),
            rows=tuple(tuple("" if v is None else str(v) for v in row) for row in result.rows()),
        )


class MemoryControl:
    """:class:`cluster.conformance.system.Control` over the coordinator's service."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stub = coordinator_pb2_grpc.CoordinatorServiceStub(channel)
        self._is_open = False

    async def _opened(self) -> coordinator_pb2_grpc.CoordinatorServiceStub:
        if not self._is_open:
            self._is_open = True
            await self._channel.__aenter__()
        return self._stub

    async def set_capability(self, cluster: str, *, on: bool) -> Changed:
        """See :class:`cluster.conformance.system.Control`."""
        stub = await self._opened()
        response = await stub.SetCapability(
            coordinator_pb2.SetCapabilityRequest(cluster=cluster, streaming_ingestion=on),
            timeout=_CONTROL_SECONDS,
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
        """See :class:`cluster.conformance.system.Control`."""
        stub = await self._opened()
        response = await stub.Attach(
            coordinator_pb2.AttachRequest(
                leader_cluster=leader, database=database, follower_cluster=follower
            ),
            timeout=_CONTROL_SECONDS,
        )
        grant = response.grant
        return Changed(epoch=grant.epoch, rows_granted=grant.rows, reason=grant.reason)

    async def detach(self, leader: str, database: str, follower: str, *, side: str) -> Changed:
        """See :class:`cluster.conformance.system.Control`."""
        stub = await self._opened()
        response = await stub.Detach(
            coordinator_pb2.DetachRequest(
                leader_cluster=leader, database=database, follower_cluster=follower
            ),
            timeout=_CONTROL_SECONDS,
        )
        return Changed(certainty=_certainty(response.certainty))


def position_of(at: At) -> Position:
    """The position that was written so."""
    keys = {RowStoreKey(k): KeyPosition(o, c) for k, (o, c) in at.keys.items()}
    return Position(Version(*at.version), keys)


def payload_of(ids: Sequence[int], columns: Sequence[str], source: str, flaw: str = "") -> bytes:
    """Rows as CSV, in the order of the columns: those of every table, then the added ones.

    Every value follows from the row's id. ``flaw`` as in
    :data:`cluster.conformance.calls.FLAWS`.
    """
    added = [name for name in columns if name not in BASE_COLUMNS]
    lines = []
    for number in ids:
        at = _EPOCH + datetime.timedelta(seconds=number)
        text = hashlib.blake2b(str(number).encode(), digest_size=4 + number % 24).hexdigest()
        values = [str(number), source, at.isoformat(), text, *(str(number) for _ in added)]
        lines.append(",".join(values))
    if flaw == "malformed":
        lines[-1] = "not-a-number" + lines[-1][lines[-1].index(",") :]
    elif flaw == "fields":
        lines[-1] = lines[-1].rpartition(",")[0]
    payload = ("\n".join(lines) + "\n").encode()
    if flaw == "oversize":
        return payload + b"x" * (5 * 1024 * 1024)
    if flaw == "gzip":
        return gzip.compress(payload, mtime=0)[:-6]
    return payload


def _certainty(value: coordinator_pb2.Certainty) -> str:
    return coordinator_pb2.Certainty.Name(value).removeprefix("CERTAINTY_").lower()
