"""What batch ingestion is given and what it needs of others. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from cluster.batch.download import LocalSource
    from cluster.batch.properties import IngestionProperties
    from cluster.catalog.model import Database, Extent, RowStoreKey, Table
    from cluster.extents.committing import Plan
    from cluster.replication.position import KeyPosition


class Decode(Protocol):
    """From the bytes of a source to batches of a table's columns (``cluster.ingest``)."""

    def check(self, database: Database, table: Table, properties: IngestionProperties) -> None:
        """Raises what is wrong with format and mapping, before any byte is read."""

    def batches(
        self,
        source: LocalSource | bytes,
        database: Database,
        table: Table,
        properties: IngestionProperties,
    ) -> Iterator[pa.RecordBatch]:
        """The rows, batch by batch; called in a worker thread. Raises RequestError."""


@dataclass(frozen=True, slots=True)
class Derived:
    """Rows an update policy made for another table, in its schema in force; there may be none.

    ``propagates``: the tags and the creation time of the ingestion are theirs too
    (PropagateIngestionProperties of every policy on the way).
    """

    table: str
    key: RowStoreKey
    batches: tuple[pa.RecordBatch, ...]
    propagates: bool = False


class UpdatePolicies(Protocol):
    """The update policies of a database (``cluster.ingest``)."""

    def has_targets(self, database: Database, table: Table) -> bool:
        """Whether an enabled update policy reads the table."""

    async def derive(
        self, database: Database, table: Table, batch: pa.RecordBatch
    ) -> Sequence[Derived]:
        """All that follows from new rows of the table, cascades included.

        A table can be there more than once, and without rows. Raises what a transactional policy
        failed with; other failures are reported elsewhere, and what would follow is left out.
        """

    def targets(self, database: Database, table: Table) -> Sequence[Derived]:
        """Every table that rows of this one can reach, without rows."""


class Store(Protocol):
    """What commits (``cluster.extents.driver.ExtentKeeper``)."""

    async def commit_extents(
        self, database: Database, plan: Plan, extents: Sequence[Extent], *, text: str = ""
    ) -> bool:
        """Commits what names the extents' files, or removes them; False: the plan was empty."""

    def positions(self, table: Table) -> Mapping[RowStoreKey, KeyPosition]:
        """The visible position of each of its keys."""


@dataclass(frozen=True, slots=True)
class Request:
    """One ingestion. ``text`` is the command without secrets, ``kind`` as in ``.show operations``.

    ``operation_id`` is empty for what is not an operation. ``reports_failure``: what goes wrong
    goes to ``.show ingestion failures``; False: the caller tells of it, or tries again.
    """

    database: str
    table: str
    properties: IngestionProperties
    kind: str
    text: str
    operation_id: str = ""
    reports_failure: bool = True
