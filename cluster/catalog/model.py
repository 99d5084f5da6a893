"""The metadata tree of a database: immutable values, no I/O.

A database's metadata is one immutable tree; a transaction makes a new tree with a higher
:class:`Version` (white paper, "metadata transactions"). Queries pin a tree by holding it.

Times are microseconds since 1970 UTC, the resolution of a stored ``datetime``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NewType

import immutables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RowStoreKey = NewType("RowStoreKey", int)
"""Rows of one incarnation of one table in one row store: a random 64-bit number, never reused."""

DEFAULT_DATABASE = "NetDefaultDB"
"""The database every cluster has, and the context of requests that name none."""


class ScalarType(enum.Enum):
    """The ten scalar types (``scalar-data-types/*.md``). The value is the Kusto name."""

    BOOL = "bool"
    DATETIME = "datetime"
    DECIMAL = "decimal"
    DYNAMIC = "dynamic"
    GUID = "guid"
    INT = "int"
    LONG = "long"
    REAL = "real"
    STRING = "string"
    TIMESPAN = "timespan"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: ScalarType
    docstring: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Metadata version ``vMAJOR.MINOR``."""

    major: int = 1
    minor: int = 0

    def __str__(self) -> str:
        return f"v{self.major}.{self.minor}"

    def next(self) -> Version:
        """The version after one more transaction."""
        return Version(self.major, self.minor + 1)


@dataclass(frozen=True, slots=True)
class FollowingSource:
    """Where a follower database comes from. Its name here may differ from its name there."""

    leader_cluster: str
    leader_database: str


@dataclass(frozen=True, slots=True)
class StreamingIngestionPolicy:
    """``{"IsEnabled": bool, "HintAllocatedRate": GB/hour or null}`` of a table or database."""

    is_enabled: bool
    hint_allocated_rate: float | None = None


@dataclass(frozen=True, slots=True)
class RowStoreReference:
    """Where a table's streamed rows go: a row store of the node, and the table's key in it.

    Rows below ``sealed_ordinal`` are not read from the row store any more: they are in extents, or
    were cleared. ``sealed_checksum`` is the key's rolling checksum there, so that a copy that never
    had those rows goes on from it. ``is_enabled``: takes new rows; a reference is never removed
    while its table lives.
    """

    row_store: int
    key: RowStoreKey
    is_enabled: bool = True
    sealed_ordinal: int = 0
    sealed_checksum: int = 0


@dataclass(frozen=True, slots=True)
class Provenance:
    """Rows ``first_ordinal .. end_ordinal - 1`` of a row store key."""

    key: RowStoreKey
    first_ordinal: int
    end_ordinal: int


@dataclass(frozen=True, slots=True)
class Extent:
    """One immutable horizontal slice of a table: a Parquet file and what is known of it.

    ``file`` is its name below the database's storage root; several extents may share a file (an
    extent whose tags changed, or that moved to another table, is a new extent of the old file).
    ``column_ids[i]`` is the id, in the table, of the file's i-th column; -1: not a column of the
    table. A column of the table that is not among them reads null. ``file_checksum`` is xxh3_64 of
    the whole file. ``original_bytes`` is the size of the data as ingested.

    ``created_min_us``, ``created_max_us`` are of the extents it was merged from; retention and
    caching go by the newer one. ``ingested_min_us``, ``ingested_max_us`` are of its rows (None:
    the ingestion time policy was off); if they differ, the file has a column ``$IngestionTime``.
    ``sources`` is where its rows came from, if they were streamed.
    """

    extent_id: str
    file: str
    file_bytes: int
    file_checksum: int
    column_ids: tuple[int, ...]
    row_count: int
    original_bytes: int
    created_min_us: int
    created_max_us: int
    ingested_min_us: int | None = None
    ingested_max_us: int | None = None
    tags: tuple[str, ...] = ()
    sources: tuple[Provenance, ...] = ()


@dataclass(frozen=True, slots=True)
class IngestionMapping:
    """A pre-created mapping. ``text`` is its JSON as ``.show`` prints it; ``kind`` is lower case.

    Kinds: csv, json, avro, parquet, orc, w3clogfile.
    """

    name: str
    kind: str
    text: str
    updated_us: int


@dataclass(frozen=True, slots=True)
class Function:
    """A stored function. ``parameters`` and ``body`` are KQL as given: ``(a:long)``, ``{ T }``."""

    name: str
    parameters: str
    body: str
    folder: str = ""
    docstring: str = ""


class Role(enum.Enum):
    """A security role of a database; tables have the first two. The value is the command's word.

    The last three are over all databases of the cluster, and kept with those of ``NetDefaultDB``.
    """

    ADMINS = "admins"
    INGESTORS = "ingestors"
    USERS = "users"
    VIEWERS = "viewers"
    UNRESTRICTED_VIEWERS = "unrestrictedviewers"
    MONITORS = "monitors"
    ALL_DATABASES_ADMINS = "alldatabasesadmins"
    ALL_DATABASES_VIEWERS = "alldatabasesviewers"
    ALL_DATABASES_MONITORS = "alldatabasesmonitors"


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """One principal in one role. ``principal`` is its fully qualified name, ``aaduser=a@b.c``.

    ``assignment_id`` is a guid that tells it from every other; what removes and adds it again
    makes a new one.
    """

    role: Role
    principal: str
    notes: str = ""
    assignment_id: str = ""


MappingName = tuple[str, str]
"""Kind and name: what tells mappings of a table or database apart."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table. ``schemas`` is its history; the last one is in force.

    A row record names the index of the schema it was encoded with, so old records stay readable
    after the schema has changed. ``column_ids[i]`` are the ids of the columns of ``schemas[i]``: a
    renamed column keeps its id, a dropped one's is never used again, a column whose type changed
    gets a new one. So data is read by id, and what has no such id reads null.

    ``references`` is never empty. ``policies`` maps the kind of a policy, as written in commands,
    to its canonical JSON; a streaming ingestion policy is not among them. ``principals`` are in
    order of assignment, none twice in one role.
    """

    name: str
    table_id: str
    references: tuple[RowStoreReference, ...]
    schemas: tuple[tuple[Column, ...], ...]
    column_ids: tuple[tuple[int, ...], ...]
    streaming_policy: StreamingIngestionPolicy | None = None
    folder: str = ""
    docstring: str = ""
    policies: Mapping[str, str] = field(default_factory=dict)
    mappings: Mapping[MappingName, IngestionMapping] = field(default_factory=dict)
    extents: immutables.Map[str, Extent] = field(default_factory=immutables.Map)
    principals: tuple[RoleAssignment, ...] = ()

    @property
    def key(self) -> RowStoreKey:
        """Its first key: tells this incarnation of the table from every other."""
        return self.references[0].key

    @property
    def keys(self) -> tuple[RowStoreKey, ...]:
        """All its keys, in the order of its references."""
        return tuple(reference.key for reference in self.references)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The schema in force."""
        return self.schemas[-1]

    @property
    def schema_version(self) -> int:
        """Index of the schema in force."""
        return len(self.schemas) - 1


@dataclass(frozen=True, slots=True)
class DroppedTable:
    """A table that can be brought back: what it was, and the time of its drop.

    ``version`` is that of the last tree that had it: the ``OriginalEntityVersion`` of the drop in
    the journal, which ``.undo drop table`` names (``undo-drop-table-command.md``). Its sealed rows
    come back; rows that were in a row store are gone.
    """

    table: Table
    version: Version
    dropped_us: int


@dataclass(frozen=True, slots=True)
class Database:
    """One database: the root of its metadata tree.

    ``storage_root`` is the URL of the folder or container that holds its extents; empty: the
    default root of the node that owns it.
    """

    name: str
    database_id: str
    version: Version = field(default_factory=Version)
    tables: Mapping[str, Table] = field(default_factory=dict)
    streaming_policy: StreamingIngestionPolicy | None = None
    pretty_name: str = ""
    policies: Mapping[str, str] = field(default_factory=dict)
    mappings: Mapping[MappingName, IngestionMapping] = field(default_factory=dict)
    functions: Mapping[str, Function] = field(default_factory=dict)
    dropped_tables: tuple[DroppedTable, ...] = ()
    storage_root: str = ""
    principals: tuple[RoleAssignment, ...] = ()

    def effective_streaming(self, table: Table) -> StreamingIngestionPolicy | None:
        """The policy in force: the table's own, else the database's, else none."""
        if table.streaming_policy is not None:
            return table.streaming_policy
        return self.streaming_policy

    def effective_policy(self, table: Table, kind: str) -> str | None:
        """JSON of the policy in force: the table's own, else the database's, else none."""
        return table.policies.get(kind, self.policies.get(kind))

    def streaming_tables(self) -> tuple[str, ...]:
        """Names of the tables whose effective policy is enabled, sorted."""
        return tuple(
            sorted(
                name
                for name, table in self.tables.items()
                if (policy := self.effective_streaming(table)) is not None and policy.is_enabled
            )
        )

    def row_store_keys(self) -> Iterator[RowStoreKey]:
        """The keys of all tables."""
        for table in self.tables.values():
            yield from table.keys
