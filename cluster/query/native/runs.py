"""Queries that call functions of Python: which of them are to stop.

DuckDB looks whether it is interrupted between chunks of 2,048 rows. A function of Python can take a
second for one of them, so each call asks whether its query goes on.
"""

from __future__ import annotations

import itertools
from typing import Final

STOPPED: Final = "E_STOPPED"
"""Text of the error of a call whose query is to stop."""

VARIABLE: Final = "native_run"
"""The variable of a cursor that has the number of its query, which no query can read."""

RUN_SQL: Final = f"coalesce(CAST(getvariable('{VARIABLE}') AS BIGINT), 0)"
"""The number of the query, 0 for none."""


class Runs:
    """The numbers of queries of one database. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._stopped: set[int] = set()

    def begin(self) -> int:
        """A number for a query."""
        return next(self._numbers)

    def stop(self, number: int) -> None:
        """Every call of the query from now on fails, until it ends."""
        self._stopped.add(number)

    def end(self, number: int) -> None:
        """The query calls no function any more."""
        self._stopped.discard(number)

    def require_going(self, number: int) -> None:
        """Raises ValueError with :data:`STOPPED` if the query is to stop."""
        if number in self._stopped:
            raise ValueError(STOPPED)
