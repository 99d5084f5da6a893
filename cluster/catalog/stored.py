"""What the catalog's file holds: its tables, its format, and what is read from it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cluster.catalog.following import FollowingSettings
    from cluster.catalog.journal import Delta
    from cluster.catalog.model import Database, FollowingSource

APPLICATION_ID: Final = 0x52454D43
"""``REMC``: marks the file as a Remora catalog in SQLite's header."""

FORMAT_VERSION: Final = 4
"""Format of the file. An older one is migrated when it is opened, in one transaction; a newer one
is refused, never rewritten by guess."""

DELTA_OVERHEAD_BYTES: Final = 128
"""What a delta counts for besides its changes and its text: keys, times, pages."""

USER_COLUMN: Final = "ALTER TABLE deltas ADD COLUMN user TEXT NOT NULL DEFAULT ''"
"""What formats before 4 did not have: who sent the command."""

GARBAGE_TABLE: Final = """CREATE TABLE garbage (
        folded TEXT NOT NULL,
        file TEXT NOT NULL,
        name TEXT NOT NULL,
        root TEXT NOT NULL,
        major INTEGER NOT NULL,
        minor INTEGER NOT NULL,
        dropped_us INTEGER NOT NULL,
        PRIMARY KEY (folded, file)
    ) WITHOUT ROWID, STRICT"""

TABLES: Final = (
    """CREATE TABLE databases (
        folded TEXT PRIMARY KEY,
        snapshot BLOB NOT NULL,
        leader_cluster TEXT,
        leader_database TEXT,
        settings BLOB
    ) WITHOUT ROWID, STRICT""",
    """CREATE TABLE deltas (
        folded TEXT NOT NULL,
        major INTEGER NOT NULL,
        minor INTEGER NOT NULL,
        from_major INTEGER NOT NULL,
        from_minor INTEGER NOT NULL,
        changes BLOB NOT NULL,
        event_time_ns INTEGER NOT NULL,
        text TEXT NOT NULL,
        user TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (folded, major, minor)
    ) WITHOUT ROWID, STRICT""",
    GARBAGE_TABLE,
)


@dataclass(frozen=True, slots=True)
class StoredDatabase:
    """One database as found at opening.

    ``database`` is the tree as it came, ``settings`` what a following database has besides.
    ``history``: deltas with their sizes, in order, ending at its version. ``snapshot_bytes`` is the
    size of its snapshot, ``journal_bytes`` that of the deltas since.
    """

    database: Database
    source: FollowingSource | None
    settings: FollowingSettings
    history: tuple[tuple[Delta, int], ...]
    snapshot_bytes: int
    journal_bytes: int


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction wrote: bytes of the delta, and of the snapshot, 0 if there was none."""

    delta_bytes: int
    snapshot_bytes: int
