"""The leader's session at its edges: who is sent away, what is refused, what the window takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from follow_leader_data import COLUMN
from follow_world import RECORD_BYTES, World

from cluster.catalog.model import Database, RowStoreKey, RowStoreReference, Table, Version
from cluster.errors import (
    DatabaseNotFoundError,
    DivergenceError,
    FollowNotGrantedError,
    FollowRefusedError,
    InternalError,
    ProtocolError,
    Status,
    UnavailableError,
)
from cluster.limits import Limits
from cluster.replication.authority import Authority, Capability, Decision, Grant
from cluster.replication.exchange import (
    End,
    MetadataRead,
    Moment,
    ReadMetadata,
    ReadRows,
    RowsRead,
    Send,
)
from cluster.replication.leader import LeaderSession
from cluster.replication.position import KeyPosition, Position
from cluster.replication.protocol import (
    FollowAck,
    FollowerGate,
    Hello,
    LeaderGate,
    RecordSpan,
    RowRecords,
    Snapshot,
)

HELLO = Hello("follower", "follower/0", "db")
EMPTY = Database("db", "id")


def grant(**changes):
    values = {"epoch": 3, "rows": True, "follower_capability": Capability.ON} | changes
    return Grant("leader", "db", "follower", **values)


def moment(decision=None, version=EMPTY.version, database_id="id", end_lsn=0):
    decision = decision or Decision(True, 3, "", grant())
    return Moment(decision, version, database_id, end_lsn, 0)


def greeted(hello=HELLO, limits=None):
    session = LeaderSession(limits) if limits else LeaderSession()
    session.receive(hello)
    return session


def ended(session, now):
    output = session.next(now)
    assert isinstance(output, End)
    assert session.next(now) is None, "nothing is due after the end"
    return output.error


def streaming_world(**options):
    world = World(**options)
    world.create_table("T")
    return world


def following(world):
    world.tell_leader()
    world.tell_follower()
    world.connect()
    world.settle()
    return world.leader_session


def test_nothing_is_due_before_hello():
    assert LeaderSession().next(moment()) is None


def test_no_grant_is_permission_denied():
    error = ended(greeted(), moment(Authority().followed("db", "follower", 0)))
    assert isinstance(error, UnavailableError), "a leader that knows nothing yet is not ready"
    error = ended(greeted(), moment(Decision(False, 0, "not attached")))
    assert isinstance(error, FollowNotGrantedError)
    assert error.status is Status.PERMISSION_DENIED
    assert error.metadata == {"follower_cluster": "follower", "database": "db"}


def test_detach_ends_a_running_call():
    world = streaming_world()
    session = following(world)
    error = ended(session, moment(Decision(False, 0, "not attached"), world.database.version))
    assert isinstance(error, FollowNotGrantedError)


def test_no_database_is_not_found():
    assert isinstance(ended(greeted(), moment(version=None)), DatabaseNotFoundError)


def test_a_database_made_again_ends_the_call():
    world = streaming_world()
    session = following(world)
    now = moment(version=world.database.version, database_id="another")
    assert isinstance(ended(session, now), UnavailableError)


@pytest.mark.parametrize("by", ["hello", "grant"])
@pytest.mark.parametrize("rows", [True, False])
@pytest.mark.parametrize("content", ["policy", "unsealed rows", "none"])
def test_strict_ends_only_without_the_right_while_there_is_streaming_content(by, rows, content):
    world = streaming_world()
    if content != "policy":
        world.database = Database("db", "id", world.database.version, world.database.tables)
    ends = {RowStoreKey(1): KeyPosition(5, 5)} if content == "unsealed rows" else {}
    session = greeted(Hello("follower", "follower/0", "db", strict=by == "hello"))
    given = grant(rows=rows, strict=by == "grant", follower_capability=Capability.OFF)
    now = moment(
        Decision(rows, 3, given.reason, given), world.database.version, world.database.database_id
    )
    assert session.next(now) == ReadMetadata(None)
    session.metadata_read(MetadataRead(world.database, None, lambda: ends))
    if rows or content == "none":
        assert isinstance(session.next(now), Send)
        return
    error = ended(session, now)
    assert isinstance(error, FollowRefusedError)
    assert error.metadata["follower_streaming_capability"] == "off"
    assert session.statistics().frames_sent == 0, "not even metadata"


def test_the_gate_is_announced_once_a_change():
    world = streaming_world()
    session = following(world)
    told = []
    for epoch, opened in ((3, True), (3, True), (4, False), (4, False), (5, True)):
        decision = Decision(opened, epoch, "" if opened else "why", grant(epoch=epoch))
        now = moment(decision, world.database.version, world.database.database_id)
        while (output := session.next(now)) is not None:
            if isinstance(output.frame, LeaderGate):
                told.append(output.frame)
    assert told == [LeaderGate(3, True), LeaderGate(4, False, "why"), LeaderGate(5, True)]


AT = Position(Version(1, 1), {RowStoreKey(1): KeyPosition(2, 9)})


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (HELLO, ProtocolError),
        (FollowerGate(1, 1, True, Position(Version())), ProtocolError),
        (FollowerGate(3, 1, True, Position(Version())), ProtocolError),
        (FollowAck(Position(Version()), 0, 0), ProtocolError),
        (FollowAck(Position(Version()), 0, 2), ProtocolError),
        (FollowAck(Position(Version()), 0, 1, 1), ProtocolError),
        (FollowAck(Position(Version()), 0, 1, 3), ProtocolError),
        (
            FollowAck(Position(Version(), {RowStoreKey(1): KeyPosition(3, 9)}), 0, 1, 2),
            ProtocolError,
        ),
        (
            FollowAck(Position(Version(), {RowStoreKey(1): KeyPosition(2, 1)}), 0, 1, 2),
            DivergenceError,
        ),
        (
            FollowerGate(2, 1, True, Position(Version(), {RowStoreKey(1): KeyPosition(2, 1)})),
            DivergenceError,
        ),
    ],
)
def test_what_a_follower_must_not_say(frame, error):
    world = streaming_world()
    world.ingest("T", 2)
    session = following(world)
    with pytest.raises(error):
        session.receive(frame)


@pytest.mark.parametrize("frame", [FollowAck(AT), FollowerGate(1, 1, True, AT)])
def test_nothing_comes_before_hello(frame):
    with pytest.raises(ProtocolError, match="before Hello"):
        LeaderSession().receive(frame)


def test_a_gate_report_comes_after_the_session_began():
    with pytest.raises(ProtocolError, match="first Progress"):
        greeted().receive(FollowerGate(1, 1, True, AT))


def test_a_read_that_was_overtaken_is_not_sent():
    world = streaming_world()
    session = following(world)
    world.ingest("T")
    world.leader_step()  # asks for rows
    asked = world.pending_read
    session.receive(FollowerGate(2, 1, True, world.session.position()))
    session.rows_read(RowsRead(asked.generation, b"x", (RecordSpan(1, 0, 0, 1, 1),), 8))
    world.pending_read = None
    while isinstance(output := session.next(world.moment()), Send):
        assert not isinstance(output.frame, RowRecords)
    assert isinstance(output, ReadRows), "it reads again, from the position reported"
    assert session.statistics().chunks_discarded == 1


def test_rows_that_were_not_asked_for_are_never_sent():
    world = streaming_world()
    session = following(world)
    world.ingest("T")
    world.leader_step()
    asked = world.pending_read
    session.rows_read(RowsRead(asked.generation, b"x", (RecordSpan(1, 0, 7, 1, 1),), 8))
    assert isinstance(ended(session, world.moment()), InternalError)


@pytest.mark.parametrize(("window", "records"), [(39, 1), (40, 5), (41, 5)])
def test_the_window_is_never_overrun(window, records):
    """A window of one frame (32) and one record (8): at 40 a fifth record still fits."""
    limits = Limits(replication_frame_bytes=32, replication_window_bytes=window)
    world = streaming_world(limits=limits)
    session = following(world)
    world.ingest("T")
    ship(world)
    assert session.statistics().bytes_unacknowledged == RECORD_BYTES
    for _ in range(4):
        world.ingest("T")
    ship(world)
    assert session.statistics().bytes_unacknowledged == records * RECORD_BYTES
    assert session.statistics().bytes_unacknowledged <= window
    assert session.waiting_beyond(world.moment()) is None, "only an acknowledgement helps"
    world.settle()
    assert world.visible() == world.committed()


@pytest.mark.parametrize(("frames", "sent"), [(2, 2), (3, 3), (4, 3)])
def test_so_many_small_messages_are_under_way(frames, sent):
    """Each costs the leader more memory than the bytes it holds, so their number has a bound."""
    world = streaming_world(limits=Limits(replication_window_frames=frames))
    session = following(world)
    for _ in range(3):
        world.ingest("T")
        ship(world)
    assert session.statistics().records_sent == sent
    world.settle()
    assert world.visible() == world.committed()


def ship(world):
    while world.leader_step() or world.pending_read is not None:
        world.finish_read()


@pytest.mark.parametrize(("size", "sent"), [(47, True), (48, True), (49, False)])
def test_a_large_record_fits_exactly_or_waits(size, sent):
    limits = Limits(replication_frame_bytes=16, replication_window_bytes=64)
    world = streaming_world(limits=limits)
    session = following(world)
    world.ingest("T")
    world.ingest("T")
    ship(world)
    assert session.statistics().bytes_unacknowledged == 16
    world.ingest("T")
    world.leader_step()
    asked = world.pending_read
    world.pending_read = None
    (record,) = world.log[2:]
    session.rows_read(RowsRead(asked.generation, bytes(size), (record.span,), 24))
    output = session.next(world.moment())
    assert (isinstance(output, Send) and isinstance(output.frame, RowRecords)) is sent


def test_a_record_larger_than_the_window_goes_alone():
    world = streaming_world()
    session = following(world)
    world.ingest("T")
    world.leader_step()
    asked, world.pending_read = world.pending_read, None
    session.rows_read(RowsRead(asked.generation, bytes(1000), (world.log[0].span,), 8))
    assert isinstance(session.next(world.moment()).frame, RowRecords)


def test_rows_of_a_dropped_table_do_not_hold_the_window():
    world = streaming_world()
    session = following(world)
    world.ingest("T")
    ship(world)
    world.drop_table("T")
    world.settle()
    assert session.statistics().bytes_unacknowledged == 0


FLOOR, END = KeyPosition(4, 44), KeyPosition(9, 99)


@pytest.mark.parametrize(
    ("has", "reset", "goes_on_from"),
    [
        (KeyPosition(0, 0), False, FLOOR),
        (KeyPosition(3, 1), False, FLOOR),
        (FLOOR, False, FLOOR),
        (KeyPosition(4, 45), True, FLOOR),
        (KeyPosition(6, 1), False, KeyPosition(6, 1)),
        (END, False, END),
        (KeyPosition(9, 98), True, FLOOR),
        (KeyPosition(10, 1), True, FLOOR),
    ],
)
def test_a_position_is_compared_where_the_leader_knows_the_checksum(has, reset, goes_on_from):
    key = RowStoreKey(1)
    table = Table("T", "t", (RowStoreReference(0, key, True, 4, 44),), ((COLUMN,),), ((0,),))
    database = Database("db", "id", Version(1, 7), {"T": table})
    hello = replace(HELLO, position=Position(Version(1, 7), {key: has}), database_id="id")
    session = greeted(hello)
    now = moment(version=database.version)
    assert session.next(now) == ReadMetadata(Version(1, 7))
    session.metadata_read(MetadataRead(database, (), lambda: {key: END}))
    sent = []
    while isinstance(output := session.next(now), Send):
        sent.append(output.frame)
    assert any(frame == Snapshot(database, reset_rows=True) for frame in sent) is reset
    session.receive(FollowerGate(1, 3, True, Position(database.version, {key: goes_on_from})))
    read = session.next(moment(version=database.version, end_lsn=100))
    while isinstance(read, Send):
        read = session.next(moment(version=database.version, end_lsn=100))
    assert read == ReadRows(read.generation, None, {key: goes_on_from.ordinal}, read.max_bytes)


@pytest.mark.parametrize(("told", "snapshot"), [("file:///old", True), ("file:///new", False)])
def test_a_follower_that_looks_for_extents_elsewhere_is_told_where_they_are(told, snapshot):
    database = replace(EMPTY, storage_root="file:///new")
    session = greeted(
        replace(HELLO, position=Position(EMPTY.version), database_id="id", storage_root=told)
    )
    assert session.next(moment()) == ReadMetadata(EMPTY.version)
    session.metadata_read(MetadataRead(database, (), dict))
    frame = session.next(moment()).frame
    assert (frame == Snapshot(database, reset_rows=False)) is snapshot


def test_what_a_follower_may_still_read_is_the_oldest_version_it_has_not_left():
    world = streaming_world()
    world.ingest("T")
    world.tell_leader()
    world.tell_follower()
    world.connect()
    assert world.leader_session.acknowledged_version is None
    world.settle()
    first = world.database.version
    assert world.leader_session.acknowledged_version == first
    world.seal("T")
    while world.leader_step():
        pass
    assert world.leader_session.acknowledged_version == first, "the delta is on its way"
    world.settle()
    world.pass_time(1.0)
    world.settle()
    assert world.leader_session.acknowledged_version == world.database.version
    world.hang_up()
    world.merge("T")
    world.seal("T")
    before = world.stored_database.version
    world.create_table("Another")
    world.connect()
    world.leader_receive()
    while world.leader_step():
        pass
    assert world.leader_session.acknowledged_version == before


def test_an_acknowledgement_frees_the_window_key_by_key():
    limits = Limits(replication_frame_bytes=16, replication_window_bytes=64)
    world = streaming_world(limits=limits)
    world.add_key("T")
    session = following(world)
    for place in (0, 1, 0, 1):
        world.ingest("T", place=place)
    ship(world)
    assert session.statistics().bytes_unacknowledged == 4 * RECORD_BYTES
    one, two = world.database.tables["T"].keys
    ends = world.ends()
    version = world.database.version
    session.receive(FollowAck(Position(version, {one: ends[one]}), 0, 1, 1))
    assert session.statistics().bytes_unacknowledged == 4 * RECORD_BYTES
    session.receive(FollowAck(Position(version, {two: ends[two]}), 0, 1, 2))
    assert session.statistics().bytes_unacknowledged == 0
    assert session.statistics().acknowledged == Position(version, ends)
