"""Executors of commands about databases. They touch the world only through their context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.catalog.naming import fold_database_name

if TYPE_CHECKING:
    from cluster.catalog.model import Database
    from cluster.commands.context import Context
    from cluster.commands.results import Row


async def show_databases(context: Context) -> list[Row]:
    """``.show databases [(D, ...)]``: all of them, or those named, each once."""
    catalog = context.catalog
    if "databases" not in context.values:
        return [_row(context, database) for database in catalog.databases()]
    named = {database.name: database for database in map(catalog.get, context.values["databases"])}
    return [_row(context, database) for database in named.values()]


async def show_database(context: Context) -> list[Row]:
    """``.show database``: the one in context."""
    return [_row(context, context.catalog.get(context.database))]


async def create_database(context: Context) -> list[Row]:
    """``.create database D [volatile] [ifnotexists]``.

    ``volatile`` is accepted for scripts written for Microsoft's emulator; the database is kept on
    disk all the same, and the row says so.
    """
    database, created = await context.catalog.create_database(
        context.values["database"], if_not_exists="ifnotexists" in context.words
    )
    return [(database.name, "", "true" if created else "false", True, True)]


def _row(context: Context, database: Database) -> Row:
    following = context.catalog.is_following(database.name)
    return (
        database.name,
        "",
        str(database.version),
        fold_database_name(database.name) == fold_database_name(context.database),
        "ReadOnlyFollowing" if following else "ReadWrite",
        database.pretty_name,
        False,
        database.database_id,
        "",
    )
