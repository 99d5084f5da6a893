"""Runs management commands: text in, typed table out.

Guarantees: a refused command changes nothing; a mutating command that has returned is durable and
visible; a mutating command on a follower database is refused by the catalog itself
(:class:`cluster.errors.ReadOnlyError`), before anything else about it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from cluster.access.control import AccessControl
from cluster.catalog.model import DEFAULT_DATABASE, Column
from cluster.commands.context import Context
from cluster.commands.executors import EXECUTORS
from cluster.commands.grammar import Kind
from cluster.commands.interpreter import parse_command
from cluster.commands.recording import CommandRecorder
from cluster.commands.results import CommandResult
from cluster.commands.scopes import CallersCatalog, check_access, seen_rows
from cluster.errors import InvalidRequestError, ReadOnlyRequestError
from cluster.limits import LIMITS, Limits
from cluster.request import NODE_REQUEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.commands.context import CatalogDoor, Node
    from cluster.commands.interpreter import Command
    from cluster.commands.results import Row
    from cluster.request import ClientRequest

_SHORT_CHARACTERS: Final = 8192
"""A command of this length parses within milliseconds."""


@dataclass(frozen=True, slots=True)
class CommandStatistics:
    """Commands since the service was made: ``executed`` returned a table, ``refused`` did not."""

    executed: int
    refused: int


class CommandService:
    """Executes commands on one node."""

    def __init__(
        self,
        catalog: CatalogDoor,
        node: Node,
        limits: Limits = LIMITS,
        *,
        access: AccessControl | None = None,
    ) -> None:
        """``access`` None: nobody is refused."""
        self._catalog = catalog
        self._access = access or AccessControl(catalog)
        self._node = node
        self._limits = limits
        self._recorder = CommandRecorder(catalog.new_id, node.services.clock)
        self._executed = 0
        self._refused = 0

    async def execute(
        self, database_name: str, text: str, request: ClientRequest = NODE_REQUEST
    ) -> CommandResult:
        """Runs one command in the context of a database; an empty name is ``NetDefaultDB``.

        The database in context need not exist for commands that do not use it, so that
        ``.create database`` can be the first thing a client sends.

        Raises SyntaxRefusedError, NotSupportedError, LimitExceededError, DatabaseNotFoundError,
        TableNotFoundError, EntityExistsError, EntityNameError, InvalidRequestError,
        ConflictError, ReadOnlyError, ReadOnlyRequestError, AccessDeniedError, UnavailableError;
        and what a query raises, if the result goes through KQL.
        """
        database = database_name or DEFAULT_DATABASE
        try:
            command = await self._parse(text)
            history = self._node.services.history
            with self._recorder.recorded(database, command, history, request) as note:
                result = await self._run(database, command, request)
                note.returned(result)
        except BaseException:
            self._refused += 1
            raise
        self._executed += 1
        return result

    async def _run(self, database: str, command: Command, request: ClientRequest) -> CommandResult:
        async def show(text: str) -> CommandResult:
            inner = await self._parse(text)
            if inner.spec.kind is not Kind.SHOW:
                raise InvalidRequestError(
                    "Only a query or a command that shows can be used inside another command.",
                    metadata={"command": inner.spec.name},
                )
            return await self._run(database, inner, request)

        async def execute(text: str, activity_id: str) -> CommandResult:
            return await self.execute(database, text, replace(request, activity_id=activity_id))

        _check_writable(command, request)
        check_access(self._access, request.caller, command, database)
        catalog, callers = self._catalog, None
        if self._access.is_enforced(request.caller):
            catalog = callers = CallersCatalog(catalog, self._access, request.caller)
        context = Context(
            catalog, self._node, database, command, show, execute, self._access, request
        )
        given = await EXECUTORS[command.spec.name](context)
        columns: Sequence[Column] = command.spec.columns
        rows: Sequence[Row]
        if isinstance(given, CommandResult):
            columns, rows = given.columns, given.rows
        else:
            rows = given
        if callers is not None and command.spec.kind is Kind.SHOW:
            rows = seen_rows(callers, command, columns, rows)
        return await self._piped(command, columns, rows)

    async def _piped(
        self, command: Command, columns: Sequence[Column], rows: Sequence[Row]
    ) -> CommandResult:
        if not command.pipe:
            return CommandResult(tuple(columns), tuple(rows))
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


def _check_writable(command: Command, request: ClientRequest) -> None:
    """A request that may only read (``request_readonly``) runs no command that changes."""
    if request.read_only and command.spec.kind is not Kind.SHOW:
        raise ReadOnlyRequestError(
            f"The request may only read, and this command changes something: {command.spec.usage}",
            metadata={"command": command.spec.name},
        )
