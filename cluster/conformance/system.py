"""What a conformance run drives: simulated, on this machine, or somebody's endpoints. Interfaces.

A run knows only these. Failures are :class:`cluster.errors.RemoraError`; whether one is definite
is decided by :func:`is_definite`, because a history must never call a write failed that happened.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cluster.errors import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from cluster.conformance.calls import Answer, Changed, Ingested, Ran
    from cluster.conformance.faults import Fault
    from cluster.conformance.history import History
    from cluster.conformance.values import At
    from cluster.errors import RemoraError


class Feature(enum.Enum):
    """What a system lets a run do or see. Rules that need more are not applicable to it."""

    CAPABILITY = "turn streaming capabilities on and off"
    ATTACH = "attach and detach"
    SHARING = "share single tables"
    POSITIONS = "positions with answers and acknowledgements"
    AT_LEAST = "reads that wait for a position"
    STALENESS = "bounded staleness"
    HIDDEN_REASON = "why rows are hidden, with each answer"
    SOURCE_IDS = "retries known by their source id"
    SEAL = "seal on command"
    FRAMES = "the frames of Follow"
    EXTENTS = "extents with provenance"
    FAULTS = "faults"
    CLOCKS = "clocks"
    RESOURCES = "bytes and tasks held"
    COMMANDS = "management commands"


@dataclass(frozen=True, slots=True)
class Profile:
    """Which clusters there are and what may be done with them.

    ``streaming`` are clusters whose capability is on at the beginning.
    """

    leaders: tuple[str, ...]
    followers: tuple[str, ...]
    streaming: frozenset[str]
    features: frozenset[Feature]
    strict: frozenset[str] = field(default_factory=frozenset)


class Door(Protocol):
    """One cluster's data plane, as its clients see it."""

    async def ingest(
        self,
        database: str,
        table: str,
        ids: Sequence[int],
        columns: Sequence[str],
        source: str,
        *,
        flaw: str = "",
    ) -> Ingested:
        """Streams rows of these ids; every other column of ``columns`` gets a value made of it.

        ``flaw``: the request shall be one that must be refused; see :data:`.calls.FLAWS`.
        """

    async def read(
        self,
        database: str,
        table: str,
        *,
        at_least: At | None = None,
        max_staleness_seconds: float | None = None,
    ) -> Answer:
        """All rows of a table."""

    async def command(self, database: str, text: str) -> Ran:
        """Runs a management command."""


class Control(Protocol):
    """The control plane."""

    async def set_capability(self, cluster: str, *, on: bool) -> Changed:
        """Returns when the change is certain."""

    async def attach(
        self,
        leader: str,
        database: str,
        follower: str,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Changed:
        """Attaches a database."""

    async def detach(self, leader: str, database: str, follower: str, *, side: str) -> Changed:
        """Returns when it is certain."""


class System(Protocol):
    """A running system. ``history`` gets its notes; calls are recorded by whoever makes them."""

    @property
    def profile(self) -> Profile:
        """What there is."""

    @property
    def control(self) -> Control:
        """The control plane."""

    @property
    def history(self) -> History:
        """Where the system notes what it sees."""

    def now(self) -> float:
        """Seconds since the run began, by one clock that never goes back."""

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Waits on that clock."""

    def door(self, cluster: str, client: str) -> Door:
        """A door of a cluster for a client of that name (its own connection)."""

    async def begin(self, number: int, fault: Fault) -> None:
        """Lets a fault happen."""

    async def end(self, number: int) -> None:
        """Ends it: the link is whole, the process runs. Returns when that is done.

        A process that is left unable to work until it is restarted (a failed fsync) is restarted.
        """

    async def heal(self) -> None:
        """Ends every fault, as :meth:`end` does, and starts every process that is not running."""


_INDEFINITE = frozenset(
    {
        Status.UNAVAILABLE,
        Status.DEADLINE_EXCEEDED,
        Status.CANCELLED,
        Status.UNKNOWN,
        Status.INTERNAL,
        Status.ABORTED,
        Status.DATA_LOSS,
    }
)


def is_definite(error: RemoraError) -> bool:
    """Whether a request that failed so has certainly left no trace, and never will."""
    return error.status not in _INDEFINITE
