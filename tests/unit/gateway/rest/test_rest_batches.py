"""Which texts are commands, and where a command ends that something follows."""

from __future__ import annotations

import pytest

from cluster.gateway.rest.batches import is_command, shows, statements


@pytest.mark.parametrize(
    ("text", "command", "showing"),
    [
        (".show tables", True, True),
        ("  \n// why\n // and\n.show tables", True, True),
        (". show tables", True, True),
        (".showing", True, False),
        (".drop table T", True, False),
        ("T | where a == '.show'", False, False),
        ("// .show tables", False, False),
        ("//", False, False),
        ("", False, False),
    ],
)
def test_a_command_starts_with_a_dot(text, command, showing):
    assert (is_command(text), shows(text)) == (command, showing)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (".show tables", [".show tables"]),
        (".show tables;", [".show tables;"]),
        (".show tables ; \n// nothing more", [".show tables ; \n// nothing more"]),
        (".show a; T | count", [".show a", " T | count"]),
        (".show a; .show b; let x = 1; print x", [".show a", " .show b", " let x = 1; print x"]),
        (".show a // ; not here\n; T", [".show a // ; not here\n", " T"]),
        (
            ".show a | where b == ';' and c == @';' and d == \"\\\";\" ; T",
            [".show a | where b == ';' and c == @';' and d == \"\\\";\" ", " T"],
        ),
        (".show a | where b == ```;``` ; T", [".show a | where b == ```;``` ", " T"]),
        (
            ".show a | extend f = (1;2) | where {;} ; T",
            [".show a | extend f = (1;2) | where {;} ", " T"],
        ),
        (".create function f() { let x = 1; x }", [".create function f() { let x = 1; x }"]),
        (".set T <| let x = 1; print x", [".set T <| let x = 1; print x"]),
        (".show a; .drop table T; print 1", [".show a", " .drop table T; print 1"]),
        ("T; U", ["T; U"]),
    ],
)
def test_only_commands_that_show_can_be_followed(text, parts):
    assert statements(text) == parts
