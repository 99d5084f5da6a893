"""A submitted request and its fate. No I/O but the wait of a task for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from cluster.ingest.request import IngestOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.catalog.model import RowStoreKey
    from cluster.errors import RemoraError
    from cluster.ingest.request import IngestPayload
    from cluster.replication.position import KeyPosition


class Ticket:
    """One request in the pipeline. It is decided once: committed, or refused with an error.

    ``on_decided`` is called at that moment, in the trio thread; it must not raise or block.
    """

    __slots__ = (
        "_decided",
        "_event",
        "duplicate",
        "duplicates",
        "error",
        "is_unary",
        "key",
        "on_decided",
        "position",
        "reference_count",
        "request",
        "row_count",
        "source",
        "taken_at_seconds",
    )

    def __init__(
        self,
        request: IngestPayload,
        on_decided: Callable[[], None] | None,
        *,
        is_unary: bool,
        taken_at_seconds: float = 0.0,
    ) -> None:
        self.request = request
        self.on_decided = on_decided
        self.is_unary = is_unary
        self.taken_at_seconds = taken_at_seconds
        self.reference_count = 0
        """References of the table, once it is known; for ``.show`` alone."""
        self.source = b""
        """Digest of the source id; known once the table is."""
        self.duplicates: list[Ticket] | None = None
        """Later requests with the same source id, which share this one's fate."""
        self.error: RemoraError | None = None
        self.key: RowStoreKey | None = None
        self.row_count = 0
        self.position: KeyPosition | None = None
        self.duplicate = False
        self._decided = False
        self._event: trio.Event | None = None

    @property
    def is_decided(self) -> bool:
        """True once the fate is known."""
        return self._decided

    def commit(
        self, key: RowStoreKey, row_count: int, position: KeyPosition, *, duplicate: bool = False
    ) -> None:
        """The rows are durable and visible at ``position``."""
        self.key = key
        self.row_count = row_count
        self.position = position
        self.duplicate = duplicate
        self._decide()

    def refuse(self, error: RemoraError) -> None:
        """The request is not stored, or not known to be."""
        self.error = error
        self._decide()

    def _decide(self) -> None:
        assert not self._decided, "a request has one fate"
        self._decided = True
        if self._event is not None:
            self._event.set()
        if self.on_decided is not None:
            self.on_decided()

    def outcome(self) -> IngestOutcome:
        """The outcome of a decided request; raises its error if it was refused."""
        assert self._decided, "not decided yet"
        if self.error is not None:
            raise self.error
        assert self.key is not None
        assert self.position is not None
        return IngestOutcome(self.key, self.row_count, self.position, self.duplicate)

    async def wait(self) -> IngestOutcome:
        """Waits for the outcome; raises the error of a refused request.

        Cancelling the wait does not take the request back: its rows may still be stored.
        """
        if self._decided:
            await trio.lowlevel.checkpoint()
        else:
            if self._event is None:
                self._event = trio.Event()
            await self._event.wait()
        return self.outcome()
