"""What is asked of ingestion and what comes out. Pure values."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.catalog.model import RowStoreKey
    from cluster.replication.position import KeyPosition


class DataFormat(enum.Enum):
    """The formats streaming ingestion takes here. The value is Kusto's name, in lower case."""

    CSV = "csv"
    TSV = "tsv"
    JSON = "json"
    MULTIJSON = "multijson"


@dataclass(frozen=True, slots=True)
class IngestPayload:
    """One request: all of its rows are stored, or none.

    ``format`` is None when the caller named none that is known. ``payload`` is as sent: gzip, or
    text in UTF-8. An empty ``mapping`` is the identity mapping; an empty ``source_id`` means that
    a retry of this request cannot be told from a new one.
    """

    database: str
    table: str
    format: DataFormat | None
    payload: bytes
    mapping: str = ""
    source_id: str = ""


@dataclass(frozen=True, slots=True)
class IngestOutcome:
    """A committed request: durable and visible.

    ``position`` is the first position of ``key`` that includes its rows. ``duplicate`` is True
    when an earlier request with the same source id stored them.
    """

    key: RowStoreKey
    row_count: int
    position: KeyPosition
    duplicate: bool = False
