"""Bodies of records to Arrow batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence


def decode_body(body: memoryview, schema: pa.Schema, row_count: int) -> pa.RecordBatch:
    """The rows of a body; they share its memory.

    Raises ValueError unless it is one record batch of ``row_count`` rows. Trusts the values; see
    :func:`check_values` for bodies from outside.
    """
    try:
        batch = pa.ipc.read_record_batch(pa.py_buffer(body), schema)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error)) from error
    if batch.num_rows != row_count:
        raise ValueError(f"{batch.num_rows} rows instead of {row_count}")
    return batch


def check_values(batch: pa.RecordBatch) -> None:
    """Checks every offset and every character, so that using the batch is safe.

    Raises ValueError.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def joined_copy(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch with the rows of all, in memory of its own."""
    if len(batches) == 1:
        # Arrow copies nothing when it has nothing to join.
        batches = (batches[0], batches[0].slice(0, 0))
    return pa.concat_batches(batches)


def join(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch with the rows of all; itself if there is only one."""
    if len(batches) == 1:
        return batches[0]
    return pa.concat_batches(batches)
