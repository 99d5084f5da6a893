"""Faults and the lives of processes, as spans of events. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from cluster.conformance import notes
from cluster.conformance.checkers.periods import NEVER

if TYPE_CHECKING:
    from cluster.conformance.checkers.index import Index


class Span(msgspec.Struct, frozen=True, gc=False):
    """Something lasted from event ``first`` to ``last``; of a fault, ``target`` is as it says."""

    kind: str
    target: str
    first: int
    last: int
    began: float
    ended: float
    detail: str = ""

    def touches(self, first: int, last: int) -> bool:
        """It lasted at some moment between two events."""
        return self.first < last and self.last > first

    def strikes(self, cluster: str) -> bool:
        """A process or a link of the cluster is its target."""
        return any(end.partition("/")[0] == cluster for end in self.target.split("->"))


class Troubles:
    """What went wrong in a run, and when."""

    def __init__(self, index: Index) -> None:
        self.faults: list[Span] = []
        self.downs: list[Span] = []
        self.lost_disks: list[tuple[str, int]] = []
        self.starts: list[tuple[str, int]] = []
        self.resets: list[tuple[int, int]] = []
        self._read_faults(index)
        self._read_processes(index)

    def _read_faults(self, index: Index) -> None:
        ends = {
            event.what.number: event
            for event in index.noted(notes.FaultEnded)
            if isinstance(event.what, notes.FaultEnded)
        }
        for event in index.noted(notes.FaultBegan):
            what = event.what
            assert isinstance(what, notes.FaultBegan)
            end = ends.get(what.number)
            last, ended = (end.number, end.at) if end else (NEVER, math.inf)
            self.faults.append(
                Span(what.kind, what.target, event.number, last, event.at, ended, what.detail)
            )

    def _read_processes(self, index: Index) -> None:
        events = index.noted(notes.ProcessBegan) + index.noted(notes.ProcessEnded)
        down: dict[str, tuple[int, float]] = {}
        for event in sorted(events, key=lambda event: event.number):
            what = event.what
            if isinstance(what, notes.ProcessEnded):
                down.setdefault(what.process, (event.number, event.at))
                continue
            assert isinstance(what, notes.ProcessBegan)
            self.starts.append((what.process, event.number))
            if what.lost_disk:
                self.lost_disks.append((what.process, event.number))
            since = down.pop(what.process, None)
            if since is not None:
                self.downs.append(
                    Span("down", what.process, since[0], event.number, since[1], event.at)
                )
        for process, (number, at) in down.items():
            self.downs.append(Span("down", process, number, NEVER, at, math.inf))

    def calm(self, first: int, last: int) -> bool:
        """No fault lasted, and no process was gone, at any moment between two events."""
        return not any(span.touches(first, last) for span in (*self.faults, *self.downs))

    def disturbed(self, cluster: str, kinds: frozenset[str], first: int, last: int) -> bool:
        """A fault of one of the kinds struck a cluster between two events."""
        return any(
            span.kind in kinds and span.touches(first, last) and span.strikes(cluster)
            for span in self.faults
        )

    def ever(self, cluster: str, kinds: frozenset[str]) -> bool:
        """A fault of one of the kinds struck a process of a cluster at any time."""
        return any(
            span.kind in kinds and span.strikes(cluster) and "->" not in span.target
            for span in self.faults
        )

    def changed_in_memory(self, cluster: str, last: int) -> bool:
        """Before an event a row of a cluster's copy changed, with every check of it made right."""
        return any(
            (span.kind, span.detail) == ("bit-flip", "memory")
            and span.strikes(cluster)
            and span.first < last
            for span in self.faults
        )

    def restarted(self, cluster: str, first: int, last: int) -> bool:
        """A process of a cluster began between two events."""
        return any(
            first < number < last and process.partition("/")[0] == cluster
            for process, number in self.starts
        )

    def lost_disk(self, cluster: str, first: int, last: int) -> bool:
        """Unsynced writes of a cluster were lost between two events."""
        return any(
            first < number < last and process.partition("/")[0] == cluster
            for process, number in self.lost_disks
        )
