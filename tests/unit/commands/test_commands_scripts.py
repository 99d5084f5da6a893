"""Several commands at once: ``.execute database script``."""

from __future__ import annotations

import pytest

from cluster.commands.scripts import split
from cluster.errors import (
    InvalidRequestError,
    ReadOnlyError,
    SyntaxRefusedError,
    TableNotFoundError,
)
from cluster.request import Caller, ClientRequest

SCRIPT = """
//
// Tables
//
.create-merge table A (a:long)

.alter table A docstring ```several
.drop table A
lines```   // why
.drop table Nowhere;
.create-or-alter function
  with (docstring = 'x') F(limit:long) {
    A
    .show
    | take limit
}
.set B <| A
"""


def short(rows):
    return [(kind, result) for _, kind, _, result, _ in rows]


@pytest.mark.fidelity(
    "execute-database-script.md", "A script stops at the first error and succeeds"
)
async def test_a_script_ends_with_its_first_error(world):
    rows = await world.run(f".execute database script <|{SCRIPT}")
    assert short(rows) == [
        ("TableCreateMerge", "Completed"),
        ("TableDocstringAlter", "Completed"),
        ("TableDrop", "Failed"),
    ]
    assert rows[2][2] == ".drop table Nowhere;"
    assert "Nowhere" in rows[2][4]
    assert len({row[0] for row in rows}) == 3
    assert (await world.row(".show table A cslschema"))[4].startswith("several\n.drop table A")


@pytest.mark.fidelity(
    "execute-database-script.md", "ContinueOnErrors goes on; commands that show are skipped"
)
async def test_a_script_may_continue_after_an_error(world):
    rows = await world.run(
        ".execute script with (ContinueOnErrors = true) <| .frob\n"
        ".show tables\n.create table C (a:long)"
    )
    assert short(rows) == [
        ("Unknown", "Failed"),
        ("TablesShow", "Skipped"),
        ("TableCreate", "Completed"),
    ]


@pytest.mark.fidelity("execute-database-script.md", "ThrowOnErrors raises the first error")
async def test_a_script_may_raise_its_first_error(world):
    with pytest.raises(TableNotFoundError):
        await world.run(
            ".execute database script with (throwOnErrors = 'true') <|\n"
            ".drop table Nowhere\n.create table C (a:long)"
        )
    assert [row[0] for row in await world.run(".show tables")] == ["T"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            ".execute script with (ContinueOnErrors=true, ThrowOnErrors=true) <| .drop table T",
            InvalidRequestError,
        ),
        (".execute database script with (Stop=true) <| .drop table T", InvalidRequestError),
        (".execute database script <|", SyntaxRefusedError),
        (".execute database script <| // .drop table T", SyntaxRefusedError),
        (".execute database script <| T | count\n.drop table T", SyntaxRefusedError),
        (".execute database script .drop table T", SyntaxRefusedError),
    ],
)
async def test_scripts_that_are_refused_do_nothing(world, text, error):
    before = world.version()
    with pytest.raises(error):
        await world.run(text)
    assert world.version() == before


async def test_commands_of_a_script_are_recorded_under_their_operation_ids(world):
    request = ClientRequest(Caller("aaduser=ada"), request_id="r")
    ((operation_id, *_),) = await world.run(
        ".execute database script <| .create table C (a:long)", request=request
    )
    history = world.node.history.executed()
    (entry,) = (entry for entry in history if entry.kind == "TableCreate" and entry.principal)
    assert (entry.activity_id, entry.client_request_id) == (operation_id, "r")


async def test_secrets_of_a_script_are_masked(world):
    ((_, _, text, result, _),) = await world.run(
        ".execute database script <| .create tablex C (a:long) with (docstring=h'secret')"
    )
    assert (text, result) == (".create tablex C (a:long) with (docstring=******)", "Failed")


async def test_a_script_in_a_script_fails(world):
    rows = await world.run(
        ".execute database script <|\n.execute database script <|\n.drop table T"
    )
    assert short(rows)[0] == ("DatabaseScriptExecute", "Failed")
    assert await world.run(".show tables") != []


async def test_a_follower_refuses_each_command(follower):
    ((_, _, _, result, reason),) = await follower.run(".execute database script <| .drop table T")
    assert result == "Failed"
    assert "follows database" in reason
    with pytest.raises(ReadOnlyError):
        await follower.run(".execute database script with (ThrowOnErrors=true) <| .drop table T")


async def test_a_script_that_may_only_read_is_refused(world):
    with pytest.raises(ReadOnlyError):
        await world.run(
            ".execute database script <| .drop table T",
            request=ClientRequest(Caller(), read_only=True),
        )


@pytest.mark.parametrize(
    ("script", "commands"),
    [
        (".drop table T", [".drop table T"]),
        ("\ufeff.drop table T // c\n\n// d\n", [".drop table T // c"]),
        ("// .drop table T\n  .drop table U ;\n", [".drop table U ;"]),
        (".set A <| cluster('x')\n.database('y').T\n.drop table T",
         [".set A <| cluster('x')\n.database('y').T", ".drop table T"]),
        (".drop extents <|\n // which\n .show table T extents\n.drop table T",
         [".drop extents <|\n // which\n .show table T extents", ".drop table T"]),
        (".ingest inline into table T <|\nit's,1\n.5,2)\n.drop table T",
         [".ingest inline into table T <|\nit's,1\n.5,2)", ".drop table T"]),
        (".alter table T policy update @'[\n.drop table T\n]'\n.drop table U",
         [".alter table T policy update @'[\n.drop table T\n]'", ".drop table U"]),
    ],
)  # fmt: skip
def test_where_the_commands_of_a_script_begin(script, commands):
    assert split(script) == commands
