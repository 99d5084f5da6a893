"""Follow calls, frame by frame: what each frame should have been, and was not. Pure.

For every gate report of a call the next ordinal of each key is known: the follower's position in
the report, raised to the floors told since, and moved on by every frame of rows. Frames that answer
an older report go on from that one's place; the follower drops them.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

from cluster.conformance import notes

if TYPE_CHECKING:
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.history import Event
    from cluster.conformance.values import At


class Oddity(enum.Enum):
    """What a frame did that it must not."""

    REPEATED = "rows came again"
    BACKWARDS = "a position went back"
    RESUME_GAP = "rows did not go on from the position reported"
    GAP = "rows are missing between two frames"
    METADATA_GAP = "metadata is missing between two frames"
    AHEAD = "a bookmark is ahead of what was delivered"
    CLOSED = "rows answer a gate that is closed, or was not reported"
    EPOCH = "rows are of another epoch than the gate they answer"
    UNRESET = "a copy that is not the leader's was gone on with, without a snapshot"


class Found(msgspec.Struct, frozen=True, gc=False):
    """One oddity, told in ``text``, shown by ``events``; the last one at ``at``."""

    oddity: Oddity
    text: str
    at: float
    events: tuple[int, ...]


class _Report:
    """A gate report, and the next ordinal of each key for the rows that answer it."""

    __slots__ = ("epoch", "event", "moved", "next", "open")

    def __init__(self, event: int, ordinals: dict[int, int], *, opened: bool, epoch: int) -> None:
        self.event = event
        self.next = ordinals
        self.open = opened
        self.epoch = epoch
        self.moved: set[int] = set()


class Stream:
    """One Follow call."""

    def __init__(
        self, opened: Event, known: dict[tuple[int, int], tuple[int, int]], *, epochs_grow: bool
    ) -> None:
        what = opened.what
        assert isinstance(what, notes.FollowOpened)
        self.opened = opened
        self.leader, self.follower, self.database = what.leader, what.follower, what.database
        self.position = what.position
        self.session = what.session
        self.found: list[Found] = []
        self.frames = self.bookmarks = self.snapshots = self.resumed = 0
        self.resets: list[int] = []
        self.name = f"session {what.session} of {self.follower} with {self.leader}/{self.database}"
        self._version = what.position.version if what.position else None
        self._reports = {0: _Report(opened.number, _ordinals(what.position), opened=False, epoch=0)}
        self._newest = 0
        self._epochs_grow = epochs_grow
        self._floors: dict[int, int] = {}
        self._diverged: tuple[int, int, int] | None = None
        if what.position is not None:
            for key, at in what.position.keys.items():
                leader = known.get((key, at[0]))
                if leader is not None and leader[0] != at[1]:
                    self._diverged = (key, at[0], leader[1])

    @property
    def resumes(self) -> bool:
        """It goes on from rows the follower has."""
        return self.position is not None and any(at[0] for at in self.position.keys.values())

    def _odd(self, oddity: Oddity, event: Event, text: str, *more: int) -> None:
        whole = f"{text} in {self.name} at {event.at:.3f} s"
        events = (self.opened.number, *more, event.number)
        self.found.append(Found(oddity, whole, event.at, events))

    def metadata(self, event: Event) -> None:
        """A snapshot or a delta."""
        what = event.what
        assert isinstance(what, notes.MetadataDelivered)
        if what.first is None:
            self.snapshots += 1
        elif what.first != self._version:
            text = f"a delta from version {what.first} came where {self._version} is stored"
            self._odd(Oddity.METADATA_GAP, event, text)
        if self._version is not None and what.version < self._version and not what.reset_rows:
            text = f"metadata {what.version} came after {self._version}"
            self._odd(Oddity.BACKWARDS, event, text)
        self._version = what.version
        if what.reset_rows:
            self.resets.append(event.number)
            self._diverged = None
            for report in self._reports.values():
                report.next = dict(self._floors)
        for key, (ordinal, _) in what.floors.items():
            self._floors[key] = max(ordinal, self._floors.get(key, 0))
            for report in self._reports.values():
                if report.next.get(key, 0) < ordinal:
                    report.next[key] = ordinal
                    report.moved.add(key)
            if self._diverged is not None and self._diverged[0] == key:
                # Rows below a floor are dropped, the leader's or not.
                self._diverged = None if ordinal > self._diverged[1] else self._diverged

    def gate(self, event: Event) -> None:
        """The follower's end of the gate."""
        what = event.what
        assert isinstance(what, notes.GateReported)
        before = self._reports.get(self._newest)
        if before is not None and self._epochs_grow and what.epoch < before.epoch:
            text = f"a gate of epoch {what.epoch} was reported after one of {before.epoch}"
            self._odd(Oddity.EPOCH, event, text, before.event)
        ordinals = _ordinals(what.position)
        for key, floor in self._floors.items():
            # The leader raises it: the metadata that says so went before.
            ordinals[key] = max(floor, ordinals.get(key, 0))
        self._reports[what.sequence] = _Report(
            event.number, ordinals, opened=what.open, epoch=what.epoch
        )
        self._newest = what.sequence
        self._stored(event, what.position)

    def acknowledged(self, event: Event) -> None:
        """The follower has stored what came."""
        what = event.what
        assert isinstance(what, notes.Acknowledged)
        self._stored(event, what.position)

    def _stored(self, event: Event, position: At) -> None:
        """What differs must not grow. The leader may not see it: then the follower does, at once.

        A leader knows checksums of floors and of its newest ordinals only.
        """
        if self._diverged is None:
            return
        key, ordinal, proof = self._diverged
        if position.keys.get(key, (0, 0))[0] > ordinal:
            text = f"rows of key {key:x} were stored beyond ordinal {ordinal}, where it differs"
            self._odd(Oddity.UNRESET, event, text, proof)
            self._diverged = None

    def rows(self, event: Event) -> None:
        """Rows."""
        what = event.what
        assert isinstance(what, notes.Delivered)
        self.frames += 1
        rows = f"rows {what.first}..{what.end - 1} of key {what.key:x}"
        report = self._reports.get(what.sequence)
        if report is None or not report.open:
            self._odd(Oddity.CLOSED, event, f"{rows} answer gate report {what.sequence}")
            return
        if report.epoch != what.epoch:
            text = f"{rows} are of epoch {what.epoch}, the gate they answer of {report.epoch}"
            self._odd(Oddity.EPOCH, event, text, report.event)
        expected = report.next.get(what.key, 0)
        if what.first < expected:
            text = f"{rows} came where ordinal {expected} was due"
            self._odd(Oddity.REPEATED, event, text, report.event)
        elif what.first > expected:
            resumed = what.key not in report.moved
            oddity = Oddity.RESUME_GAP if resumed else Oddity.GAP
            text = f"{rows} came where ordinal {expected} was due"
            self._odd(oddity, event, text, report.event)
        elif expected and what.key not in report.moved:
            self.resumed += 1
        report.moved.add(what.key)
        report.next[what.key] = max(expected, what.end)

    def bookmark(self, event: Event) -> None:
        """The leader says how far everything was delivered."""
        what = event.what
        assert isinstance(what, notes.Bookmarked)
        self.bookmarks += 1
        if self._version is not None and what.position.version > self._version:
            text = f"a bookmark of version {what.position.version} came at {self._version}"
            self._odd(Oddity.AHEAD, event, text)
        report = self._reports.get(what.sequence)
        if report is None:
            return
        for key, (ordinal, _) in what.position.keys.items():
            delivered = report.next.get(key, 0)
            if ordinal > delivered:
                text = (
                    f"a bookmark at ordinal {ordinal} of key {key:x} came when rows up to "
                    f"{delivered} were delivered"
                )
                self._odd(Oddity.AHEAD, event, text, report.event)


def _ordinals(position: At | None) -> dict[int, int]:
    return {key: at[0] for key, at in position.keys.items()} if position else {}


_TAKE = {
    notes.MetadataDelivered: Stream.metadata,
    notes.GateReported: Stream.gate,
    notes.Delivered: Stream.rows,
    notes.Acknowledged: Stream.acknowledged,
    notes.Bookmarked: Stream.bookmark,
}


def streams_of(index: Index) -> tuple[Stream, ...]:
    """Every Follow call of a run, with what its frames did wrong."""
    frames = [event for kind in (notes.FollowOpened, *_TAKE) for event in index.noted(kind)]
    frames.sort(key=lambda event: event.number)
    known = index.leader_checksums
    streams: dict[int, Stream] = {}
    for event in frames:
        what = event.what
        if isinstance(what, notes.FollowOpened):
            streams[what.session] = Stream(event, known, epochs_grow=not index.rollbacks)
            continue
        stream = streams.get(getattr(what, "session", 0))
        if stream is not None:
            _TAKE[type(what)](stream, event)
    return tuple(streams.values())
