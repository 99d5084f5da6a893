"""What happened in a run, as data: the only thing checkers see. Pure.

A history is a sequence of :class:`Event` in the order the observer saw them, written as one JSON
line each. A client's call is two events with one ``call`` number: an Invocation of :mod:`.calls`
when it is made and an Outcome when it ends. An outcome is *ok* (it happened), *fail* (it certainly
did not) or *info* (nobody knows: a timeout, a broken connection). A checker must accept both
readings of an ``info``. Calls that never end are ``info`` too. What is seen without a call is a
Note of :mod:`.notes`: faults, phases, and frames of Follow where the observer can look inside.

The form follows Jepsen's (``invoke``, ``ok``, ``fail``, ``info``); rows are known by ids that are
unique in the run, so a row that appears anywhere can be traced to the request that sent it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import msgspec

from cluster.conformance.calls import Invocation, Outcome  # noqa: TC001 - msgspec reads annotations
from cluster.conformance.notes import Note  # noqa: TC001 - msgspec reads annotations
from cluster.conformance.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Event(Value, frozen=True, kw_only=True):
    """One line. ``at`` is in seconds since the run began, by the observer's one clock.

    ``call`` pairs an invocation with its outcome; 0 for notes. ``number`` is the line's, from 0.
    """

    number: int
    at: float
    who: str
    what: Invocation | Outcome | Note
    call: int = 0


HISTORY_FORMAT: Final = 1
"""Written in the first line; a history of another format is refused."""

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Event)


class History:
    """Events in order; grows by :meth:`add`."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._events = list(events)

    @property
    def events(self) -> Sequence[Event]:
        """All of them, in order."""
        return self._events

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def add(self, at: float, who: str, what: Invocation | Outcome | Note, call: int = 0) -> Event:
        """Adds an event at the end; its time is rounded to a nanosecond."""
        event = Event(
            number=len(self._events), at=round(float(at), 9), who=who, what=what, call=call
        )
        self._events.append(event)
        return event

    def lines(self) -> Iterator[bytes]:
        """The history as JSON lines, each with its line feed."""
        yield b'{"format":%d}\n' % HISTORY_FORMAT
        for event in self._events:
            yield _ENCODER.encode(event) + b"\n"

    def digest(self) -> str:
        """A hash of every byte of :meth:`lines`: equal for byte-identical histories only."""
        hasher = hashlib.blake2b(digest_size=16)
        for line in self.lines():
            hasher.update(line)
        return hasher.hexdigest()

    @classmethod
    def parse(cls, lines: Iterable[bytes]) -> History:
        """Reads JSON lines. Raises ValueError naming the line that is not of this format."""
        rows = iter(lines)
        head = next(rows, b"")
        try:
            form = msgspec.json.decode(head, type=dict[str, int]).get("format")
        except msgspec.DecodeError as error:
            raise ValueError(f"line 1 is not the head of a history: {error}") from error
        if form != HISTORY_FORMAT:
            raise ValueError(f"the history has format {form}; this reads {HISTORY_FORMAT}")
        events = []
        for number, line in enumerate(rows, 2):
            try:
                events.append(_DECODER.decode(line))
            except msgspec.DecodeError as error:
                raise ValueError(f"line {number} of the history: {error}") from error
        return cls(events)
