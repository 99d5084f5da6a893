"""What commands and the keeper do with extents, and what each does to the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from storage_actions import DAY_US, Actions
from storage_node import DATABASE
from storage_values import batch_of

from cluster.catalog.changes import SetPolicy
from cluster.catalog.model import ScalarType
from cluster.errors import InvalidRequestError, RemoraError
from cluster.extents.operations import Addition, Selection, TagChange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage_model import Model


class ExtentActions(Actions):
    """Batch ingestion, seals, merges, tags, moves, drops, retention and garbage."""

    async def batch(self, name: str, count: int, *, tag: str, replaces: bool) -> None:
        """Batch ingestion: a file, then a transaction that adds it."""
        table, found = self.model.tables[name], self.node.table(name)
        rows = self.new_rows(table, count)
        tags = (f"ingest-by:{tag}",) if tag else ()
        present = {t for extent in found.extents.values() for t in extent.tags}
        now_us = self.node.clock.now_us
        has_tag = bool(tag) and tags[0] in present
        before = set(table.rows)
        identity = table.identity

        async def work() -> bool:
            extents = await self.node.writer.write(
                self.node.tree(),
                found,
                found.schema_version,
                [batch_of(list(rows.values()), table.columns)],
                created_us=(now_us, now_us),
                original_bytes=100,
                tags=tags,
            )
            # As batch ingestion does it: the time is taken when the rows are committed.
            with self.node.row_stores.times.stamp() as us:
                timed = tuple(
                    replace(extent, ingested_min_us=us, ingested_max_us=us) for extent in extents
                )
                known = (tag,) if tag else ()
                addition = Addition(name, found.key, timed, known, replace_all=replaces)
                return await self.node.keeper.add_extents(DATABASE, [addition])

        def change(model: Model) -> None:
            if has_tag:
                return
            changed = model.by_identity(identity)
            assert changed is not None
            if replaces:
                changed.rows = {n: r for n, r in changed.rows.items() if n not in before}
            changed.rows.update(rows)

        added = await self.attempt(work, change)
        assert added is None or added is not has_tag

    # Extents

    async def seal(self, name: str | None) -> None:
        await self.attempt(lambda: self.node.keeper.seal(DATABASE, name))

    async def merge(self, name: str, ids: Sequence[str]) -> None:
        extents = self.node.table(name).extents
        drop_by = {frozenset(t for t in extents[i].tags if t.startswith("drop-by:")) for i in ids}
        if len(ids) < 2 or len(drop_by) > 1:
            await self.attempt(
                lambda: self.node.keeper.merge_extents(DATABASE, name, ids),
                refused=InvalidRequestError,
            )
            return
        try:
            await self.attempt(lambda: self.node.keeper.merge_extents(DATABASE, name, ids))
        except RemoraError:
            # Another action came between: then something else is there now.
            after = self.model.tables.get(name)
            assert after is None or not set(ids) <= set(self.node.table(name).extents)

    async def merge_by_policy(self) -> None:
        await self.attempt(lambda: self.node.keeper.merge(DATABASE))

    async def retag(self, name: str, ids: Sequence[str], how: TagChange, tag: str) -> None:
        await self.attempt(lambda: self.node.keeper.retag(DATABASE, name, ids, how, [tag]))

    async def drop_extents(self, name: str, ids: Sequence[str]) -> None:
        gone = await self.rows_in(name, ids)
        identity = self.model.tables[name].identity
        await self.attempt(
            lambda: self.node.keeper.drop_extents(
                DATABASE, Selection(table=name, extent_ids=tuple(ids))
            ),
            lambda model: remove(model, identity, gone),
        )

    async def move(
        self, name: str, ids: Sequence[str], target: str, drop_ids: Sequence[str] | None = None
    ) -> None:
        """``.move``, or ``.replace`` if extents of the target are to be dropped."""
        source, into = self.model.tables[name], self.model.tables[target]
        there = {(c.name, c.type): c.number for c in into.columns}
        fits = all((c.name, c.type) in there for c in source.columns)
        fits = fits and there[source.columns[source.place()].name, ScalarType.LONG] == into.identity
        moved = await self.rows_in(name, ids)
        gone = await self.rows_in(target, drop_ids or ())
        numbers = {c.number: there.get((c.name, c.type), 0) for c in source.columns}
        if not fits and all((c.name, c.type) in there for c in source.columns):
            return  # the identity would become an ordinary column: the model could not tell rows
        from_id, into_id = source.identity, into.identity

        def change(model: Model) -> None:
            remove(model, into_id, gone)
            left = model.by_identity(from_id)
            to = model.by_identity(into_id)
            assert left is not None
            assert to is not None
            for number in moved:
                row = left.rows.pop(number)
                to.rows[number] = {numbers[c]: value for c, value in row.items() if c in numbers}

        async def work() -> Any:
            keeper = self.node.keeper
            if drop_ids is None:
                return await keeper.move_extents(DATABASE, [(name, ids)], target)
            return await keeper.replace_extents(DATABASE, target, drop_ids, [(name, ids)])

        await self.attempt(work, change, refused=() if fits else InvalidRequestError)

    async def clear(self, name: str) -> None:
        gone, identity = set(self.model.tables[name].rows), self.model.tables[name].identity
        await self.attempt(
            lambda: self.node.keeper.clear_table(DATABASE, name),
            lambda model: remove(model, identity, gone),
        )

    async def set_retention(self, name: str, days: int) -> None:
        text = f'{{"SoftDeletePeriod":"{days}.00:00:00","Recoverability":"Enabled"}}'

        def change(model: Model) -> None:
            model.tables[name].retention_us = days * DAY_US

        await self.commit(SetPolicy(name, "retention", text), change=change)

    async def retain(self) -> None:
        now_us = self.node.clock.now_us
        expired = {
            table.identity: {
                number
                for number in table.rows
                if self.created_us.get(number, now_us) + table.retention_us <= now_us
            }
            for table in self.model.tables.values()
            if table.retention_us is not None
        }
        over = [
            each for each, t in self.model.dropped.items() if t.dropped_us + 14 * DAY_US <= now_us
        ]

        def change(model: Model) -> None:
            for identity, gone in expired.items():
                remove(model, identity, gone)
            for each in over:
                model.dropped.pop(each, None)

        await self.attempt(lambda: self.node.keeper.retain(DATABASE), change)

    async def collect(self) -> None:
        await self.attempt(self.node.keeper.collect_garbage)

    async def sweep(self) -> None:
        await self.attempt(self.node.keeper.sweep)


def remove(model: Model, identity: int, gone: set[int]) -> None:
    """Takes rows from a table, if it is still there."""
    table = model.by_identity(identity)
    if table is not None:
        table.rows = {number: row for number, row in table.rows.items() if number not in gone}
