"""Looks at the world from time to time and notes what changed: extents, resources, rare states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from cluster.conformance.notes import Extents, Resources
from cluster.node.databases import NodeDatabases
from cluster.testing.sim.world import node_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.catalog.model import Database, Table
    from cluster.conformance.notes import Note
    from cluster.node.app import Node
    from cluster.testing.sim.world import World

LOOK_SECONDS: Final = 10.0
_RESOURCES_EVERY: Final = 3


class Observer:
    """Notes what is seen of nodes from outside, without changing anything.

    ``reached`` is told of states of :data:`cluster.conformance.rules.SOMETIMES`.
    """

    def __init__(
        self,
        world: World,
        note: Callable[[str, Note], object],
        reached: Callable[[str], None],
    ) -> None:
        self._world = world
        self._note = note
        self._reached = reached
        self._extents: dict[tuple[str, str, str], object] = {}

    async def run(self) -> None:
        """Looks until cancelled."""
        looks = 0
        while True:
            await trio.sleep(LOOK_SECONDS)
            looks += 1
            self.look(with_resources=looks % _RESOURCES_EVERY == 0)

    def look(self, *, with_resources: bool = True) -> None:
        """Looks now."""
        for cluster in self._world.settings.clusters:
            node = self._world.node(cluster)
            if node is not None:
                self._look_at(cluster, node, with_resources=with_resources)

    def _look_at(self, cluster: str, node: Node, *, with_resources: bool) -> None:
        databases = node.services.databases
        assert isinstance(databases, NodeDatabases), "a node serves its own"
        for tree in databases.trees():
            for name in sorted(tree.tables):
                self._note_extents(cluster, tree, tree.tables[name])
        if with_resources:
            self._note_states(cluster, node)
            self._note_resources(cluster, node)

    def _note_extents(self, cluster: str, tree: Database, table: Table) -> None:
        place = (cluster, tree.database_id, table.table_id)
        known = self._extents.get(place)
        if known is table.extents or (known is None and not table.extents):
            return
        self._extents[place] = table.extents
        self._note(
            node_of(cluster),
            Extents(
                cluster=cluster,
                database=tree.name,
                table=table.name,
                version=(tree.version.major, tree.version.minor),
                extents={
                    identity: (
                        table.extents[identity].row_count,
                        tuple(
                            (int(source.key), source.first_ordinal, source.end_ordinal)
                            for source in table.extents[identity].sources
                        ),
                    )
                    for identity in sorted(table.extents)
                },
            ),
        )

    def _note_states(self, cluster: str, node: Node) -> None:
        statistics = node.statistics()
        link = statistics.link
        if link.lapses:
            self._reached("lease ran out")
        if link.stale_views:
            self._reached("stale view ignored")
        if any(database.session.resets for database in statistics.followers.databases):
            self._reached("divergence answered by snapshot")
        disk = self._world.processes[node_of(cluster)].disk
        if disk.was_full:
            self._reached("ENOSPC refused")
        stores = node.services.row_stores.statistics().stores
        if any(store.recovery.cut_bytes for store in stores):
            self._reached("torn tail truncated")

    def _note_resources(self, cluster: str, node: Node) -> None:
        statistics = node.statistics()
        stores = node.services.row_stores.statistics().stores
        self._note(
            node_of(cluster),
            Resources(
                process=node_of(cluster),
                row_store_bytes=sum(store.live_bytes for store in stores),
                unacknowledged_bytes=sum(
                    session.bytes_unacknowledged for session in statistics.replication.sessions
                ),
                calls=len(statistics.replication.sessions),
            ),
        )
