"""The table of commands. One row a form: grammar, result, kind, minimum permission. Pure data.

Syntax and result columns are those of Microsoft's published grammar (``EngineCommandInfos.cs``),
which also declares forms no page documents; semantics are those of the command pages. Permissions
are for reading: this service has no principals yet.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cluster.commands.notation import Sequence, display, parse_notation
from cluster.commands.results import parse_schema

if TYPE_CHECKING:
    from cluster.catalog.model import Column


class Kind(enum.Enum):
    """What a command does to the catalog."""

    SHOW = "reads"
    MUTATE = "changes; refused on a follower database"
    REFUSE = "known to Kusto, refused here"


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One row of the table.

    ``name`` finds the executor. ``result`` lists columns, ``string`` unless typed. ``refusal`` is
    the reason given by commands of kind REFUSE.
    """

    name: str
    grammar: str
    result: str
    kind: Kind
    permission: str
    refusal: str = ""
    tree: Sequence = field(init=False, compare=False)
    columns: tuple[Column, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tree", parse_notation(self.grammar))
        object.__setattr__(self, "columns", parse_schema(self.result) if self.result else ())

    @property
    def usage(self) -> str:
        """The grammar as people read it."""
        return f".{display(self.grammar)}"


_POLICY_ROW: Final = "PolicyName, EntityName, Policy, ChildEntities, EntityType"
_SCHEMA_ROW: Final = "TableName, Schema, DatabaseName, Folder, DocString"
_DATABASE_ROW: Final = (
    "DatabaseName, PersistentStorage, Version, IsCurrent:bool, DatabaseAccessMode, PrettyName, "
    "ReservedSlot1:bool, DatabaseId:guid, InTransitionTo"
)
_VIEWER: Final = "Database User, Database Viewer or Database Monitor"
_TABLE_ADMIN: Final = "Table Admin"
_DATABASE_ADMIN: Final = "Database Admin"
_CLUSTER_ADMIN: Final = "AllDatabasesAdmin"
_NOT_DOCUMENTED: Final = "not documented"
_NO_CLUSTER_POLICY: Final = (
    "a streaming ingestion policy of the whole cluster is not supported: Microsoft does not "
    "document what inherits it. Set the policy of a database or of a table."
)

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    # Databases
    CommandSpec("show databases", "show [cluster] databases [<databases:names>]",
                _DATABASE_ROW, Kind.SHOW, "AllDatabasesMonitor"),
    CommandSpec("show database", "show database", _DATABASE_ROW, Kind.SHOW, _VIEWER),
    CommandSpec("create database", "create database <database:name> [volatile] [ifnotexists]",
                "DatabaseName, PersistentPath, Created, StoresMetadata:bool, StoresData:bool",
                Kind.MUTATE, _CLUSTER_ADMIN),
    CommandSpec("create database persist",
                "create database <database:name> persist <paths:strings> [ifnotexists]",
                "", Kind.REFUSE, _CLUSTER_ADMIN,
                "databases are kept in the node's data folder; leave out persist (...)."),
    # Tables
    CommandSpec("create table",
                "create table <table:name> <columns:columns> [with <properties:properties>]",
                _SCHEMA_ROW, Kind.MUTATE, "Database User"),
    CommandSpec("create-merge table",
                "create-merge table <table:name> <columns:columns> [with <properties:properties>]",
                _SCHEMA_ROW, Kind.MUTATE, "Database User, and Table Admin if the table exists"),
    CommandSpec("drop table", "drop table <table:name> [ifexists]",
                "TableName, DatabaseName", Kind.MUTATE, _TABLE_ADMIN),
    CommandSpec("show tables", "show tables [<tables:names>]",
                "TableName, DatabaseName, Folder, DocString", Kind.SHOW, _VIEWER),
    CommandSpec("show table cslschema", "show table <table:name> (cslschema | kqlschema)",
                _SCHEMA_ROW, Kind.SHOW, _VIEWER),
    CommandSpec("show table schema as json", "show table <table:name> schema as json",
                _SCHEMA_ROW, Kind.SHOW, _VIEWER),
    # Streaming ingestion policy
    CommandSpec("show table policy", "show table <table:entity> policy streamingingestion",
                _POLICY_ROW, Kind.SHOW, _VIEWER),
    CommandSpec("show database policy",
                "show database [<database:name>] policy streamingingestion",
                _POLICY_ROW, Kind.SHOW, _VIEWER),
    CommandSpec("show cluster policy", "show cluster policy streamingingestion",
                _POLICY_ROW, Kind.SHOW, _NOT_DOCUMENTED),
    CommandSpec("alter table policy",
                "alter table <table:entity> policy streamingingestion "
                "(<policy:string> | enable | disable)",
                _POLICY_ROW, Kind.MUTATE, _TABLE_ADMIN),
    CommandSpec("alter database policy",
                "alter database [<database:name>] policy streamingingestion "
                "(<policy:string> | enable | disable)",
                _POLICY_ROW, Kind.MUTATE, _DATABASE_ADMIN),
    CommandSpec("alter-merge table policy",
                "alter-merge table <table:entity> policy streamingingestion <policy:string>",
                _POLICY_ROW, Kind.MUTATE, _TABLE_ADMIN),
    CommandSpec("alter-merge database policy",
                "alter-merge database [<database:name>] policy streamingingestion <policy:string>",
                _POLICY_ROW, Kind.MUTATE, _DATABASE_ADMIN),
    CommandSpec("delete table policy", "delete table <table:entity> policy streamingingestion",
                _POLICY_ROW, Kind.MUTATE, _TABLE_ADMIN),
    CommandSpec("delete database policy",
                "delete database <database:name> policy streamingingestion",
                _POLICY_ROW, Kind.MUTATE, _DATABASE_ADMIN),
    CommandSpec("alter cluster policy",
                "(alter | alter-merge) cluster policy streamingingestion "
                "(<policy:string> | enable | disable)",
                "", Kind.REFUSE, _NOT_DOCUMENTED, _NO_CLUSTER_POLICY),
    CommandSpec("delete cluster policy", "delete cluster policy streamingingestion",
                "", Kind.REFUSE, _NOT_DOCUMENTED, _NO_CLUSTER_POLICY),
    # Schema cache
    CommandSpec("clear table cache",
                "clear table <table:name> cache streamingingestion schema",
                "NodeId, Status", Kind.SHOW, "Database Ingestor"),
    CommandSpec("clear database cache", "clear database cache streamingingestion schema",
                "NodeId, Status", Kind.SHOW, "Database Ingestor"),
    # The cluster
    CommandSpec("show cluster", "show cluster",
                "NodeId, Address, Name, StartTime:datetime, IsAdmin:bool, "
                "MachineTotalMemory:long, MachineAvailableMemory:long, ProcessorCount:int, "
                "EnvironmentDescription",
                Kind.SHOW, "AllDatabasesMonitor"),
    CommandSpec("show version", "show version",
                "BuildVersion, BuildTime:datetime, ServiceType, ProductVersion",
                Kind.SHOW, "any"),
)  # fmt: skip
"""Every form that parses. The interpreter tries them in this order; no text fits two of them."""
