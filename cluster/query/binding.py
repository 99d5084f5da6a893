"""What a query reads, and what it answers: values that are pinned and never change.

A :class:`BoundTable` is one table at one moment: its schemas, the streamed rows above the floors of
its keys, and its extents. ``fresh.py`` and ``relation.py`` make of it what DuckDB reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import immutables
import pyarrow as pa

from cluster.catalog.arrow_types import ARROW_TYPES
from cluster.catalog.model import RowStoreKey, RowStoreReference, ScalarType, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.catalog.model import Column, Database, Extent, Function

INGESTION_TIME_TYPE = ARROW_TYPES[ScalarType.DATETIME]


class StreamedRows(Protocol):
    """Rows of one key from its floor on; :class:`cluster.rowstore.model.Rows`."""

    @property
    def batches(self) -> tuple[pa.RecordBatch, ...]:
        """In ordinal order; immutable and shared, never copied."""

    @property
    def schema_versions(self) -> tuple[int, ...]:
        """Index into the table's ``schemas`` of each batch."""

    def ingestion_times(self) -> pa.Array:
        """Microseconds since 1970 UTC, one a row."""


@dataclass(frozen=True, slots=True)
class GivenRows:
    """Rows that are in no row store: results of commands, batches of an update policy.

    ``ingested_us`` is the one ingestion time of all of them; None: they have none.
    """

    batches: tuple[pa.RecordBatch, ...]
    ingested_us: int | None = None

    @property
    def schema_versions(self) -> tuple[int, ...]:
        """All of the only schema."""
        return (0,) * len(self.batches)

    def ingestion_times(self) -> pa.Array:
        """The one time, or nulls."""
        count = sum(batch.num_rows for batch in self.batches)
        return pa.repeat(pa.scalar(self.ingested_us, INGESTION_TIME_TYPE), count)


_NO_EXTENTS: Mapping[str, Extent] = immutables.Map()


@dataclass(frozen=True, slots=True)
class BoundTable:
    """One table at one moment. Rows are in ``fresh`` or in ``extents``, each in one place.

    ``fresh`` holds, for each key, what is at or above the key's floor in the tree that ``table``
    and ``extents`` are of. ``has_ingestion_times``: False if the ingestion time policy of the
    table is off, which hides those of its streamed rows.
    """

    table: Table
    fresh: tuple[StreamedRows, ...] = ()
    extents: Mapping[str, Extent] = _NO_EXTENTS
    database: Database | None = None
    """The tree it was taken from, which says where its files are; None: it has no extents."""
    has_ingestion_times: bool = True

    @property
    def columns(self) -> tuple[Column, ...]:
        """The schema in force."""
        return self.table.columns

    @property
    def batches(self) -> tuple[pa.RecordBatch, ...]:
        """The streamed rows, in the schemas they were written with."""
        return tuple(batch for rows in self.fresh for batch in rows.batches)

    @property
    def row_count(self) -> int:
        """All its rows, without reading one."""
        streamed: int = sum(batch.num_rows for rows in self.fresh for batch in rows.batches)
        return streamed + sum(extent.row_count for extent in self.extents.values())


def given_table(
    name: str,
    columns: Sequence[Column],
    batches: Sequence[pa.RecordBatch] = (),
    *,
    ingested_us: int | None = None,
) -> BoundTable:
    """A table of nothing but these batches, each with the storage schema of ``columns``."""
    table = Table(
        name=name,
        table_id="",
        references=(RowStoreReference(0, RowStoreKey(0)),),
        schemas=(tuple(columns),),
        column_ids=(tuple(range(len(columns))),),
    )
    return BoundTable(table, (GivenRows(tuple(batches), ingested_us),))


@dataclass(frozen=True, slots=True)
class QuerySnapshot:
    """What one query may see; nothing that happens later changes it."""

    database: str
    """The database in context, as its owner spells it."""
    tables: Mapping[str, BoundTable]
    others: Mapping[str, Mapping[str, BoundTable]] = field(default_factory=dict)
    """Tables of the other databases ``database('...')`` may name."""
    functions: Mapping[str, Function] = field(default_factory=dict)
    """Stored functions of the database in context."""
    cursor_us: int | None = None
    """The database cursor: microseconds, see ``RowStores.times``. None: it is not known here."""
    pin: object = None
    """Kept alive with the snapshot, so that no file its extents name is deleted meanwhile."""
    other_functions: Mapping[str, Mapping[str, Function]] = field(default_factory=dict)
    """Stored functions of other databases; only of databases in ``others`` are they called."""


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One column of a result."""

    name: str
    type: ScalarType


@dataclass(frozen=True, slots=True)
class ScanStatistics:
    """What a query read: rows and extents of its tables, after pruning."""

    tables: int = 0
    streamed_rows: int = 0
    extents_total: int = 0
    """Extents of the tables it names."""
    extents_hot: int = 0
    """Of those, read from the hot cache."""
    extents_cold: int = 0
    """Of those, read from their files. The rest was pruned, or counted without reading."""
    rows_total: int = 0
    """Rows of the tables it names."""


NOTHING_SCANNED = ScanStatistics()


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A whole answer. ``table`` has the Arrow types of ``types.RESULT_TYPES``.

    ``cursor`` is the database cursor as text, if the query used a function of it; else empty.
    """

    columns: tuple[ResultColumn, ...]
    table: pa.Table
    cursor: str = ""
    scanned: ScanStatistics = NOTHING_SCANNED
    name: str = ""
    """What the query calls this result (``fork n=(...)``, ``as n``); empty: nothing."""
    visualization: Mapping[str, object] | None = None
    """What ``render`` said, with the keys of a v2 answer; None without a ``render``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The results of one text, in the order of its queries: one for each, or for each leg of a
    ``fork``. All are of one snapshot and one moment."""

    results: tuple[QueryResult, ...]
    hidden_reason: str = ""
    """Why streaming rows of tables of other clusters are not in it; empty: they are."""

    @property
    def only(self) -> QueryResult:
        """The result, where there is one."""
        (result,) = self.results
        return result
