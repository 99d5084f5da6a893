"""Follows one database: carries out what gate and session decide.

:meth:`FollowedDatabase.run` keeps a call to the leader open and applies what comes. The manager
tells it every word of the coordinator with :meth:`FollowedDatabase.hear`, which takes effect before
it returns: from then on no query sees what the gate hides.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from cluster.coordinator.reports import NOWHERE, UNKNOWN_LAG, FollowingReport
from cluster.errors import (
    DatabaseNotFoundError,
    DivergenceError,
    RemoraError,
    RowStoreReadOnlyError,
    UnavailableError,
)
from cluster.replication.authority import Capability
from cluster.replication.position import Position
from cluster.replication.protocol import LeaderGate
from follower import exchange as x
from follower.gate import Gate, GateState
from follower.lag import ApplyLag
from follower.link import LeaderCall, fetch_extent
from follower.pinned import FollowedPin
from follower.session import FollowSession
from follower.session_table import SessionState
from follower.statistics import FollowedDatabaseStatistics
from follower.store import Attached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from cluster.catalog.model import Extent, RowStoreKey
    from cluster.clock import Clock
    from cluster.limits import Limits
    from cluster.replication.position import KeyPosition
    from cluster.replication.protocol import LeaderFrame, Refusal
    from cluster.rowstore.model import Rows
    from cluster.transport.api import Channel
    from follower.gate import Word
    from follower.store import FollowedCopy

logger = logging.getLogger(__name__)

NOT_OPEN = "the local copy is being opened"
NO_METADATA = "the leader's metadata has not arrived yet"

REOPEN_LONGEST_SECONDS: Final = 60.0
"""Longest pause before a copy that takes no more rows (its disk was full) is opened again. Opening
reads all of it, so the pause doubles until rows can be stored."""


class FollowedDatabase:
    """One followed database. Made by the manager."""

    def __init__(
        self,
        copy: FollowedCopy,
        *,
        identity: x.Identity,
        connect: Callable[[str], Channel],
        clock: Clock,
        limits: Limits,
        chance: Callable[[], float],
        on_gate: Callable[[], None],
    ) -> None:
        self.copy = copy
        self.gate = Gate()
        self.trouble = ""
        self._identity = identity
        self._session = FollowSession(identity, limits)
        self._connect = connect
        self._clock = clock
        self._limits = limits
        self._chance = chance
        self._on_gate = on_gate
        self._address = ""
        self._capability = Capability.UNKNOWN
        self._attached: Attached | None = None  # as heard; None before
        self._lag = ApplyLag()
        self._moved = trio.lowlevel.ParkingLot()
        self._word = trio.Event()  # a word of the coordinator that is worth a call at once
        self._call: LeaderCall | None = None
        self._reopens = 0  # since rows were stored last

    # -- the coordinator's word -----------------------------------------------------------------

    def hear(self, word: Word) -> bool:
        """Takes the coordinator's word; returns whether the gate moved. In effect on return."""
        moved = self.gate.hear(word, self._clock.monotonic())
        self._capability = word.capability
        grant = word.grant
        address = grant.leader_address if grant else ""
        attached = Attached(grant.sharing, grant.principals_kind) if grant else self._attached
        if (address, attached) != (self._address, self._attached):
            # A call that was made with what was said before ends; the next one begins at once.
            self._address, self._attached = address, attached
            if attached is not None:
                self.copy.hear(attached)
            if self._call is not None:
                self._call.hang_up(UnavailableError("the attachment or its leader has changed"))
            self._word.set()
        if moved:
            self._gate_moved()
            self._word.set()
        return moved

    def _gate_moved(self) -> None:
        """The gate may have moved: tell the session, and whoever waits."""
        for output in self._session.handle(x.GateMoved(self.gate.open, self.gate.epoch)):
            assert isinstance(output, x.Send)
            self._send(output)
        self._moved.unpark_all()

    def _tick_gate(self) -> None:
        if self.gate.tick(self._clock.monotonic()):
            self._gate_moved()
            self._on_gate()

    # -- reading --------------------------------------------------------------------------------

    def pin(self) -> FollowedPin:
        """What may be seen now. Raises DatabaseNotFoundError before the first snapshot."""
        database = self.copy.shown
        if database is None:
            raise DatabaseNotFoundError(
                f"Database '{self.copy.name}' follows '{self.copy.source.leader_cluster}' but has "
                "not received its metadata yet.",
                metadata={"database": self.copy.name},
            )
        hidden = self._hidden_reason()
        rows: Mapping[RowStoreKey, Rows] = self.copy.rows() if hidden is None else {}
        position = self.visible_position()
        now = self._clock.monotonic()
        lag = self._session.lag_seconds(now)
        return FollowedPin(
            database,
            rows,
            position,
            hidden is not None,
            hidden or "",
            self.gate.epoch,
            partial(self._seconds_since, None if lag is None else now - lag),
        )

    def _seconds_since(self, moment: float | None) -> float | None:
        return None if moment is None else max(0.0, self._clock.monotonic() - moment)

    def shows_rows_of(self, epoch: int) -> bool:
        """Rows pinned at this epoch may still be shown."""
        return self.gate.epoch == epoch and self._hidden_reason() is None

    def visible_position(self) -> Position:
        """What may be seen now, without the rows themselves.

        Everything below a floor counts while rows are hidden: it is in extents, or was cleared.
        """
        database = self.copy.database
        if database is None:
            return NOWHERE
        hidden = self._hidden_reason() is not None
        return Position(database.version, self.copy.floors() if hidden else self._stored())

    async def wait_for(self, position: Position) -> Position:
        """Waits until everything up to ``position`` may be seen; returns what is then visible.

        Raises DatabaseNotFoundError if it is detached before: then it will never be.
        """
        await trio.lowlevel.checkpoint()
        while not (visible := self.visible_position()).includes(position, self.copy.keys()):
            if self.gate.state is GateState.DETACHED:
                raise DatabaseNotFoundError(
                    f"Database '{self.copy.name}' has been detached.",
                    metadata={"database": self.copy.name},
                )
            await self._moved.park()
        return visible

    def _hidden_reason(self) -> str | None:
        if not self.gate.visible(self._clock.monotonic()):
            self._tick_gate()
            return self.gate.reason
        return None if self.copy.is_open else NOT_OPEN

    def _stored(self) -> dict[RowStoreKey, KeyPosition]:
        return self.copy.positions() if self.copy.is_open else self.copy.floors()

    def report(self) -> FollowingReport:
        """The state for the coordinator and for people."""
        hidden = self._hidden_reason()
        database, stored = self.copy.database, self._stored()
        if database is None:
            hidden = hidden or self.trouble or NO_METADATA
        lag = self._session.lag_seconds(self._clock.monotonic())
        apply_lag = self._lag.statistics()
        return FollowingReport(
            leader_cluster=self.copy.source.leader_cluster,
            database=self.copy.source.leader_database,
            applied_epoch=self.gate.epoch,
            gate="open" if hidden is None else "closed",
            refusal=hidden or "",
            position=Position(database.version, stored) if database else NOWHERE,
            lag_ms=UNKNOWN_LAG if lag is None else lag * 1000,
            rows_visible=self.copy.row_count() if hidden is None else 0,
            connected=self._session.state is SessionState.FOLLOWING,
            apply_lag_ms_p50=apply_lag.p50_ms if apply_lag.records else UNKNOWN_LAG,
            apply_lag_ms_p99=apply_lag.p99_ms if apply_lag.records else UNKNOWN_LAG,
            newest_epoch=self.gate.newest_epoch,
        )

    def statistics(self) -> FollowedDatabaseStatistics:
        """Counts for people."""
        return FollowedDatabaseStatistics(
            name=self.copy.name,
            gate=self.gate.state,
            session=self._session.statistics(),
            apply_lag=self._lag.statistics(),
            copies_dropped=self.copy.drops,
            trouble=self.trouble,
        )

    # -- following ------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Opens the copy, then follows until cancelled."""
        async with trio.open_nursery() as nursery:
            await self._open_copy(nursery)
            task_status.started()
            nursery.start_soon(self._watch_time)
            while True:
                error = await self._follow_once()
                if isinstance(error, RowStoreReadOnlyError):
                    await self._open_copy_again(nursery)

    async def _open_copy(self, nursery: trio.Nursery) -> None:
        while True:
            try:
                await self.copy.open(nursery)
                break
            except (RemoraError, OSError) as error:
                self._note(error)
                await trio.sleep(self._limits.follow_retry_longest_seconds)
        self.trouble = ""
        self._moved.unpark_all()

    async def _open_copy_again(self, nursery: trio.Nursery) -> None:
        # A write has failed: reads back what the disk holds. What was visible stays so.
        pause = self._limits.follow_retry_longest_seconds * 2.0 ** min(self._reopens, 30)
        self._reopens += 1
        await trio.sleep(min(REOPEN_LONGEST_SECONDS, pause))
        await self.copy.stop()
        await self._open_copy(nursery)

    async def _follow_once(self) -> RemoraError | None:
        """One call to the leader, and the pause after it; returns why it ended."""
        while True:
            self._word = trio.Event()
            await self._settle()
            if self._address:
                break
            await self._word.wait()
        self._call = call = LeaderCall(self._connect(self._address), self._limits)
        error = await call.run(self._begin, self._take, self._drained)
        if error is not None:
            self._note(error)
        lost = x.Lost(
            chance=self._chance(),
            diverged=isinstance(error, DivergenceError),
            at_once=call.hung_up is not None and self._word.is_set(),
        )
        (retry,) = self._session.handle(lost)
        assert isinstance(retry, x.Retry)
        with trio.move_on_after(retry.after_seconds):
            await self._word.wait()
        return error

    async def _settle(self) -> None:
        """Stores what the attachment says, until nothing newer has been said meanwhile."""
        while (attached := self._attached) is not None and attached != self.copy.attached:
            self._session.forget_lag()
            try:
                await self.copy.attach(attached)
            except RemoraError as error:
                self._note(error)
                await trio.sleep(self._limits.follow_retry_longest_seconds)
        self._moved.unpark_all()

    async def _begin(self) -> None:
        copy, attached = self.copy, self.copy.attached or Attached()
        on = self._capability is Capability.ON
        now = self._clock.monotonic()
        begin = x.Begin(copy.database, copy.positions(), now, on, attached.sharing)
        await self._perform(self._session.handle(begin))

    async def _take(self, frame: LeaderFrame) -> None:
        self._tick_gate()
        await self._perform(self._session.handle(x.Received(frame, self._clock.monotonic())))

    async def _drained(self) -> None:
        await self._perform(self._session.handle(x.Drained(self._clock.monotonic())))
        if self._session.state is SessionState.FOLLOWING:
            self.trouble = ""

    async def _perform(self, outputs: Iterable[x.Output]) -> None:
        for output in outputs:
            match output:
                case x.Send():
                    self._send(output)
                case x.ApplyRows(frame):
                    await self._apply_rows(frame.records)
                case x.ApplyDelta(delta):
                    await self.copy.apply_delta(delta)
                    await self._metadata_applied()
                case x.InstallSnapshot(database, reset_rows):
                    await self.copy.install(database, reset_rows=reset_rows)
                    await self._metadata_applied()
                case x.LeaderSays(word):
                    self._leader_says(word)
                case _:
                    raise AssertionError(f"{output} does not answer a frame")

    async def _apply_rows(self, records: bytes) -> None:
        headers = await self.copy.apply_rows(records)
        self._reopens = 0
        now_ns = self._clock.now_ns()
        for header in headers:
            self._lag.add(header.ingest_time_ns, now_ns)
        self._moved.unpark_all()
        await self._perform(self._session.handle(x.RowsApplied()))

    async def _metadata_applied(self) -> None:
        database = self.copy.database
        assert database is not None, "it was just stored"
        self._moved.unpark_all()
        await self._perform(self._session.handle(x.MetadataApplied(database)))

    def _leader_says(self, word: LeaderGate | Refusal) -> None:
        gate = self.gate
        says = gate.leader_says(word) if isinstance(word, LeaderGate) else gate.leader_refuses(word)
        if says:
            self._gate_moved()
            self._on_gate()

    def _send(self, output: x.Send) -> None:
        assert self._call is not None, "a session speaks only during a call"
        self._call.post(output.frame)

    async def fetch_extent(self, extent: Extent, local: Path) -> None:
        """Writes the file of an extent, as the leader has it, to the new file ``local``.

        See :func:`follower.link.fetch_extent`; also raises UnavailableError while the leader's
        address is not known.
        """
        if not self._address:
            raise UnavailableError(
                f"Extent {extent.extent_id} of followed database '{self.copy.name}' cannot be "
                "fetched: the address of its leader is not known.",
                metadata={"database": self.copy.name, "extent": extent.extent_id},
            )
        await fetch_extent(
            self._connect(self._address),
            follower_cluster=self._identity.follower_cluster,
            database=self.copy.source.leader_database,
            extent=extent,
            local=local,
        )

    async def _watch_time(self) -> None:
        """Heartbeats, silence, and the end of the lease at the moment it comes."""
        heartbeat = self._limits.heartbeat_seconds
        while True:
            lease_left = self.gate.seconds_left(self._clock.monotonic())
            await trio.sleep(min(heartbeat, lease_left))
            self._tick_gate()
            busy = self._call is not None and self._call.is_reading
            for output in self._session.handle(x.Tick(self._clock.monotonic(), busy)):
                if isinstance(output, x.HangUp):
                    silent = output.silent_seconds
                    assert self._call is not None, "a session waits only during a call"
                    self._call.hang_up(
                        UnavailableError(f"the leader has been silent for {silent:.1f} s")
                    )
                else:
                    assert isinstance(output, x.Send)
                    self._send(output)

    def _note(self, error: BaseException) -> None:
        trouble = str(error)
        if trouble != self.trouble:
            logger.info("following %r: %s", self.copy.name, trouble)
        self.trouble = trouble
