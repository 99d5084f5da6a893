"""Tells the history of each command that parsed: when it began, and how it ended. Pure."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cluster.commands.command_types import command_type
from cluster.commands.credentials import without_credentials
from cluster.errors import RemoraError, ThrottledError
from cluster.history.records import Executed, OperationState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.clock import Clock
    from cluster.commands.interpreter import Command
    from cluster.commands.results import CommandResult
    from cluster.history.log import History
    from cluster.request import ClientRequest

TEXT_CHARACTERS: Final = 64 * 1024
"""So much of a text is kept (``show-queries-command.md``)."""


class Note:
    """What is to be told of one command at its end."""

    def __init__(self) -> None:
        self.row_count = 0

    def returned(self, result: CommandResult) -> None:
        """It gave a table."""
        self.row_count = len(result.rows) if result.piped is None else result.piped.num_rows


class CommandRecorder:
    """``new_id`` gives the activity ids."""

    def __init__(self, new_id: Callable[[], str], clock: Clock) -> None:
        self._new_id = new_id
        self._clock = clock

    @contextmanager
    def recorded(
        self, database: str, command: Command, history: History, request: ClientRequest
    ) -> Iterator[Note]:
        """Records what runs inside. The text has no secrets in it.

        A user is who was authenticated, else who the client says it is.
        """
        now_ns = self._clock.now_ns()
        entry = Executed(
            activity_id=request.activity_id or self._new_id(),
            kind=command_type(command.spec.name),
            text=command.text[:TEXT_CHARACTERS],
            database=database,
            started_ns=now_ns,
            updated_ns=now_ns,
            state=OperationState.IN_PROGRESS,
            client_request_id=request.request_id,
            principal=request.caller.principal,
            user=request.caller.name or request.user,
            application=request.application,
            options=request.options,
        )
        history.begun(entry)
        note = Note()
        state, failure = OperationState.CANCELED, ""
        try:
            yield note
            state = OperationState.COMPLETED
        except ThrottledError as error:
            state, failure = OperationState.THROTTLED, without_credentials(str(error))
            raise
        except RemoraError as error:
            state, failure = OperationState.FAILED, without_credentials(str(error))
            raise
        except Exception as error:  # a defect; the transport reports it
            state, failure = OperationState.FAILED, type(error).__name__
            raise
        finally:
            ended_ns = self._clock.now_ns()
            history.ended(
                replace(
                    entry,
                    updated_ns=ended_ns,
                    state=state,
                    failure=failure,
                    row_count=note.row_count,
                )
            )
