"""What of a snapshot a caller may read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from access_world import REQUIRED, Trees, table

from cluster.access.control import AccessControl
from cluster.access.reading import readable
from cluster.catalog.model import Database, Role, RoleAssignment
from cluster.query.binding import BoundTable, QuerySnapshot
from cluster.request import Caller

ON = {"restricted_view_access": '{"IsEnabled": true}'}


def _database(name, *viewers, unrestricted=()):
    open_table, closed = table("Open"), table("Closed")
    closed = replace(closed, policies=ON)
    principals = (
        *(RoleAssignment(Role.VIEWERS, who) for who in viewers),
        *(RoleAssignment(Role.UNRESTRICTED_VIEWERS, who) for who in unrestricted),
    )
    return Database(
        name, name, tables={"Open": open_table, "Closed": closed}, principals=principals
    )


def _tables(tree):
    return {name: BoundTable(found, ()) for name, found in tree.tables.items()}


TREES = Trees(
    _database("Home", "aadapp=v", "aadapp=u", unrestricted=("aadapp=u",)),
    _database("Mine", "aadapp=v"),
    _database("Theirs"),
)
SNAPSHOT = QuerySnapshot(
    "Home",
    _tables(TREES.get("Home")),
    {name: _tables(TREES.get(name)) for name in ("Mine", "Theirs")},
)


@pytest.mark.parametrize(
    ("who", "tables", "others"),
    [
        ("v", {"Open"}, {"Mine": {"Open"}}),
        ("u", {"Open", "Closed"}, {}),
        ("nobody", {"Open"}, {}),
    ],
)
def test_what_is_there_for_whom(who, tables, others):
    found = readable(SNAPSHOT, AccessControl(TREES, REQUIRED), Caller(f"aadapp={who}"))
    assert set(found.tables) == tables
    assert len(found.tables) == len(tables)
    assert {name: set(given) for name, given in found.others.items()} == others
    assert ("Closed" in found.tables) is ("Closed" in tables)


def test_to_whom_everything_is_allowed_it_is_the_same_snapshot():
    access = AccessControl(TREES, REQUIRED)
    assert readable(SNAPSHOT, access, Caller(is_node=True)) is SNAPSHOT
    assert readable(SNAPSHOT, AccessControl(TREES), Caller()) is SNAPSHOT
