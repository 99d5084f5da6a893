"""What the fixtures ``kusto_cluster`` and ``kusto_pair`` give: a database, and how to speak to it.

Every method of :class:`Kusto` blocks, and works in any test. In a test that is a coroutine, of trio
or asyncio, use ``.aio``, which has the same methods to be awaited. Failures are the typed errors of
:mod:`cluster.errors`, each with its Kusto ``code``. ``PYTEST.md`` is the guide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.testing.plugin_life import PATIENCE_SECONDS
from cluster.testing.plugin_rows import payload_of
from cluster.testing.plugin_setup import FOLLOWER, LEADER

if TYPE_CHECKING:
    from azure.kusto.data import KustoClient

    from cluster.client import Result
    from cluster.replication.position import Position
    from cluster.testing.plugin_life import Life
    from cluster.testing.plugin_rows import Data

QUERY_SECONDS = 60.0
"""How long a query or command may take unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """Rows that were ingested, and the position that includes them: for ``at_least``."""

    rows: int
    position: Position


class Kusto:
    """One test's database on one cluster. ``aio`` has the same methods as coroutines."""

    def __init__(self, life: Life, cluster: str) -> None:
        self.cluster = cluster
        self.aio = AsyncKusto(life, cluster)
        self._life = life
        self._run = life.portal.run

    @property
    def database(self) -> str:
        """Name of the test's own database; it has no tables at first."""
        return self._life.database

    @property
    def url(self) -> str:
        """Where the cluster is for Kusto's own clients: ``http://127.0.0.1:PORT``."""
        return self._life.session.setup.node_of(self.cluster).http

    @property
    def grpc(self) -> str:
        """``host:port`` of the gRPC services."""
        return self._life.session.setup.node_of(self.cluster).grpc

    def command(self, text: str, *, timeout_seconds: float = QUERY_SECONDS) -> Result:
        """Runs a management command, for example ``.create table T (A: long)``."""
        return self._run(self._life.command, self.cluster, text, timeout_seconds)

    def query(
        self, kql: str, *, at_least: Position | None = None, timeout_seconds: float = QUERY_SECONDS
    ) -> Result:
        """Answers a query: ``.rows()``, ``.scalar()``, ``.table`` (Arrow).

        ``at_least``: waits, in the node, until that position is included.
        """
        return self._run(self._life.query, self.cluster, kql, at_least, timeout_seconds)

    def ingest(
        self,
        table: str,
        data: Data,
        data_format: str | None = None,
        *,
        mapping: str = "",
    ) -> Ingested:
        """Streams rows into a table; returns when they are durable, and visible on the leader.

        ``data`` is a payload (bytes or text) in ``data_format``, by default ``csv``; or rows:
        sequences in the order of the columns, or mappings by column name. ``mapping`` is the name
        of an ingestion mapping. All of it is one request, under the limits of streaming ingestion.
        """
        payload, made = payload_of(data, data_format)
        return Ingested(*self._run(self._life.ingest, self.cluster, table, payload, made, mapping))

    def position(self) -> Position:
        """How far the database has come here."""
        return self._run(self._life.position, self.cluster)

    def wait_for(self, position: Position, *, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        """Returns when ``position`` is visible here. Raises TimedOutError if it does not come."""
        self._run(self._life.wait_for, self.cluster, position, timeout_seconds)

    def wait_for_rows(
        self, table: str, count: int, *, timeout_seconds: float = PATIENCE_SECONDS
    ) -> int:
        """Returns when a table has ``count`` rows here, and how many it has. Raises TimedOutError.

        For rows whose position nobody knows: those of queued ingestion, or of code under test. It
        asks again and again; where there is a position, ``at_least`` and :meth:`wait_for` do not.
        """
        return self._run(self._life.wait_for_rows, self.cluster, table, count, timeout_seconds)

    def kusto_client(self) -> KustoClient:
        """Microsoft's own client of the cluster, to be closed by the caller.

        Raises ModuleNotFoundError without the package ``azure-kusto-data``.
        """
        from azure.kusto.data import KustoClient, KustoConnectionStringBuilder

        return KustoClient(KustoConnectionStringBuilder.with_no_authentication(self.url))


class AsyncKusto:
    """:class:`Kusto` for coroutines of trio and asyncio. Cancelling an await cancels its call."""

    def __init__(self, life: Life, cluster: str) -> None:
        self.cluster = cluster
        self._life = life
        self._run = life.portal.run_async

    async def command(self, text: str, *, timeout_seconds: float = QUERY_SECONDS) -> Result:
        """See :meth:`Kusto.command`."""
        return await self._run(self._life.command, self.cluster, text, timeout_seconds)

    async def query(
        self, kql: str, *, at_least: Position | None = None, timeout_seconds: float = QUERY_SECONDS
    ) -> Result:
        """See :meth:`Kusto.query`."""
        return await self._run(self._life.query, self.cluster, kql, at_least, timeout_seconds)

    async def ingest(
        self,
        table: str,
        data: Data,
        data_format: str | None = None,
        *,
        mapping: str = "",
    ) -> Ingested:
        """See :meth:`Kusto.ingest`."""
        payload, made = payload_of(data, data_format)
        return Ingested(
            *await self._run(self._life.ingest, self.cluster, table, payload, made, mapping)
        )

    async def position(self) -> Position:
        """See :meth:`Kusto.position`."""
        return await self._run(self._life.position, self.cluster)

    async def wait_for(
        self, position: Position, *, timeout_seconds: float = PATIENCE_SECONDS
    ) -> None:
        """See :meth:`Kusto.wait_for`."""
        await self._run(self._life.wait_for, self.cluster, position, timeout_seconds)

    async def wait_for_rows(
        self, table: str, count: int, *, timeout_seconds: float = PATIENCE_SECONDS
    ) -> int:
        """See :meth:`Kusto.wait_for_rows`."""
        return await self._run(
            self._life.wait_for_rows, self.cluster, table, count, timeout_seconds
        )


class KustoPair:
    """A leader cluster, and a follower cluster that follows the test's database.

    ``leader`` and ``follower`` are the database as each cluster has it. What is written to the
    leader comes to the follower a moment later: wait for it with :meth:`wait_until_followed`, or
    ask the follower with ``at_least``.
    """

    def __init__(self, life: Life) -> None:
        self.leader = Kusto(life, LEADER)
        self.follower = Kusto(life, FOLLOWER)
        self.aio = AsyncKustoPair(life)
        self._life = life
        self._run = life.portal.run

    @property
    def database(self) -> str:
        """Name of the test's own database, in both clusters."""
        return self._life.database

    def wait_until_followed(self, *, timeout_seconds: float = PATIENCE_SECONDS) -> Position:
        """Returns when the follower has all that the leader shows at the moment of the call.

        With streaming ingestion off in either cluster, all of it that is sealed. Waits in the
        follower, by position. Raises TimedOutError.
        """
        return self._run(self._life.wait_until_followed, timeout_seconds)

    def detach(self) -> None:
        """Ends following; the follower does not have the database any more on return."""
        self._run(self._life.detach)

    def attach(self) -> None:
        """Follows again after :meth:`detach`; the follower has the database on return."""
        self._run(self._life.attach)

    def set_streaming(self, cluster: str, *, on: bool) -> None:
        """Turns streaming ingestion on or off in ``leader`` or ``follower``; certain on return."""
        self._run(self._life.set_streaming, cluster, on)


class AsyncKustoPair:
    """:class:`KustoPair`'s own methods for coroutines; the clusters have an ``aio`` each."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._run = life.portal.run_async

    async def wait_until_followed(self, *, timeout_seconds: float = PATIENCE_SECONDS) -> Position:
        """See :meth:`KustoPair.wait_until_followed`."""
        return await self._run(self._life.wait_until_followed, timeout_seconds)

    async def detach(self) -> None:
        """See :meth:`KustoPair.detach`."""
        await self._run(self._life.detach)

    async def attach(self) -> None:
        """See :meth:`KustoPair.attach`."""
        await self._run(self._life.attach)

    async def set_streaming(self, cluster: str, *, on: bool) -> None:
        """See :meth:`KustoPair.set_streaming`."""
        await self._run(self._life.set_streaming, cluster, on)
