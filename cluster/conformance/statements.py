"""Texts of the management commands a run uses; see ``cluster/commands/COMMANDS.md``. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def create_database(database: str) -> str:
    """Not an error where it exists."""
    return f".create database {database} ifnotexists"


def create_table(table: str) -> str:
    """With the columns every row of a run has."""
    return f".create table {table} (Id:long, Source:string, At:datetime, Payload:string)"


def drop_table(table: str) -> str:
    """An error where there is none."""
    return f".drop table {table}"


def add_column(table: str, column: str) -> str:
    """Adds a ``long`` at the end; nothing if it is there."""
    return f".alter-merge table {table} ({column}:long)"


def streaming_policy(table: str, *, on: bool) -> str:
    """Of a table."""
    return f".alter table {table} policy streamingingestion {'enable' if on else 'disable'}"


def clear_table(table: str) -> str:
    """Removes every row of a table."""
    return f".clear table {table} data"


def seal_table(table: str) -> str:
    """Remora's own."""
    return f".seal table {table}"


def seal_database(database: str) -> str:
    """Remora's own."""
    return f".seal database {database}"


def show_schema(table: str) -> str:
    """Its result has a column ``Schema``: ``Id:long,Source:string,...``."""
    return f".show table {table} cslschema"


def columns_of_schema(schema: str) -> tuple[str, ...]:
    """The names in what :func:`show_schema` tells."""
    return tuple(field.partition(":")[0].strip("[]'\" ") for field in schema.split(","))


def show_extents(table: str) -> str:
    """Its result has a column ``ExtentId``."""
    return f".show table {table} extents"


def merge(table: str, extents: Sequence[str]) -> str:
    """Merges these extents into one."""
    return f".merge {table} ({', '.join(extents)})"


def mutations(table: str) -> tuple[tuple[str, str], ...]:
    """What a database that follows must refuse: (what it is, the command)."""
    return (
        ("create-table", create_table(f"{table}Own")),
        ("drop-table", drop_table(table)),
        ("add-column", add_column(table, "C9")),
        ("streaming-policy", streaming_policy(table, on=False)),
        ("clear-table", clear_table(table)),
        ("docstring", f'.alter table {table} docstring "changed on a follower"'),
        ("rename-table", f".rename table {table} to {table}Renamed"),
        ("create-function", f".create function {table}Function() {{ {table} }}"),
        ("inline", f".ingest inline into table {table} <| 1,x,2026-01-01,y"),
    )


def show_follower(database: str) -> str:
    """What a follower tells of a database it follows."""
    return f".show follower database {database}"


def show_principals(database: str) -> str:
    """Who has a role in a database; on a follower, with its overrides."""
    return f".show database {database} principals"


def add_principal(database: str, principal: str) -> str:
    """At a leader."""
    return f".add database {database} viewers ('{principal}')"


def drop_principal(database: str, principal: str) -> str:
    """At a leader."""
    return f".drop database {database} viewers ('{principal}')"


def add_override(database: str, principal: str) -> str:
    """A principal of the follower's own."""
    return f".add follower database {database} viewers ('{principal}')"


def drop_override(database: str, principal: str) -> str:
    """Takes :func:`add_override` back."""
    return f".drop follower database {database} viewers ('{principal}')"


def principals_kind(database: str, kind: str) -> str:
    """``none``, ``union`` or ``replace``."""
    return f".alter follower database {database} principals-modification-kind = {kind}"


def other_overrides(database: str, days: int) -> tuple[str, ...]:
    """Overrides that only show what they were set to."""
    return (
        f".alter follower database {database} policy caching hot = {days}d",
        f".delete follower database {database} policy caching",
        f".alter follower database {database} caching-policies-modification-kind = replace",
        f".alter follower database {database} caching-policies-modification-kind = union",
        f".alter follower database {database} prefetch-extents = true",
        f".alter follower database {database} prefetch-extents = false",
    )
