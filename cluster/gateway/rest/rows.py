"""Rows of a table as JSON arrays, in pieces. Pure; large tables belong in a worker thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from cluster.gateway.rest.scalars import json_column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cluster.query.binding import QueryResult

_PIECE_ROWS: Final = 65_536
_PIECE_BYTES: Final = 64 * 1024 * 1024
"""Escaped at the very worst, so much text is below the 2 GiB an Arrow string array holds."""


def rows_in_pieces(result: QueryResult) -> Iterator[tuple[int, bytes]]:
    """Pieces of the rows: how many, and ``[..],[..]`` without a comma at either end."""
    for batch in result.table.to_batches(_PIECE_ROWS):
        for part in _parts(batch):
            if part.num_rows:
                yield part.num_rows, _rows(part, result)


def rows_of(result: QueryResult) -> list[bytes]:
    """All rows: pieces that follow each other, commas included."""
    pieces: list[bytes] = []
    for _, rows in rows_in_pieces(result):
        if pieces:
            pieces.append(b",")
        pieces.append(rows)
    return pieces


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if batch.nbytes <= _PIECE_BYTES or batch.num_rows <= 1:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _parts(batch.slice(0, half))
    yield from _parts(batch.slice(half))


def _rows(batch: pa.RecordBatch, result: QueryResult) -> bytes:
    parts: list[pa.Array | str] = []
    between = "["
    for array, column in zip(batch.columns, result.columns, strict=True):
        cells = json_column(array, column.type)
        parts += [between + cells.before, cells.cells]
        between = cells.after + ","
    if not parts:
        return b",".join([b"[]"] * batch.num_rows)
    parts.append(between[:-1] + "],")
    text = pc.binary_join_element_wise(*_alike(parts), "")
    # The texts of an array lie behind each other: together they are the rows, and a last comma.
    return _whole_text(text, leave_out=1)


def _alike(parts: Sequence[pa.Array | str]) -> Iterator[pa.Array | pa.Scalar]:
    for part in parts:
        yield pa.scalar(part) if isinstance(part, str) else part


def _whole_text(array: pa.StringArray, leave_out: int) -> bytes:
    """Its texts without the last ``leave_out`` bytes. There is at least one text."""
    _, offsets, data = array.buffers()
    bounds = memoryview(offsets).cast("i")
    first, last = bounds[array.offset], bounds[array.offset + len(array)]
    text: bytes = data[first : last - leave_out].to_pybytes()
    return text
