"""Forms about policies (``adx-behaviour.md`` 1.3, 7.5), made from the table of kinds. Pure data.

Kinds that this service keeps come from :data:`cluster.catalog.policy_kinds.POLICY_KINDS`; the
streaming ingestion policy has forms of its own; all other kinds of Kusto are refused by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.catalog.policy_kinds import POLICY_KINDS, Form, PolicyKind, Scope
from cluster.commands.grammar.spec import (
    CLUSTER_ADMIN,
    CLUSTER_MONITOR,
    DATABASE_ADMIN,
    NOT_DOCUMENTED,
    POLICY_ROW,
    TABLE_ADMIN,
    TABLE_INGESTOR,
    VIEWER,
    CommandSpec,
    Kind,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_STREAMING: Final = "streamingingestion"
_NO_CLUSTER_POLICY: Final = (
    "a streaming ingestion policy of the whole cluster is not supported: Microsoft does not "
    "document what inherits it. Set the policy of a database or of a table."
)

_ADMIN: Final[Mapping[Scope, str]] = {
    Scope.CLUSTER: CLUSTER_ADMIN,
    Scope.DATABASE: DATABASE_ADMIN,
    Scope.TABLE: TABLE_ADMIN,
    Scope.COLUMN: TABLE_ADMIN,
}
_SUBJECT: Final[Mapping[Scope, str]] = {
    Scope.CLUSTER: "cluster",
    Scope.DATABASE: "database [<database:name>]",
    Scope.TABLE: "table <table:entity>",
    Scope.COLUMN: "column <column:column>",
}
_SHOWN: Final[Mapping[Scope, str]] = {
    Scope.CLUSTER: "cluster",
    Scope.DATABASE: "database [<database:name> | '*']",
    Scope.TABLE: "table (<table:entity> | '*')",
    Scope.COLUMN: "column (<column:column> | '*')",
}
_DELETED: Final[Mapping[Scope, str]] = {**_SUBJECT, Scope.DATABASE: "database <database:name>"}

_TEXT: Final = "<policy:string>"
_FLAG: Final = "(true | false)"
_RECOVERABILITY: Final = "recoverability '=' (disabled | enabled)"
_ALTER: Final[Mapping[str, str]] = {
    "caching": (
        "(hot '=' <hot:timespan> | hotdata '=' <hotdata:timespan> hotindex '=' "
        "<hotindex:timespan>) [[','] <windows:hot_windows>]"
    ),
    "row_level_security": "(enable | disable) [with <properties:properties>] <query:string>",
    "roworder": "<keys:sort_keys>",
    "update": f"{_TEXT} [with <properties:properties>]",
}
"""What follows the kind in ``.alter``, if not the JSON as a string."""

_ALTER_MERGE: Final[Mapping[str, str]] = {
    "retention": (
        f"({_TEXT} | softdelete '=' <softdelete:timespan> [{_RECOVERABILITY}] | {_RECOVERABILITY})"
    ),
    "roworder": "<keys:sort_keys>",
    "update": f"{_TEXT} [with <properties:properties>]",
}

_NOT_KEPT: Final[Mapping[str, str]] = {
    "mirroring": "sealed data is not mirrored by policy.",
    "sandbox": "there are no sandboxes: plugins are not supported.",
    "callout": "nothing is called out from here.",
    "capacity": "capacities are limits of the node; see limits.py.",
    "request_classification": "requests are not classified.",
    "multidatabaseadmins": "this service has no principals.",
    "diagnostics": "health is in .show cluster and remora status.",
    "query_weak_consistency": "queries read the newest metadata.",
    "managed_identity": "this service has no identities.",
    "rowid": "Microsoft does not document it.",
    "shards_grouping": "Microsoft does not document it.",
    "query_acceleration": "external tables are not supported.",
}
"""Kinds of Kusto that are not kept, each with the reason."""


def name_of(verb: str, subject: str, kind: str) -> str:
    """The name of a form: ``alter table policy retention``."""
    return f"{verb} {subject} policy {kind}"


def _forms(kind: PolicyKind) -> Iterator[CommandSpec]:
    setting = _ALTER.get(kind.name, _FLAG if kind.form is Form.FLAG else _TEXT)
    merging = _ALTER_MERGE.get(kind.name, _TEXT)
    for scope in kind.scopes:
        subject = scope.value.lower()
        admin = TABLE_INGESTOR if kind.name == "ingestiontime" else _ADMIN[scope]
        viewer = CLUSTER_MONITOR if scope is Scope.CLUSTER else VIEWER
        yield _form("show", subject, _SHOWN[scope], kind.name, "", viewer)
        yield _form("alter", subject, _SUBJECT[scope], kind.name, setting, admin)
        if scope is Scope.TABLE:
            yield _form("alter", "tables", "tables <tables:names>", kind.name, setting, admin)
        if kind.can_merge:
            yield _form("alter-merge", subject, _SUBJECT[scope], kind.name, merging, admin)
        yield _form("delete", subject, _DELETED[scope], kind.name, "", _ADMIN[scope])


def _form(
    verb: str, subject: str, entity: str, kind: str, setting: str, permission: str
) -> CommandSpec:
    return CommandSpec(
        name_of(verb, subject, kind),
        f"{verb} {entity} policy {kind} {setting}".rstrip(),
        POLICY_ROW,
        Kind.SHOW if verb == "show" else Kind.MUTATE,
        permission,
    )


def _streaming_forms() -> Iterator[CommandSpec]:
    switch = "(<policy:string> | enable | disable)"
    for scope in (Scope.TABLE, Scope.DATABASE):
        subject, admin = scope.value.lower(), _ADMIN[scope]
        yield _form("show", subject, _SUBJECT[scope], _STREAMING, "", VIEWER)
        yield _form("alter", subject, _SUBJECT[scope], _STREAMING, switch, admin)
        yield _form("alter-merge", subject, _SUBJECT[scope], _STREAMING, _TEXT, admin)
        yield _form("delete", subject, _DELETED[scope], _STREAMING, "", admin)
    yield _form("show", "cluster", "cluster", _STREAMING, "", NOT_DOCUMENTED)
    yield refused(name_of("alter", "cluster", _STREAMING),
                  f"(alter | alter-merge) cluster policy {_STREAMING} {switch}",
                  _NO_CLUSTER_POLICY)  # fmt: skip
    yield refused(name_of("delete", "cluster", _STREAMING),
                  f"delete cluster policy {_STREAMING}", _NO_CLUSTER_POLICY)  # fmt: skip


def _refusals() -> Iterator[CommandSpec]:
    for kind, reason in _NOT_KEPT.items():
        yield refused(
            f"policy {kind}",
            "(show | alter | alter-merge | delete) (cluster | database [<database:name> | '*'] | "
            "table (<table:entity> | '*') | tables <tables:names> | column <column:column>) "
            f"policy {kind} <rest:rest>",
            f"the policy is not kept here: {reason}",
        )
    yield refused("alter columns policy encoding",
                  "alter (columns | table <table:name> columns) policy encoding <rest:rest>",
                  "set the encoding of one column at a time.")  # fmt: skip
    yield refused("alter column policy encoding type",
                  "alter column <column:column> policy encoding type '=' <type:string>",
                  "profiles of encodings are not kept; give the policy as JSON.")  # fmt: skip
    yield refused("show cluster policy sharding properties",
                  "show cluster policy sharding with <properties:properties>",
                  "no page documents its properties: leave them out.")  # fmt: skip
    yield refused("policies of retention", "(alter | delete) policies of retention <rest:rest>",
                  "alter the retention policy of each table or database.")  # fmt: skip


COMMANDS: Final[tuple[CommandSpec, ...]] = (
    *_streaming_forms(),
    *(form for kind in POLICY_KINDS.values() for form in _forms(kind)),
    *_refusals(),
)
