"""Executors of commands about databases. They touch the world only through their context."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import SetPrettyName
from cluster.catalog.naming import fold_database_name
from cluster.commands.policy_rows import database_text
from cluster.commands.principals import principals_text
from cluster.commands.properties import read_properties
from cluster.commands.sizes import Sizes, database_sizes
from cluster.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cluster.catalog.changes import Change
    from cluster.catalog.model import Database
    from cluster.commands.context import Context, Executor
    from cluster.commands.results import Row

    RowOf = Callable[[Context, Database], Row]


def _of_all(row: RowOf) -> Executor:
    """``.show databases [(D, ...)] ...``: all of them, or those named, each once."""

    async def show_databases(context: Context) -> list[Row]:
        read_properties(context, {})
        return [row(context, database) for database in _named(context)]

    return show_databases


def _of_current(row: RowOf) -> Executor:
    """``.show database ...``: the one in context."""

    async def show_database(context: Context) -> list[Row]:
        read_properties(context, {})
        return [row(context, context.catalog.get(context.database))]

    return show_database


async def create_database(context: Context) -> list[Row]:
    """``.create database D [volatile] [ifnotexists]``.

    ``volatile`` is accepted for scripts written for Microsoft's emulator; the database is kept on
    disk all the same, and the row says so.
    """
    read_properties(context, {})
    database, created = await context.catalog.create_database(
        context.values["database"], if_not_exists="ifnotexists" in context.words
    )
    return [(database.name, "", "true" if created else "false", True, True)]


async def drop_database(context: Context) -> list[Row]:
    """``.drop database D [ifexists] [skip-seal]``: tables, and how many extents went with each.

    Rows in row stores go with their tables, sealed or not. A followed database is not dropped
    (``follower.md``, Limitations): detach its followers first.
    """
    name = context.values["database"]
    if "ifexists" in context.words and not _exists(context, name):
        return []
    database = context.catalog.get(name)
    followers = await context.node.services.attachments.followers_of(database.name)
    if followers:
        raise ConflictError(
            f"Database '{database.name}' cannot be dropped: it is followed by "
            f"{', '.join(followers)}.",
            remedy="Detach it first: remora detach LEADER/DB FOLLOWER, or remora followers LEADER.",
            metadata={"database": database.name, "followers": ", ".join(followers)},
        )
    dropped = await context.catalog.drop_database(name)
    return [(table.name, str(len(table.extents))) for _, table in sorted(dropped.tables.items())]


def _exists(context: Context, name: str) -> bool:
    folded = fold_database_name(name)
    return any(fold_database_name(item.name) == folded for item in context.catalog.databases())


async def alter_pretty_name(context: Context) -> list[Row]:
    """``.alter database [D] prettyname '...'``."""
    return await _set_pretty_name(context, context.values["text"])


async def drop_pretty_name(context: Context) -> list[Row]:
    """``.drop database D prettyname``."""
    return await _set_pretty_name(context, "")


async def _set_pretty_name(context: Context, text: str) -> list[Row]:
    def plan(database: Database) -> Sequence[Change]:
        return () if database.pretty_name == text else [SetPrettyName(text)]

    database = await context.transact(context.database_named, plan)
    return [(database.name, database.pretty_name)]


def _named(context: Context) -> list[Database]:
    catalog = context.catalog
    if "databases" not in context.values:
        return list(catalog.databases())
    found: dict[str, Database] = {}
    for name in context.values["databases"]:
        if "*" in name:
            pattern = re.compile(fnmatch.translate(fold_database_name(name)))
            matching = [
                item
                for item in catalog.databases()
                if pattern.fullmatch(fold_database_name(item.name))
            ]
        else:
            matching = [catalog.get(name)]
        found.update({database.name: database for database in matching})
    return list(found.values())


def _start(context: Context, database: Database) -> Row:
    """DatabaseName .. PrettyName."""
    return (
        database.name,
        database.storage_root,
        str(database.version),
        fold_database_name(database.name) == fold_database_name(context.database),
        _access_mode(context, database),
        database.pretty_name,
    )


def _access_mode(context: Context, database: Database) -> str:
    return "ReadOnlyFollowing" if context.catalog.is_following(database.name) else "ReadWrite"


def _plain_row(context: Context, database: Database) -> Row:
    return (*_start(context, database), False, database.database_id, "")


def _identity_row(context: Context, database: Database) -> Row:
    return (*_start(context, database), True, database.database_id, "")


def _details_row(context: Context, database: Database) -> Row:
    sizes, _ = database_sizes(database, context.now_us)
    policies = {kind: database_text(database, kind) for kind in _POLICIES}
    return (
        *_start(context, database),
        principals_text(database.principals),
        policies["retention"],
        policies["merge"],
        "",
        policies["caching"],
        policies["sharding"],
        policies["streamingingestion"],
        policies["ingestionbatching"],
        float(sizes.extent_bytes),
        database.database_id,
        "",
    )


def _policies_row(context: Context, database: Database) -> Row:
    texts = (database_text(database, kind) for kind in _POLICIES)
    return (
        *_start(context, database),
        database.database_id,
        principals_text(database.principals),
        *texts,
    )


def _statistics_row(context: Context, database: Database) -> Row:
    sizes, hot = database_sizes(database, context.now_us)
    start = _start(context, database)
    return (*start, database.database_id, *_statistics(sizes), *_statistics(hot))


def _current_statistics_row(context: Context, database: Database) -> Row:
    row = _statistics_row(context, database)
    return (*row[:6], True, *row[6:])


def _statistics(sizes: Sizes) -> Row:
    size = float(sizes.extent_bytes)
    return (float(sizes.original_bytes), size, size, 0.0, sizes.rows)


def _metadata_row(context: Context, database: Database) -> Row:
    mode = _access_mode(context, database)
    return (database.name, str(database.version), database.storage_root, "", mode)


_POLICIES: Final = (
    "retention", "merge", "caching", "sharding", "streamingingestion", "ingestionbatching"
)  # fmt: skip
"""Kinds whose policies are shown of a database, in the order of ``policies``."""

_ROWS: Final[Mapping[str, RowOf]] = {
    "": _plain_row,
    " details": _details_row,
    " identity": _identity_row,
    " policies": _policies_row,
    " datastats": _statistics_row,
    " metadata": _metadata_row,
}

EXECUTORS: Final[Mapping[str, Executor]] = {
    **{f"show databases{flavor}": _of_all(row) for flavor, row in _ROWS.items()},
    **{f"show database{flavor}": _of_current(row) for flavor, row in _ROWS.items()},
    "show database datastats": _of_current(_current_statistics_row),
    "create database": create_database,
    "drop database": drop_database,
    "alter database prettyname": alter_pretty_name,
    "drop database prettyname": drop_pretty_name,
}
