"""Roles against permissions, as a table; scopes; what a refusal says."""

from __future__ import annotations

import pytest
from access_world import (
    EVERY_RIGHT,
    REQUIRED,
    Trees,
    caller_of,
    control,
    principal_of,
    table,
    trees,
)

from cluster.access.permissions import INGEST, PERMISSIONS, QUERY, RESTRICTED
from cluster.access.rights import EVERYTHING, Right
from cluster.access.settings import AuthSettings, StaticToken
from cluster.catalog.following import FollowingSettings, ModificationKind, effective
from cluster.catalog.model import DEFAULT_DATABASE, Database, Role, RoleAssignment
from cluster.errors import AccessDeniedError
from cluster.request import Caller

A, V, M = Right.CLUSTER_ADMIN, Right.CLUSTER_VIEWER, Right.CLUSTER_MONITOR
DA, DU, DV = Right.DATABASE_ADMIN, Right.DATABASE_USER, Right.DATABASE_VIEWER
DX, DI, DM = (
    Right.DATABASE_UNRESTRICTED_VIEWER,
    Right.DATABASE_INGESTOR,
    Right.DATABASE_MONITOR,
)
TA, TI = Right.TABLE_ADMIN, Right.TABLE_INGESTOR
ALL = set(Right)

# permission -> who has it in database Db without an entity, for one that exists, for a new one
TABLE_OF_PERMISSIONS = {
    "any": (ALL, ALL, ALL),
    "not documented": ({A, M}, {A, M}, {A, M}),
    "AllDatabasesAdmin": ({A}, {A}, {A}),
    "AllDatabasesMonitor": ({A, M}, {A, M}, {A, M}),
    "Database Admin": ({A, DA}, {A, DA}, {A, DA}),
    "Database User": ({A, DA, DU}, {A, DA, DU}, {A, DA, DU}),
    "Database Viewer": ({A, V, DA, DU, DV},) * 3,
    "Database UnrestrictedViewer": ({A, V, DX},) * 3,
    "Database Ingestor": ({A, DA, DI},) * 3,
    "Database User, Database Viewer or Database Monitor": ({A, V, M, DA, DU, DV, DM},) * 3,
    "Table Admin": ({A, DA}, {A, DA, TA}, {A, DA}),
    "Table Ingestor": ({A, DA, DI}, {A, DA, DI, TA, TI}, {A, DA, DI}),
    "Function Admin": ({A, DA},) * 3,
    "Table Admin if a table is given, else Database Admin": ({A, DA}, {A, DA, TA}, {A, DA}),
    "Database User, and Table Admin if the table exists": (
        {A, DA, DU},
        {A, DA},
        {A, DA, DU},
    ),
    "Database User, and Function Admin if the function exists": (
        {A, DA, DU},
        {A, DA},
        {A, DA, DU},
    ),
    "Database User to create the table, Table Ingestor to append to it": (
        {A, DA, DU},
        {A, DA, DI, TA, TI},
        {A, DA, DU},
    ),
    "Database User to create the table, Table Admin to replace its data": (
        {A, DA, DU},
        {A, DA, TA},
        {A, DA, DU},
    ),
}


def test_every_permission_is_in_the_table():
    assert TABLE_OF_PERMISSIONS.keys() == PERMISSIONS.keys()


@pytest.mark.fidelity(
    "role-based-access-control.md", "Roles give the permissions of the table of the page"
)
@pytest.mark.parametrize("permission", TABLE_OF_PERMISSIONS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_who_has_a_permission(permission, place):
    access = control()
    existing = "F" if PERMISSIONS[permission].is_of_functions else "T"
    given = ("", existing, "New")[place]
    found = {
        right for right in EVERY_RIGHT if access.allowed(caller_of(right), permission, "Db", given)
    }
    assert found == TABLE_OF_PERMISSIONS[permission][place]


def test_roles_of_a_database_count_in_it_alone():
    access = control()
    assert access.allowed(caller_of(DV), QUERY, "Db")
    assert not access.allowed(caller_of(DV), QUERY, "Else")
    assert access.allowed(caller_of(V), QUERY, "Else")
    assert not access.allowed(caller_of(TI), INGEST, "Db", "Other")
    assert not access.allowed(caller_of(DA), INGEST, "Else", "T")


def test_a_database_that_is_not_there_is_refused_in_the_same_words():
    access = control()
    texts = []
    for name in ("Else", "Gone"):
        with pytest.raises(AccessDeniedError) as caught:
            access.require(caller_of(DV), QUERY, name)
        texts.append(str(caught.value).replace(name, "X"))
    assert texts[0] == texts[1]
    assert access.allowed(caller_of(V), QUERY, "Gone")


@pytest.mark.fidelity(
    "role-based-access-control.md", "An ingestor cannot query, a viewer cannot ingest"
)
def test_an_ingestor_cannot_query_and_a_viewer_cannot_ingest():
    access = control()
    assert not access.allowed(caller_of(DI), QUERY, "Db")
    assert not access.allowed(caller_of(TI), QUERY, "Db")
    assert not access.allowed(caller_of(TA), QUERY, "Db")
    assert not access.allowed(caller_of(DV), INGEST, "Db", "T")
    assert not access.allowed(caller_of(DA), RESTRICTED, "Db")


@pytest.mark.parametrize(
    ("assigned", "caller", "has"),
    [
        ("aadapp=ID;tenant", Caller("aadapp=id;adfs"), True),
        ("AADApp=id", Caller("aadapp=id;adfs"), True),
        ("aadapp=id2;adfs", Caller("aadapp=id;adfs"), False),
        ("aaduser=id;adfs", Caller("aadapp=id;adfs"), False),
        ("aadgroup=g;t", Caller("aadapp=id", groups=frozenset(["aadgroup=G"])), True),
        ("aadgroup=g", Caller("aadapp=g"), False),
        ("aadapp=id", Caller(), False),
    ],
)
def test_how_principals_compare(assigned, caller, has):
    tree = Database("Db", "id", principals=(RoleAssignment(Role.VIEWERS, assigned),))
    assert control(found=Trees(tree)).allowed(caller, QUERY, "Db") is has


def test_roles_over_all_databases_count_in_netdefaultdb_alone():
    mallory = RoleAssignment(Role.ALL_DATABASES_ADMINS, "aadapp=mallory")
    access = control(found=Trees(Database("Db", "id", principals=(mallory,))))
    assert access.rights(Caller("aadapp=mallory"), "Db") == frozenset()


def test_the_configuration_gives_roles_over_all_databases():
    settings = AuthSettings(
        is_required=True, admins=("aadapp=a",), viewers=("aadapp=v",), monitors=("aadapp=m",)
    )
    access = control(settings)
    assert access.rights(Caller("aadapp=a;adfs")) == EVERYTHING
    assert access.allowed(Caller("aadapp=v"), QUERY, "Else")
    assert access.allowed(Caller("aadapp=m"), "AllDatabasesMonitor")
    assert not access.allowed(Caller("aadapp=m"), QUERY, "Else")


def test_the_node_may_do_everything():
    access = control()
    assert access.rights(Caller(is_node=True), "Db") == EVERYTHING
    access.require(Caller(is_node=True), "AllDatabasesAdmin")


def test_without_required_authentication_only_configured_principals_have_roles():
    settings = AuthSettings(tokens=(StaticToken("t" * 8, "aadapp=known;adfs"),))
    access = control(settings)
    assert access.allowed(Caller(), "AllDatabasesAdmin")
    assert access.allowed(Caller("aadapp=stranger;adfs"), "AllDatabasesAdmin")
    assert not access.allowed(Caller("aadapp=known;adfs"), QUERY, "Db")
    assert not control(REQUIRED).allowed(Caller(), QUERY, "Db")


@pytest.mark.parametrize(
    ("permission", "database", "given", "command"),
    [
        (QUERY, "Db", "", ".add database Db viewers ('aadapp=x;adfs')"),
        (INGEST, "Db", "T", ".add table T ingestors ('aadapp=x;adfs')"),
        ("Database Admin", "My Db's", "", ".add database ['My Db\\'s'] admins ('aadapp=x;adfs')"),
        ("AllDatabasesMonitor", "", "", ".add cluster alldatabasesmonitors ('aadapp=x;adfs')"),
        (
            "Database User, Database Viewer or Database Monitor",
            "Db",
            "",
            ".add database Db monitors ('aadapp=x;adfs')",
        ),
    ],
)
def test_a_refusal_names_the_command_that_would_help(permission, database, given, command):
    with pytest.raises(AccessDeniedError) as caught:
        control().require(Caller("aadapp=x;adfs"), permission, database, given)
    error = caught.value
    assert command in error.remedy
    assert "Principal 'aadapp=x;adfs' is not authorized" in error.message
    assert error.metadata["permission"] == permission
    assert (error.http_status, error.code, error.permanent) == (403, "Forbidden", True)


@pytest.mark.fidelity("follower.md", "A follower's principals are those of its modification kind")
@pytest.mark.parametrize(
    ("kind", "leaders", "own"),
    [
        (ModificationKind.NONE, True, False),
        (ModificationKind.UNION, True, True),
        (ModificationKind.REPLACE, False, True),
    ],
)
def test_a_follower_decides_by_the_modification_kind(kind, leaders, own):
    tree = Database(
        "Db",
        "id",
        tables={"T": table("T")},
        principals=(RoleAssignment(Role.VIEWERS, "aadapp=of-leader"),),
    )
    settings = FollowingSettings(
        default_principals_kind=kind,
        principals=(RoleAssignment(Role.VIEWERS, "aadapp=of-follower"),),
    )
    access = control(found=Trees(effective(tree, settings)))
    assert access.allowed(Caller("aadapp=of-leader"), QUERY, "Db") is leaders
    assert access.allowed(Caller("aadapp=of-follower"), QUERY, "Db") is own


def test_a_change_of_roles_counts_from_the_next_request_on():
    found = trees()
    access = control(found=found)
    assert access.allowed(caller_of(DV), QUERY, "Db")
    found.trees["Db"] = Database("Db", "id-2")
    assert not access.allowed(caller_of(DV), QUERY, "Db")
    found.trees[DEFAULT_DATABASE] = Database(DEFAULT_DATABASE, "id-1")
    assert not access.allowed(caller_of(A), QUERY, "Db")
    assert principal_of(A) == "aadapp=cluster_admin;adfs"
