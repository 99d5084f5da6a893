"""``.show journal``: one row for each change of metadata, none for data."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from command_examples import EXAMPLES
from commands_world import extent

from cluster.catalog.changes import EVENTS, ClearTable, ReplaceExtents
from cluster.request import NODE_REQUEST, Caller, ClientRequest


@pytest.mark.fidelity("journal.md", "Changes of schema are events of the journal")
async def test_the_story_of_a_table(world):
    for text in (
        ".create table New (col1:int, t:timespan)",
        ".alter column New.t type=bool",
        ".rename table New to Newer",
        ".alter table Newer folder 'f'",
        ".alter table Newer policy merge '{}'",
        ".drop table Newer",
    ):
        await world.run(text)
    rows = (await world.run(".show database sales journal"))[1:]
    version = world.version()
    assert [row[0] for row in rows] == [
        "CREATE-TABLE",
        "ALTER-TABLE-SCHEMA",
        "RENAME-TABLE",
        "ALTER-TABLE-DESCRIPTION",
        "ALTER-POLICY",
        "DROP-TABLE",
    ]
    assert rows[0][2:] == (
        "Sales",
        "New",
        "New",
        "v1.2",
        "Sales",
        ".",
        "Name: New, Attributes: Name='[New].[col1]', Type='I32' Name='[New].[t]', Type='TimeSpan'",
        ".create table New (col1:int, t:timespan)",
        "",
        None,
        "",
        "",
        "v1.1",
    )
    assert rows[1][6] == "New", "the container of a column is its table"
    assert rows[2][3:5] == ("New", "Newer")
    assert rows[5][3:6] == ("Newer", "", str(version))
    assert rows[5][9] == ".drop table Newer"
    assert {row[1] for row in rows} == {datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)}


@pytest.mark.fidelity("journal.md", "User is who sent the command")
@pytest.mark.parametrize(
    ("request_", "user"),
    [
        (ClientRequest(Caller("aaduser=ann@x;t"), user="somebody"), "ann@x"),
        (ClientRequest(Caller(), user="bob"), "bob"),
        (ClientRequest(Caller(), user="b" * 300), "b" * 256),
        (NODE_REQUEST, ""),
    ],
)
async def test_the_journal_names_who_sent_the_command(world, request_, user):
    await world.run(".create table New (a:int)", request=request_)
    await world.run(".alter table New folder 'f'")
    rows = await world.run(".show database Sales journal")
    assert [row[13] for row in rows[-2:]] == [user, ""]


async def test_of_all_databases_in_order_of_time(world):
    await world.run(".create table D (a:int)", "")
    rows = await world.run(".show journal")
    assert {row[2] for row in rows} == {"NetDefaultDB", "Sales"}
    assert rows == sorted(rows, key=lambda row: row[1])


@pytest.mark.fidelity("journal.md", "New extents are not in the journal")
async def test_data_is_not_journaled(world):
    before = await world.run(".show database Sales journal")
    await world.catalog.commit("Sales", [ReplaceExtents("T", (), (extent("e", 1),))], text="x")
    assert await world.run(".show database Sales journal") == before


async def test_policies_of_the_cluster_have_a_journal_of_their_own(world):
    await world.run(EXAMPLES["alter cluster policy rowstore"])
    (row,) = await world.run(".show cluster journal")
    assert (row[0], row[2], row[3]) == ("ALTER-POLICY", "", "")
    assert row[8].startswith("cluster rowstore: {")
    assert await world.run(".show database NetDefaultDB journal") == []


async def test_every_change_that_has_an_event_is_shown(world):
    """Runs an example of each, then asks the journal for its event."""
    for text in (
        ".create table S (x:int)",
        ".alter-merge table T (z:int)",
        ".alter column T.z type=string",
        ".alter table T folder 'f'",
        ".alter table T column-docstrings (a:'d')",
        ".rename table S to S2",
        ".alter table T policy streamingingestion enable",
        ".alter database Sales policy streamingingestion enable",
        ".alter table T policy retention '{}'",
        EXAMPLES["create table mapping"],
        EXAMPLES["drop table mapping"],
        ".create function F() { T }",
        ".drop function F",
        ".alter database Sales prettyname 'P'",
        ".add table T admins ('aaduser=a@b.c')",
    ):
        await world.run(text)
    await world.catalog.commit(
        "Sales", [ReplaceExtents("T", (), (extent("e", 1, columns=(0,)),))], text=""
    )
    await world.catalog.commit("Sales", [ClearTable("T", ())], text=".clear table T data")
    await world.catalog.commit(
        "Sales", [ReplaceExtents("T", (), (extent("e2", 1, columns=(0,)),))], text=""
    )
    version = world.version()
    await world.run(".drop table T")
    await world.run(f".undo drop table T as Back version='{version}'")
    shown = {row[0] for row in await world.run(".show database Sales journal")}
    assert shown == set(EVENTS.values())
