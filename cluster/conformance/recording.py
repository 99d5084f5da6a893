"""Makes calls and writes down what was asked and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from cluster.conformance.calls import Refused, Unknown
from cluster.conformance.system import is_definite
from cluster.errors import RemoraError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cluster.conformance.calls import Invocation, Outcome
    from cluster.conformance.system import System


def outcome_of(error: RemoraError) -> Refused | Unknown:
    """How a call ended that raised this: refused only if it certainly left no trace."""
    if is_definite(error):
        return Refused(
            code=error.code,
            reason=error.reason,
            message=error.message,
            permanent=error.permanent,
        )
    return Unknown(code=error.code, message=error.message)


class Recorder:
    """The one place where calls enter a system's history.

    Every invocation has exactly one outcome after it, unless the run itself is cancelled.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._calls = 0

    async def call(
        self,
        who: str,
        what: Invocation,
        make: Callable[[], Awaitable[Outcome]],
        seconds: float,
    ) -> Outcome:
        """Makes a call and waits at most ``seconds`` for its end; nothing it raises gets out.

        A client that gives up, or whose connection breaks, does not know: ``Unknown``. Errors that
        are neither a service's nor a connection's are defects and are raised.
        """
        history, now = self._system.history, self._system.now
        self._calls += 1
        number = self._calls
        history.add(now(), who, what, number)
        outcome: Outcome = Unknown(code="Timeout", message=f"no answer within {seconds:g} seconds")
        try:
            with trio.move_on_after(seconds):
                outcome = await make()
        except RemoraError as error:
            outcome = outcome_of(error)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            outcome = Unknown(code="ConnectionLost", message=f"{type(error).__name__}: {error}")
        history.add(now(), who, outcome, number)
        return outcome
