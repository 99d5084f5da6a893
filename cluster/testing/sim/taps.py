"""Looks into the frames of Follow where they leave and arrive, and notes what they say."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog.changes import ClearTable, SealRows
from cluster.conformance.notes import (
    Acknowledged,
    Bookmarked,
    Delivered,
    FollowOpened,
    GateReported,
    MetadataDelivered,
    Reached,
    Sent,
)
from cluster.conformance.values import At
from cluster.replication.floors import floors_of
from cluster.replication.protocol import (
    FollowAck,
    FollowerGate,
    Hello,
    LeaderGate,
    MetadataDelta,
    Progress,
    RowRecords,
    Snapshot,
)
from cluster.replication.wire import follower_frame_from_message, leader_frame_from_message
from cluster.rpc.v1 import replication_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.conformance.notes import Note
    from cluster.replication.protocol import LeaderFrame
    from cluster.transport.memory_call import CallTap, MemoryCall

FOLLOW: Final = "/cluster.rpc.v1.ReplicationService/Follow"
FETCH: Final = "/cluster.rpc.v1.ReplicationService/FetchExtent"

_Follower = tuple[str, str, str]


class Taps:
    """Makes a tap for each call of Follow. ``note`` takes (who, what).

    ``retention_seconds``: a follower that was silent for longer is noted when it comes back.
    """

    def __init__(
        self,
        note: Callable[[str, Note], object],
        reached: Callable[[str], None],
        now: Callable[[], float],
        retention_seconds: float,
    ) -> None:
        self.note = note
        self.reached = reached
        self.now = now
        self.retention_seconds = retention_seconds
        self.heard: dict[_Follower, float] = {}
        self._sessions = 0

    def next_session(self) -> int:
        """Numbers the calls of the run."""
        self._sessions += 1
        return self._sessions

    def __call__(self, call: MemoryCall) -> CallTap | None:
        """What looks at a call; None if nobody does."""
        if call.method == FOLLOW:
            return _FollowTap(self, call.channel.target)
        if call.method == FETCH:
            return _FetchTap(self)
        return None


class _FetchTap:
    def __init__(self, taps: Taps) -> None:
        self._taps = taps

    def sent(self, payload: bytes, *, by_client: bool) -> None:
        """See :class:`cluster.transport.memory_call.CallTap`."""

    def arrived(self, payload: bytes, *, at_client: bool) -> None:
        """See :class:`cluster.transport.memory_call.CallTap`."""
        if at_client:
            self._taps.reached("extent fetched from leader")


class _FollowTap:
    """One call. Frames are decoded once, when they leave."""

    def __init__(self, taps: Taps, leader: str) -> None:
        self._taps = taps
        self._leader = leader
        self._session = 0
        self._hello: Hello | None = None
        self._under_way: deque[tuple[bytes, LeaderFrame]] = deque()
        self._sequence = 0
        self._is_open = False

    @property
    def _follower(self) -> str:
        return self._hello.follower_node if self._hello else "?"

    def sent(self, payload: bytes, *, by_client: bool) -> None:
        """See :class:`cluster.transport.memory_call.CallTap`."""
        if by_client:
            self._from_follower(payload)
            return
        frame = leader_frame_from_message(pb.FollowResponse.FromString(payload))
        self._under_way.append((payload, frame))
        if isinstance(frame, RowRecords):
            sent = Sent(session=self._session, epoch=frame.epoch, count=len(frame.records))
            self._taps.note(f"{self._leader}/0", sent)
        elif isinstance(frame, LeaderGate) and not frame.open:
            self._look_for_rows()

    def arrived(self, payload: bytes, *, at_client: bool) -> None:
        """See :class:`cluster.transport.memory_call.CallTap`."""
        if not at_client:
            return
        while self._under_way:
            sent, frame = self._under_way.popleft()
            if sent is payload:
                for note in self._notes(frame):
                    self._taps.note(self._follower, note)
                return

    def _from_follower(self, payload: bytes) -> None:
        frame = follower_frame_from_message(pb.FollowRequest.FromString(payload))
        taps = self._taps
        if isinstance(frame, Hello):
            self._hello = frame
            self._session = taps.next_session()
        assert self._hello is not None, "a follower begins with Hello"
        if isinstance(frame, Hello):
            self._note_silence()
            taps.note(
                self._follower,
                FollowOpened(
                    session=self._session,
                    leader=self._leader,
                    follower=frame.follower_cluster,
                    database=frame.database,
                    position=None if frame.position is None else At.of(frame.position),
                ),
            )
        elif isinstance(frame, FollowAck):
            self._heard()
            position = At.of(frame.position)
            taps.note(self._follower, Acknowledged(session=self._session, position=position))
        elif isinstance(frame, FollowerGate):
            self._sequence = frame.sequence
            if self._is_open and not frame.open:
                self._look_for_rows()
            self._is_open = frame.open
            taps.note(
                self._follower,
                GateReported(
                    session=self._session,
                    sequence=frame.sequence,
                    epoch=frame.epoch,
                    open=frame.open,
                    position=At.of(frame.position),
                ),
            )

    def _look_for_rows(self) -> None:
        if any(isinstance(frame, RowRecords) for _, frame in self._under_way):
            self._taps.reached("gate flip with rows in flight")

    def _name(self) -> _Follower:
        assert self._hello is not None
        return self._leader, self._hello.follower_node, self._hello.database.lower()

    def _heard(self) -> None:
        self._taps.heard[self._name()] = self._taps.now()

    def _note_silence(self) -> None:
        heard = self._taps.heard.get(self._name())
        if heard is not None and self._taps.now() - heard > self._taps.retention_seconds:
            self._taps.reached("follower silent past retention")

    def _notes(self, frame: LeaderFrame) -> Iterator[Note]:
        session = self._session
        match frame:
            case RowRecords():
                if frame.sequence < self._sequence:
                    self._taps.reached("gate flip with rows in flight")
                yield from self._delivered(frame)
            case Progress():
                position = At.of(frame.position)
                yield Bookmarked(session=session, position=position, sequence=frame.sequence)
            case Snapshot(database, reset_rows):
                version = (database.version.major, database.version.minor)
                floors = {
                    int(key): (floor.ordinal, floor.checksum)
                    for key, floor in sorted(floors_of(database).items())
                }
                if reset_rows and self._hello is not None and self._hello.position is not None:
                    yield Reached(state="divergence answered by snapshot")
                yield MetadataDelivered(
                    session=session, version=version, reset_rows=reset_rows, floors=floors
                )
            case MetadataDelta():
                floors = _moved(frame)
                if any(isinstance(change, SealRows) for change in frame.changes):
                    yield Reached(state="seal while following")
                yield MetadataDelivered(
                    session=session,
                    version=(frame.to_version.major, frame.to_version.minor),
                    first=(frame.from_version.major, frame.from_version.minor),
                    floors=floors,
                )
            case _:
                return

    def _delivered(self, frame: RowRecords) -> Iterator[Delivered]:
        """Records of a key that follow each other are one note."""
        runs: list[dict[str, Any]] = []
        for span in frame.spans:
            last = runs[-1] if runs else None
            if last is not None and (last["key"], last["end"]) == (span.key, span.first_ordinal):
                last.update(end=span.end, checksum=span.checksum)
            else:
                runs.append(
                    {
                        "key": int(span.key),
                        "first": span.first_ordinal,
                        "end": span.end,
                        "checksum": span.checksum,
                    }
                )
        for run in runs:
            yield Delivered(
                session=self._session, epoch=frame.epoch, sequence=frame.sequence, **run
            )


def _moved(delta: MetadataDelta) -> dict[int, tuple[int, int]]:
    found = {
        int(item.key): (item.end_ordinal, item.end_checksum)
        for change in delta.changes
        if isinstance(change, SealRows | ClearTable)
        for item in change.ranges
    }
    return dict(sorted(found.items()))
