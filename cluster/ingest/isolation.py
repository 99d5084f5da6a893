"""A guard around decoding: a defect of ours costs the payload that meets it, not the node."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pyarrow as pa

from cluster.errors import InternalError
from cluster.ingest.decode import GroupResult, TableDecoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.ingest.request import DataFormat

logger = logging.getLogger(__name__)


def decode_isolated(
    decoder: TableDecoder, data_format: DataFormat, payloads: Sequence[bytes]
) -> GroupResult:
    """Decodes a group; a payload that meets a defect gets InternalError, its neighbours nothing.

    The defect is logged with its traceback.
    """
    try:
        return decoder.decode_group(data_format, payloads)
    except Exception:
        if len(payloads) == 1:
            logger.exception("a payload of %d bytes could not be decoded", len(payloads[0]))
            return GroupResult(None, (0,), (InternalError("decoding the payload failed"),), (0,))
    parts = [decode_isolated(decoder, data_format, [payload]) for payload in payloads]
    batches = [part.batch for part in parts if part.batch is not None]
    return GroupResult(
        pa.concat_batches(batches) if batches else None,
        tuple(part.row_counts[0] for part in parts),
        tuple(part.errors[0] for part in parts),
        tuple(sum(part.byte_counts) for part in parts),
    )
