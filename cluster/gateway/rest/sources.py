"""Reads what a streaming request names by its address instead of sending it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from cluster.batch.download import Downloads
from cluster.batch.sources import parse_source
from cluster.errors import LimitExceededError, PayloadTooLargeError

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.limits import Limits


class UriSources:
    """Blobs and files, from where ``.ingest into`` may read: ``folder``, and object stores.

    ``work`` is a folder of this process alone.
    """

    def __init__(self, *, folder: Path, work: Path, limits: Limits) -> None:
        self._most_bytes = max(limits.ingest_wire_bytes, limits.ingest_request_bytes) + 1
        bounded = replace(limits, ingest_source_bytes=self._most_bytes)
        self._downloads = Downloads(folder=folder, work=work, limits=bounded)
        self._count = 0

    async def read(self, uri: str) -> bytes:
        """The whole object.

        Raises InvalidRequestError (no such address), SourceNotFoundError, SourceForbiddenError,
        UnavailableError, PayloadTooLargeError (more than can be streamed).
        """
        self._count += 1
        try:
            source = await self._downloads.get(parse_source(uri), self._count)
        except LimitExceededError as error:
            raise PayloadTooLargeError(
                error.message, remedy="Queue it instead.", metadata=error.metadata
            ) from None
        try:
            return await trio.to_thread.run_sync(source.path.read_bytes)
        finally:
            if source.is_copy:
                source.path.unlink(missing_ok=True)
