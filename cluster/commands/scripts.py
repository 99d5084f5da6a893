"""``.execute database script``: several commands, one after the other, each with a row.

Nothing is rolled back: what ran before a command that failed has happened. A command that shows is
not run, as the page says; its row says ``Skipped``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cluster.commands.command_types import command_type
from cluster.commands.grammar import VERBS, Kind
from cluster.commands.interpreter import parse_command
from cluster.commands.lexer import fit_for_logs, outside
from cluster.commands.properties import read_properties
from cluster.errors import InvalidRequestError, RemoraError, SyntaxRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.commands.context import Context, Executor
    from cluster.commands.interpreter import Command
    from cluster.commands.results import Row

SCRIPT: Final = "execute database script"
_COMMAND: Final = re.compile(r"^([ \t\ufeff]*)\.([a-z]+(?:-[a-z]+)*)\b", re.MULTILINE)
_LOOKED_BACK: Final = 4096
"""Characters of comments between ``<|`` and a command that is its input, at most."""

_COMMENT: Final = re.compile(r"(?:[\s\ufeff]++|//[^\n]*+)*+")


async def execute_script(context: Context) -> list[Row]:
    """``.execute [database] script [with (ContinueOnErrors | ThrowOnErrors = true)] <| ...``.

    Stops at the first command that fails, unless told to continue. Raises InvalidRequestError if
    both properties are true, SyntaxRefusedError for text before the first command, and what a
    command raises if told to throw.
    """
    given = read_properties(context, {"ContinueOnErrors": bool, "ThrowOnErrors": bool})
    continues, throws = given.get("ContinueOnErrors", False), given.get("ThrowOnErrors", False)
    if continues and throws:
        raise InvalidRequestError("Give either ContinueOnErrors or ThrowOnErrors, not both.")
    rows: list[Row] = []
    for text in split(context.values["script"]):
        operation_id, kind, shown = context.catalog.new_id(), "Unknown", fit_for_logs(text)
        try:
            command = parse_command(text, context.node.services.limits)
            kind, shown = command_type(command.spec.name), command.text
            result = await _execute(context, command, text, operation_id)
        except RemoraError as error:
            if throws:
                raise
            rows.append((operation_id, kind, shown, "Failed", error.message))
            if not continues:
                break
        else:
            rows.append((operation_id, kind, shown, *result))
    return rows


async def _execute(
    context: Context, command: Command, text: str, operation_id: str
) -> tuple[str, str]:
    """Result and reason of one command."""
    if command.spec.name == SCRIPT:
        raise InvalidRequestError("A script cannot be part of a script.")
    if command.spec.kind is Kind.SHOW:
        return "Skipped", "Commands that show are not run in a script."
    await context.execute(text, operation_id)
    return "Completed", ""


def split(script: str) -> list[str]:
    """The commands of a script: each begins a line with its dot, outside brackets and strings.

    A line of a query may begin with a dot too (``.database('d')``), so a verb must follow.
    Comments and blank lines between them are left out. Raises SyntaxRefusedError if something else
    is there before the first one.
    """
    first = _COMMENT.match(script).end()  # type: ignore[union-attr]
    if not script.startswith(".", first):
        raise SyntaxRefusedError(
            "Syntax error: expected a script of commands behind '<|', each on a line of its own "
            "that begins with a dot."
        )
    starts = [
        found.end(1)
        for start, end in outside(script)
        for found in _COMMAND.finditer(script, start, end)
        if found.group(2) in VERBS and not _is_input(script, found.start())
    ]
    starts = [first, *(start for start in starts if start > first)]
    ends = [*starts[1:], len(script)]
    return [_trimmed(script[start:end]) for start, end in zip(starts, ends, strict=True)]


def _is_input(script: str, at: int) -> bool:
    """Whether what begins there stands behind ``<|``, maybe on another line."""
    lines = script[max(at - _LOOKED_BACK, 0) : at].split("\n")
    while len(lines) > 1 and _COMMENT.fullmatch(lines[-1]):
        lines.pop()
    return lines[-1].rstrip().endswith("<|")


def _trimmed(text: str) -> str:
    """Without the comments and blank lines after it."""
    lines = text.split("\n")
    while len(lines) > 1 and _COMMENT.fullmatch(lines[-1]):
        lines.pop()
    return "\n".join(lines).rstrip()


EXECUTORS: Final[Mapping[str, Executor]] = {SCRIPT: execute_script}
