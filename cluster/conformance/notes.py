"""What is seen without a call: faults, phases, frames of Follow. Pure; part of a history."""

from __future__ import annotations

import msgspec

from cluster.conformance.values import At, Value


class Phase(Value, frozen=True, kw_only=True, tag="phase"):
    """``safety``: faults happen; ``liveness``: they are over; ``quiet``: nobody writes any more;
    ``end``: last event, everything was read once more after the system came to rest."""

    name: str


class FaultBegan(Value, frozen=True, kw_only=True, tag="fault-began"):
    """A fault of the schedule began; ``kind``, ``target`` and ``detail`` as in :mod:`.faults`."""

    number: int
    kind: str
    target: str
    detail: str = ""


class FaultEnded(Value, frozen=True, kw_only=True, tag="fault-ended"):
    """And is over."""

    number: int


class ProcessBegan(Value, frozen=True, kw_only=True, tag="process-began"):
    """A process serves. ``lost_disk``: unsynced writes of its last life are gone (power failed)."""

    process: str
    lost_disk: bool = False


class ProcessEnded(Value, frozen=True, kw_only=True, tag="process-ended"):
    """A process is gone; ``how`` is ``kill``, ``power``, ``stop`` or ``crash``."""

    process: str
    how: str
    message: str = ""


class FollowOpened(Value, frozen=True, kw_only=True, tag="follow-opened"):
    """A follower said Hello. ``session`` numbers the calls of the run.

    ``position`` None: it has nothing yet.
    """

    session: int
    leader: str
    follower: str
    database: str
    position: At | None = None


class Delivered(Value, frozen=True, kw_only=True, tag="delivered"):
    """Rows ``first .. end - 1`` of a key arrived at the follower, of that epoch and gate report."""

    session: int
    key: int
    first: int
    end: int
    checksum: int
    epoch: int
    sequence: int


class Sent(Value, frozen=True, kw_only=True, tag="sent"):
    """Bytes of streaming rows left the leader under a grant of that epoch."""

    session: int
    epoch: int
    count: int


class MetadataDelivered(Value, frozen=True, kw_only=True, tag="metadata-delivered"):
    """A snapshot (``first`` None) or a delta from ``first`` arrived; floors may have moved.

    ``floors`` are (ordinal, checksum) of the keys the message names or moves.
    """

    session: int
    version: tuple[int, int]
    first: tuple[int, int] | None = None
    reset_rows: bool = False
    floors: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict)


class Bookmarked(Value, frozen=True, kw_only=True, tag="bookmarked"):
    """Progress arrived: everything up to ``position`` was delivered before, says the leader."""

    session: int
    position: At
    sequence: int


class GateReported(Value, frozen=True, kw_only=True, tag="gate-reported"):
    """The follower told its end of the gate; rows resume at ``position``."""

    session: int
    sequence: int
    epoch: int
    open: bool
    position: At


class Acknowledged(Value, frozen=True, kw_only=True, tag="acknowledged"):
    """The follower acknowledged."""

    session: int
    position: At


class Extents(Value, frozen=True, kw_only=True, tag="extents"):
    """Extents a node shows of a table: id, rows, and (key, from, to) of each range it holds."""

    cluster: str
    database: str
    table: str
    version: tuple[int, int]
    extents: dict[str, tuple[int, tuple[tuple[int, int, int], ...]]] = msgspec.field(
        default_factory=dict
    )


class Reached(Value, frozen=True, kw_only=True, tag="reached"):
    """An interesting state was reached; see ``sometimes`` in :mod:`cluster.conformance.rules`."""

    state: str


class Resources(Value, frozen=True, kw_only=True, tag="resources"):
    """What a process holds: bytes in memory of the row stores, of copies, of frames in flight."""

    process: str
    row_store_bytes: int = 0
    unacknowledged_bytes: int = 0
    tasks: int = 0
    calls: int = 0


Note = (
    Phase
    | FaultBegan
    | FaultEnded
    | ProcessBegan
    | ProcessEnded
    | FollowOpened
    | Delivered
    | Sent
    | MetadataDelivered
    | Bookmarked
    | GateReported
    | Acknowledged
    | Extents
    | Reached
    | Resources
)
"""What is seen without a call."""
