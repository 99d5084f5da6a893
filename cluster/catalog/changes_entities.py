"""Changes of policies, mappings, functions, principals and the pretty name. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from cluster.catalog.lookup import entity_not_found, find_table, with_table
from cluster.catalog.model import Role
from cluster.catalog.naming import check_entity_name, check_text
from cluster.errors import InvalidRequestError, MappingNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.catalog.model import (
        Database,
        Function,
        IngestionMapping,
        RoleAssignment,
        StreamingIngestionPolicy,
    )
    from cluster.limits import Limits

K = TypeVar("K")
V = TypeVar("V")

MAPPING_KINDS: Final = frozenset(["avro", "csv", "json", "orc", "parquet", "w3clogfile"])

STREAMING_KIND: Final = "streamingingestion"
"""The one kind of policy that is not kept as JSON."""

TABLE_ROLES: Final = frozenset([Role.ADMINS, Role.INGESTORS])
"""The roles a table has (``manage-table-security-roles.md``); a database has all."""


@dataclass(frozen=True, slots=True)
class SetTableStreamingPolicy:
    """The table's own policy; None removes it, so that the database's one is in force."""

    table: str
    policy: StreamingIngestionPolicy | None


@dataclass(frozen=True, slots=True)
class SetDatabaseStreamingPolicy:
    """The database's policy; None removes it."""

    policy: StreamingIngestionPolicy | None


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """Another policy of a table, or of the database if ``table`` is empty; None removes it.

    ``kind`` is the key in ``policies``: the word of the command, for a column's policy
    :func:`cluster.catalog.changes_schema.column_policy_kind`, for a cluster's ``cluster KIND``.
    ``policy`` is canonical JSON (:mod:`cluster.catalog.policy_text` makes it).
    """

    table: str
    kind: str
    policy: str | None


@dataclass(frozen=True, slots=True)
class SetMapping:
    """A pre-created mapping of a table, or of the database if ``table`` is empty; None drops it."""

    table: str
    kind: str
    name: str
    mapping: IngestionMapping | None


@dataclass(frozen=True, slots=True)
class SetFunction:
    """A stored function, new or replaced; None drops it."""

    name: str
    function: Function | None


@dataclass(frozen=True, slots=True)
class SetPrettyName:
    """The database's pretty name; empty removes it."""

    text: str


@dataclass(frozen=True, slots=True)
class SetPrincipals:
    """All principals of a table, or of the database if ``table`` is empty, in all their roles."""

    table: str
    principals: tuple[RoleAssignment, ...]


def set_table_streaming(
    database: Database, change: SetTableStreamingPolicy, limits: Limits
) -> Database:
    """Applies :class:`SetTableStreamingPolicy`."""
    del limits
    table = find_table(database, change.table)
    return with_table(database, replace(table, streaming_policy=change.policy))


def set_database_streaming(
    database: Database, change: SetDatabaseStreamingPolicy, limits: Limits
) -> Database:
    """Applies :class:`SetDatabaseStreamingPolicy`."""
    del limits
    return replace(database, streaming_policy=change.policy)


def set_policy(database: Database, change: SetPolicy, limits: Limits) -> Database:
    """Applies :class:`SetPolicy`. Removing one that is not set changes nothing."""
    del limits
    check_text("Policy kind", change.kind)
    if not change.kind or change.kind == STREAMING_KIND:
        raise InvalidRequestError(f"'{change.kind}' is not a kind of policy kept as JSON.")
    if change.policy is not None:
        _check_json(f"Policy '{change.kind}'", change.policy)
    if not change.table:
        return replace(database, policies=_put(database.policies, change.kind, change.policy))
    table = find_table(database, change.table)
    policies = _put(table.policies, change.kind, change.policy)
    return with_table(database, replace(table, policies=policies))


def set_mapping(database: Database, change: SetMapping, limits: Limits) -> Database:
    """Applies :class:`SetMapping`."""
    del limits
    table = find_table(database, change.table) if change.table else None
    present = database.mappings if table is None else table.mappings
    key = (change.kind, change.name)
    if change.mapping is None and key not in present:
        raise MappingNotFoundError(
            f"Entity ID '{change.name}' of kind 'MappingPersistent' was not found.",
            metadata={"mapping": change.name, "kind": change.kind},
        )
    if change.mapping is not None:
        _check_mapping(change, change.mapping)
    mappings = _put(present, key, change.mapping)
    if table is None:
        return replace(database, mappings=mappings)
    return with_table(database, replace(table, mappings=mappings))


def set_function(database: Database, change: SetFunction, limits: Limits) -> Database:
    """Applies :class:`SetFunction`."""
    function = change.function
    if function is None and change.name not in database.functions:
        raise entity_not_found("Function", change.name)
    if function is not None:
        check_entity_name("Function", change.name, limits)
        if function.name != change.name:
            raise InvalidRequestError(
                f"Function '{change.name}' cannot be kept under the name '{function.name}'."
            )
        for text in (function.parameters, function.body, function.folder, function.docstring):
            check_text(f"Text of function '{change.name}'", text)
    return replace(database, functions=_put(database.functions, change.name, function))


def set_pretty_name(database: Database, change: SetPrettyName, limits: Limits) -> Database:
    """Applies :class:`SetPrettyName`."""
    del limits
    check_text("Pretty name", change.text)
    return replace(database, pretty_name=change.text)


def set_principals(database: Database, change: SetPrincipals, limits: Limits) -> Database:
    """Applies :class:`SetPrincipals`."""
    del limits
    check_principals(change.principals, is_table=bool(change.table))
    if not change.table:
        return replace(database, principals=change.principals)
    table = find_table(database, change.table)
    return with_table(database, replace(table, principals=change.principals))


def check_principals(principals: tuple[RoleAssignment, ...], *, is_table: bool = False) -> None:
    """Refuses principals without a name, twice in a role, or in a role a table does not have.

    Raises InvalidRequestError.
    """
    seen = set()
    for item in principals:
        for text in (item.principal, item.notes, item.assignment_id):
            check_text("Text of a principal", text)
        if not item.principal:
            raise InvalidRequestError("A principal has no name.")
        if is_table and item.role not in TABLE_ROLES:
            raise InvalidRequestError(f"A table has no role '{item.role.value}'.")
        if (item.role, item.principal.lower()) in seen:
            raise InvalidRequestError(
                f"Principal '{item.principal}' is named twice in role '{item.role.value}'."
            )
        seen.add((item.role, item.principal.lower()))


def _put(present: Mapping[K, V], key: K, value: V | None) -> Mapping[K, V]:
    """The mapping with that value under the key, or without the key if there is none."""
    kept = {other: kept for other, kept in present.items() if other != key}
    return kept if value is None else {**kept, key: value}


def _check_mapping(change: SetMapping, mapping: IngestionMapping) -> None:
    if change.kind not in MAPPING_KINDS:
        raise InvalidRequestError(f"'{change.kind}' is not a kind of ingestion mapping.")
    if (mapping.kind, mapping.name) != (change.kind, change.name) or not change.name:
        raise InvalidRequestError(
            f"Mapping '{change.name}' of kind '{change.kind}' cannot be kept as "
            f"'{mapping.name}' of kind '{mapping.kind}'."
        )
    check_text("Mapping name", mapping.name)
    _check_json(f"Mapping '{mapping.name}'", mapping.text)


def _check_json(what: str, text: str) -> None:
    check_text(what, text)
    try:
        json.loads(text)
    except ValueError as error:
        raise InvalidRequestError(f"{what} is not JSON: {error}.") from None
    except RecursionError:
        raise InvalidRequestError(f"{what} is nested too deeply.") from None
