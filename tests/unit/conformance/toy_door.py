"""The toy's data plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from toy_tree import Entry, ToyDatabase, ToyTable

from cluster.conformance.calls import Answer, Ingested, Ran
from cluster.errors import (
    DatabaseNotFoundError,
    EntityExistsError,
    FieldCountError,
    MalformedPayloadError,
    PayloadTooLargeError,
    ReadOnlyError,
    StreamingDisabledError,
    StreamingPolicyError,
    SyntaxRefusedError,
    TableNotFoundError,
    TimedOutError,
    TooStaleError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toy_system import ToySystem

    from cluster.conformance.values import At


class ToyDoor:
    """One cluster's door."""

    def __init__(self, system: ToySystem, cluster: str, client: str) -> None:
        self._system, self._cluster, self._client = system, cluster, client

    def _owned(self, database: str, *, change: bool) -> ToyDatabase:
        system = self._system
        found = system.databases.get(self._cluster, {}).get(database)
        if found is not None:
            return found
        replica = system.replicas.get((self._cluster, database))
        if replica is None or not replica.attached:
            raise DatabaseNotFoundError(f"{self._cluster} has no database {database}")
        if change and "R13" not in system.breaks:
            raise ReadOnlyError(f"{database} follows {replica.leader}")
        return system.databases[replica.leader][database]

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
        system = self._system
        await system.arrive(self._cluster)
        here = self._owned(database, change=True)
        found = self._admitted(here, table, columns, flaw)
        remembered = here.sources.get((found.key, source))
        if remembered is not None and "R3" not in system.breaks:
            return Ingested(position=remembered, repeated=True)
        rows = tuple((number, tuple(columns)) for number in ids)
        if "R4" in system.breaks and len(rows) > 2:
            half = len(rows) // 2
            here.commit(Entry(system.now(), "rows", table, found.key, rows[:half]))
            await trio.sleep(5)
            rows = rows[half:]
        here.commit(Entry(system.now(), "rows", table, found.key, rows))
        here.sources[found.key, source] = position = here.tree.at()
        if system.draw.chance(0.05):
            raise TimedOutError("the answer was lost")
        await trio.sleep(0.005)
        if not system.is_up(self._cluster):
            raise TimedOutError(f"{self._cluster} went away")
        return Ingested(position=position)

    def _admitted(
        self, here: ToyDatabase, table: str, columns: Sequence[str], flaw: str
    ) -> ToyTable:
        system = self._system
        if not system.capability[self._cluster] and not system.breaks & {"G6", "R13"}:
            raise StreamingDisabledError(f"streaming ingestion of {self._cluster} is off")
        found = here.tree.tables.get(table)
        if found is None:
            raise TableNotFoundError(f"there is no table {table}")
        if not found.policy:
            raise StreamingPolicyError(f"streaming ingestion is not enabled for {table}")
        if flaw == "oversize":
            raise PayloadTooLargeError("too much")
        if flaw:
            if "R6" in system.breaks:
                here.commit(Entry(system.now(), "rows", table, found.key, ((-1, ()),)))
            raise MalformedPayloadError(flaw)
        if tuple(columns) != found.columns:
            raise FieldCountError(f"{table} has {len(found.columns)} columns")
        return found

    async def read(
        self,
        database: str,
        table: str,
        *,
        at_least: At | None = None,
        max_staleness_seconds: float | None = None,
    ) -> Answer:
        system = self._system
        await system.arrive(self._cluster)
        if database in system.databases.get(self._cluster, {}):
            tree = system.databases[self._cluster][database].tree
            return self._answer(tree.tables.get(table), tree.at(), rows=True, staleness=0.0)
        if at_least is not None and "R11" not in system.breaks:
            await self._wait(database, at_least)
        replica = system.replicas.get((self._cluster, database))
        visible = replica is not None and (replica.attached or "A1" in system.breaks)
        if replica is None or not visible:
            raise DatabaseNotFoundError(f"{self._cluster} has no database {database}")
        system.advance(replica)
        is_open = system.is_open(self._cluster, replica)
        staleness = 0.0 if "R12" in system.breaks else system.now() - replica.horizon
        if max_staleness_seconds is not None and staleness > max_staleness_seconds:
            raise TooStaleError(f"{staleness} seconds behind")
        found = replica.tree.tables.get(table) if replica.shares(table) else None
        answer = self._answer(
            found, replica.tree.at(rows=is_open), rows=is_open, staleness=staleness
        )
        await trio.sleep(0.005)
        return answer

    async def _wait(self, database: str, at_least: At) -> None:
        system = self._system
        with trio.move_on_after(10) as scope:
            while True:
                replica = system.replicas.get((self._cluster, database))
                if replica is None:
                    return
                system.advance(replica)
                rows = system.is_open(self._cluster, replica)
                if replica.tree.includes(at_least, rows=rows):
                    return
                await trio.sleep(0.1)
        if scope.cancelled_caught:
            raise TimedOutError("the position was not reached in time")

    def _answer(
        self, table: ToyTable | None, position: At, *, rows: bool, staleness: float
    ) -> Answer:
        if table is None:
            raise TableNotFoundError("there is no such table")
        seen = table.rows[table.start : len(table.rows) if rows else table.floor]
        if "R15" in self._system.breaks:
            seen = [*seen, *table.rows[table.start : table.floor]]
        added = table.columns[4:]
        columns = (*table.columns, "C9") if "R14" in self._system.breaks else table.columns
        hidden = "" if rows or "G5" in self._system.breaks else "FOLLOWER_STREAMING_DISABLED"
        return Answer(
            ids=tuple(number for number, _columns in seen),
            position=position,
            columns=columns,
            filled={
                name: tuple(number for number, filled in seen if name in filled) for name in added
            },
            hidden_reason=hidden,
            staleness_seconds=round(staleness, 9),
        )

    async def command(self, database: str, text: str) -> Ran:
        system = self._system
        await system.arrive(self._cluster)
        words = text.replace("(", " (").split()
        if words[:2] == [".create", "database"]:
            system.databases[self._cluster].setdefault(words[2], ToyDatabase())
            return Ran()
        if "follower" in words or "principals" in words or "viewers" in words:
            raise SyntaxRefusedError("the toy has no principals and no overrides")
        if words[0] == ".show":
            return self._show(self._owned(database, change=False), words)
        here = self._owned(database, change=True)
        self._change(here, words)
        return Ran()

    def _show(self, here: ToyDatabase, words: list[str]) -> Ran:
        if words[-1] == "cslschema":
            found = self._table(here, words[2])
            schema = ",".join(f"{name}:string" for name in found.columns)
            return Ran(columns=("TableName", "Schema"), rows=((words[2], schema),))
        return Ran()

    def _table(self, here: ToyDatabase, name: str) -> ToyTable:
        if name not in here.tree.tables:
            raise TableNotFoundError(f"there is no table {name}")
        return here.tree.tables[name]

    def _change(self, here: ToyDatabase, words: list[str]) -> None:
        system, now = self._system, self._system.now()
        verb = words[0]
        if words[:2] == [".create", "table"]:
            if words[2] in here.tree.tables:
                raise EntityExistsError(f"there is a table {words[2]}")
            system.next_key += 1
            here.commit(Entry(now, "create", words[2], system.next_key))
        elif words[:2] == [".seal", "database"]:
            for name, table in list(here.tree.tables.items()):
                here.commit(Entry(now, "seal", name, table.key, floor=len(table.rows)))
        elif verb in (".drop", ".seal", ".clear"):
            table = self._table(here, words[2])
            here.commit(Entry(now, verb[1:], words[2], table.key, floor=len(table.rows)))
        elif words[:2] == [".alter-merge", "table"]:
            table = self._table(here, words[2])
            column = words[3].strip("()").partition(":")[0]
            if column not in table.columns:
                here.commit(Entry(now, "column", words[2], table.key, column=column))
        elif words[3:5] == ["policy", "streamingingestion"]:
            table, on = self._table(here, words[2]), words[5] == "enable"
            if (
                on
                and not self._system.capability[self._cluster]
                and "G6" not in self._system.breaks
            ):
                raise StreamingDisabledError("streaming ingestion is off on this cluster")
            here.commit(Entry(now, "policy", words[2], table.key, on=on))
        elif verb == ".merge":
            self._table(here, words[1])
        else:
            raise SyntaxRefusedError(f"the toy knows no {verb}")
