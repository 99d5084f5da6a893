"""Whole files for batch ingestion: decoded in a worker thread, batch by batch, in bounded memory.

Unlike a streaming request, a source is taken leniently (``mappings.md``, "data coerced"): fields
beyond the mapped ones are ignored, missing ones and values that do not convert are null, strings
over ``limits.string_value_bytes`` are cut. What breaks the structure of its format is refused.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

from cluster.errors import EmptyPayloadError, FormatNotSupportedError
from cluster.ingest import chunks as c
from cluster.ingest.archives import members, readable_archive
from cluster.ingest.arrangement import Arrangement
from cluster.ingest.avro import read_blocks, read_records
from cluster.ingest.columnar import converted_batches, parquet_batches, roots_of
from cluster.ingest.decode import new_codec
from cluster.ingest.delimited import DelimitedFormat
from cluster.ingest.mappings import IngestionPlan, check_schema, identity_plan, parse_mapping
from cluster.ingest.process import orc_batches
from cluster.ingest.refusals import DeclinedError
from cluster.ingest.request import MAPPING_KINDS, DataFormat, data_format
from cluster.ingest.schema_cache import KnownSchema
from cluster.ingest.trees import trees_to_batch
from cluster.ingest.w3c import W3cLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO, Protocol

    import pyarrow as pa

    from cluster.catalog.model import Column, Database, Table
    from cluster.ingest.decode import PayloadFormat
    from cluster.limits import Limits

    class Properties(Protocol):
        """What decoding needs of ``cluster.batch.properties.IngestionProperties``."""

        @property
        def format(self) -> str: ...
        @property
        def mapping(self) -> str: ...
        @property
        def mapping_reference(self) -> str: ...
        @property
        def ignore_first_record(self) -> bool: ...
        @property
        def keep_gzip(self) -> bool: ...

    class Source(Protocol):
        """What decoding needs of ``cluster.batch.download.LocalSource``."""

        @property
        def path(self) -> Path: ...
        @property
        def shown(self) -> str: ...


_COLUMNAR: Final = frozenset({DataFormat.PARQUET, DataFormat.ORC})
_AVRO: Final = frozenset({DataFormat.AVRO, DataFormat.APACHEAVRO})
_WHOLE_JSON: Final = frozenset({DataFormat.MULTIJSON, DataFormat.SINGLEJSON})


class BatchDecode:
    """Decodes sources of batch ingestion (``cluster.batch.ports.Decode``)."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def check(self, database: Database, table: Table, properties: Properties) -> None:
        """Raises what is wrong with format and mapping, before any byte is read.

        FormatNotSupportedError, MappingNotFoundError, MappingReferenceError, MappingNotValidError,
        MappingInconsistentError.
        """
        chosen = _format_of(properties)
        check_schema(
            _mapping_of(database, table, properties, chosen),
            table.columns,
            properties.mapping_reference,
        )

    def batches(
        self, source: Source | bytes, database: Database, table: Table, properties: Properties
    ) -> Iterator[pa.RecordBatch]:
        """The rows in the table's columns; called in a worker thread. Raises RequestError."""
        chosen = _format_of(properties)
        mapping = _mapping_of(database, table, properties, chosen)
        location = "" if isinstance(source, bytes) else source.shown
        with _opened(source) as stream:
            is_inline = isinstance(source, bytes)
            files = (
                iter((stream,)) if is_inline else members(stream, keep_gzip=properties.keep_gzip)
            )
            for file in files:
                yield from decode_source(
                    file,
                    chosen,
                    mapping,
                    table.columns,
                    self._limits,
                    database=database.name,
                    table=table.name,
                    location=location,
                    mapping_name=properties.mapping_reference,
                    ignore_first_record=properties.ignore_first_record,
                )


def decode_source(
    stream: BinaryIO,
    chosen: DataFormat,
    mapping: IngestionPlan,
    columns: Sequence[Column],
    limits: Limits,
    *,
    database: str = "",
    table: str = "",
    location: str = "",
    mapping_name: str = "",
    ignore_first_record: bool = False,
) -> Iterator[pa.RecordBatch]:
    """One file's rows in ``columns``; no batch is empty. Holds a few MiB, or the longest record.

    ``location`` is what SourceLocation gives; SourceLineNumber counts records from 1, one that
    ``ignore_first_record`` leaves out included.
    """
    arrangement = Arrangement(
        columns,
        mapping,
        limits,
        database,
        table,
        location=location,
        is_lenient=True,
        name=mapping_name,
    )
    reading = _Reading(arrangement, chosen, limits, ignore_first_record=ignore_first_record)
    line = 1 + (ignore_first_record and chosen not in _BINARY)
    with readable_archive():
        for batch in reading.batches(stream):
            if batch.num_rows:
                yield arrangement.arrange(batch, (batch.num_rows,), line)
                line += batch.num_rows


_BINARY: Final = _COLUMNAR | _AVRO


class _Reading:
    """One file of one format."""

    def __init__(
        self,
        arrangement: Arrangement,
        chosen: DataFormat,
        limits: Limits,
        *,
        ignore_first_record: bool,
    ) -> None:
        self._plan = arrangement.read
        self._format = chosen
        self._limits = limits
        self._skips = ignore_first_record

    def batches(self, stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        """The rows in the columns that are read."""
        if self._format in _COLUMNAR:
            yield from self._columnar(stream)
        elif self._format in _AVRO:
            for block in read_blocks(
                stream, self._limits.row_store_record_bytes, self._limits.json_depth
            ):
                yield trees_to_batch(self._plan, read_records(block))
        elif self._format is DataFormat.W3CLOGFILE:
            log = W3cLog(self._plan)
            for piece in c.chunks(stream, c.end_of_lines, self._limits):
                if (batch := log.decode(piece)) is not None:
                    yield batch
        elif self._format in _WHOLE_JSON:
            yield from self._documents(stream)
        elif self._format is DataFormat.RAW:
            yield from self._raw(stream)
        else:
            yield from self._records(stream)

    def _columnar(self, stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        if isinstance(getattr(stream, "raw", None), io.FileIO):
            yield from self._of_file(stream)
            return
        # Their footers are at the end, and what comes out of an archive cannot go back.
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(stream, copy, c.CHUNK_BYTES)
            copy.flush()
            copy.seek(0)
            yield from self._of_file(cast("BinaryIO", copy))

    def _of_file(self, file: BinaryIO) -> Iterator[pa.RecordBatch]:
        plan = self._plan
        if self._format is DataFormat.PARQUET:
            yield from parquet_batches(file, plan)
        else:
            batches = orc_batches(file, roots_of(plan), self._limits)
            yield from converted_batches(batches, self._format, plan)

    def _raw(self, stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        data = stream.read(self._limits.row_store_record_bytes + 1)
        if len(data) > self._limits.row_store_record_bytes:
            raise c.too_long(self._limits)
        yield from self._decoded(new_codec(self._format, self._plan), data)

    def _records(self, stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        codec = new_codec(self._format, self._plan)
        end_of_records = c.end_of_lines
        if isinstance(codec, DelimitedFormat):
            end_of_records = codec.end_of_records
        elif self._format is DataFormat.TSVE:
            end_of_records = c.end_of_escaped_lines
        for piece in c.chunks(stream, end_of_records, self._limits):
            data = piece
            if self._skips:
                data = _without_first(codec, piece)
                self._skips = not data and not piece.strip(b"\r\n")
            yield from self._decoded(codec, data)

    def _documents(self, stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        codec = new_codec(self._format, self._plan)
        data = stream.read(c.CHUNK_BYTES)
        more = stream.read(1)
        if not more and not self._skips:
            yield from self._decoded(codec, data)
            return
        documents = c.Documents()
        rest = data + more
        while True:
            bags, end = documents.bags(rest)
            rest = rest[end:]
            if bags and self._skips:
                bags, self._skips = bags[1:], False
            if max(map(len, (rest, *bags))) > self._limits.row_store_record_bytes:
                raise c.too_long(self._limits)
            if bags:
                yield from self._decoded(codec, b"[" + b",".join(bags) + b"]")
            piece = stream.read(max(c.CHUNK_BYTES, len(rest)))
            if not piece:
                documents.finish(rest)
                return
            rest += piece

    def _decoded(self, codec: PayloadFormat, data: bytes) -> Iterator[pa.RecordBatch]:
        try:
            prepared = codec.prepare(data)
        except EmptyPayloadError:
            return  # blank lines are no records
        try:
            batch = codec.decode_together([prepared])
        except DeclinedError:
            batch = codec.decode_exactly(prepared)
        yield batch


def _without_first(codec: PayloadFormat, piece: bytes) -> bytes:
    if isinstance(codec, DelimitedFormat):
        return codec.without_first_record(piece)
    lines = piece.lstrip(b"\r\n").split(b"\n", 1)
    return lines[1] if len(lines) > 1 else b""


def _format_of(properties: Properties) -> DataFormat:
    chosen = data_format(properties.format)
    if chosen is None:
        known = ", ".join(sorted(item.value for item in DataFormat))
        raise FormatNotSupportedError(
            f"'{properties.format[:60]}' is not one of the data formats {known}"
        )
    return chosen


def _mapping_of(
    database: Database, table: Table, properties: Properties, chosen: DataFormat
) -> IngestionPlan:
    kind = MAPPING_KINDS[chosen]
    if properties.mapping:
        return parse_mapping(kind, properties.mapping)
    if properties.mapping_reference:
        known = KnownSchema(table, database.mappings, 0.0)
        return parse_mapping(kind, known.mapping(kind, properties.mapping_reference).text)
    return identity_plan(kind, table.columns)


@contextmanager
def _opened(source: Source | bytes) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    with source.path.open("rb") as stream:
        yield stream
