"""Calls with their intervals, and when a state set by calls is certain. Pure.

Order is by event numbers: the line a thing stands on in the history. A call took effect somewhere
between its two lines, one whose outcome is unknown possibly later. A state is *certain* from the
line that answers the call that set it to the line on which somebody first asks for another.
"""

from __future__ import annotations

import bisect
import math
import operator
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from cluster.conformance.calls import Changed, Invocation, Outcome, Refused, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

NEVER: Final = 1 << 62
"""Number of an event that does not come."""


What_co = TypeVar("What_co", bound=Invocation, covariant=True)
What = TypeVar("What", bound=Invocation)


class Call(msgspec.Struct, Generic[What_co], frozen=True, gc=False, eq=False):
    """An invocation and its outcome. ``first`` and ``last`` are the numbers of the two events.

    Without an outcome ``last`` is :data:`NEVER` and ``ended`` infinite.
    """

    number: int
    who: str
    what: What_co
    outcome: Outcome | None
    first: int
    last: int
    began: float
    ended: float

    @property
    def refused(self) -> bool:
        """It certainly did not happen."""
        return type(self.outcome) is Refused

    @property
    def doubtful(self) -> bool:
        """Nobody knows whether it happened, or will."""
        return self.outcome is None or type(self.outcome) is Unknown

    @property
    def confirmed(self) -> bool:
        """A change of which every process that it concerns has told that it is in force there."""
        return isinstance(self.outcome, Changed) and "confirmed" in self.outcome.certainty.lower()

    @property
    def ok(self) -> bool:
        """It happened."""
        return not self.refused and not self.doubtful


class Window(msgspec.Struct, frozen=True, gc=False):
    """From event ``first`` to event ``last``, both exclusive, something is certain.

    ``call`` made it so; None: it was so from the beginning. ``began`` is the time of ``first``.
    """

    first: int
    last: int
    began: float
    ended: float
    call: Call[Any] | None = None


_BEGINNING: Final = operator.attrgetter("first")


class Times:
    """Finds the event that comes first at or after a time."""

    def __init__(self, times: Sequence[float]) -> None:
        self._times = times

    def time(self, number: int) -> float:
        """When an event was."""
        return self._times[number]

    def number_at(self, time: float) -> int:
        """Number of the first event not before ``time``."""
        if math.isinf(time):
            return NEVER
        return bisect.bisect_left(self._times, time)


def effect_end(call: Call[Invocation], times: Times, late_seconds: float) -> int:
    """Number of the event by which a call has taken effect, if it ever does."""
    if not call.doubtful:
        return call.last
    if call.outcome is None:
        return NEVER
    return max(call.last, times.number_at(call.ended + late_seconds))


class Rollback(msgspec.Struct, frozen=True, gc=False):
    """The coordinator may have lost changes that were answered between two events.

    What they set is certain no more from event ``since`` on.
    """

    first: int
    last: int
    since: int

    def undoes(self, call: Call[Invocation]) -> bool:
        """The change that a call made may be lost."""
        return self.first < call.last < self.last


def settled(
    calls: Iterable[Call[What]],
    *,
    wanted: Callable[[Call[What]], bool],
    opposed: Callable[[Call[What]], bool],
    times: Times,
    late_seconds: float,
    initially: bool,
    rollbacks: Sequence[Rollback] = (),
) -> tuple[Window, ...]:
    """The windows in which the state that ``wanted`` calls set is certain.

    ``opposed`` calls set another state. ``calls`` are in the order they were made; refused ones
    change nothing. ``initially``: the state holds before the first opposed call. What a rollback
    may have undone is certain until then only.
    """
    relevant = [call for call in calls if not call.refused]
    opposing = [call for call in relevant if opposed(call)]
    ends = [effect_end(call, times, late_seconds) for call in opposing]
    windows = []
    if initially:
        stop = opposing[0] if opposing else None
        windows.append(_window(-1, 0.0, stop, None))
    for call in relevant:
        if not (call.ok and wanted(call)):
            continue
        if any(
            other.first < call.last and end > call.first
            for other, end in zip(opposing, ends, strict=True)
        ):
            continue
        stop = next((other for other in opposing if other.first > call.last), None)
        window = _window(call.last, call.ended, stop, call)
        lost = min((r.since for r in rollbacks if r.undoes(call)), default=NEVER)
        if lost < window.last:
            window = Window(window.first, lost, window.began, times.time(lost), call)
        windows.append(window)
    return tuple(windows)


def _window(
    first: int, began: float, stop: Call[Invocation] | None, call: Call[Invocation] | None
) -> Window:
    if stop is None:
        return Window(first, NEVER, began, math.inf, call)
    return Window(first, stop.first, began, stop.began, call)


def window_of(windows: Sequence[Window], first: int, last: int) -> Window | None:
    """The window that holds everything between two events; None if that is not certain.

    The latest to begin, of several; ``windows`` are in the order they begin.
    """
    place = bisect.bisect_right(windows, first, key=_BEGINNING)
    for number in range(place - 1, -1, -1):
        if last <= windows[number].last:
            return windows[number]
    return None
