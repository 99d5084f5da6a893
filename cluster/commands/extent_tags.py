"""Executors of commands that change tags of extents (``adx-behaviour.md`` 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import find_table
from cluster.commands.extent_changes import CREATED_RANGE, created_within
from cluster.commands.extents import tags_text
from cluster.commands.operating import operate
from cluster.commands.properties import read_properties
from cluster.commands.subqueries import extents_asked, tags_asked
from cluster.extents.merging import find_extents
from cluster.extents.operations import TagChange, plan_tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cluster.catalog.changes import Change
    from cluster.catalog.model import Database
    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row
    from cluster.extents.operations import ChangedExtent


async def alter_tags(context: Context) -> list[Row]:
    """``.alter | .alter-merge [async] table T extent tags (...) <| query``."""
    merges = context.command.spec.name.startswith("alter-merge")
    change = TagChange.MERGE if merges else TagChange.SET
    given = read_properties(context, CREATED_RANGE)

    async def work() -> list[Row]:
        asked = await extents_asked(context, context.values["query"])
        return await _retag(context, [extent_id for extent_id, _ in asked], change, given)

    return await operate(context, context.database, work)


async def drop_tags(context: Context) -> list[Row]:
    """``.drop [async] table T extent tags (...)``: of every extent that has one of them."""
    given = read_properties(context, CREATED_RANGE)

    async def work() -> list[Row]:
        table = find_table(context.catalog.get(context.database), context.values["table"])
        dropped = frozenset(context.values["tags"])
        ids = [e.extent_id for e in table.extents.values() if not dropped.isdisjoint(e.tags)]
        return await _retag(context, ids, TagChange.DROP, given)

    return await operate(context, context.database, work)


async def drop_tags_query(context: Context) -> list[Row]:
    """``.drop [async] table T extent tags <| query``: of each extent the tags the query gives."""
    given = read_properties(context, CREATED_RANGE)

    async def work() -> list[Row]:
        asked = await tags_asked(context, context.values["query"])
        new_id, found = context.catalog.new_id, []

        def plan(newest: Database) -> Sequence[Change]:
            table = find_table(newest, context.values["table"])
            wanted = {
                extent.extent_id: tuple(
                    tag for tag in extent.tags if tag not in asked[extent.extent_id]
                )
                for extent in find_extents(table, asked)
                if created_within(extent, given)
            }
            changes, results = plan_tags(table, wanted, new_id)
            found.append(results)
            return changes

        await context.transact(context.database, plan)
        return _rows(found[0])

    return await operate(context, context.database, work)


async def _retag(
    context: Context, ids: Sequence[str], change: TagChange, given: Mapping[str, object]
) -> list[Row]:
    values = context.values
    table = find_table(context.catalog.get(context.database), values["table"])
    chosen = [
        extent.extent_id for extent in find_extents(table, ids) if created_within(extent, given)
    ]
    changed = await context.node.services.extents.retag(
        context.database,
        table.name,
        chosen,
        change,
        values["tags"],
        text=context.command.text,
    )
    return _rows(changed)


def _rows(changed: Iterable[ChangedExtent]) -> list[Row]:
    return [
        (item.original_id, item.result.extent_id, tags_text(item.result), "")
        for item in changed
        if item.result is not None
    ]


EXECUTORS: Final[Mapping[str, Executor]] = {
    f"{name}{suffix}": executor
    for name, executor in (
        ("alter table extent tags", alter_tags),
        ("alter-merge table extent tags", alter_tags),
        ("drop table extent tags", drop_tags),
        ("drop table extent tags query", drop_tags_query),
    )
    for suffix in ("", " async")
}
