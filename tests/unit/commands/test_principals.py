"""Principals of databases and tables: added, dropped, set, shown, journaled."""

from __future__ import annotations

import json

import pytest

from cluster.errors import InvalidRequestError, SyntaxRefusedError, TableNotFoundError

GUID = "7b4b1e5c-2e5e-4c0e-9f6a-0b9f3b0a9d11"


async def roles(world, entity="database Sales"):
    return [(row[0], row[4], row[5]) for row in await world.run(f".show {entity} principals")]


async def test_what_is_shown_of_each_kind_of_principal(world):
    names = (f"aaduser={GUID};tenant", "aadgroup=g@contoso.com", "aadapp=app;t", "msauser=a@b.c")
    given = ", ".join(f"'{name}'" for name in names)
    rows = await world.run(f".add database Sales viewers ({given}) 'a note'")
    assert rows == await world.run(".show database principals")
    assert [row[:6] for row in rows] == [
        ("Database Sales Viewer", "Microsoft Entra user", GUID, GUID, names[0], "a note"),
        ("Database Sales Viewer", "Microsoft Entra group", "g@contoso.com", "", names[1], "a note"),
        ("Database Sales Viewer", "Microsoft Entra app", "app", "", names[2], "a note"),
        ("Database Sales Viewer", "Microsoft account", "a@b.c", "", names[3], "a note"),
    ]
    assert len({row[6] for row in rows}) == 4
    details = json.loads((await world.row(".show database details"))[6])
    assert details[0] == {
        "Type": "Microsoft Entra user",
        "DisplayName": GUID,
        "ObjectId": GUID,
        "FQN": names[0],
        "Notes": "a note",
        "RoleAssignmentIdentifier": rows[0][6],
    }


@pytest.mark.fidelity(
    "manage-database-security-roles.md",
    "A database has admins, users, viewers, unrestrictedviewers, ingestors and monitors",
)
async def test_every_role_of_a_database(world):
    names = ["admins", "ingestors", "users", "viewers", "unrestrictedviewers", "monitors"]
    for role in reversed(names):
        await world.run(f".add database Sales {role} ('aaduser=a')")
    assert [row[0] for row in await roles(world)] == [
        f"Database Sales {name}"
        for name in ("Admin", "Ingestor", "User", "Viewer", "UnrestrictedViewer", "Monitor")
    ]


async def test_added_again_keeps_the_assignment_and_takes_the_notes(world):
    (first,) = await world.run(".add database Sales users ('aaduser=a') 'one'")
    version = world.version()
    (again,) = await world.run(".add database Sales users ('AADUSER=A') 'two'")
    assert (again[:5], again[5], again[6]) == (first[:5], "two", first[6])
    assert world.version() == version.next()
    await world.run(".add database Sales users ('aaduser=a') 'two'")
    assert world.version() == version.next(), "nothing changed, no version"


async def test_dropped_from_one_role_only(world):
    await world.run(".add database Sales users ('aaduser=a', 'aaduser=b')")
    await world.run(".add database Sales admins ('aaduser=a')")
    await world.run(".drop database Sales users ('aaduser=A', 'aaduser=c')")
    assert [(role, name) for role, name, _ in await roles(world)] == [
        ("Database Sales Admin", "aaduser=a"),
        ("Database Sales User", "aaduser=b"),
    ]


@pytest.mark.fidelity(
    "manage-database-security-roles.md", ".set names everybody in the role, none nobody"
)
async def test_set_names_everybody_in_the_role(world):
    await world.run(".add database Sales users ('aaduser=a', 'aaduser=b') 'n'")
    await world.run(".add database Sales admins ('aaduser=z')")
    before = {row[4]: row[6] for row in await world.run(".show database principals")}
    rows = await world.run(".set database Sales users ('aaduser=b', 'aaduser=c') 'm'")
    assert [(row[4], row[5]) for row in rows] == [
        ("aaduser=z", ""),
        ("aaduser=b", "m"),
        ("aaduser=c", "m"),
    ]
    assert rows[1][6] == before["aaduser=b"]
    await world.run(".set database Sales users none")
    assert [name for _, name, _ in await roles(world)] == ["aaduser=z"]


@pytest.mark.fidelity("manage-table-security-roles.md", "A table has admins and ingestors")
async def test_tables_have_admins_and_ingestors(world):
    await world.run(".add table T ingestors ('aadapp=a') 'n'")
    await world.run(".set table T admins ('aaduser=b')")
    assert await roles(world, "table T") == [
        ("Table T Admin", "aaduser=b", ""),
        ("Table T Ingestor", "aadapp=a", "n"),
    ]
    assert await roles(world) == []
    details = await world.row(".show table T details")
    assert len(json.loads(details[12])) == 2
    await world.run(".rename table T to U")
    assert [role for role, _, _ in await roles(world, "table U")] == [
        "Table U Admin",
        "Table U Ingestor",
    ]
    for text in (".add table T users ('aaduser=a')", ".set table T viewers none"):
        with pytest.raises(SyntaxRefusedError):
            await world.run(text)
    with pytest.raises(TableNotFoundError):
        await world.run(".add table X admins ('aaduser=a')")


@pytest.mark.fidelity("manage-database-security-roles.md", "skip-results gives no rows")
@pytest.mark.parametrize(
    "text",
    [
        ".add database Sales users ('aaduser=a') skip-results",
        ".drop database Sales users ('aaduser=a') skip-results 'n'",
        ".set database Sales users none skip-results",
        ".add table T admins ('aaduser=a') skip-results 'n'",
    ],
)
async def test_results_can_be_skipped(world, text):
    await world.run(".add database Sales admins ('aaduser=z')")
    assert await world.run(text) == []


@pytest.mark.parametrize("name", ["", "somebody", "=a", "aaduser=", "aaduser= ", "user=a"])
@pytest.mark.parametrize("verb", ["add", "drop", "set"])
async def test_names_that_are_not_fully_qualified(world, verb, name):
    version = world.version()
    with pytest.raises(InvalidRequestError, match="not the fully qualified name"):
        await world.run(f".{verb} database Sales users ('aaduser=a', '{name}')")
    assert world.version() == version


async def test_principals_are_in_the_journal(world):
    await world.run(".add database Sales users ('aaduser=a') 'n'")
    row = (await world.run(".show database Sales journal"))[-1]
    assert (row[0], row[3]) == ("ALTER-PRINCIPALS", "Sales")
    assert "aaduser=a" in row[8]


async def test_principals_of_another_database(world):
    await world.run(".add database NetDefaultDB admins ('aaduser=a')")
    assert await roles(world) == []
    assert len(await roles(world, "database netdefaultdb")) == 1
