"""Sealed rows on real processes: they reach every follower, whatever its gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from rows import count, make_table

if TYPE_CHECKING:
    from cluster.client import Client
    from cluster.testing.local import LocalSetup

pytestmark = pytest.mark.process


async def until_count(client: Client, database: str, wanted: int) -> None:
    """Waits until a table has that many rows."""
    for _ in range(400):
        if await count(client, database) == wanted:
            return
        await trio.sleep(0.05)
    raise AssertionError(f"never {wanted} rows")


async def test_rows_sealed_on_the_leader_are_seen_also_where_streaming_is_off(
    local_setup: LocalSetup,
) -> None:
    names = ("leader", "follower1", "follower2")
    leader, follower, closed = (local_setup.client(name) for name in names)
    database = local_setup.database
    await make_table(leader, database)
    await leader.ingest(database, "T", b"2026-11-21,one,1,s\n")
    for name in ("follower1", "follower2"):
        await local_setup.attach(name)
        await local_setup.until_followed(name)
    await until_count(follower, database, 1)
    assert await count(closed, database) == 0
    await leader.command(database, ".alter table T policy streamingingestion disable")
    seen: list[int] = []

    async def watch() -> None:
        while True:
            seen.append(await count(follower, database))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await until_count(closed, database, 1)
        nursery.cancel_scope.cancel()
    assert set(seen) == {1}, "the same answer before, during and after"
    await leader.command(database, ".alter table T policy streamingingestion enable")
    await leader.ingest(database, "T", b"2026-11-21,two,2,s\n")
    await until_count(follower, database, 2)
    assert await count(closed, database) == 1, "streamed rows stay hidden"
