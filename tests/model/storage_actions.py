"""What can happen to the storage, each with what it does to the model.

An action does its work on the node and its change on the model if the work succeeded. If it failed
it says why that is fair: a fault was asked for. If the process died in it, the named point says
whether the change is durable.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

from storage_model import Doubt, Model, ModelColumn, ModelTable
from storage_node import DATABASE, SECOND_US, Crash, StorageNode
from storage_values import TYPES, batch_of, columns_of, csv_of, row_of

from cluster.catalog.changes import (
    AppendColumns,
    CreateTable,
    DropTable,
    RenameTables,
    SetDatabaseStreamingPolicy,
    SetPolicy,
    SetSchema,
    next_column_id,
)
from cluster.catalog.model import ScalarType, StreamingIngestionPolicy
from cluster.errors import (
    EntityExistsError,
    RemoraError,
    RowStoreReadOnlyError,
)
from cluster.extents.keeping import CrashPoint
from cluster.ingest.request import DataFormat, IngestPayload
from cluster.rowstore.record import RequestSpan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Change = Callable[[Model], None]

COLUMN_NAMES = tuple(f"c{number}" for number in range(100))
DAY_US = 24 * 3600 * SECOND_US
DURABLE = frozenset([CrashPoint.CHANGE_COMMITTED, CrashPoint.RETAIN_COMMITTED])
"""Points behind a transaction that changes what a query sees."""


def nothing(model: Model) -> None:
    """What seals, merges and collecting garbage change for a query."""


class Actions:
    """A node, its model, and what is known of both."""

    def __init__(self, node: StorageNode) -> None:
        self.node = node
        self.model = Model()
        self.doubts: list[Doubt] = []
        self.pending: list[Change] = []
        """Changes that were refused, but are durable: the next life has them."""
        self.faults: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.numbers = itertools.count(1)
        self.names = itertools.count(1)
        self.created_us: dict[int, int] = {}
        """Of each sealed row, the newest creation time of the extent it is in."""

    async def attempt(
        self,
        work: Callable[[], Awaitable[Any]],
        change: Change = nothing,
        *,
        refused: type[RemoraError] | tuple[type[RemoraError], ...] = (),
    ) -> Any:
        """Returns what the work returns, None if it was refused. Raises Crash."""
        struck = self.node.catalog_struck
        try:
            result = await work()
        except RemoraError as error:
            self.counts[f"refused {type(error).__name__}"] += 1
            if refused and isinstance(error, refused):
                return None
            if not self.faults:
                raise
            if self.node.catalog_struck == "after" and not struck:
                self.pending.append(change)
            return None
        except (Crash, BaseExceptionGroup) as error:
            if isinstance(error, BaseExceptionGroup) and error.split(Crash)[1] is not None:
                raise
            if self.node.reached[-1] in DURABLE:
                change(self.model)
            raise Crash from error
        assert not refused, "this should have been refused"
        change(self.model)
        return result

    async def commit(self, *changes: Any, change: Change) -> None:
        """A transaction of a command."""
        await self.attempt(
            lambda: self.node.catalog.commit(DATABASE, changes, text="a command"), change
        )

    # Tables

    async def create_database(self) -> None:
        await self.node.catalog.create_database(DATABASE, if_not_exists=True)
        if self.node.tree().streaming_policy is None:
            policy = SetDatabaseStreamingPolicy(StreamingIngestionPolicy(is_enabled=True))
            merge = SetPolicy("", "merge", '{"MaxExtentsToMerge":2}')
            await self.node.catalog.commit(DATABASE, (policy, merge), text="")

    async def create(self, name: str, kinds: Sequence[ScalarType], turn: int = 0) -> None:
        """``turn``: so many columns of the front come last, so that ids are not as names are."""
        columns = [ModelColumn.new("Id", ScalarType.LONG)]
        columns += [ModelColumn.new(f"c{place}", kind) for place, kind in enumerate(kinds)]
        identity = columns[0].number
        columns = columns[turn:] + columns[:turn] if turn < len(columns) else columns
        catalog = self.node.catalog
        create = CreateTable(name, catalog.new_id(), catalog.new_key(), columns_of(columns))

        def change(model: Model) -> None:
            model.tables[name] = ModelTable(list(columns), identity=identity)

        await self.commit(create, change=change)

    async def drop(self, name: str) -> None:
        version = self.node.tree().version
        sealed = set(await self.sealed_rows(name))
        now_us = self.node.clock.now_us

        has_extents = bool(self.node.table(name).extents)

        def change(model: Model) -> None:
            gone = model.tables.pop(name)
            if has_extents:
                kept = gone.without(set(gone.rows) - sealed)
                kept.dropped_us = now_us
                model.dropped[version, name] = kept

        await self.commit(DropTable(name, now_us), change=change)

    async def undo(self, pick: int, new_name: str) -> None:
        version, name = sorted(self.model.dropped)[pick % len(self.model.dropped)]
        target = new_name or name

        def change(model: Model) -> None:
            table = model.dropped.pop((version, name))
            table.sources = {}
            model.tables[target] = table

        await self.attempt(
            lambda: self.node.keeper.undo_drop(DATABASE, name, version, new_name=new_name),
            change,
            refused=EntityExistsError if target in self.model.tables else (),
        )

    async def rename(self, pairs: Sequence[tuple[str, str]]) -> None:
        names = dict(pairs)

        def change(model: Model) -> None:
            model.tables = {names.get(n, n): table for n, table in model.tables.items()}

        await self.commit(RenameTables(tuple(pairs)), change=change)

    # Columns

    async def alter(self, name: str, how: str, pick: int) -> None:
        """``how``: add, drop, rename, retype or reorder."""
        table, columns = self.node.table(name), self.model.tables[name].columns
        ids = list(table.column_ids[-1])
        others = [
            at for at, c in enumerate(columns) if c.number != self.model.tables[name].identity
        ]
        new = [ModelColumn(c.number, c.name, c.type) for c in columns]
        free = next_column_id(table)
        kind = TYPES[pick % len(TYPES)]
        at = others[pick % len(others)] if others else 0
        if how == "add" or (how in ("drop", "retype") and not others):
            names = {column.name for column in columns}
            new.append(ModelColumn.new(next(n for n in COLUMN_NAMES if n not in names), kind))
            ids.append(free)
        elif how == "drop":
            del new[at], ids[at]
        elif how == "rename":
            new[pick % len(new)].name = f"n{next(self.names)}"
        elif how == "retype":
            while kind is new[at].type:
                kind = TYPES[(TYPES.index(kind) + 1) % len(TYPES)]
            new[at] = ModelColumn.new(new[at].name, kind)
            ids[at] = free
        else:
            new, ids = new[1:] + new[:1], ids[1:] + ids[:1]

        def change(model: Model) -> None:
            found = model.tables[name]
            found.history.append(found.columns)
            found.columns = new

        if how == "add":
            command: Any = AppendColumns(name, columns_of(new[-1:]))
        else:
            command = SetSchema(name, columns_of(new), tuple(ids))
        await self.commit(command, change=change)

    # Rows

    def new_rows(self, table: ModelTable, count: int, columns: Any = None) -> dict[int, Any]:
        numbers = [next(self.numbers) for _ in range(count)]
        columns = table.columns if columns is None else columns
        return {number: row_of(number, columns, table.identity) for number in numbers}

    async def stream(self, name: str, counts: Sequence[int], source: str = "") -> None:
        """Requests to the pipeline, one each of ``counts``; the first one with a source id."""
        table = self.model.tables[name]
        identity = table.identity
        requests = []
        for number, count in enumerate(counts):
            source_id = source if number == 0 else ""
            known = table.sources.get(source_id) if source_id else None
            doubt = self.doubt_of(identity, source_id) if source_id else None
            if known is not None or doubt is not None:
                again = known if known is not None else tuple(doubt.rows)  # type: ignore[union-attr]
                rows = {n: row_of(n, table.columns, identity) for n in again}
            else:
                rows = self.new_rows(table, count)
            payload = csv_of(list(rows.values()), table.columns)
            request = IngestPayload(DATABASE, name, DataFormat.CSV, payload, source_id=source_id)
            requests.append((self.node.pipeline.submit(request), rows, source_id))
        for ticket, rows, source_id in requests:
            try:
                outcome = await ticket.wait()
            except RemoraError:
                if not self.faults:
                    raise
                if self.doubt_of(identity, source_id) is None:
                    self.doubts.append(Doubt(identity, 0, rows, source_id))
            else:
                self.acknowledged(identity, rows, source_id, is_duplicate=outcome.duplicate)

    def acknowledged(
        self, identity: int, rows: dict[int, Any], source: str, *, is_duplicate: bool
    ) -> None:
        """A request was answered: its rows are visible now, or were stored before."""
        table = self.model.by_identity(identity)
        assert table is not None
        known = bool(source) and source in table.sources
        assert is_duplicate == known
        self.counts["duplicates" if known else "acknowledged"] += 1
        if not known:
            table.rows.update(rows)
            doubt = self.doubt_of(identity, source) if source else None
            if doubt is not None:
                self.doubts.remove(doubt)
        if source:
            table.sources[source] = tuple(rows)

    def doubt_of(self, identity: int, source: str) -> Doubt | None:
        found = (d for d in self.doubts if source and (d.table, d.source) == (identity, source))
        return next(found, None)

    async def stage(self, name: str, count: int, pick: int, *, other: str = "") -> None:
        """A record of any key and any schema the table had; a chain with another table's."""
        names = [name, other] if other else [name]
        store = pick % self.node.limits.row_stores
        staged: list[tuple[Any, Doubt]] = []
        names = list(dict.fromkeys(names))
        try:
            for place, each in enumerate(names):
                table, found = self.model.tables[each], self.node.table(each)
                keys = [r.key for r in found.references if r.row_store == store and r.is_enabled]
                if not keys:
                    return
                key = keys[pick % len(keys)]
                versions = [*table.history, table.columns]
                version = len(versions) - 1 - (pick // 7) % min(3, len(versions))
                rows = self.new_rows(table, count, versions[version])
                batch = batch_of(list(rows.values()), versions[version])
                doubt = Doubt(table.identity, key, rows)
                taken = self.node.row_stores.stage(
                    key,
                    version,
                    batch,
                    [RequestSpan(b"", count)],
                    with_next=bool(other) and place == 0,
                )
                staged.append((taken, doubt))
        except RowStoreReadOnlyError:
            self.node.row_stores.withdraw()
            assert self.faults
        if len(staged) == 2:
            staged[0][1].partner, staged[1][1].partner = staged[1][1], staged[0][1]
        for taken, doubt in staged:
            try:
                await taken.committed()
            except RemoraError:
                assert self.faults or len(staged) < len(names)
                self.doubts.append(doubt)
            else:
                self.acknowledged(doubt.table, doubt.rows, "", is_duplicate=False)

    # Looking

    def extent_ids(self, name: str, pick: int) -> tuple[str, ...]:
        """Some extents of a table: all, or as the bits of ``pick`` say."""
        ids = sorted(self.node.table(name).extents)
        if pick % 2 == 0:
            return tuple(ids)
        return tuple(item for place, item in enumerate(ids) if pick >> place & 1)

    async def rows_in(self, name: str, ids: Sequence[str]) -> set[int]:
        """Identities of the rows of some extents."""
        bound = self.node.pin().tables[name]
        place = self.model.tables[name].place()
        found = await self.node.read_extents(bound)
        return {row[place] for item in ids for row in found[item]}

    async def sealed_rows(self, name: str) -> set[int]:
        return await self.rows_in(name, sorted(self.node.table(name).extents))
