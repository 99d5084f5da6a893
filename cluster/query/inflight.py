"""Queries that a command may cancel while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from cluster.errors import CanceledError, RemoraError
from cluster.query.records import QueryState

if TYPE_CHECKING:
    from collections.abc import Awaitable

Answer = TypeVar("Answer")


class Cancellations:
    """The running queries by their numbers."""

    def __init__(self) -> None:
        self._scopes: dict[int, trio.CancelScope] = {}

    async def run(self, number: int, work: Awaitable[Answer]) -> Answer:
        """Awaits ``work``; raises CanceledError if :meth:`cancel` ended it."""
        with trio.CancelScope() as scope:
            self._scopes[number] = scope
            try:
                return await work
            finally:
                del self._scopes[number]
        raise CanceledError("The query was canceled by a command.")

    def cancel(self, number: int) -> bool:
        """Ends a query; False: it is not running."""
        scope = self._scopes.get(number)
        if scope is None:
            return False
        scope.cancel()
        return True


def state_of(error: RemoraError) -> QueryState:
    """How a query ended that raised this."""
    return QueryState.CANCELLED if isinstance(error, CanceledError) else QueryState.FAILED
