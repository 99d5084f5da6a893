"""Executors of commands that drop, move, replace, merge, clear and seal."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import find_table
from cluster.commands.command_types import REBUILD
from cluster.commands.doors import tables_of_keys
from cluster.commands.operating import check_owned, operate
from cluster.commands.properties import read_properties
from cluster.commands.subqueries import by_table, extents_asked
from cluster.commands.when import micros_of, moment, span
from cluster.extents.merging import check_merge
from cluster.extents.operations import Selection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from cluster.catalog.model import Extent
    from cluster.commands.context import Context, Executor
    from cluster.commands.doors import ExtentsDoor
    from cluster.commands.results import Row
    from cluster.extents.operations import ChangedExtent, DroppedExtent

    Moves = Sequence[tuple[str, Sequence[str] | None]]

_HOUR_US: Final = 3_600_000_000
_UNITS: Final = {"bytes": 1, "MB": 1 << 20, "GB": 1 << 30}
CREATED_RANGE: Final[Mapping[str, type]] = {
    "extentCreatedOnFrom": datetime,
    "extentCreatedOnTo": datetime,
}
_MOVE: Final[Mapping[str, type]] = {"setNewIngestionTime": bool, **CREATED_RANGE}


# Dropping


async def drop_extents(context: Context) -> list[Row]:
    """``.drop extent <id> [from T]``, ``.drop extents (<ids>) [from T]``."""
    values = context.values
    ids = values["extents"] if "extents" in values else (values["extent"],)
    return await _drop(context, Selection(values.get("table"), tuple(dict.fromkeys(ids))))


async def drop_extents_query(context: Context) -> list[Row]:
    """``.drop extents <| query``: exactly the extents it names, all or none."""
    await check_owned(context, context.database)
    return await _drop(context, await _selection_asked(context))


async def drop_extents_whatif(context: Context) -> list[Row]:
    """``.drop extents whatif <| query``: what would be dropped."""
    selection = await _selection_asked(context)
    return _dropped_rows(_extents(context).preview_drop(context.database, selection))


async def drop_extents_from(context: Context) -> list[Row]:
    """``.drop extents [older N (days|hours)] from (T | all tables) [trim by ...] [limit N]``."""
    return await _drop(context, _selection(context))


async def drop_pretend_extents(context: Context) -> list[Row]:
    """``.drop-pretend extents ...``: what ``.drop extents ...`` would drop."""
    return _dropped_rows(_extents(context).preview_drop(context.database, _selection(context)))


def _selection(context: Context) -> Selection:
    values, words = context.values, context.words
    created_before_us = None
    if "older" in words:
        hours = values["age"] * (24 if "days" in words else 1)
        created_before_us = context.now_us - hours * _HOUR_US
    keep_bytes = None
    if "trim" in words:
        (unit,) = words & _UNITS.keys()
        keep_bytes = values["size"] * _UNITS[unit]
    return Selection(
        table=values.get("table"),
        created_before_us=created_before_us,
        keep_bytes=keep_bytes,
        keep_original="datasize" in words,
        limit=values.get("limit"),
    )


async def _selection_asked(context: Context) -> Selection:
    asked = await extents_asked(context, context.values["query"])
    by_table(context.catalog.get(context.database), asked)
    return Selection(extent_ids=tuple(extent_id for extent_id, _ in asked))


async def _drop(context: Context, selection: Selection) -> list[Row]:
    async def work() -> list[Row]:
        text = context.command.text
        dropped = await _extents(context).drop_extents(context.database, selection, text=text)
        return _dropped_rows(dropped)

    return await operate(context, context.database, work)


def _dropped_rows(dropped: Iterable[DroppedExtent]) -> list[Row]:
    return [(item.extent_id, item.table, moment(item.created_us)) for item in dropped]


# Moving


async def move_extents_all(context: Context) -> list[Row]:
    """``.move [async] extents all from table S to table T``."""

    async def moves() -> Moves:
        source = find_table(context.catalog.get(context.database), context.values["source"])
        if "extentCreatedOnFrom" in given or "extentCreatedOnTo" in given:
            return [(source.name, _created_within(source.extents.values(), given))]
        return [(source.name, None)]

    given = read_properties(context, _MOVE)
    return await _move(context, given, moves)


async def move_extents_from(context: Context) -> list[Row]:
    """``.move [async] extents from table S to table T (<ids>)``."""

    async def moves() -> Moves:
        return [(context.values["source"], context.values["extents"])]

    return await _move(context, read_properties(context, _MOVE), moves)


async def move_extents_query(context: Context) -> list[Row]:
    """``.move [async] extents to table T <| query``."""

    async def moves() -> Moves:
        return await _moves_asked(context, context.values["query"])

    return await _move(context, read_properties(context, _MOVE), moves)


async def replace_extents(context: Context) -> list[Row]:
    """``.replace [async] extents in table T <| { what to drop }, { what to move in }``."""
    read_properties(context, _MOVE)
    values = context.values

    async def work() -> list[Row]:
        find_table(context.catalog.get(context.database), values["table"])
        dropped = await extents_asked(context, values["drop"][1:-1])
        moves = await _moves_asked(context, values["move"][1:-1])
        changed = await _extents(context).replace_extents(
            context.database,
            values["table"],
            [extent_id for extent_id, _ in dropped],
            moves,
            text=context.command.text,
        )
        return _moved_rows(changed)

    return await operate(context, context.database, work)


async def _move(
    context: Context, given: Mapping[str, object], moves: Callable[[], Awaitable[Moves]]
) -> list[Row]:
    move = partial(_extents(context).move_extents, context.database, text=context.command.text)

    async def work() -> list[Row]:
        target = context.values["table"]
        found = await moves()
        if not given.get("setNewIngestionTime", False):
            return _moved_rows(await move(found, target))
        with context.node.services.row_stores.times.stamp() as ingested_us:
            return _moved_rows(await move(found, target, ingested_us=ingested_us))

    return await operate(context, context.database, work)


async def _moves_asked(context: Context, text: str) -> Moves:
    asked = await extents_asked(context, text)
    return by_table(context.catalog.get(context.database), asked)


def _created_within(extents: Iterable[Extent], given: Mapping[str, object]) -> list[str]:
    return [extent.extent_id for extent in extents if created_within(extent, given)]


def created_within(extent: Extent, given: Mapping[str, object]) -> bool:
    """Whether its creation time is in the range of ``extentCreatedOnFrom`` and ``...To``."""
    first, last = given.get("extentCreatedOnFrom"), given.get("extentCreatedOnTo")
    created = extent.created_max_us
    if isinstance(first, datetime) and created < (micros_of(first) or 0):
        return False
    return not (isinstance(last, datetime) and created > (micros_of(last) or 0))


def _moved_rows(changed: Iterable[ChangedExtent]) -> list[Row]:
    return [
        (item.original_id, "" if item.result is None else item.result.extent_id, "")
        for item in changed
    ]


# Merging


async def merge_extents(context: Context) -> list[Row]:
    """``.merge [async] T (<ids>) [with (rebuild=true)]``: rows are rewritten either way."""
    rebuild = read_properties(context, {"rebuild": bool}).get("rebuild", False)
    values, clock = context.values, context.node.services.clock

    async def work() -> list[Row]:
        started = clock.monotonic()
        merged = await _extents(context).merge_extents(
            context.database, values["table"], values["extents"], text=context.command.text
        )
        results = ", ".join(extent.extent_id for extent in merged)
        seconds = clock.monotonic() - started
        return [(extent_id, results, span(seconds)) for extent_id in values["extents"]]

    return await operate(context, context.database, work, kind=REBUILD if rebuild else "")


async def merge_dryrun(context: Context) -> list[Row]:
    """``.merge dryrun T (<ids>)``: whether they could be merged; into what is not known yet."""
    table = find_table(context.catalog.get(context.database), context.values["table"])
    extents = check_merge(table, context.values["extents"])
    return [(extent.extent_id, "", span(0.0)) for extent in extents]


# All rows of a table


async def clear_table_data(context: Context) -> list[Row]:
    """``.clear [async] table T data``: its extents and its streamed rows."""

    async def work() -> list[Row]:
        table, text = context.values["table"], context.command.text
        await _extents(context).clear_table(context.database, table, text=text)
        return [("Succeeded",)]

    return await operate(context, context.database, work)


async def seal_table(context: Context) -> list[Row]:
    """``.seal table T`` (Remora's own): the rows that are visible now leave the row store."""

    async def work() -> list[Row]:
        return await _seal(context, context.database, context.values["table"])

    return await operate(context, context.database, work)


async def seal_database(context: Context) -> list[Row]:
    """``.seal database [D]`` (Remora's own): as :func:`seal_table`, of every table."""
    database = context.catalog.get(context.database_named).name

    async def work() -> list[Row]:
        return await _seal(context, database, None)

    return await operate(context, database, work)


async def _seal(context: Context, database: str, table: str | None) -> list[Row]:
    tables = tables_of_keys(context.catalog.get(database).tables.values())
    extents = await _extents(context).seal(database, table)
    return [
        (
            table or tables[extent.sources[0].key].name,
            extent.extent_id,
            extent.row_count,
            extent.original_bytes,
            extent.file_bytes,
        )
        for extent in extents
    ]


def _extents(context: Context) -> ExtentsDoor:
    return context.node.services.extents


EXECUTORS: Final[Mapping[str, Executor]] = {
    "drop extent": drop_extents,
    "drop extents": drop_extents,
    "drop extents query": drop_extents_query,
    "drop extents whatif": drop_extents_whatif,
    "drop extents from": drop_extents_from,
    "drop-pretend extents": drop_pretend_extents,
    "merge dryrun": merge_dryrun,
    "seal table": seal_table,
    "seal database": seal_database,
    **{
        f"{name}{suffix}": executor
        for name, executor in (
            ("move extents all", move_extents_all),
            ("move extents from", move_extents_from),
            ("move extents query", move_extents_query),
            ("replace extents", replace_extents),
            ("merge extents", merge_extents),
            ("clear table data", clear_table_data),
        )
        for suffix in ("", " async")
    },
}
