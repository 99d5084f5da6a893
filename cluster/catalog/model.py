"""The metadata tree of a database: immutable values, no I/O.

A database's metadata is one immutable tree; a transaction makes a new tree with a higher
:class:`Version` (white paper, "metadata transactions"). Queries pin a tree by holding it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from collections.abc import Mapping

RowStoreKey = NewType("RowStoreKey", int)
"""One incarnation of one table in a row store: a random 64-bit number, never reused."""

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
class Table:
    """One table. ``schemas`` is its history; the last one is in force.

    A row record names the index of the schema it was encoded with, so old records stay readable
    after the schema has changed.
    """

    name: str
    table_id: str
    key: RowStoreKey
    schemas: tuple[tuple[Column, ...], ...]
    streaming_policy: StreamingIngestionPolicy | None = None
    folder: str = ""
    docstring: str = ""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The schema in force."""
        return self.schemas[-1]

    @property
    def schema_version(self) -> int:
        """Index of the schema in force."""
        return len(self.schemas) - 1


@dataclass(frozen=True, slots=True)
class Database:
    """One database: the root of its metadata tree."""

    name: str
    database_id: str
    version: Version = field(default_factory=Version)
    tables: Mapping[str, Table] = field(default_factory=dict)
    streaming_policy: StreamingIngestionPolicy | None = None
    pretty_name: str = ""

    def effective_streaming(self, table: Table) -> StreamingIngestionPolicy | None:
        """The policy in force: the table's own, else the database's, else none."""
        if table.streaming_policy is not None:
            return table.streaming_policy
        return self.streaming_policy

    def streaming_tables(self) -> tuple[str, ...]:
        """Names of the tables whose effective policy is enabled, sorted."""
        return tuple(
            sorted(
                name
                for name, table in self.tables.items()
                if (policy := self.effective_streaming(table)) is not None and policy.is_enabled
            )
        )
