"""Chance that depends on nothing but what it is for. Pure.

Every choice of a run is a hash of (seed, purpose, how many were drawn for it before), so taking one
client or one fault out of a run changes no other choice; that is what makes schedules shrinkable
and histories the same on every version of Python.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

Item = TypeVar("Item")


class Draw:
    """Draws for one purpose of one run; each call of a method draws anew."""

    def __init__(self, seed: int, purpose: str) -> None:
        self._key = f"{seed}\0{purpose}\0".encode()
        self._drawn = 0

    def unit(self) -> float:
        """Evenly from 0 (included) to 1 (excluded)."""
        self._drawn += 1
        digest = hashlib.blake2b(self._key + b"%d" % self._drawn, digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) / 2**53

    def chance(self, probability: float) -> bool:
        """True with that probability; draws also when it is 0 or 1."""
        return self.unit() < probability

    def between(self, low: float, high: float) -> float:
        """Evenly from ``low`` to ``high``, rounded to a millisecond so that it prints short."""
        return round(low + self.unit() * (high - low), 3)

    def scale(self, low: float, high: float) -> float:
        """From ``low`` to ``high``, evenly by order of magnitude: small is as likely as large."""
        return round(math.exp(math.log(low) + self.unit() * math.log(high / low)), 3)

    def integer(self, low: int, high: int) -> int:
        """Evenly from ``low`` to ``high``, both included."""
        return low + int(self.unit() * (high - low + 1))

    def pick(self, items: Sequence[Item]) -> Item:
        """One of them. IndexError if there is none."""
        return items[int(self.unit() * len(items))]

    def weighted(self, items: Sequence[tuple[Item, float]]) -> Item:
        """One of them, each as likely as its weight says. IndexError if there is none."""
        left = self.unit() * sum(weight for _item, weight in items)
        for item, weight in items:
            left -= weight
            if left < 0:
                return item
        return items[-1][0]

    def some(self, items: Sequence[Item], probability: float) -> tuple[Item, ...]:
        """Each of them with that probability, in their order."""
        return tuple(item for item in items if self.chance(probability))

    def times(self, count: int, start: float, end: float) -> tuple[float, ...]:
        """``count`` moments evenly from ``start`` to ``end``, in order."""
        return tuple(sorted(self.between(start, end) for _ in range(count)))
