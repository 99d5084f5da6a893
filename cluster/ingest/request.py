"""What is asked of ingestion and what comes out. Pure values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cluster.ingest.mappings import MappingKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.catalog.model import RowStoreKey
    from cluster.replication.position import KeyPosition


class DataFormat(enum.Enum):
    """Data formats. The value is Kusto's name, in lower case."""

    CSV = "csv"
    TSV = "tsv"
    JSON = "json"
    MULTIJSON = "multijson"
    SCSV = "scsv"
    SOHSV = "sohsv"
    PSV = "psv"
    TSVE = "tsve"
    TXT = "txt"
    RAW = "raw"
    SINGLEJSON = "singlejson"
    AVRO = "avro"
    APACHEAVRO = "apacheavro"
    PARQUET = "parquet"
    ORC = "orc"
    W3CLOGFILE = "w3clogfile"


DELIMITERS: Final[Mapping[DataFormat, str]] = {
    DataFormat.CSV: ",",
    DataFormat.TSV: "\t",
    DataFormat.SCSV: ";",
    DataFormat.SOHSV: "\x01",
    DataFormat.PSV: "|",
}
"""The delimited formats with quotes, and what separates their fields."""

MAPPING_KINDS: Final[Mapping[DataFormat, MappingKind]] = {
    **dict.fromkeys(DELIMITERS, MappingKind.CSV),
    DataFormat.TSVE: MappingKind.CSV,
    DataFormat.TXT: MappingKind.CSV,
    DataFormat.RAW: MappingKind.CSV,
    DataFormat.JSON: MappingKind.JSON,
    DataFormat.MULTIJSON: MappingKind.JSON,
    DataFormat.SINGLEJSON: MappingKind.JSON,
    DataFormat.AVRO: MappingKind.AVRO,
    DataFormat.APACHEAVRO: MappingKind.AVRO,
    DataFormat.PARQUET: MappingKind.PARQUET,
    DataFormat.ORC: MappingKind.ORC,
    DataFormat.W3CLOGFILE: MappingKind.W3CLOGFILE,
}
"""The kind of mapping each format takes (``mappings.md``)."""

STREAMING_FORMATS: Final = frozenset(DataFormat) - {
    DataFormat.PARQUET,
    DataFormat.ORC,
    DataFormat.W3CLOGFILE,
}
"""What a streaming request may name: all that can be decoded in small pieces."""


DISPLAY_NAMES: Final[Mapping[DataFormat, str]] = {
    **{item: item.value.capitalize() for item in DataFormat},
    DataFormat.MULTIJSON: "MultiJson",
    DataFormat.SINGLEJSON: "SingleJson",
    DataFormat.APACHEAVRO: "ApacheAvro",
    DataFormat.W3CLOGFILE: "W3CLogFile",
}
"""The names ``.show`` commands print."""


def data_format(name: str) -> DataFormat | None:
    """The format of that name in any case; None if there is none."""
    try:
        return DataFormat(name.lower())
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class IngestPayload:
    """One request: all of its rows are stored, or none.

    ``format`` is None when the caller named none that is known. ``payload`` is as sent: gzip, or
    text in UTF-8. An empty ``mapping`` is the identity mapping; an empty ``source_id`` means that
    a retry of this request cannot be told from a new one. ``properties`` are other ingestion
    properties as the caller named them: streaming takes none, and says so.
    """

    database: str
    table: str
    format: DataFormat | None
    payload: bytes
    mapping: str = ""
    source_id: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


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
