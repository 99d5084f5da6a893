"""A catalog of two databases, and callers in every role."""

from __future__ import annotations

from cluster.access.control import AccessControl
from cluster.access.rights import CLUSTER_ROLES, DATABASE_ROLES, TABLE_ROLES, Right
from cluster.access.settings import AuthSettings
from cluster.catalog.model import (
    DEFAULT_DATABASE,
    Column,
    Database,
    Function,
    RoleAssignment,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
)
from cluster.errors import DatabaseNotFoundError
from cluster.request import Caller

REQUIRED = AuthSettings(is_required=True)


def table(name, principals=()):
    return Table(
        name=name,
        table_id=f"id-{name}",
        references=(RowStoreReference(0, RowStoreKey(len(name))),),
        schemas=((Column("a", ScalarType.LONG),),),
        column_ids=((1,),),
        principals=tuple(principals),
    )


def principal_of(right):
    """The principal that has this right and no other."""
    return f"aadapp={right.name.lower()};adfs"


def caller_of(right):
    return Caller(principal_of(right))


def _assigned(roles):
    return tuple(RoleAssignment(role, principal_of(right)) for role, right in roles.items())


class Trees:
    """Trees by name, as a catalog gives them."""

    def __init__(self, *trees):
        self.trees = {tree.name: tree for tree in trees}

    def get(self, name):
        if name not in self.trees:
            raise DatabaseNotFoundError(f"no {name}")
        return self.trees[name]


def trees():
    """``Db`` has tables T and Other and function F; one principal holds each right, in Db and T."""
    return Trees(
        Database(DEFAULT_DATABASE, "id-1", principals=_assigned(CLUSTER_ROLES)),
        Database(
            "Db",
            "id-2",
            tables={"T": table("T", _assigned(TABLE_ROLES)), "Other": table("Other")},
            functions={"F": Function("F", "()", "{ T }")},
            principals=_assigned(DATABASE_ROLES),
        ),
        Database("Else", "id-3", tables={"T": table("T")}),
    )


def control(settings=REQUIRED, found=None):
    return AccessControl(found or trees(), settings, cluster="leader")


EVERY_RIGHT = tuple(Right)
