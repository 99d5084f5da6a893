"""The session: every cell of its table, and each thing it must refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from session_world import (
    AT,
    DATABASE,
    DELTA,
    FIRST,
    KEY,
    LIMITS,
    NOTHING_MOVED,
    OTHER,
    POSITION,
    REFUSAL,
    make_ready,
    received,
    rows,
    session_in,
)

from cluster.catalog.model import (
    RowStoreKey,
    Version,
)
from cluster.errors import ProtocolError
from cluster.limits import Limits
from cluster.replication.position import KeyPosition, Position
from cluster.replication.protocol import (
    FollowAck,
    FollowerGate,
    Hello,
    LeaderGate,
    Progress,
    Snapshot,
)
from follower import exchange as x
from follower.session import ACK_BYTES, FollowSession
from follower.session_table import TABLE, SessionInput, SessionState, table_as_markdown

EVENTS = {
    SessionInput.BEGIN: x.Begin(DATABASE, AT, 100.0),
    SessionInput.SNAPSHOT: received(Snapshot(DATABASE, reset_rows=True)),
    SessionInput.DELTA: received(DELTA),
    SessionInput.ROWS: received(rows()),
    SessionInput.PROGRESS: received(FIRST),
    SessionInput.LEADER_GATE: received(LeaderGate(3, True)),
    SessionInput.REFUSAL: received(REFUSAL),
    SessionInput.APPLIED: x.MetadataApplied(DATABASE),
    SessionInput.DRAINED: x.Drained(100.0),
    SessionInput.GATE_MOVED: x.GateMoved(False, 4),
    SessionInput.TICK: x.Tick(100.0),
    SessionInput.LOST: x.Lost(0.0),
    SessionInput.STOP: x.Stop(),
}


@pytest.mark.parametrize("event", SessionInput)
@pytest.mark.parametrize("state", SessionState)
def test_every_cell_is_what_the_table_says(state, event):
    session = session_in(state)
    after = TABLE[state][event]
    if event is SessionInput.APPLIED and after is not None:
        make_ready(session)
    if after is not None:
        now = EVENTS[event]
        if event is SessionInput.PROGRESS and state is SessionState.FOLLOWING:
            now = received(replace(FIRST, number=2))
        session.handle(now)
        assert session.state is after
        return
    wrong = ProtocolError if isinstance(EVENTS[event], x.Received) else AssertionError
    with pytest.raises(wrong):
        session.handle(EVENTS[event])
    assert session.state is state


def test_the_document_shows_this_table():
    document = Path(__file__).parents[3] / "follower" / "DESIGN.md"
    assert table_as_markdown() in document.read_text()


def test_hello_says_what_is_stored():
    session = FollowSession(x.Identity("follower", "follower/0", "db", strict=True), LIMITS)
    session.handle(x.GateMoved(True, 9))
    (send,) = session.handle(x.Begin(DATABASE, AT, 1.0, streaming_ingestion=True))
    assert send.frame == Hello(
        "follower", "follower/0", "db", POSITION, "id", True, 9, True, "file:///root"
    )


def test_hello_of_a_follower_with_nothing():
    session = FollowSession(x.Identity("follower", "follower/0", "db"), LIMITS)
    (send,) = session.handle(x.Begin(None, {}, 1.0))
    assert send.frame.position is None
    assert send.frame.database_id == ""


@pytest.mark.parametrize("gate", [True, False])
def test_the_gate_is_reported_when_the_session_begins_and_when_it_moves(gate):
    session = session_in(SessionState.GREETED, gate=gate)
    (first,) = session.handle(received(FIRST))
    assert first.frame == FollowerGate(1, 3, gate, POSITION)
    assert session.handle(x.GateMoved(gate, 3)) == ()
    (second,) = session.handle(x.GateMoved(not gate, 4))
    assert second.frame == FollowerGate(2, 4, not gate, POSITION)


def test_an_acknowledgement_names_only_keys_that_moved():
    session = session_in(SessionState.FOLLOWING)
    session.handle(received(rows()))
    session.handle(x.RowsApplied())
    session.handle(x.Drained(101.0))
    session.handle(received(rows(first=0, key=OTHER)))
    session.handle(x.RowsApplied())
    (ack,) = session.handle(x.Tick(102.0))
    at = Position(DATABASE.version, {OTHER: KeyPosition(2, 99)})
    assert ack.frame == FollowAck(at, 102_000_000_000, 1, 2)
    (ack,) = session.handle(x.Tick(103.0))
    assert ack.frame == FollowAck(NOTHING_MOVED, 103_000_000_000, 1, 3)


def test_rows_are_applied_then_acknowledged_together():
    session = session_in(SessionState.FOLLOWING)
    (apply,) = session.handle(received(rows()))
    assert isinstance(apply, x.ApplyRows)
    assert session.handle(x.RowsApplied()) == ()
    session.handle(received(rows(first=6)))
    session.handle(x.RowsApplied())
    (ack,) = session.handle(x.Drained(101.0))
    after = Position(DATABASE.version, {KEY: KeyPosition(8, 99)})
    assert ack.frame == FollowAck(after, 101_000_000_000, 1, 1)
    assert session.handle(x.Drained(101.0)) == ()


def flow(session, frames, *, size):
    """Applies frames of ``size`` bytes, 10 ms apart; returns the acknowledgements."""
    acks = []
    for index in range(frames):
        session.handle(received(replace(rows(first=4 + 2 * index), records=bytes(size))))
        session.handle(x.RowsApplied())
        acks.extend(out.frame for out in session.handle(x.Drained(101.0 + index * 0.01)))
    return acks


def test_small_frames_are_acknowledged_ten_times_a_second():
    acks = flow(session_in(SessionState.FOLLOWING), 25, size=10)
    assert len(acks) == 3
    assert all(ack.stamp for ack in acks), "each of them also measures the lag"


@pytest.mark.parametrize(("size", "acks"), [(ACK_BYTES - 1, 2), (ACK_BYTES, 3), (ACK_BYTES + 1, 3)])
def test_many_bytes_are_acknowledged_at_once(size, acks):
    # The first of the three also measures the lag.
    assert len(flow(session_in(SessionState.FOLLOWING), 3, size=size)) == acks


@pytest.mark.parametrize("window", [32, 36, 64])
def test_a_small_window_is_never_waited_for(window):
    limits = Limits(replication_frame_bytes=32, replication_window_bytes=window)
    session = session_in(SessionState.FOLLOWING, limits=limits)
    assert len(flow(session, 5, size=window - 32 + 8)) == 5


@pytest.mark.parametrize(
    "frame",
    [
        rows(first=5),
        rows(first=3),
        rows(first=0),
        rows(count=0),
        rows(schema=2),
        rows(schema=-1),
        rows(key=RowStoreKey(8)),
        rows(epoch=2),
        rows(epoch=4),
        rows(sequence=2),
        replace(rows(), spans=(*rows().spans, *rows(first=7).spans)),
        Progress(Position(Version(1, 2)), 0, sequence=1, number=2),
        Progress(Position(Version(1, 4)), 0, sequence=1, number=2),
        Progress(POSITION, 0, sequence=1, number=2),
        Progress(Position(Version(1, 3), {KEY: KeyPosition(5, 1)}), 0, sequence=1, number=2),
        Progress(Position(Version(1, 3), {OTHER: KeyPosition(1, 1)}), 0, sequence=1, number=2),
        Progress(NOTHING_MOVED, 0, sequence=2, number=2),
        Progress(NOTHING_MOVED, 0, sequence=1, number=1),
        Progress(NOTHING_MOVED, 0, sequence=1, number=3),
        replace(DELTA, from_version=Version(1, 2)),
        replace(DELTA, from_version=Version(1, 4)),
    ],
)
def test_what_does_not_follow_on_is_refused_and_nothing_is_applied(frame):
    session = session_in(SessionState.FOLLOWING)
    with pytest.raises(ProtocolError):
        session.handle(received(frame))
    assert session.position() == POSITION


def test_rows_for_a_gate_reported_closed_are_refused():
    session = session_in(SessionState.FOLLOWING, gate=False)
    with pytest.raises(ProtocolError, match="reported closed"):
        session.handle(received(rows()))


def test_rows_for_an_older_gate_report_are_dropped():
    session = session_in(SessionState.FOLLOWING)
    session.handle(x.GateMoved(False, 3))
    session.handle(x.GateMoved(True, 3))
    assert session.handle(received(rows(sequence=1))) == ()
    assert session.position() == POSITION
    assert session.statistics().frames_dropped == 1
    (apply,) = session.handle(received(rows(sequence=3)))
    assert isinstance(apply, x.ApplyRows)


def test_a_report_while_rows_are_being_stored_counts_them():
    session = session_in(SessionState.FOLLOWING)
    session.handle(received(rows()))
    (send,) = session.handle(x.GateMoved(False, 4))
    assert send.frame.position.keys == {KEY: KeyPosition(6, 99)}


def test_a_snapshot_that_keeps_rows_needs_a_position():
    session = session_in(SessionState.GREETED, database=None)
    with pytest.raises(ProtocolError):
        session.handle(received(Snapshot(DATABASE, reset_rows=False)))


def test_after_divergence_everything_is_asked_for_again():
    session = session_in(SessionState.FOLLOWING)
    session.handle(x.Lost(0.0, diverged=True))
    (hello,) = session.handle(x.Begin(DATABASE, AT, 101.0))
    assert hello.frame.position is None
    (install,) = session.handle(received(Snapshot(DATABASE, reset_rows=True)))
    assert install == x.InstallSnapshot(DATABASE, True)
    session.handle(x.MetadataApplied(DATABASE))
    session.handle(received(FIRST))
    session.handle(x.Lost(0.0))
    (hello,) = session.handle(x.Begin(DATABASE, {}, 102.0))
    assert hello.frame.position == Position(DATABASE.version)


def test_back_off_doubles_to_its_limit_and_begins_again_after_success():
    session = session_in(SessionState.WAITING)
    delays = []
    for _ in range(7):
        session.handle(x.Begin(DATABASE, AT, 100.0))
        (retry,) = session.handle(x.Lost(0.0))
        delays.append(retry.after_seconds)
    assert delays == [0.025, 0.05, 0.1, 0.2, 0.4, 0.5, 0.5]
    session.handle(x.Begin(DATABASE, AT, 100.0))
    session.handle(received(FIRST))
    answer = Progress(NOTHING_MOVED, 0, stamp=100_000_000_000, sequence=1, number=2)
    session.handle(received(answer))
    (retry,) = session.handle(x.Lost(1 - 1e-9))
    assert retry.after_seconds == pytest.approx(0.05)
    session.handle(x.Begin(DATABASE, AT, 100.0))
    assert session.handle(x.Lost(0.5, at_once=True)) == (x.Retry(0.0),)


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (rows(), x.RowsApplied()),
        (DELTA, x.MetadataApplied(replace(DATABASE, version=Version(1, 4)))),
        (Snapshot(DATABASE, reset_rows=False), x.MetadataApplied(DATABASE)),
    ],
)
def test_a_follower_that_cannot_store_what_comes_calls_less_and_less_often(change, answer):
    """Its disk may be full: each call makes the leader send a window of rows for nothing."""
    session = session_in(SessionState.WAITING, limits=Limits(follow_retry_longest_seconds=0.2))

    def call(*, stored):
        session.handle(x.Begin(DATABASE, AT, 100.0))
        session.handle(received(FIRST))
        session.handle(received(change))
        if stored:
            session.handle(answer)
        (retry,) = session.handle(x.Lost(1 - 1e-9))
        return pytest.approx(retry.after_seconds, rel=1e-6)

    assert [call(stored=False) for _ in range(4)] == [0.05, 0.1, 0.2, 0.2]
    assert call(stored=True) == 0.05


def test_a_copy_that_diverges_after_every_snapshot_calls_less_and_less_often():
    """Each call makes the leader send the whole tree and every row again."""
    session = session_in(SessionState.WAITING, limits=Limits(follow_retry_longest_seconds=0.2))

    def call():
        session.handle(x.Begin(DATABASE, AT, 100.0))
        session.handle(received(Snapshot(DATABASE, reset_rows=True)))
        session.handle(x.MetadataApplied(DATABASE))
        (retry,) = session.handle(x.Lost(1 - 1e-9, diverged=True))
        return pytest.approx(retry.after_seconds, rel=1e-6)

    assert [call() for _ in range(4)] == [0.05, 0.1, 0.2, 0.2]


@pytest.mark.parametrize(("silent", "hangs_up"), [(4.999, False), (5.0, False), (5.001, True)])
@pytest.mark.parametrize("state", [SessionState.GREETED, SessionState.FOLLOWING])
def test_silence_up_to_the_lease_is_borne(state, silent, hangs_up):
    outputs = session_in(state).handle(x.Tick(100.0 + silent))
    assert any(isinstance(output, x.HangUp) for output in outputs) is hangs_up


def test_whoever_is_busy_takes_nobody_for_silent_and_gives_a_sign_of_life():
    """A large tree may take longer than a lease to be read and stored."""
    session = session_in(SessionState.GREETED, database=None)
    (sign,) = session.handle(x.Tick(104.0))
    assert sign.frame == FollowAck(Position(Version(0, 0)), 0, 0, 1)
    (sign,) = session.handle(x.Tick(110.0, busy=True))
    assert sign.frame.number == 2
    session.handle(received(Snapshot(DATABASE, reset_rows=True), now=110.0))
    (sign,) = session.handle(x.Tick(120.0))
    assert sign.frame == FollowAck(Position(Version(0, 0)), 0, 0, 3)
    session.handle(x.MetadataApplied(DATABASE))
    session.handle(x.Drained(121.0))
    (sign,) = session.handle(x.Tick(125.9))
    assert sign.frame == FollowAck(Position(DATABASE.version), 0, 0, 4)
    (hang_up,) = session.handle(x.Tick(126.1))
    assert hang_up == x.HangUp(pytest.approx(5.1))


def test_a_sign_of_life_while_rows_are_stored_acknowledges_none_of_them():
    session = session_in(SessionState.FOLLOWING)
    session.handle(received(rows()))
    (sign,) = session.handle(x.Tick(101.0))
    assert sign.frame == FollowAck(NOTHING_MOVED, 0, 1, 1)
    session.handle(x.RowsApplied())
    (ack,) = session.handle(x.Tick(102.0))
    assert (set(ack.frame.position.keys), ack.frame.number) == ({KEY}, 2)


def test_a_part_of_a_frame_breaks_the_silence():
    session = session_in(SessionState.GREETED)
    session.handle(x.Drained(104.0))
    assert not any(isinstance(o, x.HangUp) for o in session.handle(x.Tick(109.0)))
    assert any(isinstance(o, x.HangUp) for o in session.handle(x.Tick(109.1)))


class TestLag:
    """Measured on one clock: the age of the newest stamp the leader has answered."""

    def answered(self, session, stamp, sequence=1, number=2):
        session.handle(received(Progress(NOTHING_MOVED, 0, stamp, sequence, number)))

    def test_it_grows_from_the_stamp(self):
        session = session_in(SessionState.FOLLOWING)
        assert session.lag_seconds(100.0) is None
        self.answered(session, 99_000_000_000)
        assert session.lag_seconds(100.0) == 1.0
        assert session.lag_seconds(103.5) == 4.5

    def test_a_lost_leader_does_not_stop_it(self):
        session = session_in(SessionState.FOLLOWING)
        self.answered(session, 99_000_000_000)
        session.handle(x.Lost(0.0))
        assert session.lag_seconds(160.0) == 61.0

    def test_an_answer_for_an_older_gate_report_does_not_count(self):
        session = session_in(SessionState.FOLLOWING)
        session.handle(x.GateMoved(True, 4))
        self.answered(session, 99_000_000_000, sequence=1)
        assert session.lag_seconds(100.0) is None

    def test_opening_goes_back_to_when_rows_were_last_current(self):
        session = session_in(SessionState.FOLLOWING)
        self.answered(session, 99_000_000_000)
        session.handle(x.GateMoved(False, 4))
        self.answered(session, 119_000_000_000, sequence=2, number=3)
        assert session.lag_seconds(120.0) == 1.0, "metadata is current"
        session.handle(x.GateMoved(True, 5))
        assert session.lag_seconds(120.0) == 21.0, "rows are not"

    def test_dropping_the_rows_makes_it_unknown(self):
        session = session_in(SessionState.FOLLOWING)
        self.answered(session, 99_000_000_000)
        session.handle(received(Snapshot(DATABASE, reset_rows=True)))
        session.handle(x.MetadataApplied(DATABASE))
        assert session.lag_seconds(100.0) is None
