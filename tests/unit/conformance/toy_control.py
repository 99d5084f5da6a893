"""The toy's coordinator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toy_tree import ToyReplica, ToyTree

from cluster.conformance.calls import Changed
from cluster.errors import ConflictError, DatabaseNotFoundError, EntityNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toy_system import ToySystem


class ToyControl:
    """Every change is certain at once."""

    def __init__(self, system: ToySystem) -> None:
        self._system = system

    async def set_capability(self, cluster: str, *, on: bool) -> Changed:
        system = self._system
        await system.arrive("coordinator")
        if not on and cluster in system.databases:
            names = [
                name
                for database in system.databases[cluster].values()
                for name, table in database.tree.tables.items()
                if table.policy
            ]
            if names and "G6" not in system.breaks:
                raise ConflictError(f"streaming is enabled for {', '.join(names)}")
        system.epoch += 1
        for (follower, _name), replica in system.replicas.items():
            if follower == cluster:
                system.advance(replica)
                if "G2" in system.breaks:
                    self._skip_window(replica, on=on)
        system.capability[cluster] = on
        if on:
            system.off_at.pop(cluster, None)
        else:
            system.off_at[cluster] = system.now()
        return Changed(epoch=system.epoch, certainty="confirmed", rows_granted=on)

    def _skip_window(self, replica: ToyReplica, *, on: bool) -> None:
        """Breaks G2: what came while the gate was closed stays away."""
        log = self._system.databases[replica.leader][replica.database].log
        if not on:
            replica.closed_since = len(log)
        elif replica.closed_since is not None:
            replica.tree = ToyTree()
            for number, entry in enumerate(log[: replica.applied]):
                if entry.kind != "rows" or number < replica.closed_since:
                    replica.tree.apply(entry)
            replica.closed_since = None

    async def attach(
        self,
        leader: str,
        database: str,
        follower: str,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Changed:
        system = self._system
        await system.arrive("coordinator")
        if database not in system.databases.get(leader, {}):
            raise DatabaseNotFoundError(f"{leader} has no database {database}")
        old = system.replicas.get((follower, database))
        if old is not None and old.attached:
            if old.leader != leader:
                raise ConflictError(f"{follower} has a database {database}")
            old.include, old.exclude = tuple(include), tuple(exclude)
        else:
            system.replicas[follower, database] = ToyReplica(
                leader, database, tuple(include), tuple(exclude)
            )
        if "A2" in system.breaks:
            system.replicas[follower, database].include = ()
            system.replicas[follower, database].exclude = ()
        system.epoch += 1
        granted = system.capability[follower]
        reason = "" if granted or "G5" in system.breaks else "FOLLOWER_STREAMING_DISABLED"
        return Changed(
            epoch=system.epoch, certainty="immediate", rows_granted=granted, reason=reason
        )

    async def detach(self, leader: str, database: str, follower: str, *, side: str) -> Changed:
        system = self._system
        await system.arrive("coordinator")
        replica = system.replicas.get((follower, database))
        if replica is None or replica.leader != leader or not replica.attached:
            raise EntityNotFoundError(f"{follower} does not follow {leader}/{database}")
        replica.attached = False
        system.epoch += 1
        return Changed(epoch=system.epoch, certainty="confirmed")
