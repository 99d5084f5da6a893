"""Rows with identities, and the check that each is somewhere exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cluster.client import StreamWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.client import Client
    from cluster.transport.api import Channel

TABLE = "T"
SCHEMA = "At: datetime, Name: string, Number: long, Source: string"


@dataclass
class Ledger:
    """Streams numbered rows and remembers which were acknowledged."""

    database: str
    source: str
    next_number: int = 0
    acked: set[int] = field(default_factory=set)
    _sent: list[list[int]] = field(default_factory=list)

    def payload(self, rows: int = 3) -> bytes:
        """The next rows as CSV; call once for each payload sent."""
        numbers = list(range(self.next_number, self.next_number + rows))
        self.next_number += rows
        self._sent.append(numbers)
        return b"".join(
            b'2026-11-21T08:00:00Z,"row, %d",%d,%s\n' % (number, number, self.source.encode())
            for number in numbers
        )

    def decided(self, payloads: Sequence[int]) -> None:
        """Called by the writer, which refuses nothing in these tests."""
        for payload in payloads:
            self.acked.update(self._sent[payload])

    def writer(self, channel: Channel, *, window: int = 8) -> StreamWriter:
        """A writer that fills this ledger."""
        return StreamWriter(
            channel,
            self.database,
            TABLE,
            source=self.source,
            window=window,
            on_decided=self.decided,
        )

    async def assert_each_once(self, client: Client, position: Any) -> None:
        """Every acknowledged row is visible exactly once at ``position`` or later."""
        result = await client.query(
            self.database, f"{TABLE} | where Source == '{self.source}' | project Number",
            at_least=position, timeout_seconds=30,
        )  # fmt: skip
        found = Counter(result.table.column(0).to_pylist())
        missing = self.acked - found.keys()
        twice = [number for number, count in found.items() if count > 1]
        assert not missing, f"{len(missing)} acknowledged rows are missing, e.g. {min(missing)}"
        assert not twice, f"{len(twice)} rows are there more than once, e.g. {min(twice)}"


async def make_table(leader: Client, database: str) -> None:
    """The database and table of these tests, with streaming enabled."""
    await leader.command("", f".create database {database}")
    await leader.command(database, f".create table {TABLE} ({SCHEMA})")
    await leader.command(database, f".alter table {TABLE} policy streamingingestion enable")


async def count(client: Client, database: str) -> int:
    """Rows visible now."""
    result = await client.query(database, f"{TABLE} | count", timeout_seconds=30)
    return int(result.scalar())
