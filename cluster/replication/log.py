"""What a leader session's driver reads rows from: the row stores of a node as one log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from cluster.catalog.model import RowStoreKey
    from cluster.replication.position import KeyPosition
    from cluster.rowstore.model import Chunk


class LeaderLog(Protocol):
    """What Follow reads: the row stores of a node as one log. See ``RowStore`` for the methods."""

    def position_of(self, keys: Iterable[RowStoreKey]) -> dict[RowStoreKey, KeyPosition]:
        """The visible position of each key."""

    def end_lsn(self) -> int:
        """LSN after the last committed record."""

    def start_lsn_for(self, cursors: Mapping[RowStoreKey, int], keys: Iterable[RowStoreKey]) -> int:
        """The lowest LSN that can hold a record of ``keys`` at or after their cursors."""

    async def read(
        self,
        lsn: int,
        keys: Collection[RowStoreKey],
        cursors: Mapping[RowStoreKey, int],
        max_bytes: int,
    ) -> Chunk:
        """Committed records of ``keys`` from ``lsn`` on that reach beyond their key's cursor."""

    def tell(self, listener: Callable[[], None]) -> None:
        """From now on calls ``listener`` each time the log has grown."""
