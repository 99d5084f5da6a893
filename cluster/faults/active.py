"""The faults there are now: ids, ends, what has run out. Pure; times are passed in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cluster.errors import EntityNotFoundError, LimitExceededError

if TYPE_CHECKING:
    from cluster.conformance.faults import Fault

FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault since ``began_at``; ``ends_at`` is infinite for one that must be cleared.

    Both in seconds of the holder's own clock, which is never the one that a fault moves.
    """

    id: str
    fault: Fault
    began_at: float
    ends_at: float = FOREVER

    @property
    def is_link(self) -> bool:
        """It strikes a link."""
        return self.fault.link is not None


@dataclass(frozen=True, slots=True)
class ActiveFaults:
    """A set of them, in the order they were added. ``next_number`` makes the next id."""

    faults: tuple[ActiveFault, ...] = ()
    next_number: int = 1

    def add(self, fault: Fault, now: float, limit: int) -> tuple[ActiveFaults, ActiveFault]:
        """With one more. Raises LimitExceededError if there are ``limit`` already."""
        if len(self.faults) >= limit:
            raise LimitExceededError(
                f"there are {len(self.faults)} faults already, the limit is {limit}",
                metadata={"limit": "faults", "value": str(limit)},
                remedy="Clear some: remora fault clear.",
            )
        ends_at = now + fault.duration if fault.duration else FOREVER
        added = ActiveFault(f"f{self.next_number}", fault, now, ends_at)
        return ActiveFaults((*self.faults, added), self.next_number + 1), added

    def clear(self, fault_id: str) -> tuple[ActiveFaults, tuple[ActiveFault, ...]]:
        """Without one, or without any (empty id), and what that was.

        Raises EntityNotFoundError naming those there are.
        """
        gone = tuple(one for one in self.faults if fault_id in ("", one.id))
        if fault_id and not gone:
            known = ", ".join(one.id for one in self.faults)
            raise EntityNotFoundError(
                f"there is no fault '{fault_id[:40]}'",
                remedy=f"There are: {known}." if known else "There is none at all.",
            )
        return self._without(gone), gone

    def expire(self, now: float) -> ActiveFaults:
        """Without those whose time has run out at ``now``."""
        over = tuple(one for one in self.faults if one.ends_at <= now)
        return self._without(over) if over else self

    def without_links(self) -> ActiveFaults:
        """Only those of processes."""
        return self._without(self.links)

    def _without(self, gone: tuple[ActiveFault, ...]) -> ActiveFaults:
        ids = {one.id for one in gone}
        return replace(self, faults=tuple(one for one in self.faults if one.id not in ids))

    @property
    def links(self) -> tuple[ActiveFault, ...]:
        """Those of links."""
        return tuple(one for one in self.faults if one.is_link)

    def of_process(self, process: str) -> tuple[ActiveFault, ...]:
        """Those of one process."""
        return tuple(one for one in self.faults if one.fault.target == process)

    @property
    def next_end(self) -> float:
        """When the next one runs out; infinite if none does."""
        return min((one.ends_at for one in self.faults), default=FOREVER)
