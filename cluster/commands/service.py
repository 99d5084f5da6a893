"""Runs management commands: text in, typed table out.

Guarantees: a refused command changes nothing; a mutating command that has returned is durable and
visible; a mutating command on a follower database is refused by the catalog itself
(:class:`cluster.errors.ReadOnlyError`), before anything else about it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from cluster.catalog.model import DEFAULT_DATABASE
from cluster.commands import databases, policies, system, tables
from cluster.commands.context import Context
from cluster.commands.interpreter import parse_command
from cluster.commands.results import CommandResult
from cluster.limits import LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.commands.context import CatalogDoor, Executor, Node
    from cluster.commands.interpreter import Command

EXECUTORS: Final[Mapping[str, Executor]] = {
    "show databases": databases.show_databases,
    "show database": databases.show_database,
    "create database": databases.create_database,
    "create table": tables.create_table,
    "create-merge table": tables.create_merge_table,
    "drop table": tables.drop_table,
    "show tables": tables.show_tables,
    "show table cslschema": tables.show_table_cslschema,
    "show table schema as json": tables.show_table_schema_json,
    "show table policy": policies.show_table_policy,
    "show database policy": policies.show_database_policy,
    "show cluster policy": policies.show_cluster_policy,
    "alter table policy": policies.alter_table_policy,
    "alter database policy": policies.alter_database_policy,
    "alter-merge table policy": policies.alter_merge_table_policy,
    "alter-merge database policy": policies.alter_merge_database_policy,
    "delete table policy": policies.delete_table_policy,
    "delete database policy": policies.delete_database_policy,
    "clear table cache": system.clear_table_cache,
    "clear database cache": system.clear_database_cache,
    "show cluster": system.show_cluster,
    "show version": system.show_version,
}
"""Executor of each command that is not refused, by the name in the table of grammars."""

_SHORT_CHARACTERS: Final = 8192
"""A command of this length parses within milliseconds."""


@dataclass(frozen=True, slots=True)
class CommandStatistics:
    """Commands since the service was made: ``executed`` returned a table, ``refused`` did not."""

    executed: int
    refused: int


class CommandService:
    """Executes commands on one node."""

    def __init__(self, catalog: CatalogDoor, node: Node, limits: Limits = LIMITS) -> None:
        self._catalog = catalog
        self._node = node
        self._limits = limits
        self._executed = 0
        self._refused = 0

    async def execute(self, database_name: str, text: str) -> CommandResult:
        """Runs one command in the context of a database; an empty name is ``NetDefaultDB``.

        The database in context need not exist for commands that do not use it, so that
        ``.create database`` can be the first thing a client sends.

        Raises SyntaxRefusedError, NotSupportedError, LimitExceededError, DatabaseNotFoundError,
        TableNotFoundError, EntityExistsError, EntityNameError, InvalidRequestError,
        ConflictError, ReadOnlyError, UnavailableError.
        """
        try:
            command = await self._parse(text)
            context = Context(self._catalog, self._node, database_name or DEFAULT_DATABASE, command)
            rows = await EXECUTORS[command.spec.name](context)
        except BaseException:
            self._refused += 1
            raise
        self._executed += 1
        return CommandResult(command.spec.columns, tuple(rows))

    async def _parse(self, text: str) -> Command:
        if len(text) <= _SHORT_CHARACTERS:
            return parse_command(text, self._limits)
        # The longest texts allowed take up to a second: not on the thread that serves others.
        return await trio.to_thread.run_sync(parse_command, text, self._limits)

    def statistics(self) -> CommandStatistics:
        """Counts of this moment."""
        return CommandStatistics(self._executed, self._refused)
