"""The commands that make a copy of a database's schema. Pure.

Tables, docstrings of columns, policies, mappings and functions; not rows, and nothing of the
cluster. Running them in order in an empty database gives the same schema.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog.changes import column_policy_kind
from cluster.catalog.naming import quote_name
from cluster.catalog.policy_kinds import POLICY_KINDS, Form
from cluster.commands.functions import shown_body
from cluster.commands.literals import string_text
from cluster.commands.policy_json import policy_text
from cluster.commands.schema_text import csl_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cluster.catalog.model import Database, Function, IngestionMapping, MappingName, Table

_SECURITY: Final = frozenset({"restricted_view_access", "row_level_security"})


@dataclass(frozen=True, slots=True)
class ScriptOptions:
    """What the script has beside tables, policies and functions; ``secrets``: unmasked."""

    encoding: bool = True
    security: bool = True
    mappings: bool = True
    secrets: bool = False


def database_script(database: Database, options: ScriptOptions) -> list[str]:
    """The commands, one text each."""
    return list(_commands(database, options))


def _commands(database: Database, options: ScriptOptions) -> Iterator[str]:
    tables = [table for _, table in sorted(database.tables.items())]
    for table in tables:
        yield from _creation(table)
    # An update policy names other tables and functions: those come first.
    for _, function in sorted(database.functions.items()):
        yield _function(function, options)
    subject = f"database {quote_name(database.name)}"
    if database.streaming_policy is not None:
        policy = string_text(policy_text(database.streaming_policy))
        yield f".alter {subject} policy streamingingestion {policy}"
    for kind, policy in sorted(database.policies.items()):
        if kind in POLICY_KINDS:
            yield _policy(subject, kind, policy)
    if options.mappings:
        yield from _mappings(subject, database.mappings)
    for table in tables:
        yield from _policies(table, options)
        if options.mappings:
            yield from _mappings(f"table {quote_name(table.name)}", table.mappings)


def _creation(table: Table) -> Iterator[str]:
    name = quote_name(table.name)
    description = [
        f"{key}={string_text(text)}"
        for key, text in (("folder", table.folder), ("docstring", table.docstring))
        if text
    ]
    ending = f" with ({', '.join(description)})" if description else ""
    yield f".create-merge table {name} ({csl_schema(table.columns)}){ending}"
    docstrings = [
        f"{quote_name(column.name)}:{string_text(column.docstring)}"
        for column in table.columns
        if column.docstring
    ]
    if docstrings:
        yield f".alter-merge table {name} column-docstrings ({', '.join(docstrings)})"


def _policies(table: Table, options: ScriptOptions) -> Iterator[str]:
    name = quote_name(table.name)
    if table.streaming_policy is not None:
        policy = string_text(policy_text(table.streaming_policy))
        yield f".alter table {name} policy streamingingestion {policy}"
    columns = {
        column_policy_kind(identity, kind): (f"column {name}.{quote_name(column.name)}", kind)
        for column, identity in zip(table.columns, table.column_ids[-1], strict=True)
        for kind in POLICY_KINDS
    }
    for key, policy in sorted(table.policies.items()):
        subject, kind = columns.get(key, (f"table {name}", key))
        wanted = options.security if kind in _SECURITY else kind != "encoding" or options.encoding
        if kind in POLICY_KINDS and wanted:
            yield _policy(subject, kind, policy)


def _policy(subject: str, kind: str, policy: str) -> str:
    return f".alter {subject} policy {kind} {_setting(kind, policy)}"


def _setting(kind: str, policy: str) -> str:
    """What follows the kind in ``.alter``."""
    value: Any = json.loads(policy)
    if POLICY_KINDS[kind].form is Form.FLAG:
        return "true" if value["IsEnabled"] else "false"
    if kind == "row_level_security":
        word = "enable" if value["IsEnabled"] else "disable"
        return f"{word} {string_text(value['Query'])}"
    if kind == "roworder":
        keys = (f"{quote_name(item['ColumnName'])} {item['SortOrder']}" for item in value)
        return f"({', '.join(keys)})"
    if kind == "caching":
        spans = [value[name]["Value"] for name in ("DataHotSpan", "IndexHotSpan")]
        windows = [
            f", hot_window = datetime({item['MinValue']}) .. datetime({item['MaxValue']})"
            for item in value.get("HotWindows") or ()
        ]
        return f"hotdata = time({spans[0]}) hotindex = time({spans[1]}){''.join(windows)}"
    return string_text(policy)


def _mappings(subject: str, mappings: Mapping[MappingName, IngestionMapping]) -> Iterator[str]:
    for (kind, name), mapping in sorted(mappings.items()):
        named = f"ingestion {kind} mapping {string_text(name)}"
        yield f".create-or-alter {subject} {named} {string_text(mapping.text)}"


def _function(function: Function, options: ScriptOptions) -> str:
    properties = [
        f"{key}={string_text(text)}"
        for key, text in (("folder", function.folder), ("docstring", function.docstring))
        if text
    ]
    properties.append("skipvalidation=true")
    body = function.body if options.secrets else shown_body(function)
    name = quote_name(function.name)
    return (
        f".create-or-alter function with ({', '.join(properties)}) "
        f"{name}{function.parameters} {body}"
    )
