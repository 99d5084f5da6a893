"""Commands that set what belongs to a follower: documented columns, effective values, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from follower_examples import FOLLOWER_EXAMPLES

from cluster.catalog.changes import CreateTable, DropTable, SetPolicy, SetPrincipals
from cluster.catalog.following import ModificationKind, Sharing
from cluster.catalog.journal import Delta
from cluster.catalog.model import Column, Role, RoleAssignment, RowStoreKey, ScalarType
from cluster.catalog.policies import caching_of
from cluster.commands.grammar import COMMANDS, Kind
from cluster.errors import (
    ConflictError,
    DatabaseNotFoundError,
    InvalidRequestError,
    LimitExceededError,
    SyntaxRefusedError,
    TableNotFoundError,
)

OVERRIDES = [spec for spec in COMMANDS if spec.kind is Kind.OVERRIDE]
SETTING = [spec for spec in OVERRIDES if spec.name != "drop follower database"]
US = timedelta(microseconds=1)


def hot(days):
    span = "00:00:00" if not days else f"{days}.00:00:00"
    return {"DataHotSpan": {"Value": span}, "IndexHotSpan": {"Value": span}}


def text(policy):
    return json.dumps(policy, separators=(",", ":"))


async def leader_commits(follower, *changes):
    version = follower.catalog.leader_tree("Sales").version
    await follower.catalog.apply_delta("Sales", Delta(version, version.next(), changes))


async def caching_days(follower, table):
    tree = follower.catalog.get("Sales")
    hot_us = caching_of(tree, tree.tables[table]).data_hot_us
    return None if hot_us is None else hot_us / (timedelta(days=1) / US)


@pytest.mark.fidelity(
    "cluster-follower.md", ".show follower database shows the overrides and their kinds"
)
async def test_a_database_without_overrides(follower):
    row = ("Sales", "leader", "null", "[]", "Union", False, "", "Union")
    assert await follower.row(".show follower database sales") == row
    assert await follower.run(".show follower databases") == [row]
    assert await follower.run(".show follower databases (Sales, Sales)") == [row]


@pytest.mark.fidelity(
    "cluster-follower.md",
    "Commands on overrides",
    differs=(
        "They are in force when they return, not at the next refresh, and return the row of .show"
    ),
)
@pytest.mark.parametrize("spec", SETTING, ids=lambda spec: spec.name)
async def test_each_returns_what_is_set_and_makes_no_version(follower, spec):
    version = follower.version()
    (row,) = await follower.run(FOLLOWER_EXAMPLES[spec.name], "NetDefaultDB")
    assert row == await follower.row(".show follower database Sales")
    assert follower.version() == version


@pytest.mark.parametrize("spec", OVERRIDES, ids=lambda spec: spec.name)
async def test_a_database_of_this_cluster_has_no_overrides(world, spec):
    tree, revision = world.catalog.get("Sales"), world.catalog.revision
    with pytest.raises(ConflictError, match="'Sales' does not follow a leader"):
        await world.run(FOLLOWER_EXAMPLES[spec.name])
    assert (world.catalog.get("Sales"), world.catalog.revision) == (tree, revision)


@pytest.mark.parametrize("spec", OVERRIDES, ids=lambda spec: spec.name)
async def test_a_database_that_is_not_there(follower, spec):
    with pytest.raises(DatabaseNotFoundError):
        await follower.run(FOLLOWER_EXAMPLES[spec.name].replace("Sales", "Nope"))


async def test_show_of_what_does_not_follow(world):
    assert await world.run(".show follower databases") == []
    assert await world.run(".show follower databases details") == []
    for command in (".show follower database Sales", ".show follower database Sales details"):
        with pytest.raises(ConflictError, match="does not follow"):
            await world.run(command)


# Caching


async def test_caching_of_the_database_is_what_commands_and_the_hot_cache_see(follower):
    row = await follower.row(".alter follower database Sales policy caching hot = 7d")
    assert row[2] == text(hot(7))
    assert (await follower.row(".show database policy caching"))[2] == text(hot(7))
    assert await caching_days(follower, "T") == 7
    row = await follower.row(".alter follower database Sales policy caching hot = 0d")
    assert json.loads(row[2]) == hot(0)
    assert await caching_days(follower, "T") == 0
    row = await follower.row(".delete follower database Sales policy caching")
    assert row[2] == "null"
    assert (await follower.row(".show database policy caching"))[2] == "null"


async def test_hot_windows_of_an_override(follower):
    row = await follower.row(
        ".alter follower database Sales policy caching hotdata = 1d hotindex = 2d, "
        "hot_window = datetime(2021-01-01) .. datetime(2021-02-01)"
    )
    policy = json.loads(row[2])
    assert policy["DataHotSpan"] == {"Value": "1.00:00:00"}
    assert policy["IndexHotSpan"] == {"Value": "2.00:00:00"}
    assert len(policy["HotWindows"]) == 1


@pytest.mark.fidelity("cluster-follower.md", "Tables have caching overrides of their own")
async def test_caching_of_tables(follower):
    await leader_commits(follower, SetPolicy("T", "caching", text(hot(30))))
    row = await follower.row(".alter follower database Sales table T policy caching hot = 1d")
    assert json.loads(row[6]) == {"T": {"CachingPolicyOverride": hot(1)}}
    assert (await follower.row(".show table T policy caching"))[2] == text(hot(1))
    await follower.run(".delete follower database Sales tables (T) policy caching")
    assert (await follower.row(".show table T policy caching"))[2] == text(hot(30))
    assert (await follower.row(".show follower database Sales"))[6] == ""


async def test_all_tables_or_none(follower):
    with pytest.raises(TableNotFoundError):
        await follower.run(".alter follower database Sales tables (T, X) policy caching hot = 1d")
    assert (await follower.row(".show follower database Sales"))[6] == ""
    with pytest.raises(TableNotFoundError):
        await follower.run(".delete follower database Sales table X policy caching")


@pytest.mark.fidelity(
    "cluster-follower.md", "caching-policies-modification-kind is none, union or replace"
)
@pytest.mark.parametrize(
    ("kind", "expected"),
    [("none", (30, 365)), ("union", (1, 365)), ("replace", (1, 3))],
)
async def test_kinds_of_caching(follower, kind, expected):
    """The leader: the table 30 days, the database 365; the follower: T 1 day, the database 3."""
    create = CreateTable("U", "id", RowStoreKey(9), (Column("a", ScalarType.LONG),))
    await leader_commits(
        follower,
        create,
        SetPolicy("T", "caching", text(hot(30))),
        SetPolicy("U", "caching", text(hot(365))),
    )
    await follower.run(".alter follower database Sales table T policy caching hot = 1d")
    await follower.run(".alter follower database Sales policy caching hot = 3d")
    row = await follower.row(
        f".alter follower database Sales caching-policies-modification-kind = {kind}"
    )
    assert row[7] == kind.title()
    assert (await caching_days(follower, "T"), await caching_days(follower, "U")) == expected


@pytest.mark.fidelity(
    "cluster-follower.md", "Replaced caching policies without an override cache everything"
)
async def test_replace_without_overrides_caches_everything(follower):
    await leader_commits(
        follower, SetPolicy("", "caching", text(hot(0))), SetPolicy("T", "caching", text(hot(1)))
    )
    await follower.run(
        ".alter follower database Sales caching-policies-modification-kind = replace"
    )
    assert await caching_days(follower, "T") is None
    assert (await follower.row(".show table T policy caching"))[2] == "null"


async def test_an_override_outlives_its_table_and_can_be_removed(follower):
    await follower.run(".alter follower database Sales table T policy caching hot = 1d")
    await leader_commits(follower, DropTable("T"))
    assert "T" in (await follower.row(".show follower database Sales"))[6]
    await follower.run(".delete follower database Sales table T policy caching")
    assert (await follower.row(".show follower database Sales"))[6] == ""


# Principals

JACK = RoleAssignment(Role.ADMINS, "aaduser=jack@contoso.com", "", "guid")


@pytest.mark.fidelity(
    "cluster-follower.md", "principals-modification-kind is none, union or replace"
)
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("none", {"jack@contoso.com"}),
        ("union", {"jack@contoso.com", "jill@contoso.com"}),
        ("replace", {"jill@contoso.com"}),
    ],
)
async def test_kinds_of_principals(follower, kind, expected):
    await leader_commits(follower, SetPrincipals("", (JACK,)))
    await follower.run(".add follower database Sales viewers ('aaduser=jill@contoso.com') 'a note'")
    row = await follower.row(
        f".alter follower database Sales principals-modification-kind = {kind}"
    )
    assert row[4] == kind.title()
    (override,) = json.loads(row[3])
    assert override["Principal"]["FullyQualifiedName"] == "aaduser=jill@contoso.com"
    assert (override["Role"], override["Notes"]) == ("Viewer", "a note")
    rows = await follower.run(".show database Sales principals")
    assert {row[2] for row in rows} == expected
    details = (await follower.row(".show database details"))[6]
    assert {item["DisplayName"] for item in json.loads(details)} == expected


@pytest.mark.fidelity("cluster-follower.md", "Replaced principals without an override leave none")
async def test_replace_without_principals_leaves_none(follower):
    await leader_commits(follower, SetPrincipals("", (JACK,)))
    await follower.run(".alter follower database Sales principals-modification-kind = replace")
    assert await follower.run(".show database Sales principals") == []


async def test_the_attachment_says_the_kind_until_a_command_does(follower):
    kind = ModificationKind.NONE
    tree = follower.catalog.leader_tree("Sales")
    await follower.catalog.install_snapshot("Sales", "leader", "Sales", tree, principals_kind=kind)
    assert (await follower.row(".show follower database Sales"))[4] == "None"
    await follower.run(".alter follower database Sales principals-modification-kind = union")
    await follower.catalog.install_snapshot("Sales", "leader", "Sales", tree, principals_kind=kind)
    assert (await follower.row(".show follower database Sales"))[4] == "Union"


@pytest.mark.fidelity(
    "cluster-follower.md", ".add and .drop follower database ROLE change the override of principals"
)
async def test_principals_are_added_once_and_dropped_by_role(follower):
    add = ".add follower database Sales {} ('aadapp=a;t', 'aaduser=u')"
    await follower.run(add.format("users"))
    await follower.run(add.format("users"))
    await follower.run(add.format("monitors"))
    assert len(await follower.run(".show database principals")) == 4
    await follower.run(".drop follower database Sales users ('AADUSER=U', 'aaduser=nobody')")
    rows = await follower.run(".show database principals")
    assert [(row[0], row[4]) for row in rows] == [
        ("Database Sales User", "aadapp=a;t"),
        ("Database Sales Monitor", "aadapp=a;t"),
        ("Database Sales Monitor", "aaduser=u"),
    ]


async def test_ingestors_are_no_role_of_a_follower(follower):
    with pytest.raises(SyntaxRefusedError):
        await follower.run(".add follower database Sales ingestors ('aaduser=u')")
    with pytest.raises(InvalidRequestError, match="fully qualified"):
        await follower.run(".add follower database Sales users ('somebody')")


# The rest


@pytest.mark.fidelity(
    "cluster-follower.md", "prefetch-extents fetches new extents before they can be queried"
)
async def test_prefetching(follower):
    row = await follower.row(".alter follower database Sales prefetch-extents = true")
    assert row[5] is True
    row = await follower.row(
        ".alter follower database Sales from 'LEADER' prefetch-extents = false"
    )
    assert row[5] is False


async def test_another_leader_than_the_one_followed(follower):
    with pytest.raises(ConflictError, match="follows cluster 'leader', not 'other'"):
        await follower.run(".alter follower database Sales from 'other' prefetch-extents = true")
    assert (await follower.row(".show follower database Sales"))[5] is False


@pytest.mark.fidelity("published grammar", ".drop follower database detaches")
async def test_dropping_is_detaching(follower):
    await follower.run(".create database Own")
    for command in (
        ".drop follower databases (Sales, Own) from 'leader'",
        ".drop follower database Sales from 'other'",
    ):
        with pytest.raises(ConflictError):
            await follower.run(command)
    assert follower.node.detached == []
    rows = await follower.run(".drop follower databases (sales) from 'leader'")
    assert rows == [("Sales", "leader")]
    assert follower.node.detached == [("leader", "Sales")]


@pytest.mark.fidelity(
    "published grammar",
    "Tables, external tables and views are excluded and included by name",
    differs="Narrows what the attachment shares for what is seen; the rows still come",
)
async def test_tables_are_left_out_and_brought_back(follower):
    await follower.run(".alter follower database Sales tables exclude add (T*)")
    assert await follower.run(".show tables") == []
    await follower.run(".alter follower database Sales tables exclude add (T*)")
    await follower.run(".alter follower database Sales tables include add (X)")
    await follower.run(".alter follower database Sales tables exclude drop (T*)")
    assert await follower.run(".show tables") == []
    await follower.run(".alter follower database Sales tables include drop (X)")
    assert len(await follower.run(".show tables")) == 1
    with pytest.raises(InvalidRequestError, match="'X' is not in the list"):
        await follower.run(".alter follower database Sales tables include drop (X)")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("tables include", "tablesToInclude"),
        ("tables exclude", "tablesToExclude"),
        ("external tables include", "externalTablesToInclude"),
        ("external tables exclude", "externalTablesToExclude"),
        ("materialized-views include", "materializedViewsToInclude"),
        ("materialized-views exclude", "materializedViewsToExclude"),
    ],
)
async def test_every_list(follower, words, name):
    await follower.run(f".alter follower database Sales {words} add (a, b*)")
    row = await follower.row(".show follower database Sales details")
    assert (row[5], json.loads(row[6])) == ("{}", {name: ["a", "b*"]})


@pytest.mark.fidelity("follower.md", "Sharing has at most 100 entries over all lists")
@pytest.mark.parametrize("count", [99, 100, 101])
async def test_at_most_100_entries(follower, count):
    names = ", ".join(f"N{number}" for number in range(count - 1))
    await follower.run(".alter follower database Sales external tables exclude add (a)")
    command = f".alter follower database Sales tables exclude add ({names})"
    if count <= 100:
        await follower.run(command)
        return
    with pytest.raises(LimitExceededError, match="101 entries"):
        await follower.run(command)
    assert len(await follower.run(".show tables")) == 1


async def test_where_a_follower_stands(follower):
    row = await follower.row(".show follower database Sales details")
    assert row == (
        "Sales", "leader", "Sales", "sales", "Direct", "{}", "{}", 7, "closed",
        "streaming ingestion is off on this cluster", True, "v1.1", '{"T":12}', 0,
        timedelta(milliseconds=250), None, timedelta(seconds=1.5), "",
    )  # fmt: skip
    assert await follower.run(".show follower databases details") == [row]


async def test_the_journal_does_not_tell_of_what_is_not_shared(follower):
    columns = (Column("a", ScalarType.LONG),)
    await leader_commits(follower, CreateTable("Hidden", "id", RowStoreKey(9), columns))
    await leader_commits(follower, CreateTable("Told", "id2", RowStoreKey(10), columns))

    sharing = Sharing(tables_to_exclude=("Hidden",))
    await follower.catalog.set_following("Sales", lambda now: replace(now, sharing=sharing))
    assert [row[3] for row in await follower.run(".show database Sales journal")] == ["Told"]
