"""Lives of a node: what must hold at every moment, and what a restart may find."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING, Any

import trio
from storage_extents import ExtentActions
from storage_node import SECOND_US, StorageNode

from cluster.extents.keeping import CrashPoint

if TYPE_CHECKING:
    from portal import Portal
    from storage_model import Doubt

    from cluster.query.binding import QuerySnapshot
    from cluster.query.driver import QueryEngine

PINS = 3


class Life(ExtentActions):
    """All lives of one node, one after the other."""

    def __init__(self, node: StorageNode, portal: Portal, engine: QueryEngine) -> None:
        super().__init__(node)
        node.look_between = self.look_between
        self.portal = portal
        self.engine = engine
        self.cursor_us = self.life_cursor_us = 0
        self.moments_us: list[int] = []
        """What the clock showed since the last check, before it was moved."""
        self.times_us: dict[int, Any] = {}
        self.orphans: set[str] = set()
        self.pins: list[tuple[QuerySnapshot, dict[str, list[Any]]]] = []

    async def start(self) -> None:
        """Opens what is there; whatever a fault left must open."""
        await self.portal.nursery.start(self.node.live)
        self.engine.serve(self.node.files)
        await self.create_database()

    async def restart(self, how: str, kept_bytes: int = 0, *, sweeps: bool = True) -> None:
        """The end of one life and the beginning of the next, with its invariants."""
        self.pins.clear()
        had_faults = bool(self.faults) or how != "stop"
        await self.close()
        await self.node.end(how, kept_bytes)
        self.life_cursor_us = 0
        self.let_pass(1)
        self.counts[how] += 1
        for change in self.pending:
            change(self.model)
        self.pending.clear()
        self.faults.clear()
        await self.start()
        await self.resolve_doubts()
        if had_faults:
            self.orphans = set(self.node.root.names()) - self.node.files_kept()
        if sweeps:
            await self.node.keeper.sweep(at_start=True)
            self.orphans = set()
        await self.check()

    async def resolve_doubts(self) -> None:
        """What nobody acknowledged is there whole, or it is not, and a chain both or neither."""
        shown = {}
        for name, bound in self.node.pin().tables.items():
            table = self.model.tables[name]
            place = table.place()
            shown[table.identity] = {row[place] for row in await self.node.read(bound)}
        found: dict[int, bool] = {}
        gaps: set[tuple[int, int]] = set()
        for doubt in self.doubts:
            table = self.model.by_identity(doubt.table)
            if table is None:
                continue
            there = doubt.rows.keys() & shown[doubt.table]
            assert not there or there == doubt.rows.keys(), "a request is there in part"
            found[id(doubt)] = bool(there)
            if doubt.key:
                assert not (there and (doubt.table, doubt.key) in gaps), "rows before it are lost"
                if not there:
                    gaps.add((doubt.table, doubt.key))
            if there:
                table.rows.update(doubt.rows)
                if doubt.source:
                    table.sources[doubt.source] = tuple(doubt.rows)
        for doubt in self.doubts:
            self.check_chain(doubt, found)
        self.doubts.clear()

    @staticmethod
    def check_chain(doubt: Doubt, found: dict[int, bool]) -> None:
        """Both records of a chain, or neither, where both tables are still there."""
        if doubt.partner is not None and id(doubt) in found and id(doubt.partner) in found:
            assert found[id(doubt)] == found[id(doubt.partner)], "half a chain"

    async def check(self) -> None:
        """Everything that must hold whenever nothing is under way."""
        await self.look()
        self.check_files()
        self.moments_us.clear()
        self.counts["checks"] += 1

    async def look_between(self, point: CrashPoint) -> None:
        """A seal or merge is committed and the row stores do not know it yet."""
        if point in (CrashPoint.SEAL_COMMITTED, CrashPoint.MERGE_COMMITTED):
            async with trio.open_nursery() as nursery:  # as another task does
                nursery.start_soon(self.look)

    async def look(self) -> None:
        """What a query sees at this moment, and what it may rely on."""
        snapshot = self.node.pin()
        assert set(snapshot.tables) == set(self.model.tables)
        seen: Counter[int] = Counter()
        for name, bound in snapshot.tables.items():
            table = self.model.tables[name]
            wanted = [(column.name, column.type) for column in table.columns]
            assert [(column.name, column.type) for column in bound.columns] == wanted
            rows = await self.node.read(bound)
            place = table.place()
            seen.update(row[place] for row in rows)
            self.check_rows(name, rows)
            self.check_times(rows, place)
            await self.check_extents(name, bound)
            assert bound.row_count == len(rows)
        assert max(seen.values(), default=1) == 1, "a row is there twice"
        assert snapshot.cursor_us is not None
        assert snapshot.cursor_us >= self.life_cursor_us, "the cursor went back"
        self.life_cursor_us = snapshot.cursor_us
        self.cursor_us = max(self.cursor_us, snapshot.cursor_us)
        self.counts["looks"] += 1

    def let_pass(self, seconds: int) -> None:
        """Moves the wall clock."""
        self.moments_us.append(self.node.clock.now_us)
        self.node.clock.us += seconds * SECOND_US

    def check_rows(self, name: str, rows: list[tuple[Any, ...]]) -> None:
        """Each row of the model once, with its values; nothing else."""
        table = self.model.tables[name]
        place = table.place()
        found = {row[place]: row[:-1] for row in rows}
        assert len(found) == len(rows), f"a row of {name} is there twice"
        missing, strange = table.rows.keys() - found.keys(), found.keys() - table.rows.keys()
        assert not missing, f"rows of {name} are missing: {sorted(missing)}"
        assert not strange, f"rows of {name} nobody acknowledged, or gone: {sorted(strange)}"
        for number, row in table.rows.items():
            assert found[number] == table.shown(row), f"row {number} of {name}"

    def check_times(self, rows: list[tuple[Any, ...]], place: int) -> None:
        """An ingestion time never changes; a new row's is beyond every cursor given out."""
        for row in rows:
            number, time = row[place], row[-1]
            if number in self.times_us:
                assert self.times_us[number] == time, f"row {number} has another ingestion time"
            else:
                us = microseconds(time)
                assert us > self.cursor_us, f"row {number} came at {us}, behind the cursor"
                self.times_us[number] = time

    async def check_extents(self, name: str, bound: Any) -> None:
        """Counts, and creation times: a merged extent has that of its newest part."""
        table = self.model.tables[name]
        place = table.place()
        found = await self.node.read_extents(bound)
        now_us = self.node.clock.now_us
        for extent_id, rows in found.items():
            extent = bound.extents[extent_id]
            assert extent.row_count == len(rows)
            numbers = [row[place] for row in rows]
            if numbers:
                wanted = {
                    max(self.created_us.get(number, new_us) for number in numbers)
                    for new_us in (now_us, *self.moments_us)
                }
                assert extent.created_max_us in wanted, f"creation time of {extent_id}"
            self.created_us.update(dict.fromkeys(numbers, extent.created_max_us))

    def check_files(self) -> None:
        """Files that a tree names are there; others only where something was under way."""
        names = set(self.node.root.names())
        kept = self.node.files_kept()
        garbage = {item.file for item in self.node.catalog.garbage()}
        assert kept - garbage <= names, "a file that is needed is gone"
        orphans = names - kept
        if self.faults:
            self.orphans |= orphans
        assert orphans <= self.orphans, "a file was left behind though nothing failed"
        self.orphans &= orphans

    async def hold(self) -> None:
        """A query that takes its time: its snapshot must stay what it is."""
        if len(self.pins) == PINS:
            self.pins.pop(0)
        snapshot = self.node.pin()
        shown = {n: sorted(await self.node.read(b), key=repr) for n, b in snapshot.tables.items()}
        self.pins.append((snapshot, shown))

    async def look_again(self) -> None:
        """What is pinned reads as it did, whatever was sealed, merged, dropped or deleted."""
        self.node._decoded = {}
        for snapshot, shown in self.pins:
            for name, bound in snapshot.tables.items():
                assert sorted(await self.node.read(bound), key=repr) == shown[name]

    async def ask(self, name: str) -> None:
        """The query engine gives what the model has."""
        table = self.model.tables[name]
        result = await self.engine.run(f"['{name}']", self.node.pin())
        found = Counter(tuple(row) for row in tuples_of(result.table))
        assert found == Counter(table.shown(row) for row in table.rows.values())
        identity = table.columns[table.place()].name
        kql = f"['{name}'] | summarize n = count(), s = sum({identity}), d = dcount({identity})"
        result = await self.engine.run(kql, self.node.pin())
        (row,) = tuples_of(result.table)
        wanted = len(table.rows)
        assert row[0] == row[2] == wanted
        assert (row[1] or 0) == sum(table.rows)
        self.counts["queries"] += 2

    async def close(self) -> None:
        """Counts what the life did before it ends."""
        keeper = self.node.keeper.statistics()
        self.counts["seals"] += keeper.seals
        self.counts["merges"] += keeper.merges
        self.counts["abandoned"] += keeper.seals_abandoned + keeper.merges_abandoned
        self.counts["files deleted"] += keeper.deleted_files + keeper.swept_files
        self.counts["segments trimmed"] += sum(
            store.first_lsn > 0 for store in self.node.row_stores.statistics().stores
        )

    async def finish(self) -> None:
        """The end of a history: drained, collected and swept, only what is named is left."""
        await self.restart("stop")
        keeper = self.node.keeper
        drained = await keeper.drain()
        assert drained.is_empty
        await self.check()
        await keeper.collect_garbage()
        self.node.clock.us += 86_400 * 1_000_000
        await keeper.collect_garbage()
        await keeper.sweep()
        assert not self.node.catalog.garbage()
        assert set(self.node.root.names()) == self.node.files_kept()
        await self.check()
        await self.node.end("stop")


def tuples_of(table: Any) -> list[tuple[Any, ...]]:
    """Rows of an Arrow table."""
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def microseconds(time: Any) -> int:
    """Of a naive datetime, since 1970."""
    return (time - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
