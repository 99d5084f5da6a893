"""What the fixture ``kusto_faults`` gives: what can go wrong on purpose, healed at its end.

Processes are named ``leader``, ``follower`` and ``coordinator``. Links have a direction: bytes
whose sender is the first. Every fault is in effect on return. Each returns a :class:`Fault`, to be
cleared by itself, or used as a context manager::

    with kusto_faults.partition():
        ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from cluster.rpc.v1 import faults_pb2
from cluster.testing.plugin_setup import FOLLOWER, LEADER

if TYPE_CHECKING:
    from types import TracebackType

    from cluster.testing.plugin_life import Life


class Fault:
    """Something that goes wrong now."""

    def __init__(self, life: Life, identity: str) -> None:
        self._life = life
        self.id = identity

    def clear(self) -> None:
        """Ends it. It may be over already."""
        self._life.portal.run(self._life.clear_fault, self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()


class KustoFaults:
    """Faults of the running setup. ``lasts_seconds``: 0 is until it is cleared, or healed."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self._run = life.portal.run

    # Links

    def partition(
        self, one: str = LEADER, other: str = FOLLOWER, *, lasts_seconds: float = 0
    ) -> Fault:
        """Nothing passes between two processes, either way, and nothing new connects."""
        return self._link("partition", one, other, lasts_seconds)

    def one_way(
        self, sender: str = LEADER, receiver: str = FOLLOWER, *, lasts_seconds: float = 0
    ) -> Fault:
        """Nothing passes from the one to the other, and nothing new connects."""
        return self._link("one-way", sender, receiver, lasts_seconds)

    def stall(
        self, sender: str = LEADER, receiver: str = FOLLOWER, *, lasts_seconds: float = 0
    ) -> Fault:
        """Nothing of what is sent this way is read: connections stay, the sender's window fills."""
        return self._link("stall", sender, receiver, lasts_seconds)

    def delay(
        self,
        seconds: float,
        sender: str = LEADER,
        receiver: str = FOLLOWER,
        *,
        jitter_seconds: float = 0,
        lasts_seconds: float = 0,
    ) -> Fault:
        """Everything sent this way is late by so much, and up to ``jitter_seconds`` more."""
        return self._link(
            "delay", sender, receiver, lasts_seconds, seconds=seconds, jitter_seconds=jitter_seconds
        )

    def bandwidth(
        self,
        bytes_per_second: int,
        sender: str = LEADER,
        receiver: str = FOLLOWER,
        *,
        lasts_seconds: float = 0,
    ) -> Fault:
        """At most so much passes this way."""
        return self._link(
            "bandwidth", sender, receiver, lasts_seconds, bytes_per_second=bytes_per_second
        )

    def reset(
        self,
        sender: str = LEADER,
        receiver: str = FOLLOWER,
        *,
        ratio: float = 0,
        lasts_seconds: float = 0,
    ) -> Fault:
        """Connections are reset once, and then with this share of the pieces that are sent."""
        return self._link("reset", sender, receiver, lasts_seconds, ratio=ratio)

    # Processes

    def disk_full(self, process: str = LEADER, *, lasts_seconds: float = 0) -> Fault:
        """Writes fail: no space left. What was refused so stays refused until it is healed."""
        return self.add("disk-full", process, lasts_seconds=lasts_seconds)

    def fsync_error(
        self, process: str = LEADER, *, ratio: float = 0, lasts_seconds: float = 0
    ) -> Fault:
        """Fsync fails, once or with this share. As :meth:`disk_full`, until it is healed."""
        return self.add("fsync-error", process, ratio=ratio, lasts_seconds=lasts_seconds)

    def slow_fsync(
        self, seconds: float, process: str = LEADER, *, lasts_seconds: float = 0
    ) -> Fault:
        """Every fsync takes so much longer, and with it every acknowledgement."""
        return self.add("slow-fsync", process, seconds=seconds, lasts_seconds=lasts_seconds)

    def clock(
        self,
        process: str = LEADER,
        *,
        ahead_seconds: float = 0,
        leap_seconds: float = 0,
        lasts_seconds: float = 0,
    ) -> Fault:
        """The wall clock is ahead (behind, if negative); the monotonic clock leaps forward once."""
        return self.add(
            "clock",
            process,
            seconds=ahead_seconds,
            monotonic_seconds=leap_seconds,
            lasts_seconds=lasts_seconds,
        )

    def add(
        self,
        kind: str,
        target: str,
        *,
        seconds: float = 0,
        jitter_seconds: float = 0,
        ratio: float = 0,
        bytes_per_second: int = 0,
        monotonic_seconds: float = 0,
        lasts_seconds: float = 0,
    ) -> Fault:
        """Any fault, in the words of ``remora fault``; in effect on return.

        Raises InvalidRequestError (kind, target and values do not fit), EntityNotFoundError (no
        such target) or TimedOutError (it could not be confirmed: whom it strikes is away).
        """
        message = faults_pb2.Fault(
            target=target,
            kind=kind,
            seconds=seconds,
            jitter_seconds=jitter_seconds,
            ratio=ratio,
            bytes_per_second=bytes_per_second,
            monotonic_seconds=monotonic_seconds,
        )
        return Fault(self._life, self._run(self._life.add_fault, message, lasts_seconds))

    # Lives

    def kill(self, process: str) -> None:
        """SIGKILL, as a power cut would; the process is gone on return."""
        self._run(self._life.kill, process)

    def start(self, process: str) -> None:
        """Starts a killed process, on the same ports with the same data; it serves on return."""
        self._run(self._life.start, process)

    def pause(self, process: str) -> None:
        """SIGSTOP: its connections stay, it does nothing."""
        self._run(self._life.pause, process)

    def resume(self, process: str) -> None:
        """SIGCONT."""
        self._run(self._life.resume, process)

    def heal(self) -> None:
        """Ends every fault and starts, or continues, every process. The end of a test does so."""
        self._run(self._life.heal)

    def _link(
        self,
        kind: str,
        sender: str,
        receiver: str,
        lasts_seconds: float,
        *,
        seconds: float = 0,
        jitter_seconds: float = 0,
        ratio: float = 0,
        bytes_per_second: int = 0,
    ) -> Fault:
        return self.add(
            kind,
            f"link {sender}->{receiver}" if kind == "partition" else f"{sender}->{receiver}",
            seconds=seconds,
            jitter_seconds=jitter_seconds,
            ratio=ratio,
            bytes_per_second=bytes_per_second,
            lasts_seconds=lasts_seconds,
        )
