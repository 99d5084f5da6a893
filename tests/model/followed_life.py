"""Lives of a leader and of its follower: what the follower shows is what the leader has."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import trio
from storage_follower import FollowedNode, Follower
from storage_life import Life

if TYPE_CHECKING:
    from pathlib import Path

    from portal import Portal

    from cluster.query.driver import QueryEngine

RECONNECT_SECONDS = 4.0
"""Longer than a follower waits before it calls its leader again."""


class FollowedLife(Life):
    """See the module. Whenever nothing moves, both show the same, hidden rows apart."""

    def __init__(
        self, folder: Path, portal: Portal, engine: QueryEngine, *, shares_root: bool
    ) -> None:
        node = FollowedNode(folder)
        super().__init__(node, portal, engine)
        self.follower = Follower(node, shares_root=shares_root)
        self.is_following = False
        self.identities: dict[str, int] = {}

    async def start(self) -> None:
        """Both nodes; after a restart of the leader its follower finds it again."""
        await super().start()
        await self.follow()

    async def follow(self) -> None:
        """The follower is up, and has found its leader."""
        if not self.is_following:
            await self.follower.start(self.portal)
            self.is_following = True
        await self.reconnect()

    async def reconnect(self) -> None:
        """The coordinator's word, and the time it takes to act on it."""
        self.follower.tell()
        self.let_pass(0)
        await self.portal.sleep(RECONNECT_SECONDS)

    async def restart_follower(self, how: str, kept_bytes: int = 0) -> None:
        """The follower ends and begins; the leader goes on."""
        await self.follower.end(how, kept_bytes)
        await self.follower.start(self.portal)
        await self.reconnect()
        self.counts[f"follower {how}"] += 1

    async def flip(self) -> None:
        """The gate opens or closes: rows that are not sealed are shown or not, at once."""
        self.follower.flip()
        if not self.follower.is_open:
            pinned = self.follower.pin()
            assert pinned is None or not any(t.fresh for t in pinned.snapshot.tables.values())
        await trio.testing.wait_all_tasks_blocked()

    async def check(self) -> None:
        """When nothing moves any more, both have the same."""
        await super().check()
        if not self.faults:
            await trio.testing.wait_all_tasks_blocked()
            await self.check_follower()

    async def check_follower(self) -> None:
        """The same tables, columns, rows and times; with a closed gate, sealed rows only."""
        pinned = self.follower.pin()
        assert pinned is not None
        assert pinned.streaming_rows_hidden is not self.follower.is_open, pinned.hidden_reason
        leading = self.node.pin()
        assert set(pinned.snapshot.tables) == set(leading.tables)
        for name, bound in pinned.snapshot.tables.items():
            leader_bound = leading.tables[name]
            assert bound.columns == leader_bound.columns
            found = await self.follower.read(bound)
            wanted = await self.node.read(leader_bound)
            if not self.follower.is_open:
                sealed = await self.node.read_extents(leader_bound)
                wanted = [row for rows in sealed.values() for row in rows]
            assert Counter(found) == Counter(wanted), f"table {name} of the follower"
        self.counts["follower checks"] += 1

    async def look(self) -> None:
        """Each row once on both, now; on the follower perhaps of a moment ago."""
        await super().look()
        for bound in self.node.pin().tables.values():
            name = self.name_of(bound.table)
            place = self.model.tables[bound.table.name].place()
            self.identities[name] = bound.table.column_ids[-1][place]
        pinned = self.follower.pin() if self.is_following else None
        if pinned is None:
            return
        for bound in pinned.snapshot.tables.values():
            identity = self.identities.get(self.name_of(bound.table))
            if identity is None:
                continue  # nobody looked at the leader while it had the table
            place = bound.table.column_ids[-1].index(identity)
            seen = [row[place] for row in await self.follower.read(bound)]
            assert len(seen) == len(set(seen)), "the follower shows a row twice"
        self.counts["follower looks"] += 1

    @staticmethod
    def name_of(table: Any) -> str:
        """What tells a table from all others, also when it was dropped and came back."""
        return str(table.table_id)

    async def finish(self) -> None:
        """Both end."""
        if not self.follower.is_open:
            await self.flip()
        await super().finish()
        await self.follower.end("stop")
