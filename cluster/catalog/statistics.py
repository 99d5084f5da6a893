"""What a catalog has and has done. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CatalogStatistics:
    """A moment of a catalog.

    ``databases`` counts all, ``following`` those among them that follow a leader; ``revision``
    grows by one with every visible change; ``deltas_kept`` is the history held for followers;
    ``committed`` and ``refused`` count transactions since opening; ``snapshots`` those that also
    wrote one; ``journal_bytes`` and ``snapshot_bytes`` what was written since opening.
    ``garbage_files`` are not deleted yet. ``writable`` is False after a failed write.
    """

    databases: int
    following: int
    tables: int
    revision: int
    deltas_kept: int
    committed: int
    refused: int
    snapshots: int
    journal_bytes: int
    snapshot_bytes: int
    garbage_files: int
    writable: bool
