"""One moment of a followed database. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.catalog.model import Database, RowStoreKey
    from cluster.replication.position import Position
    from cluster.rowstore.model import Rows


@dataclass(frozen=True, slots=True)
class FollowedPin:
    """One moment of a followed database, immutable.

    ``rows`` has the visible rows of each key that has some, from the floor of its reference in
    ``database`` on; it is empty while ``rows_hidden``. With the extents of ``database`` they are
    all visible rows, each once. ``position`` is what is visible: with hidden rows it ends at the
    floors. ``staleness_seconds`` tells, when asked, how old it may be by then: what the leader had
    committed so long ago, and may be seen here, is in it. None: not known.
    """

    database: Database
    rows: Mapping[RowStoreKey, Rows]
    position: Position
    rows_hidden: bool
    hidden_reason: str
    epoch: int
    staleness_seconds: Callable[[], float | None]
