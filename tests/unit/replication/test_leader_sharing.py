"""What of a database a leader's session sends: rows of shared tables, to a follower that agrees."""

from __future__ import annotations

from dataclasses import replace

import pytest
from follow_leader_data import RECORD_BYTES, LeaderData

from cluster.catalog.changes import RenameTables
from cluster.catalog.following import Sharing
from cluster.errors import UnavailableError
from cluster.limits import Limits
from cluster.replication.authority import Capability, Decision, Grant
from cluster.replication.exchange import End, Moment, ReadMetadata, ReadRows, Send
from cluster.replication.leader import LeaderSession
from cluster.replication.position import Position
from cluster.replication.protocol import FollowerGate, Hello, Progress, RowRecords, Snapshot

LOGS = Sharing(tables_to_include=("Logs*",), tables_to_exclude=("LogsOld",))
GRANT = Grant("leader", "db", "follower", 3, True, follower_capability=Capability.ON)


class Leader(LeaderData):
    """A leader's data and one session of it; ``sent`` is every frame."""

    def __init__(self, sharing: Sharing = LOGS, *, heard: Sharing | None = None, **named) -> None:
        super().__init__(Limits())
        self.grant = replace(GRANT, sharing=sharing)
        self.hello = Hello("follower", "follower/0", "db", sharing=heard or sharing, **named)
        self.sent = []
        self.read_of = []
        self.error = None
        self.session = None

    def run(self):
        """Does everything that is due."""
        if self.session is None:
            self.session = LeaderSession(self.limits)
            self.session.receive(self.hello)
        while True:
            moment = Moment(
                Decision(self.grant.rows, self.grant.epoch, "", self.grant),
                self.database.version,
                self.database.database_id,
                len(self.log) * RECORD_BYTES,
                0,
            )
            match self.session.next(moment):
                case None:
                    return self
                case Send(frame):
                    self.sent.append(frame)
                case ReadMetadata(after):
                    self.session.metadata_read(self.read_metadata(after))
                case ReadRows() as asked:
                    self.read_of.append(set(asked.cursors))
                    self.session.rows_read(self.read_rows(asked))
                case End(error):
                    self.error = error
                    return self

    def open(self, position=None):
        """The follower opens its end of the gate."""
        self.run()
        position = position or Position(self.database.version, {})
        self.session.receive(FollowerGate(1, self.grant.epoch, True, position))
        return self.run()

    def keys(self, *tables):
        return {key for name in tables for key in self.database.tables[name].keys}

    def rows_of(self):
        return [s.key for f in self.sent if isinstance(f, RowRecords) for s in f.spans]


def with_tables(leader, *names):
    for name in names:
        leader.create_table(name, keys=2)
        leader.ingest(name, 2)
        leader.ingest(name, 1, place=1)
    return leader


def test_only_rows_of_shared_tables_are_read_and_sent():
    leader = with_tables(Leader(), "LogsA", "Other", "LogsOld", "LogsB").open()
    shared = leader.keys("LogsA", "LogsB")
    assert set(leader.rows_of()) == shared
    assert leader.read_of
    assert all(keys == shared for keys in leader.read_of)
    bookmarks = [frame for frame in leader.sent if isinstance(frame, Progress)]
    assert set().union(*(frame.position.keys for frame in bookmarks)) == shared


def test_metadata_of_all_tables_travels():
    leader = with_tables(Leader(), "LogsA", "Other").run()
    (snapshot,) = [frame for frame in leader.sent if isinstance(frame, Snapshot)]
    assert set(snapshot.database.tables) == {"LogsA", "Other"}


def test_tables_made_later_are_shared_if_they_fit():
    leader = with_tables(Leader(), "LogsA").open()
    with_tables(leader, "LogsB", "Other").run()
    assert set(leader.rows_of()) == leader.keys("LogsA", "LogsB")


def test_seals_of_tables_that_are_not_shared_move_nothing():
    leader = with_tables(Leader(), "Other", "LogsA").open()
    leader.sent.clear()
    leader.seal("Other")
    leader.run()
    assert not leader.rows_of()
    for frame in leader.sent:
        if isinstance(frame, Progress):
            assert not leader.keys("Other") & frame.position.keys.keys()


@pytest.mark.parametrize(("old", "new"), [("Other", "LogsNew"), ("LogsA", "Hidden")])
def test_a_table_that_gets_another_name_may_be_shared_from_then_on_or_not_any_more(old, new):
    leader = with_tables(Leader(), "Other", "LogsA").open()
    sent = leader.rows_of()
    leader.commit(RenameTables(((old, new),)))
    leader.ingest(new)
    leader.run()
    later = leader.rows_of()[len(sent) :]
    assert set(later) == (leader.keys(new) if new == "LogsNew" else set())


@pytest.mark.parametrize("known", [Sharing(), Sharing(tables_to_include=("LogsA",))])
def test_without_agreement_nothing_is_sent(known):
    leader = with_tables(Leader(heard=known), "LogsA").run()
    assert isinstance(leader.error, UnavailableError)
    assert leader.sent == []


def test_a_change_of_sharing_ends_the_session_before_another_row():
    leader = with_tables(Leader(), "LogsA", "Other").open()
    sent = len(leader.sent)
    leader.ingest("LogsA")
    leader.grant = replace(leader.grant, epoch=4, sharing=Sharing())
    leader.run()
    assert isinstance(leader.error, UnavailableError)
    assert len(leader.sent) == sent


def test_the_next_session_begins_where_the_follower_is_under_the_new_sharing():
    first = with_tables(Leader(), "LogsA", "Other").open()
    (snapshot,) = [frame for frame in first.sent if isinstance(frame, Snapshot)]
    at = {key: first.ends()[key] for key in first.keys("LogsA")}
    position = Position(first.database.version, at)
    again = Leader(
        Sharing(), position=position, database_id=snapshot.database.database_id,
        storage_root=snapshot.database.storage_root,
    )  # fmt: skip
    again.database, again.log, again.trees = first.database, first.log, first.trees
    again.history = first.history
    again.open(position)
    assert not [frame for frame in again.sent if isinstance(frame, Snapshot)]
    assert set(again.rows_of()) == again.keys("Other")


def test_what_is_not_shared_is_no_streaming_content():
    """A strict follower that is off follows sealed data of tables without streaming."""
    sharing = Sharing(tables_to_include=("Quiet",))
    leader = Leader(sharing, strict=True)
    leader.database = replace(leader.database, streaming_policy=None)
    with_tables(leader, "Other")
    leader.create_table("Quiet")
    leader.grant = replace(leader.grant, rows=False)
    assert leader.run().error is None
