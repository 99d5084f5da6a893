"""Runs management commands: text in, typed table out.

Guarantees: a refused command changes nothing; a mutating command that has returned is durable and
visible; a mutating command on a follower database is refused by the catalog itself
(:class:`cluster.errors.ReadOnlyError`), before anything else about it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from cluster.catalog.model import DEFAULT_DATABASE, Column
from cluster.commands.context import Context
from cluster.commands.executors import EXECUTORS
from cluster.commands.interpreter import parse_command
from cluster.commands.results import CommandResult
from cluster.limits import LIMITS, Limits

if TYPE_CHECKING:
    from cluster.commands.context import CatalogDoor, Node
    from cluster.commands.interpreter import Command
    from cluster.commands.results import Row

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
        ConflictError, ReadOnlyError, UnavailableError; and what a query raises, if the result goes
        through KQL.
        """
        try:
            command = await self._parse(text)
            context = Context(self._catalog, self._node, database_name or DEFAULT_DATABASE, command)
            rows = await EXECUTORS[command.spec.name](context)
            result = await self._piped(command, rows)
        except BaseException:
            self._refused += 1
            raise
        self._executed += 1
        return result

    async def _piped(self, command: Command, rows: list[Row]) -> CommandResult:
        columns = command.spec.columns
        if not command.pipe:
            return CommandResult(columns, tuple(rows))
        answer = await self._node.services.queries.run_over(columns, rows, command.pipe)
        found = tuple(Column(column.name, column.type) for column in answer.columns)
        return CommandResult(found, (), answer.table)

    async def _parse(self, text: str) -> Command:
        if len(text) <= _SHORT_CHARACTERS:
            return parse_command(text, self._limits)
        # The longest texts allowed take up to a second: not on the thread that serves others.
        return await trio.to_thread.run_sync(parse_command, text, self._limits)

    def statistics(self) -> CommandStatistics:
        """Counts of this moment."""
        return CommandStatistics(self._executed, self._refused)
