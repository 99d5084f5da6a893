"""How far a leader's metadata and row store keys had come when, as its answers tell. Pure."""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.conformance.checkers.rows import Batch, Table
    from cluster.conformance.values import At


class Versions:
    """Metadata versions that a leader told, by the events of the calls that told them."""

    def __init__(self, told: Iterable[tuple[int, int, tuple[int, int]]]) -> None:
        known = list(told)
        by_end = sorted((last, version) for _, last, version in known)
        by_start = sorted((first, version) for first, _, version in known)
        self._ends = [number for number, _ in by_end]
        self._starts = [number for number, _ in by_start]
        self._largest = list(itertools.accumulate((v for _, v in by_end), max))
        self._smallest = list(itertools.accumulate((v for _, v in reversed(by_start)), min))

    def before(self, number: int) -> tuple[int, int] | None:
        """The largest told before an event."""
        place = bisect.bisect_left(self._ends, number)
        return self._largest[place - 1] if place else None

    def after(self, number: int) -> tuple[int, int] | None:
        """The smallest told by calls that began after an event."""
        left = len(self._starts) - bisect.bisect_right(self._starts, number)
        return self._smallest[left - 1] if left else None


class Ordinals:
    """The ordinal of each key that is known at an event: at least so many rows were there."""

    def __init__(self) -> None:
        self._numbers: dict[int, list[int]] = {}
        self._ordinals: dict[int, list[int]] = {}

    def add(self, number: int, position: At) -> None:
        """A leader told its position, by event ``number``; in the order of events."""
        for key, (ordinal, _) in position.keys.items():
            known = self._ordinals.setdefault(key, [])
            if not known or known[-1] < ordinal:
                known.append(ordinal)
                self._numbers.setdefault(key, []).append(number)

    def before(self, key: int, number: int) -> int:
        """Ordinal known before an event; 0: nothing is known."""
        place = bisect.bisect_left(self._numbers.get(key, ()), number)
        return self._ordinals[key][place - 1] if place else 0

    def find_keys(self, table: Table) -> None:
        """Finds the key of batches whose acknowledgement names several.

        A batch is in a key that moved since before it was sent. Where that leaves several, the key
        that holds other batches of the table is the one, if exactly one does.
        """
        open_: list[tuple[Batch, set[int]]] = []
        for batch in table.batches:
            if batch.position is None or batch.key is not None:
                continue
            moved = {
                key
                for key, (ordinal, _) in batch.position.keys.items()
                if ordinal > self.before(key, batch.possible)
            }
            open_.append((batch, moved))
        found = {batch.key for batch in table.batches if batch.key is not None}
        found |= {next(iter(moved)) for _, moved in open_ if len(moved) == 1}
        for batch, moved in open_:
            keys = moved if len(moved) == 1 else moved & found
            if len(keys) == 1:
                assert batch.position is not None
                (batch.key,) = keys
                batch.end = batch.position.ordinal(batch.key)
