"""Calls with their intervals, and when a state set by calls is certain. Pure.

Order is by event numbers: the line a thing stands on in the history. A call took effect somewhere
between its two lines, one whose outcome is unknown possibly later. A state is *certain* from the
line that answers the call that set it to the line on which somebody first asks for another.
"""

from __future__ import annotations

import bisect
import math
from typing import TYPE_CHECKING, Final

import msgspec

from cluster.conformance.calls import Invocation, Outcome, Refused, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

NEVER: Final = 1 << 62
"""Number of an event that does not come."""


class Call(msgspec.Struct, frozen=True, gc=False, eq=False):
    """An invocation and its outcome. ``first`` and ``last`` are the numbers of the two events.

    Without an outcome ``last`` is :data:`NEVER` and ``ended`` infinite.
    """

    number: int
    who: str
    what: Invocation
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
    call: Call | None = None

    def holds(self, first: int, last: int) -> bool:
        """Everything between the two events lies in it."""
        return self.first <= first and last <= self.last


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


def effect_end(call: Call, times: Times, late_seconds: float) -> int:
    """Number of the event by which a call has taken effect, if it ever does."""
    if not call.doubtful:
        return call.last
    if call.outcome is None:
        return NEVER
    return max(call.last, times.number_at(call.ended + late_seconds))


def settled(
    calls: Iterable[Call],
    *,
    wanted: Callable[[Call], bool],
    opposed: Callable[[Call], bool],
    times: Times,
    late_seconds: float,
    initially: bool,
) -> tuple[Window, ...]:
    """The windows in which the state that ``wanted`` calls set is certain.

    ``opposed`` calls set another state. ``calls`` are in the order they were made; refused ones
    change nothing. ``initially``: the state holds before the first opposed call.
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
        windows.append(_window(call.last, call.ended, stop, call))
    return tuple(windows)


def _window(first: int, began: float, stop: Call | None, call: Call | None) -> Window:
    if stop is None:
        return Window(first, NEVER, began, math.inf, call)
    return Window(first, stop.first, began, stop.began, call)


def window_of(windows: Iterable[Window], first: int, last: int) -> Window | None:
    """The window that holds everything between two events; None if that is not certain.

    The latest to begin, of several.
    """
    found = None
    for window in windows:
        if window.holds(first, last):
            found = window
    return found
