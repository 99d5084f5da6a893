"""Every command asks for its permission, in what it names."""

from __future__ import annotations

import itertools

import pytest
from access_world import REQUIRED

from cluster.access.control import AccessControl
from cluster.access.permissions import PERMISSIONS
from cluster.commands.grammar import COMMANDS, Kind
from cluster.commands.interpreter import Command, parse_command
from cluster.commands.notation import Value
from cluster.commands.scopes import Scope, check_access, scopes
from cluster.errors import AccessDeniedError, DatabaseNotFoundError
from cluster.limits import LIMITS
from cluster.request import Caller

EXECUTED = [spec for spec in COMMANDS if spec.kind is not Kind.REFUSE]


def test_every_form_has_a_permission_that_means_something():
    assert {spec.permission for spec in COMMANDS} <= PERMISSIONS.keys()


@pytest.mark.parametrize("spec", EXECUTED, ids=lambda spec: spec.grammar[:60])
def test_who_has_no_role_may_run_nothing_but_what_everybody_may(spec):
    command = _command(spec)
    access = AccessControl(_Nothing(), REQUIRED)
    # What lists databases shows none of them to who may see none.
    if spec.permission == "any" or not scopes(command, "Sales"):
        check_access(access, Caller("aadapp=nobody"), command, "Sales")
        return
    with pytest.raises(AccessDeniedError) as caught:
        check_access(access, Caller("aadapp=nobody"), command, "Sales")
    assert caught.value.metadata["permission"] == spec.permission


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".show tables", [("Sales", "")]),
        (".show tables (A, B)", [("Sales", "A"), ("Sales", "B")]),
        (".show database Other schema", [("Other", "")]),
        (".show databases (A, B) schema", [("A", ""), ("B", "")]),
        (".show databases schema", []),
        (".show databases", []),
        (".show databases (A, B*)", [("A", "")]),
        (".show databases (*)", []),
        (".drop table ['T 1']", [("Sales", "T 1")]),
        (".drop tables (A, B)", [("Sales", "A"), ("Sales", "B")]),
        (".create tables A (x:long), B (x:long)", [("Sales", "A"), ("Sales", "B")]),
        (".alter table Db.T policy caching hot = 1d", [("Db", "T")]),
        (".alter column Db.T.c type = long", [("Db", "T")]),
        (".rename tables A = B, C = D", [("Sales", "B"), ("Sales", "D")]),
        (".rename column T.c to d", [("Sales", "T")]),
        (".show table * policy caching", [("Sales", "")]),
        (".create table A based-on B", [("Sales", "A"), ("Sales", "B")]),
        (".move extents all from table A to table B", [("Sales", "B"), ("Sales", "A")]),
        (".ingest into table T ('/a/b.csv')", [("Sales", "T")]),
        (".drop functions (F, G)", [("Sales", "F"), ("Sales", "G")]),
        (".show cluster extents", [("Sales", "")]),
    ],
)
def test_what_a_command_is_about(text, expected):
    found = scopes(parse_command(text, LIMITS), "Sales")
    assert found == tuple(itertools.starmap(Scope, expected))


class _Nothing:
    """A catalog without databases."""

    def get(self, name):
        raise DatabaseNotFoundError(name)


def _command(spec):
    """A command of this form that names table T, in database Sales."""
    names = set()

    def walk(node):
        if isinstance(node, Value):
            names.add(node.name)
        for item in getattr(node, "items", ()):
            walk(item)

    walk(spec.tree)
    values = {"table": "T"} if "table" in names else {}
    return Command(spec, frozenset(), values, "")
