"""Faults as data: what goes wrong, where, when and for how long. Pure.

The same values describe a simulated run's schedule, what ``remora conform local`` does to real
processes and what ``remora fault add`` asks for. Everything a fault does is decided by the value
and the run's seed, so a schedule can be cut down to the faults that matter.
"""

from __future__ import annotations

import enum

import msgspec


class FaultKind(enum.Enum):
    """What goes wrong. See :data:`TARGETS` for what each can strike."""

    # processes
    KILL = "kill"
    """SIGKILL; started again when the fault ends."""
    POWER = "power"
    """The machine loses power: unsynced writes are lost, the last one perhaps torn."""
    RESTART = "restart"
    """SIGTERM and start."""
    PAUSE = "pause"
    """SIGSTOP, then SIGCONT: the process goes on with what it believed before."""
    CRASH_POINT = "crash-point"
    """Killed at a named point of its work; ``detail`` names it."""
    REPLACE = "replace"
    """Killed, and started again with an empty disk."""
    # links
    PARTITION = "partition"
    ONE_WAY = "one-way"
    """Only the direction source to target is cut."""
    DELAY = "delay"
    """``seconds`` each message, up to ``jitter_seconds`` more."""
    DROP = "drop"
    """A share ``ratio`` of messages is lost; a stream never loses one silently, it breaks."""
    DUPLICATE = "duplicate"
    """A share ``ratio`` of unary requests arrives twice."""
    REORDER = "reorder"
    """A share ``ratio`` of messages is overtaken by others, by up to ``seconds``."""
    BANDWIDTH = "bandwidth"
    """At most ``bytes_per_second``."""
    STALL = "stall"
    """Nothing is read at the target's end: the sender's window fills."""
    RESET = "reset"
    """Connections are reset: once, and again with a share ``ratio`` of messages."""
    # disks
    DISK_FULL = "disk-full"
    SLOW_FSYNC = "slow-fsync"
    """Every fsync takes ``seconds``."""
    FSYNC_ERROR = "fsync-error"
    """fsync fails with EIO: once, or with a share ``ratio``."""
    BIT_FLIP = "bit-flip"
    """A bit of a file flips; ``detail`` says in which part: header, body, extent or cache."""
    # clocks
    CLOCK_JUMP = "clock-jump"
    """Wall clock leaps by ``seconds``, may be negative; monotonic clock by ``monotonic_seconds``,
    forward only and once."""
    CLOCK_DRIFT = "clock-drift"
    """Monotonic clock runs faster by ``ratio``, may be negative."""
    # control plane
    COORDINATOR_OLD_STATE = "coordinator-old-state"
    """The coordinator is killed and comes back with the state of ``seconds`` before."""
    COORDINATOR_TWICE = "coordinator-twice"
    """A second coordinator runs beside it, from a copy of its state."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fault of a schedule. Times are seconds since the run began.

    ``target`` is a process (``leader/0``, ``follower1/0``, ``coordinator``), a cluster (its first
    node), or a link (``leader->follower1``: the Follow traffic between them, whoever dials;
    ``follower1->coordinator``). ``seconds`` 0 as ``duration`` means for good, until it is cleared.
    """

    kind: FaultKind
    target: str
    at: float = 0.0
    duration: float = 0.0
    ratio: float = 0.0
    seconds: float = 0.0
    jitter_seconds: float = 0.0
    bytes_per_second: int = 0
    monotonic_seconds: float = 0.0
    detail: str = ""

    @property
    def link(self) -> tuple[str, str] | None:
        """Source and target of a link; None for a process."""
        source, arrow, target = self.target.partition("->")
        return (source, target) if arrow else None

    @property
    def ends_at(self) -> float:
        """When it is over; infinite for good."""
        return self.at + self.duration if self.duration else float("inf")


class Schedule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The faults of a run, by the time they begin."""

    faults: tuple[Fault, ...] = ()

    def encode(self) -> str:
        """One line of JSON."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @classmethod
    def decode(cls, text: str) -> Schedule:
        """Reads :meth:`encode`. Raises ValueError."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a schedule of faults: {error}") from error
