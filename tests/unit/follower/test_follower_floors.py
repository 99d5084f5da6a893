"""The session and floors: what was sealed counts as stored, and is asked for no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from session_world import (
    AT,
    DATABASE,
    DELTA,
    KEY,
    LIMITS,
    OTHER,
    POSITION,
    received,
    rows,
    session_in,
)

from cluster.errors import ProtocolError
from cluster.replication.position import KeyPosition, Position
from cluster.replication.protocol import (
    Progress,
    Snapshot,
)
from follower import exchange as x
from follower.session import FollowSession
from follower.session_table import SessionState


def sealed(database, **floors):
    """A newer tree with these floors, by name of the key: ordinal and checksum."""
    table = database.tables["T"]
    names = {KEY: "key", OTHER: "other"}
    references = tuple(
        replace(
            reference,
            sealed_ordinal=floors[names[reference.key]][0],
            sealed_checksum=floors[names[reference.key]][1],
        )
        if names[reference.key] in floors
        else reference
        for reference in table.references
    )
    tables = {"T": replace(table, references=references)}
    return replace(database, version=database.version.next(), tables=tables)


@pytest.mark.parametrize(
    ("floors", "moved"),
    [
        ({"key": (3, 33)}, {}),
        ({"key": (4, 44)}, {}),
        ({"key": (5, 55)}, {KEY: KeyPosition(5, 55)}),
        ({"other": (2, 22)}, {OTHER: KeyPosition(2, 22)}),
        (
            {"key": (9, 99), "other": (2, 22)},
            {KEY: KeyPosition(9, 99), OTHER: KeyPosition(2, 22)},
        ),
    ],
)
@pytest.mark.parametrize("gate", [True, False])
def test_metadata_moves_what_is_stored_to_the_floors(gate, floors, moved):
    session = session_in(SessionState.FOLLOWING, gate=gate)
    session.handle(received(DELTA))
    tree = sealed(DATABASE, **floors)
    session.handle(x.MetadataApplied(tree))
    assert session.position() == Position(tree.version, AT | moved)
    (ack,) = session.handle(x.Drained(101.0))
    assert ack.frame.position == Position(tree.version, moved)
    told = Progress(ack.frame.position, 0, sequence=1, number=2)
    session.handle(received(told))
    with pytest.raises(ProtocolError):
        session.handle(received(replace(told, position=POSITION, number=3)))


def test_rows_go_on_from_the_floor():
    session = session_in(SessionState.FOLLOWING)
    session.handle(received(DELTA))
    session.handle(x.MetadataApplied(sealed(DATABASE, key=(9, 99))))
    with pytest.raises(ProtocolError, match="expected was 9"):
        session.handle(received(rows(first=4)))
    (apply,) = session.handle(received(rows(first=9)))
    assert isinstance(apply, x.ApplyRows)


def test_what_is_below_the_floor_of_the_stored_tree_counts_as_stored():
    session = FollowSession(x.Identity("follower", "follower/0", "db"), LIMITS)
    tree = sealed(DATABASE, key=(9, 99), other=(2, 22))
    (send,) = session.handle(x.Begin(tree, AT, 1.0))
    assert send.frame.position.keys == {KEY: KeyPosition(9, 99), OTHER: KeyPosition(2, 22)}


def test_after_a_reset_rows_begin_at_the_floors():
    session = session_in(SessionState.GREETED)
    tree = sealed(DATABASE, other=(2, 22))
    session.handle(received(Snapshot(tree, reset_rows=True)))
    session.handle(x.MetadataApplied(tree))
    assert session.position() == Position(tree.version, {OTHER: KeyPosition(2, 22)})
    (report,) = session.handle(received(Progress(session.position(), 0, number=1)))
    assert report.frame.position == session.position()
