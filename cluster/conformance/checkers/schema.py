"""R14: no row comes before its columns, and no column goes. Pure."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Final

from cluster.conformance.calls import Command
from cluster.conformance.checkers.periods import NEVER

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.rows import Read, Table

_FIELDS: Final = re.compile(r"\(([^()]*)\)\s*$")
"""The columns in the text of a command that makes a table."""

_Schema = tuple[tuple[int, int], "Read"]


def schema_first(index: Index, found: Findings) -> None:
    """R14. Facts: answers that tell their columns."""
    added = {
        (c.what.cluster, c.what.database, c.what.table, c.what.argument)
        for c in index.commands
        if isinstance(c.what, Command) and c.what.verb == "add-column" and c.what.argument
    }
    columns = _Columns(index)
    filling = {table: _filling(table, added) for table in index.tables.values()}
    sure = {table: _surely_named(table) for table in index.tables.values()}
    versions: dict[Table, list[_Schema]] = {}
    for read in index.reads:
        if not read.answer.columns:
            continue
        found.checked += 1
        if unknown := columns.unknown(read):
            found.call(f"{read} has column {unknown}, which nobody added", read.call)
        _rows_and_columns(read, filling[read.table], sure[read.table], found)
        if read.answer.position is not None and read.table.unwiped(read):
            versions.setdefault(read.table, []).append((read.answer.position.version, read))
    for of_table in versions.values():
        _never_vanish(of_table, found)


class _Columns:
    """The columns a table may have, where the run made it and so knows them all."""

    def __init__(self, index: Index) -> None:
        self._made: dict[tuple[str, str, str], dict[str, int]] = {}
        for call in index.commands:
            what = call.what
            place = (what.cluster, what.database, what.table)
            if call.refused:
                continue
            if what.verb == "create-table" and (fields := _FIELDS.search(what.text)):
                for field in fields[1].split(","):
                    name = field.partition(":")[0].strip(" []'\"")
                    self._made.setdefault(place, {}).setdefault(name, call.first)
            elif what.verb == "add-column" and place in self._made:
                self._made[place].setdefault(what.argument, call.first)

    def unknown(self, read: Read) -> str:
        """A column of an answer that the table cannot have; empty: there is none."""
        table = read.table
        known = self._made.get((table.leader, table.database, table.table))
        if known is None:
            return ""
        return next((c for c in read.answer.columns if known.get(c, NEVER) > read.call.last), "")


def _filling(table: Table, added: set[tuple[str, str, str, str]]) -> dict[str, int]:
    """By column added in the run: the batches that fill it."""
    found: dict[str, int] = {}
    for leader, database, name, column in added:
        if (leader, database, name) == (table.leader, table.database, table.table):
            found[column] = sum(b.bit for b in table.batches if column in b.columns)
    return dict(sorted(found.items()))


def _surely_named(table: Table) -> int:
    """The batches whose values are certainly in the columns that their sender meant.

    Rows are sent without names. Who does not know that the table was dropped and made again fills
    whatever columns it has now, if they are as many.
    """
    drops = [wipe.call.first for wipe in table.wipes if wipe.call.what.verb != "clear-table"]
    first = min(drops, default=NEVER)
    return sum(batch.bit for batch in table.batches if not drops or batch.last < first)


def _rows_and_columns(read: Read, filling: dict[str, int], sure: int, found: Findings) -> None:
    answer, table, view = read.answer, read.table, read.view
    for column, ids in answer.filled.items():
        if ids and column not in answer.columns:
            found.call(f"{read} fills column {column}, which it does not have", read.call)
    for column, batches in filling.items():
        seen = view.whole & batches & sure
        if column not in answer.columns:
            if seen:
                batch = next(table.of(seen))
                found.call(
                    f"{read} shows {batch} without column {column} it was sent with",
                    read.call,
                    batch.possible,
                )
            continue
        if column not in answer.filled:
            continue
        filled = answer.filled[column]
        told = table.view(f"{read.cluster} {column}", filled)
        wrong = told.touched & ~batches & sure
        if wrong or told.strangers:
            what = table.tell(wrong) if wrong else f"row {told.strangers[0]}"
            found.call(f"{read} has a value in column {column} of {what}, sent without", read.call)
        if seen & ~told.whole:
            found.call(
                f"{read} has no value in column {column} of {table.tell(seen & ~told.whole)}, "
                "sent with one",
                read.call,
            )


def _never_vanish(reads: list[_Schema], found: Findings) -> None:
    reads.sort(key=lambda item: (item[0], item[1].call.first))
    for (version, read), (next_version, next_read) in itertools.pairwise(reads):
        before, after = read.answer.columns, next_read.answer.columns
        if before == after:
            continue
        if version == next_version:
            text = f"has columns {', '.join(after)}, where {read} has {', '.join(before)}"
            found.call(f"{next_read} {text} at the same version", next_read.call, read.call.last)
        elif gone := [column for column in before if column not in after]:
            text = f"does not have column {gone[0]} any more, which {read} has"
            found.call(f"{next_read} {text} at an older version", next_read.call, read.call.last)
