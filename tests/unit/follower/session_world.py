"""A session, and what it is told, for tests of it."""

from __future__ import annotations

from cluster.catalog.model import (
    Column,
    Database,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
    Version,
)
from cluster.limits import Limits
from cluster.replication.authority import Capability
from cluster.replication.position import KeyPosition, Position
from cluster.replication.protocol import (
    MetadataDelta,
    Progress,
    RecordSpan,
    Refusal,
    RowRecords,
    Snapshot,
)
from follower import exchange as x
from follower.session import FollowSession
from follower.session_table import SessionState

KEY, OTHER = RowStoreKey(7), RowStoreKey(9)
COLUMNS = (Column("A", ScalarType.LONG),)
TABLE_OF_KEYS = Table(
    "T",
    "t",
    (RowStoreReference(0, KEY), RowStoreReference(1, OTHER)),
    (COLUMNS, (*COLUMNS, *COLUMNS)),
    ((0,), (0, 1)),
)
DATABASE = Database("db", "id", Version(1, 3), {"T": TABLE_OF_KEYS}, storage_root="file:///root")
AT = {KEY: KeyPosition(4, 44)}
POSITION = Position(DATABASE.version, AT)
NOTHING_MOVED = Position(DATABASE.version)
FIRST = Progress(NOTHING_MOVED, 0, number=1)
LIMITS = Limits(lease_seconds=5, heartbeat_seconds=1)
DELTA = MetadataDelta(Version(1, 3), Version(1, 4), ())
REFUSAL = Refusal("no", "leader", "follower", "db", Capability.ON, Capability.OFF, 3)


def rows(first=4, count=2, sequence=1, epoch=3, schema=0, key=KEY):
    span = RecordSpan(key, schema, first, count, 99)
    return RowRecords(epoch, sequence, b"records", (span,))


def session_in(state, *, gate=True, database=DATABASE, limits=LIMITS):
    session = FollowSession(x.Identity("follower", "follower/0", "db"), limits)
    session.handle(x.GateMoved(gate, 3))
    if state is SessionState.STOPPED:
        session.handle(x.Stop())
    if state in (SessionState.GREETED, SessionState.FOLLOWING):
        session.handle(x.Begin(database, AT if database else {}, 100.0))
    if state is SessionState.FOLLOWING:
        session.handle(received(FIRST))
    assert session.state is state
    return session


def received(frame, now=100.0):
    return x.Received(frame, now)


def make_ready(session):
    """Asks for a change, so that it can be answered."""
    session.handle(received(Snapshot(DATABASE, reset_rows=False)))
