"""How far a leader's row store keys had come when, as its answers tell. Pure."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.conformance.checkers.rows import Batch, Table
    from cluster.conformance.values import At


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
