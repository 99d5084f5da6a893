"""Follow's frames as generated messages and back: the one place that knows both. Pure.

Decoding checks what a message can say by itself; whether a frame may come now is the state
machines' business. Raises :class:`cluster.errors.ProtocolError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from google.protobuf.message import DecodeError

from cluster.catalog.codec import (
    decode_changes,
    decode_database,
    encode_changes,
    encode_database_in_steps,
)
from cluster.errors import ProtocolError
from cluster.replication.authority import Capability
from cluster.replication.protocol import (
    FollowAck,
    FollowerFrame,
    FollowerGate,
    Hello,
    LeaderFrame,
    LeaderGate,
    MetadataDelta,
    Progress,
    RecordSpan,
    Refusal,
    RowRecords,
    Snapshot,
)
from cluster.rowstore.record import RecordDamageError, parse_header
from cluster.rpc.convert import (
    position_from_message,
    position_to_message,
    sharing_from_message,
    sharing_to_message,
    version_from_message,
    version_to_message,
)
from cluster.rpc.v1 import replication_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from cluster.limits import Limits

T = TypeVar("T")

NANOSECONDS: Final = 1_000_000_000

FRAGMENT_BYTES: Final = 640 * 1024
"""Larger messages go in pieces of this size. A full frame of rows goes whole; a piece takes less
than a lease also over 1 Mbit/s, so that a large frame on a narrow link is not taken for silence."""


def spans_of(records: bytes) -> tuple[RecordSpan, ...]:
    """What each record holds, in order. Checks headers, not bodies.

    Raises ProtocolError unless ``records`` is whole records from end to end.
    """
    view, offset, spans = memoryview(records), 0, []
    try:
        while offset < len(view):
            header, _ = parse_header(view, offset)
            offset += header.length
            spans.append(
                RecordSpan(
                    header.key,
                    header.schema_version,
                    header.first_ordinal,
                    header.row_count,
                    header.checksum,
                )
            )
    except RecordDamageError as error:
        raise ProtocolError(f"rows are not whole records: {error}") from error
    if offset != len(view):
        raise ProtocolError("the last record of a frame is cut short")
    return tuple(spans)


def follower_frame_to_message(frame: FollowerFrame) -> pb.FollowRequest:
    """Encodes a frame of the follower."""
    if isinstance(frame, Hello):
        hello = pb.Hello(
            follower_cluster=frame.follower_cluster,
            follower_node=frame.follower_node,
            database=frame.database,
            streaming_ingestion=frame.streaming_ingestion,
            epoch=frame.epoch,
            strict=frame.strict,
            database_id=frame.database_id,
            storage_root=frame.storage_root,
            sharing=sharing_to_message(frame.sharing),
        )
        if frame.position is not None:
            hello.position.CopyFrom(position_to_message(frame.position))
        return pb.FollowRequest(hello=hello)
    if isinstance(frame, FollowAck):
        ack = pb.FollowAck(
            position=position_to_message(frame.position),
            stamp=frame.stamp,
            sequence=frame.sequence,
            number=frame.number,
        )
        return pb.FollowRequest(ack=ack)
    gate = pb.FollowerGate(
        epoch=frame.epoch,
        open=frame.open,
        position=position_to_message(frame.position),
        sequence=frame.sequence,
    )
    return pb.FollowRequest(gate=gate)


def follower_frame_from_message(message: pb.FollowRequest) -> FollowerFrame:
    """Decodes a frame of the follower. Raises ProtocolError if it is empty."""
    match message.WhichOneof("frame"):
        case "hello":
            hello = message.hello
            return Hello(
                follower_cluster=hello.follower_cluster,
                follower_node=hello.follower_node,
                database=hello.database,
                position=(
                    position_from_message(hello.position) if hello.HasField("position") else None
                ),
                database_id=hello.database_id,
                streaming_ingestion=hello.streaming_ingestion,
                epoch=hello.epoch,
                strict=hello.strict,
                storage_root=hello.storage_root,
                sharing=sharing_from_message(hello.sharing),
            )
        case "ack":
            ack = message.ack
            return FollowAck(
                position_from_message(ack.position), ack.stamp, ack.sequence, ack.number
            )
        case "gate":
            gate = message.gate
            return FollowerGate(
                gate.sequence, gate.epoch, gate.open, position_from_message(gate.position)
            )
        case _:
            raise ProtocolError("an empty message of a follower")


def leader_frame_to_message(frame: LeaderFrame) -> pb.FollowResponse:
    """Encodes a frame of the leader."""
    return _finish(_encode(frame))


def leader_frame_to_messages(frame: LeaderFrame) -> tuple[pb.FollowResponse, ...]:
    """Encodes a frame of the leader, in fragments if it is large."""
    return _finish(encode_in_steps(frame))


def encode_in_steps(
    frame: LeaderFrame,
) -> Generator[None, None, tuple[pb.FollowResponse, ...]]:
    """The same, with a pause offered every 2 ms or so while a large tree is encoded."""
    message = yield from _encode(frame)
    if message.ByteSize() <= FRAGMENT_BYTES:
        return (message,)
    data = memoryview(message.SerializeToString())
    return tuple(
        pb.FollowResponse(
            fragment=pb.Fragment(
                data=bytes(data[start : start + FRAGMENT_BYTES]),
                last=start + FRAGMENT_BYTES >= len(data),
            )
        )
        for start in range(0, len(data), FRAGMENT_BYTES)
    )


def _encode(frame: LeaderFrame) -> Generator[None, None, pb.FollowResponse]:
    if isinstance(frame, Snapshot):
        data = yield from encode_database_in_steps(frame.database)
        version = version_to_message(frame.database.version)
        return pb.FollowResponse(
            snapshot=pb.Snapshot(version=version, database=data, reset_rows=frame.reset_rows)
        )
    return _ENCODERS[type(frame)](frame)


def _finish(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result


class Assembler:
    """Puts the fragments of one call together."""

    def __init__(self, limits: Limits) -> None:
        self._maximum_bytes = limits.replication_message_bytes
        self._pieces: list[bytes] = []
        self._bytes = 0

    def take(self, message: pb.FollowResponse) -> pb.FollowResponse | None:
        """The whole message that one is or completes; None: more fragments must come.

        Raises ProtocolError if it is malformed, out of order or too large.
        """
        if message.WhichOneof("frame") != "fragment":
            if self._pieces:
                raise ProtocolError("a message between two fragments of another")
            return message
        fragment = message.fragment
        self._pieces.append(fragment.data)
        self._bytes += len(fragment.data)
        if self._bytes > self._maximum_bytes:
            raise ProtocolError(
                f"a frame of more than {self._maximum_bytes} bytes (replication_message_bytes)"
            )
        if not fragment.last:
            return None
        data = b"".join(self._pieces)
        self._pieces, self._bytes = [], 0
        try:
            return pb.FollowResponse.FromString(data)
        except DecodeError:
            raise ProtocolError("fragments that are no message together") from None


def leader_frame_from_message(message: pb.FollowResponse) -> LeaderFrame:
    """Decodes a frame of the leader. Raises ProtocolError if it is empty or malformed."""
    decode = _DECODERS.get(message.WhichOneof("frame") or "")
    if decode is None:
        raise ProtocolError("an empty message of a leader")
    return decode(message)


def _snapshot_from_message(message: pb.FollowResponse) -> Snapshot:
    snapshot = message.snapshot
    database = decode_database(snapshot.database)
    if database.version != version_from_message(snapshot.version):
        raise ProtocolError("a snapshot of another version than it says")
    return Snapshot(database, snapshot.reset_rows)


def _delta_to_message(frame: MetadataDelta) -> pb.FollowResponse:
    return pb.FollowResponse(
        delta=pb.MetadataDelta(
            from_version=version_to_message(frame.from_version),
            to_version=version_to_message(frame.to_version),
            changes=encode_changes(frame.changes),
        )
    )


def _delta_from_message(message: pb.FollowResponse) -> MetadataDelta:
    delta = message.delta
    return MetadataDelta(
        version_from_message(delta.from_version),
        version_from_message(delta.to_version),
        decode_changes(delta.changes),
    )


def _rows_to_message(frame: RowRecords) -> pb.FollowResponse:
    return pb.FollowResponse(
        rows=pb.RowRecords(
            epoch=frame.epoch,
            records=frame.records,
            count=len(frame.spans),
            sequence=frame.sequence,
        )
    )


def _rows_from_message(message: pb.FollowResponse) -> RowRecords:
    rows = message.rows
    records = rows.records
    spans = spans_of(records)
    if len(spans) != rows.count or not spans:
        raise ProtocolError(f"{len(spans)} records in a frame of {rows.count}")
    return RowRecords(rows.epoch, rows.sequence, records, spans)


def _progress_to_message(frame: Progress) -> pb.FollowResponse:
    progress = pb.Progress(
        position=position_to_message(frame.position),
        stamp=frame.stamp,
        sequence=frame.sequence,
        number=frame.number,
    )
    progress.leader_time.FromNanoseconds(frame.leader_time_ns)
    return pb.FollowResponse(progress=progress)


def _progress_from_message(message: pb.FollowResponse) -> Progress:
    progress = message.progress
    time = progress.leader_time
    return Progress(
        position_from_message(progress.position),
        time.seconds * NANOSECONDS + time.nanos,
        progress.stamp,
        progress.sequence,
        progress.number,
    )


def _gate_to_message(frame: LeaderGate) -> pb.FollowResponse:
    gate = pb.LeaderGate(epoch=frame.epoch, open=frame.open, reason=frame.reason)
    return pb.FollowResponse(gate=gate)


def _gate_from_message(message: pb.FollowResponse) -> LeaderGate:
    return LeaderGate(message.gate.epoch, message.gate.open, message.gate.reason)


def _refusal_to_message(frame: Refusal) -> pb.FollowResponse:
    return pb.FollowResponse(
        refused=pb.Refused(
            reason=frame.reason,
            message=frame.message,
            leader_cluster=frame.leader_cluster,
            follower_cluster=frame.follower_cluster,
            database=frame.database,
            leader_capability=frame.leader_capability.value,
            follower_capability=frame.follower_capability.value,
            epoch=frame.epoch,
        )
    )


def _refusal_from_message(message: pb.FollowResponse) -> Refusal:
    refused = message.refused
    return Refusal(
        message=refused.message,
        leader_cluster=refused.leader_cluster,
        follower_cluster=refused.follower_cluster,
        database=refused.database,
        leader_capability=_capability(refused.leader_capability),
        follower_capability=_capability(refused.follower_capability),
        epoch=refused.epoch,
        reason=refused.reason,
    )


def _capability(text: str) -> Capability:
    try:
        return Capability(text)
    except ValueError:  # a word of a newer leader
        return Capability.UNKNOWN


# mypy cannot pair a key with the parameter type of its value.
_ENCODERS: Final[Mapping[type[LeaderFrame], Callable[..., pb.FollowResponse]]] = {
    MetadataDelta: _delta_to_message,
    RowRecords: _rows_to_message,
    Progress: _progress_to_message,
    LeaderGate: _gate_to_message,
    Refusal: _refusal_to_message,
}

_DECODERS: Final[Mapping[str, Callable[[pb.FollowResponse], LeaderFrame]]] = {
    "snapshot": _snapshot_from_message,
    "delta": _delta_from_message,
    "rows": _rows_from_message,
    "progress": _progress_from_message,
    "gate": _gate_from_message,
    "refused": _refusal_from_message,
}
