"""What queued ingestion needs of the node's parts. Protocols, pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.batch.download import LocalSource
    from cluster.batch.ports import Request
    from cluster.batch.sources import Source
    from cluster.catalog.journal import Delta
    from cluster.catalog.model import Database, Extent


class CatalogPort(Protocol):
    """What is needed of :class:`cluster.catalog.driver.Catalog`."""

    def get(self, name: str) -> Database:
        """The newest tree. Raises DatabaseNotFoundError."""

    def history(self, name: str) -> Sequence[Delta]:
        """The newest committed transactions, oldest first. Raises DatabaseNotFoundError."""


class IngestionPort(Protocol):
    """What is needed of :class:`cluster.batch.driver.BatchIngestion`, which says what it raises."""

    async def sources(
        self, request: Request, sources: Sequence[Source | LocalSource]
    ) -> tuple[tuple[Extent, ...], float]:
        """Ingests all of them in one transaction."""
