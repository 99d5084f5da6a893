"""Names of principals and how they compare. Pure.

A fully qualified name is ``KIND=VALUE[;TENANT]``: ``aaduser=a@b.c``, ``aadapp=ID;TENANT``,
``aadgroup=ID``. Declared choice: tenants are not compared. There is one directory here, and SDKs
that reach it must use the tenant ``adfs`` whatever the tenant of the principal they stand for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.request import Caller


def folded(name: str) -> str:
    """The name as it compares: without its tenant, in lower case."""
    return name.partition(";")[0].strip().lower()


def names_of(caller: Caller) -> frozenset[str]:
    """The folded names a caller goes by: its own and those of its groups."""
    names = {folded(group) for group in caller.groups}
    if caller.principal:
        names.add(folded(caller.principal))
    return frozenset(names)


def application(client_id: str, tenant: str) -> str:
    """The fully qualified name of an application."""
    return f"aadapp={client_id};{tenant}" if tenant else f"aadapp={client_id}"


def is_among(names: frozenset[str], principals: Iterable[str]) -> bool:
    """Whether one of the principals goes by one of the folded names."""
    return any(folded(principal) in names for principal in principals)
