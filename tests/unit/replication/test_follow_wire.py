"""Frames survive the wire, and nothing malformed does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.catalog.changes import CreateTable, DropTable, SealedRange, SealRows
from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
    Version,
)
from cluster.errors import FollowRefusedError, ProtocolError
from cluster.limits import Limits
from cluster.replication.authority import Capability, Grant
from cluster.replication.position import KeyPosition, Position
from cluster.replication.protocol import (
    FollowAck,
    FollowerGate,
    Hello,
    LeaderGate,
    MetadataDelta,
    Progress,
    Refusal,
    RowRecords,
    Snapshot,
    refusal_error,
    refusal_of,
)
from cluster.replication.wire import (
    FRAGMENT_BYTES,
    Assembler,
    follower_frame_from_message,
    follower_frame_to_message,
    leader_frame_from_message,
    leader_frame_to_message,
    leader_frame_to_messages,
    spans_of,
)
from cluster.rowstore.record import RecordHeader, RequestSpan, encode_record
from cluster.rpc.v1 import replication_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.message import Message

U64 = 2**64 - 1
COLUMNS = (Column("A", ScalarType.LONG), Column("B", ScalarType.DYNAMIC))
REFERENCES = (RowStoreReference(0, RowStoreKey(U64)),)
TABLE = Table("T", "t", REFERENCES, (COLUMNS[:1], COLUMNS), ((0,), (0, 1)))
LIMITS = Limits()

numbers = st.integers(0, U64)
positions = st.builds(
    Position,
    st.builds(Version, st.integers(0, 2**63), st.integers(0, 2**63)),
    st.dictionaries(numbers.map(RowStoreKey), st.builds(KeyPosition, numbers, numbers)),
)
follower_frames = st.one_of(
    st.builds(
        Hello,
        st.text(),
        st.text(),
        st.text(),
        st.none() | positions,
        st.text(),
        st.booleans(),
        numbers,
        st.booleans(),
        st.text(),
    ),
    st.builds(FollowAck, positions, numbers, numbers, numbers),
    st.builds(FollowerGate, numbers, numbers, st.booleans(), positions),
)
capabilities = st.sampled_from(Capability)
leader_frames = st.one_of(
    st.just(
        Snapshot(
            Database("db", "id", Version(2, 3), {"T": TABLE}, storage_root="file:///root"),
            reset_rows=True,
        )
    ),
    st.just(
        MetadataDelta(
            Version(1, 0),
            Version(1, 1),
            (
                DropTable("Old"),
                CreateTable("T", "t", RowStoreKey(1), COLUMNS),
                SealRows("T", (SealedRange(RowStoreKey(1), 5, U64),), ()),
            ),
        )
    ),
    st.builds(Progress, positions, st.integers(0, 2**62), numbers, numbers, numbers),
    st.builds(LeaderGate, numbers, st.booleans(), st.text()),
    st.builds(
        Refusal, st.text(), st.text(), st.text(), st.text(), capabilities, capabilities, numbers
    ),
)


def over_the_wire(message: Message) -> Message:
    return type(message).FromString(message.SerializeToString())


@given(follower_frames)
def test_follower_frames_come_back(frame):
    message = over_the_wire(follower_frame_to_message(frame))
    assert follower_frame_from_message(message) == frame


@given(leader_frames)
def test_leader_frames_come_back(frame):
    assert leader_frame_from_message(over_the_wire(leader_frame_to_message(frame))) == frame


def record(first=0, rows=3, body_bytes=64):
    body = pa.py_buffer(bytes(body_bytes))
    header = RecordHeader(5, RowStoreKey(9), first, 77, 1, 0, rows, 1, 0, 0)
    return bytes(encode_record(header, [RequestSpan(b"", rows)], body))


def test_rows_come_back_with_their_spans():
    records = record() + record(first=3, rows=1)
    frame = RowRecords(4, 2, records, spans_of(records))
    assert [(span.first_ordinal, span.end) for span in frame.spans] == [(0, 3), (3, 4)]
    assert leader_frame_from_message(over_the_wire(leader_frame_to_message(frame))) == frame


@pytest.mark.parametrize("cut", [1, 8, 70, 71, 72, 100])
def test_cut_records_are_refused(cut):
    whole = record()
    with pytest.raises(ProtocolError):
        spans_of((record() + whole)[:-cut] if cut < len(whole) else whole[:-1])


def test_a_wrong_count_is_refused():
    message = pb.FollowResponse(rows=pb.RowRecords(records=record(), count=2))
    with pytest.raises(ProtocolError, match="1 records in a frame of 2"):
        leader_frame_from_message(message)


@pytest.mark.parametrize(
    "message",
    [
        pb.FollowResponse(),
        pb.FollowResponse(rows=pb.RowRecords()),
        pb.FollowResponse(snapshot=pb.Snapshot(database=b"{}")),
        pb.FollowResponse(delta=pb.MetadataDelta(changes=b"[]")),
        pb.FollowResponse(fragment=pb.Fragment(data=b"x", last=True)),
    ],
)
def test_malformed_leader_messages_are_refused(message):
    with pytest.raises(ProtocolError):
        leader_frame_from_message(Assembler(LIMITS).take(message))


def test_an_empty_follower_message_is_refused():
    with pytest.raises(ProtocolError):
        follower_frame_from_message(pb.FollowRequest())


def test_a_snapshot_of_another_version_than_it_says_is_refused():
    message = leader_frame_to_message(Snapshot(Database("db", "id"), reset_rows=False))
    message.snapshot.version.minor += 1
    with pytest.raises(ProtocolError):
        leader_frame_from_message(message)


@pytest.mark.parametrize(
    ("body_bytes", "messages"),
    [(FRAGMENT_BYTES - 256, 1), (FRAGMENT_BYTES + 256, 2), (3 * FRAGMENT_BYTES, 4)],
)
def test_large_frames_go_in_fragments(body_bytes, messages):
    records = record(body_bytes=body_bytes)
    frame = RowRecords(4, 2, records, spans_of(records))
    sent = [over_the_wire(message) for message in leader_frame_to_messages(frame)]
    assert len(sent) == messages
    assert all(message.ByteSize() < FRAGMENT_BYTES + 64 for message in sent)
    assembler = Assembler(LIMITS)
    *parts, whole = [assembler.take(message) for message in sent]
    assert parts == [None] * (messages - 1)
    assert leader_frame_from_message(whole) == frame
    gate = leader_frame_to_message(LeaderGate(1, True))
    assert assembler.take(gate) == gate


def test_nothing_comes_between_fragments():
    assembler = Assembler(LIMITS)
    assert assembler.take(pb.FollowResponse(fragment=pb.Fragment(data=b"x"))) is None
    with pytest.raises(ProtocolError, match="between"):
        assembler.take(leader_frame_to_message(LeaderGate(1, True)))


@pytest.mark.parametrize(("limit_less", "fits"), [(1, False), (0, True), (-1, True)])
def test_fragments_together_have_a_limit(limit_less, fits):
    frame = LeaderGate(1, True, "x" * 100)
    data = leader_frame_to_message(frame).SerializeToString()
    assembler = Assembler(Limits(replication_message_bytes=len(data) - limit_less))
    message = pb.FollowResponse(fragment=pb.Fragment(data=data, last=True))
    if fits:
        assert leader_frame_from_message(assembler.take(message)) == frame
    else:
        with pytest.raises(ProtocolError, match="replication_message_bytes"):
            assembler.take(message)


def test_an_unknown_capability_is_a_doubt():
    message = pb.FollowResponse(refused=pb.Refused(leader_capability="perhaps"))
    assert leader_frame_from_message(message).leader_capability is Capability.UNKNOWN


def test_a_refusal_names_every_fact():
    grant = Grant(
        "leader",
        "db",
        "follower",
        12,
        False,
        leader_capability=Capability.ON,
        follower_capability=Capability.OFF,
    )
    error = refusal_error(refusal_of(grant))
    assert isinstance(error, FollowRefusedError)
    assert error.reason == "FOLLOWER_STREAMING_DISABLED"
    assert error.metadata == {
        "leader_cluster": "leader",
        "follower_cluster": "follower",
        "database": "db",
        "leader_streaming_capability": "on",
        "follower_streaming_capability": "off",
        "epoch": "12",
    }
    for word in ("follower", "leader", "db", "off"):
        assert f"{word}" in error.message
    assert refusal_of(Grant("l", "d", "f", 1, False, "in its own words")).message == (
        "in its own words"
    )
