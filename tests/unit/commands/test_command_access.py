"""Commands of callers with roles: what is refused, what is shown, whom a table belongs to."""

from __future__ import annotations

import itertools

import pytest
from commands_world import FakeNode, FixedClock

from cluster.access.control import AccessControl
from cluster.access.settings import AuthSettings
from cluster.catalog.driver import Catalog
from cluster.commands.service import CommandService
from cluster.errors import AccessDeniedError, InvalidRequestError
from cluster.request import Caller, ClientRequest

REQUIRED = AuthSettings(is_required=True)


@pytest.fixture
async def guarded(tmp_path):
    async with await Catalog.open(
        tmp_path / "catalog.sqlite", clock=FixedClock(), mint=itertools.count(1).__next__
    ) as catalog:
        yield _Guarded(catalog)


class _Guarded:
    """A service whose callers have roles; the node itself makes databases Sales and Other."""

    def __init__(self, catalog):
        self.catalog = catalog
        self.node = FakeNode()
        self.service = CommandService(
            catalog, self.node, access=AccessControl(catalog, REQUIRED, cluster="leader")
        )

    async def run(self, text, caller="", database="Sales"):
        who = Caller(f"aadapp={caller};adfs") if caller else Caller(is_node=True)
        result = await self.service.execute(database, text, ClientRequest(who))
        return list(result.rows)

    async def prepare(self):
        for name in ("Sales", "Other"):
            await self.run(f".create database {name}")
            await self.run(f".create table T{name} (a:long)", database=name)


async def test_a_user_makes_a_table_and_is_its_administrator(guarded):
    await guarded.prepare()
    await guarded.run(".add database Sales users ('aadapp=ann')")
    await guarded.run(".add database Sales users ('aadapp=bob')")
    await guarded.run(".create table Mine (a:long)", "ann")
    (row,) = await guarded.run(".show table Mine principals")
    assert row[0] == "Table Mine Admin"
    assert row[4] == "aadapp=ann;adfs"
    await guarded.run(".alter table Mine folder 'f'", "ann")
    with pytest.raises(AccessDeniedError, match=r"\.add table Mine admins|Table Admin"):
        await guarded.run(".drop table Mine", "bob")
    with pytest.raises(AccessDeniedError):
        await guarded.run(".drop table TSales", "ann")
    await guarded.run(".drop table Mine", "ann")


async def test_a_refused_command_changes_nothing_and_is_in_the_history(guarded):
    await guarded.prepare()
    version = guarded.catalog.get("Sales").version
    for text in (".create table A (a:long)", ".drop table TSales", ".drop database Sales"):
        with pytest.raises(AccessDeniedError):
            await guarded.run(text, "nobody")
    assert guarded.catalog.get("Sales").version == version
    shown = await guarded.run(".show commands")
    assert any("nobody" in str(row) and "Failed" in row for row in shown)


async def test_only_what_may_be_seen_is_shown(guarded):
    await guarded.prepare()
    await guarded.run(".add database Sales monitors ('aadapp=m')")
    names = {row[0] for row in await guarded.run(".show databases schema", "m")}
    assert names == {"Sales"}
    for text in (".show journal", ".show queries", ".show operations"):
        rows = await guarded.run(text, "m")
        assert not any("Other" in row for row in rows)
    assert any("Other" in row for row in await guarded.run(".show journal"))
    with pytest.raises(AccessDeniedError):
        await guarded.run(".show database Other journal", "m")
    with pytest.raises(AccessDeniedError):
        await guarded.run(".show tables", "m", database="Other")


@pytest.mark.fidelity(
    "show-databases.md",
    ".show databases lists the databases that the caller has access to",
    differs="For every caller, as clients ask it first; the page also says AllDatabasesMonitor",
)
@pytest.mark.parametrize("flavor", ["", " details", " identity", " policies", " datastats"])
async def test_databases_that_the_caller_may_see_are_listed(guarded, flavor):
    await guarded.prepare()
    await guarded.run(".add database Sales viewers ('aadapp=v')")
    await guarded.run(".add cluster alldatabasesmonitors ('aadapp=m')")

    async def listed(text, caller):
        return [row[0] for row in await guarded.run(f"{text}{flavor}", caller, "NetDefaultDB")]

    assert await listed(".show databases", "v") == ["Sales"]
    assert await listed(".show cluster databases", "v") == ["Sales"]
    assert await listed(".show databases (*)", "v") == ["Sales"]
    assert await listed(".show databases (Sa*, Other*)", "v") == ["Sales"]
    assert await listed(".show databases (Sales)", "v") == ["Sales"]
    assert await listed(".show databases", "nobody") == []
    assert {"Sales", "Other"} < set(await listed(".show databases", "m"))
    with pytest.raises(AccessDeniedError):
        await listed(".show databases (Other)", "v")


async def test_a_query_behind_a_command_needs_the_right_to_read(guarded):
    await guarded.prepare()
    await guarded.run(".add table TSales ingestors ('aadapp=i')")
    with pytest.raises(AccessDeniedError, match="read database 'Sales'"):
        await guarded.run(".append TSales <| TSales", "i")


async def test_each_command_of_a_script_is_checked(guarded):
    await guarded.prepare()
    await guarded.run(".add database Sales admins ('aadapp=ann')")
    rows = await guarded.run(
        ".execute database script with (ContinueOnErrors=true) <|\n"
        ".create table Fresh (a:long)\n.create database Mine",
        "ann",
    )
    assert [row[3] for row in rows] == ["Completed", "Failed"]
    assert "not authorized" in rows[1][4]


async def test_functions_are_changed_by_administrators_of_the_database(guarded):
    await guarded.prepare()
    await guarded.run(".add database Sales users ('aadapp=ann')")
    await guarded.run(".create-or-alter function F() { TSales }", "ann")
    with pytest.raises(AccessDeniedError):
        await guarded.run(".create-or-alter function F() { 1 }", "ann")


async def test_roles_over_all_databases(guarded):
    await guarded.prepare()
    rows = await guarded.run(".add cluster viewers ('aadapp=v', 'aadgroup=g') 'note'")
    assert [(row[0], row[4], row[5]) for row in rows] == [
        ("AllDatabasesViewer", "aadapp=v", "note"),
        ("AllDatabasesViewer", "aadgroup=g", "note"),
    ]
    await guarded.run(".add cluster alldatabasesmonitors ('aadapp=v')")
    assert await guarded.run(".show cluster principals", "v") == [
        *rows,
        *(await guarded.run(".show cluster principals"))[2:],
    ]
    assert await guarded.run(".show database NetDefaultDB principals") == []
    await guarded.run(".show tables", "v", database="Other")
    await guarded.run(".set cluster viewers none")
    assert [row[0] for row in await guarded.run(".show cluster principals")] == [
        "AllDatabasesMonitor"
    ]
    with pytest.raises(AccessDeniedError):
        await guarded.run(".add cluster admins ('aadapp=v')", "v")


async def test_who_has_which_role(guarded):
    await guarded.prepare()
    await guarded.run(".add cluster monitors ('aadapp=ann')")
    await guarded.run(".add database Sales users ('aadapp=ann;other')")
    await guarded.run(".add table TSales ingestors ('aadapp=ann')")
    await guarded.run(".add database Sales ingestors ('aadapp=bob')")
    cluster = ("Cluster", "ann", "", "AllDatabasesMonitor")
    database = ("Database Sales", "ann", "", "User")
    table = ("Table Sales.TSales", "ann", "", "Ingestor")
    for text, expected in {
        ".show principal roles": [cluster, database, table],
        ".show cluster principal roles": [cluster],
        ".show database principal roles": [database],
        ".show database Other principal roles": [],
        ".show table TSales principal roles": [table],
        ".show principal 'aadapp=ann' roles": [cluster, database, table],
    }.items():
        assert await guarded.run(text, "ann") == expected, text
    assert await guarded.run(".show principal 'aadapp=ann' roles") == [cluster, database, table]
    assert await guarded.run(".show database principal roles", "bob") == [
        ("Database Sales", "bob", "", "Ingestor")
    ]
    with pytest.raises(AccessDeniedError):
        await guarded.run(".show database principal 'aadapp=ann' roles", "bob")
    assert await guarded.run(".show cluster principal roles") == [
        ("Cluster", "the node", "", "AllDatabasesAdmin")
    ]


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ("accesstype='ingest', database='Sales', table='TSales'", True),
        ("accesstype='ingest', database='Sales'", False),
        ("accesstype='query', database='Sales', table='TSales'", False),
        ("accesstype='admin', database='Sales', table='TSales'", False),
        ("accesslevel='ingest', table='TSales', useCurrentPrincipal=true", True),
        ("principal='aadapp=i;t', accesstype='ingest', database='Sales', table='TSales'", True),
    ],
)
async def test_what_connectors_ask_before_they_begin(guarded, given, allowed):
    await guarded.prepare()
    await guarded.run(".add table TSales ingestors ('aadapp=i')")
    (row,) = await guarded.run(f".show principal access with ({given})", "i")
    assert row[3] is allowed


async def test_access_of_somebody_else_is_for_who_may_see_it(guarded):
    await guarded.prepare()
    text = ".show principal access with (principal='aadapp=x', database='Sales')"
    with pytest.raises(AccessDeniedError):
        await guarded.run(text, "i")
    assert (await guarded.run(text))[0][3] is False
    with pytest.raises(InvalidRequestError, match="fly"):
        await guarded.run(".show principal access with (accesstype='fly')")
