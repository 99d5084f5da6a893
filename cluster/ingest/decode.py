"""Payloads of one table and format, decoded together into one batch. Pure.

Decoding k small payloads in one call costs a tenth to a thirtieth of decoding them one by one
(``reference/storage.md`` section 3). Two rules keep that sound:

- A payload is joined with others only after it has been found complete by itself (UTF-8, quotes
  closed, last line ended), so none can reach into the next.
- If the joint decode declines, the group is halved, down to one payload, which is decoded exactly.
  So a bad payload is refused with the words it would get alone, and its neighbours never notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import pyarrow as pa

from cluster.errors import RequestError
from cluster.ingest.arrangement import Arrangement
from cluster.ingest.avro import AvroFormat
from cluster.ingest.bags import JsonFormat
from cluster.ingest.compression import check_size, unpack
from cluster.ingest.delimited import DelimitedFormat
from cluster.ingest.lines import LineFormat
from cluster.ingest.paths import PathFormat, needs_paths
from cluster.ingest.plan import TablePlan
from cluster.ingest.refusals import DeclinedError
from cluster.ingest.request import DELIMITERS, DataFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.catalog.model import Column
    from cluster.errors import RemoraError
    from cluster.ingest.mappings import IngestionPlan
    from cluster.limits import Limits


_LINES: Final = frozenset({DataFormat.TSVE, DataFormat.TXT, DataFormat.RAW})
_AVRO: Final = frozenset({DataFormat.AVRO, DataFormat.APACHEAVRO})


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What became of each payload of a group, in the order given.

    ``batch`` has the rows of all good payloads, one after the other, in the schema of the table;
    None when there is none. ``row_counts[i]`` is 0 exactly when ``errors[i]`` is set.
    ``byte_counts[i]`` is the size of the payload after decompression.
    """

    batch: pa.RecordBatch | None
    row_counts: tuple[int, ...]
    errors: tuple[RemoraError | None, ...]
    byte_counts: tuple[int, ...] = ()


class PayloadFormat(Protocol):
    """One format for one table. ``prepare`` returns what the other methods take."""

    def prepare(self, payload: bytes) -> Any:
        """Checks one payload by itself. Raises RequestError."""

    def decode_together(self, prepared: Sequence[Any]) -> pa.RecordBatch:
        """All rows of all payloads. Raises DeclinedError if any value is not fine."""

    def row_counts(self, prepared: Sequence[Any], row_count: int) -> list[int]:
        """Rows of each payload; ``row_count`` in all."""

    def decode_exactly(self, prepared: Any) -> pa.RecordBatch:
        """The rows of one payload. Raises RequestError for the first wrong value."""


class TableDecoder:
    """Decodes for one table in one schema version, with or without a mapping. Keeps no payload.

    Raises MappingInconsistentError when made with a mapping that does not fit the columns.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        limits: Limits,
        *,
        database: str,
        table: str,
        mapping: IngestionPlan | None = None,
        mapping_name: str = "",
    ) -> None:
        self._arrangement: Arrangement | None = None
        if mapping is None:
            self._plan = TablePlan(columns, limits, database, table)
        else:
            self._arrangement = Arrangement(
                columns, mapping, limits, database, table, name=mapping_name
            )
            self._plan = self._arrangement.read
        self._limits = limits
        self._formats: dict[DataFormat, PayloadFormat] = {}

    def decode_group(self, data_format: DataFormat, payloads: Sequence[bytes]) -> GroupResult:
        """Decodes a group. Never raises for a bad payload: its error is in the result."""
        codec = self._codec(data_format)
        errors: list[RequestError | None] = [None] * len(payloads)
        row_counts = [0] * len(payloads)
        byte_counts = [0] * len(payloads)
        places: list[int] = []
        prepared: list[Any] = []
        for place, payload in enumerate(payloads):
            try:
                check_size(payload, self._limits)
                text = unpack(payload, self._limits)
                byte_counts[place] = len(text)
                prepared.append(codec.prepare(text))
            except RequestError as error:
                errors[place] = error
            else:
                places.append(place)
        batches: list[pa.RecordBatch] = []
        self._decode(codec, places, prepared, batches, row_counts, errors)
        if not batches:
            batch = None
        else:
            batch = batches[0] if len(batches) == 1 else pa.concat_batches(batches)
            if self._arrangement is not None:
                batch = self._arrangement.arrange(batch, row_counts)
        return GroupResult(batch, tuple(row_counts), tuple(errors), tuple(byte_counts))

    def _codec(self, data_format: DataFormat) -> PayloadFormat:
        codec = self._formats.get(data_format)
        if codec is None:
            codec = self._formats[data_format] = new_codec(data_format, self._plan)
        return codec

    def _decode(
        self,
        codec: PayloadFormat,
        places: list[int],
        prepared: list[Any],
        batches: list[pa.RecordBatch],
        row_counts: list[int],
        errors: list[RequestError | None],
    ) -> None:
        if not places:
            return
        try:
            batch = codec.decode_together(prepared)
        except DeclinedError:
            if len(places) > 1:
                half = len(places) // 2
                for part in (slice(None, half), slice(half, None)):
                    self._decode(codec, places[part], prepared[part], batches, row_counts, errors)
                return
            try:
                batch = codec.decode_exactly(prepared[0])
            except RequestError as error:
                errors[places[0]] = error
                return
        counts = codec.row_counts(prepared, batch.num_rows)
        for place, count in zip(places, counts, strict=True):
            row_counts[place] = count
        assert all(counts), "prepare() refuses payloads without a record"
        batches.append(batch)


def new_codec(data_format: DataFormat, plan: TablePlan) -> PayloadFormat:
    """The decoder of one of STREAMING_FORMATS."""
    delimiter = DELIMITERS.get(data_format)
    if delimiter is not None:
        return DelimitedFormat(delimiter, plan)
    if data_format in _LINES:
        return LineFormat(data_format, plan)
    if data_format in _AVRO:
        return AvroFormat(plan)
    lines = data_format is DataFormat.JSON
    return PathFormat(plan, lines=lines) if needs_paths(plan) else JsonFormat(plan, lines=lines)


def decode_group(
    data_format: DataFormat,
    payloads: Sequence[bytes],
    columns: Sequence[Column],
    limits: Limits,
    *,
    database: str = "",
    table: str = "",
) -> GroupResult:
    """Decodes one group for a table with these columns; see :class:`TableDecoder`."""
    decoder = TableDecoder(columns, limits, database=database, table=table)
    return decoder.decode_group(data_format, payloads)
