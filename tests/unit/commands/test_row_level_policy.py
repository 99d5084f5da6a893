"""The policy of row level security: what it takes to enable it, and whom commands read rows for."""

from __future__ import annotations

import json

import pytest
import trio
from commands_world import extent

from cluster.catalog.changes import ReplaceExtents, SetPolicy
from cluster.errors import InvalidRequestError, NotSupportedError, ReadOnlyError
from cluster.limits import LIMITS
from cluster.query.driver import QueryEngine
from cluster.query.process import TranslatorStatistics
from cluster.query.translate import translate
from cluster.request import Caller, ClientRequest

SHOW = ".show table T policy row_level_security"


class InPlace:
    """Translates in this process."""

    async def translate(self, query):
        return translate(query, LIMITS)

    async def aclose(self):
        await trio.lowlevel.checkpoint()

    def statistics(self):
        return TranslatorStatistics(None, 0, 0, 0, 0, 0.0, 0)


@pytest.fixture
async def asking(world):
    """The world with an engine that answers."""
    async with QueryEngine(clock=world.node.clock, cores=1, translator=InPlace()) as engine:
        world.node.queries = engine
        await world.run(".drop table T")
        await world.run(".create table T (who:string, n:long)")
        await world.run(".create table S (who:string, n:long)")
        yield world


def alter(query, word="enable", table="T"):
    return f'.alter table {table} policy row_level_security {word} "{query}"'


@pytest.mark.fidelity(
    "rowlevelsecuritypolicy.md", "The policy is shown with its query; disabled it is kept"
)
@pytest.mark.parametrize(("word", "is_enabled"), [("enable", True), ("disable", False)])
async def test_it_is_shown_as_it_was_given(asking, word, is_enabled):
    query = "T | where who == current_principal()"
    row = await asking.row(alter(query, word))
    assert row == await asking.row(SHOW)
    assert row[:2] == ("RowLevelSecurityPolicy", "[Sales].[T]")
    assert json.loads(row[2]) == {"IsEnabled": is_enabled, "Query": query}


@pytest.mark.fidelity(
    "rowlevelsecuritypolicy.md", "The policy's query must give exactly the columns of its table"
)
@pytest.mark.parametrize("word", ["enable", "disable"])
@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("T | project who", r"gives \(who:string\), not the columns"),
        ("T | project n, who", "in their order"),
        ("T | extend n = tostring(n)", "n:string"),
        ("T | extend n = todynamic(who)", "n:dynamic"),
        ("Missing", "SEM0100"),
        ("T | where nothing == 1", "SEM0100"),
        ("T | where", "Syntax error"),
        (".show tables", "it is a command"),
    ],
)
async def test_a_query_that_does_not_fit_is_refused(asking, word, query, why):
    with pytest.raises(InvalidRequestError, match=why):
        await asking.run(alter(query, word))
    assert (await asking.row(SHOW))[2] == "null"


@pytest.mark.fidelity("rowlevelsecuritypolicy.md", "The policy's query cannot read other databases")
async def test_a_query_of_another_database_is_refused(asking):
    await asking.run(".create database Other")
    with pytest.raises(InvalidRequestError, match="Other"):
        await asking.run(alter("union T, database('Other').T"))


@pytest.mark.fidelity(
    "rowlevelsecuritypolicy.md", "A table of restricted view cannot be under the policy"
)
async def test_not_with_a_restricted_view(asking):
    await asking.run(".alter table T policy restricted_view_access true")
    with pytest.raises(InvalidRequestError, match="restricted view"):
        await asking.run(alter("T"))
    await asking.run(alter("T", "disable"))
    await asking.run(".alter table T policy restricted_view_access false")
    await asking.run(alter("T"))
    with pytest.raises(InvalidRequestError, match="restricted view"):
        await asking.run(".alter table T policy restricted_view_access true")


@pytest.mark.fidelity(
    "rowlevelsecuritypolicy.md",
    "A table that an update policy reads cannot be under the policy without a managed identity",
    differs="in no case: managed identities are not supported",
)
@pytest.mark.parametrize(
    "entry",
    [
        {"Source": "T", "Query": "T"},
        {"Source": "S", "Query": "union S, T"},
        {"Source": "S", "Query": "F()"},
        {"Source": "T", "Query": "T", "ManagedIdentity": "system"},
        {"Source": "*", "SourceIsWildCard": True, "Query": "$source_table"},
    ],
)
async def test_not_with_an_update_policy_that_reads_it(asking, entry):
    await asking.run(".create function F() { T }")
    await asking.run(".create table Target (who:string, n:long)")
    update = f".alter table Target policy update '[{json.dumps(entry)}]'"
    await asking.run(update)
    with pytest.raises(NotSupportedError, match="update policy"):
        await asking.run(alter("T"))
    await asking.run(".delete table Target policy update")
    await asking.run(alter("T"))
    with pytest.raises(NotSupportedError, match="update policy"):
        await asking.run(update)


@pytest.mark.parametrize(
    "command",
    [".rename table T to S", ".rename tables S=T", ".rename tables S=T, Other=S, T=Other"],
)
async def test_no_name_that_an_update_policy_reads_is_given_to_it(asking, command):
    """What the update policy reads then would go to its table whole, for all to see."""
    await asking.run(".create table Derived (who:string, n:long)")
    await asking.run(".create table Other (who:string, n:long)")
    entry = json.dumps([{"IsEnabled": True, "Source": "S", "Query": "S"}])
    await asking.run(f".alter table Derived policy update @'{entry}'")
    await asking.run(alter("T | where who == current_principal()"))
    if "Other" not in command:
        await asking.run(".rename table S to Old")
    with pytest.raises(NotSupportedError, match=r"reads table 'S'.*managed identities"):
        await asking.run(command)
    await asking.run(".rename table T to Elsewhere")


READS = "T | where who in (Allowed | project who) or who in (Mine | project who)"
"""Under this policy Allowed is a table, Mine a function."""


@pytest.fixture
async def reading(asking, nursery):
    await nursery.start(asking.node.operations.run)
    await asking.run(".create table Allowed (who:string)")
    await asking.run(".create function Mine() { Allowed }")
    await asking.run(alter(READS))
    return asking


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (".create function Allowed() { print who = 'me' }", "Allowed"),
        (".create-or-alter function Allowed() { print who = 'me' }", "Allowed"),
        (".create table Mine (who:string)", "Mine"),
        (".create tables Other (who:string), Mine (who:string)", "Mine"),
        (".create-merge table Mine (who:string)", "Mine"),
        (".create table Mine based-on Allowed", "Mine"),
        (".rename table S to Mine", "Mine"),
        (".rename tables Mine=S", "Mine"),
        (".set Mine <| print who = 'me'", "Mine"),
        (".set-or-append Mine <| print who = 'me'", "Mine"),
    ],
)
async def test_no_name_closes_a_table_under_the_policy(reading, command, name):
    """It could then be a table or a function, and the policy would refuse every query."""
    version = reading.version()
    with pytest.raises(NotSupportedError, match=rf"of table 'T' reads '{name}'") as refused:
        await reading.run(command)
    assert "another name" in refused.value.remedy
    assert reading.version() == version


async def test_nor_does_the_text_of_another_function(reading):
    await reading.run(".create function S() { print who = 'me' }")
    with pytest.raises(NotSupportedError, match="of table 'T' reads 'S'"):
        await reading.run(".create-or-alter function Mine() { S | project who }")
    await reading.run(".create-or-alter function Mine() { S() | project who }")


async def test_names_that_no_policy_in_force_reads_may_be_of_both(reading):
    await reading.run(".create function T() { print 1 }")
    await reading.run(".create function S() { print 1 }")
    await reading.run(".create table New (who:string)")
    await reading.run(alter(READS, "disable"))
    await reading.run(".drop table New")
    await reading.run(".create table Mine (who:string)")


async def test_what_is_closed_already_does_not_stop_the_names_of_others(reading):
    await reading.run(alter(READS, "disable"))
    await reading.run(".create table Mine (who:string)")
    changes = [
        SetPolicy("T", "row_level_security", json.dumps({"IsEnabled": True, "Query": READS}))
    ]
    await reading.catalog.commit("Sales", changes, text="")
    await reading.run(".rename table S to Fine")
    await reading.run(".drop function Mine")
    await reading.run(".create function Fair() { print 1 }")


async def test_a_dropped_table_does_not_come_back_to_an_update_policy_that_reads_it(asking):
    await asking.run(alter("T | where who == current_principal()"))
    await asking.catalog.commit("Sales", [ReplaceExtents("T", (), (extent("e1", 5),))], text="")
    version = asking.version()
    await asking.run(".drop table T")
    await asking.run(".create table T (who:string, n:long)")
    await asking.run(""".alter table S policy update '[{"Source": "T", "Query": "T"}]'""")
    await asking.run(".rename table T to Newer")
    with pytest.raises(NotSupportedError, match="reads table 'T'"):
        await asking.run(f'.undo drop table T version="{version}"')
    await asking.run(f'.undo drop table T as Back version="{version}"')


async def test_a_table_may_be_derived_and_under_the_policy(asking):
    await asking.run(""".alter table T policy update '[{"Source": "S", "Query": "S"}]'""")
    await asking.run(alter("T"))


async def test_a_follower_has_the_policy_of_its_leader(follower):
    with pytest.raises(ReadOnlyError):
        await follower.run(alter("T"))


@pytest.mark.fidelity(
    "rowlevelsecuritypolicy.md", "Who ingests from a query reads what the policy gives them"
)
async def test_commands_read_as_who_sends_them(asking, nursery):
    await nursery.start(asking.node.operations.run)
    seen = []

    class Queries:
        async def run(self, kql, snapshot, *, caller=None):
            seen.append(caller)
            raise NotSupportedError("seen")

        run_to_store = run

    asking.node.queries = Queries()
    eve = ClientRequest(Caller("aaduser=eve"))
    for text in (".drop extents <| T", ".set-or-append S <| T"):
        with pytest.raises(NotSupportedError, match="seen"):
            await asking.run(text, request=eve)
    assert seen == [eve.caller, eve.caller]
