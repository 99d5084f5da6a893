"""How commands that change data run: as operations, waited for or in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.commands.command_types import command_type
from cluster.commands.grammar import COMMANDS
from cluster.commands.grammar.asynchronous import ASYNC_SUFFIX
from cluster.commands.results import CommandResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cluster.catalog.model import Column
    from cluster.commands.context import Context
    from cluster.commands.results import Row

_COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {spec.name: spec.columns for spec in COMMANDS}


async def check_owned(context: Context, database: str) -> None:
    """Raises what the catalog raises for a database that cannot be changed here, or is none.

    An operation that is bound to be refused is not begun.
    """
    await context.catalog.transact(database, lambda _: (), text="")


async def operate(
    context: Context,
    database: str,
    work: Callable[[], Awaitable[list[Row]]],
    *,
    kind: str = "",
) -> list[Row]:
    """Runs ``work`` as an operation; gives its rows, or the operation's id if ``async``.

    Raises what ``work`` raises, unless it works in the background; ThrottledError.
    """
    await check_owned(context, database)
    name = context.command.spec.name
    kind = kind or command_type(name)
    columns = _COLUMNS[name.removesuffix(ASYNC_SUFFIX)]
    operations = context.node.services.operations

    async def run() -> CommandResult:
        return CommandResult(columns, tuple(await work()))

    if name.endswith(ASYNC_SUFFIX):
        text, principal = context.command.text, context.request.caller.principal
        return [(operations.start(kind, database, text, run, principal=principal),)]
    ended = await operations.execute(
        kind, database, context.command.text, run, principal=context.request.caller.principal
    )
    return list(ended.result.rows)
