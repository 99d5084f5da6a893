"""The catalog's file: SQLite, durable before anything is visible. Blocking; called from a worker.

Layout: one row a database with its newest snapshot and, for a follower database, its origin and
settings; one row a delta; one row a file that became garbage and is not deleted yet. Opening a
database decodes the snapshot and replays the deltas after it. A snapshot is written when the deltas
since the last one have outgrown both ``catalog_snapshot_bytes`` and that snapshot: so what is
written for snapshots stays in proportion to what is written for changes, however large the tree,
and what is replayed in proportion to the tree. Older deltas are kept for followers that resume.

The file is opened in WAL mode with ``synchronous=FULL``: a transaction that has returned survives
the loss of power. It is locked exclusively, so two nodes can never share it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Self

from cluster.catalog import codec
from cluster.catalog.codec_following import decode_settings, encode_settings
from cluster.catalog.following import FollowingSettings
from cluster.catalog.garbage import GarbageFile
from cluster.catalog.journal import Delta, check_continuous, replay
from cluster.catalog.model import FollowingSource, Version
from cluster.catalog.naming import fold_database_name
from cluster.catalog.stored import (
    APPLICATION_ID,
    DELTA_OVERHEAD_BYTES,
    FORMAT_VERSION,
    GARBAGE_TABLE,
    TABLES,
    USER_COLUMN,
    StoredDatabase,
    Written,
)
from cluster.errors import CorruptionError, ProtocolError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cluster.catalog.model import Database

    _DeltaRow = tuple[int, int, int, int, bytes, int, str, str]


class CatalogStore:
    """One open catalog file. One thread at a time may be inside any of its methods."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Opens the file, making it and its folder if there is none.

        Raises CorruptionError (not a catalog, another format), UnavailableError (in use by
        another process, or the disk refuses).
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(
                path, timeout=0.0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise _unavailable(path, error) from error
        store = cls(path, connection)
        try:
            store._prepare()
        except BaseException:
            connection.close()
            raise
        return store

    def load(self) -> list[StoredDatabase]:
        """Every database. Raises CorruptionError if anything does not decode or replay."""
        with self._reading():
            rows = self._connection.execute("SELECT * FROM databases ORDER BY folded").fetchall()
            return [self._load_database(*row) for row in rows]

    def garbage(self) -> list[GarbageFile]:
        """Every file recorded as garbage."""
        with self._reading():
            rows = self._connection.execute(
                "SELECT name, root, file, major, minor, dropped_us FROM garbage"
                " ORDER BY folded, file"
            ).fetchall()
        return [
            GarbageFile(name, root, file, Version(major, minor), dropped_us)
            for name, root, file, major, minor, dropped_us in rows
        ]

    def put_database(
        self, database: Database, source: FollowingSource | None, settings: FollowingSettings
    ) -> int:
        """Writes a database whole; it has no history any more. Returns the snapshot's bytes.

        ``settings`` are those of a database that follows ``source``.
        """
        folded = fold_database_name(database.name)
        snapshot = codec.encode_database(database)
        with self._transaction() as connection:
            connection.execute("DELETE FROM deltas WHERE folded = ?", (folded,))
            connection.execute(
                "INSERT OR REPLACE INTO databases VALUES (?, ?, ?, ?, ?)",
                (
                    folded,
                    snapshot,
                    source.leader_cluster if source else None,
                    source.leader_database if source else None,
                    encode_settings(settings) if source else None,
                ),
            )
        return len(snapshot)

    def put_settings(self, name: str, settings: FollowingSettings) -> None:
        """Writes the settings of a following database."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE databases SET settings = ? WHERE folded = ?",
                (encode_settings(settings), fold_database_name(name)),
            )

    def append(
        self,
        database: Database,
        delta: Delta,
        *,
        room_bytes: int,
        oldest: Version | None,
        garbage: Iterable[GarbageFile] = (),
    ) -> Written:
        """Writes one delta; ``database`` is the tree after it.

        If the delta has ``room_bytes`` or more, also replaces the snapshot and forgets the deltas
        up to version ``oldest``. ``garbage``: files that the delta made so.
        """
        folded = fold_database_name(database.name)
        changes = codec.encode_changes(delta.changes)
        size = _size(changes, delta.text)
        snapshot = codec.encode_database(database) if size >= room_bytes else b""
        with self._transaction() as connection:
            self._insert_delta(folded, delta, changes)
            self._insert_garbage(folded, garbage)
            if snapshot:
                connection.execute(
                    "UPDATE databases SET snapshot = ? WHERE folded = ?", (snapshot, folded)
                )
                if oldest is not None:
                    connection.execute(
                        "DELETE FROM deltas WHERE folded = ? AND (major, minor) <= (?, ?)",
                        (folded, oldest.major, oldest.minor),
                    )
        return Written(size, len(snapshot))

    def forget_garbage(self, files: Iterable[GarbageFile]) -> None:
        """Removes files from the list of garbage."""
        with self._transaction() as connection:
            connection.executemany(
                "DELETE FROM garbage WHERE folded = ? AND file = ?",
                [(fold_database_name(item.database), item.file) for item in files],
            )

    def delete_database(self, name: str, garbage: Iterable[GarbageFile] = ()) -> None:
        """Removes a database and its history; its files become garbage."""
        folded = fold_database_name(name)
        with self._transaction() as connection:
            connection.execute("DELETE FROM deltas WHERE folded = ?", (folded,))
            connection.execute("DELETE FROM databases WHERE folded = ?", (folded,))
            self._insert_garbage(folded, garbage)

    def _insert_garbage(self, folded: str, garbage: Iterable[GarbageFile]) -> None:
        self._connection.executemany(
            "INSERT INTO garbage VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    folded,
                    item.file,
                    item.database,
                    item.root,
                    item.version.major,
                    item.version.minor,
                    item.dropped_us,
                )
                for item in garbage
            ],
        )

    def close(self) -> None:
        """Closes the file and releases its lock."""
        self._connection.close()

    def _prepare(self) -> None:
        with self._reading():
            # Before the first access to the log, so that no shared-memory file is needed.
            self._pragma("locking_mode = EXCLUSIVE")
            self._pragma("journal_mode = WAL")
            self._pragma("synchronous = FULL")
            application, version = self._pragma("application_id"), self._pragma("user_version")
            empty = (
                self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
            )
        if empty and (application, version) == (0, 0):
            with self._transaction() as connection:
                for statement in TABLES:
                    connection.execute(statement)
                self._pragma(f"application_id = {APPLICATION_ID}")
                self._pragma(f"user_version = {FORMAT_VERSION}")
        elif application != APPLICATION_ID:
            raise self._corrupt("it is a SQLite file, but not a catalog")
        elif version in (1, 2, 3):
            self._migrate(version)
        elif version != FORMAT_VERSION:
            raise self._corrupt(
                f"its format is {version}, this program reads 1 to {FORMAT_VERSION}",
                remedy="Start a version at least as new as the one that wrote it.",
            )
        else:
            # An empty write takes the exclusive lock now instead of at the first commit.
            with self._transaction():
                pass

    def _migrate(self, version: int) -> None:
        """Rewrites every snapshot and delta in today's format, all or nothing.

        Format 1 had no garbage, format 2 no settings of following databases, format 3 no users.
        What it reads must replay as :meth:`load` would; anything else is refused and the file stays
        as it was.
        """
        with self._reading():
            folded = self._connection.execute("SELECT folded FROM databases").fetchall()
        with self._transaction() as connection:
            if version == 1:
                connection.execute(GARBAGE_TABLE)
            connection.execute(USER_COLUMN)
            if version < 3:
                connection.execute("ALTER TABLE databases ADD COLUMN settings BLOB")
                for (name,) in folded:
                    self._migrate_database(name)
            self._pragma(f"user_version = {FORMAT_VERSION}")

    def _migrate_database(self, folded: str) -> None:
        execute = self._connection.execute
        row = execute("SELECT * FROM databases WHERE folded = ?", (folded,)).fetchone()
        stored = self._load_database(*row)
        try:
            snapshot = codec.encode_database(codec.decode_database(row[1]))
        except ProtocolError as error:
            raise self._corrupt(f"database '{folded}': {error.message}") from error
        settings = encode_settings(stored.settings) if stored.source else None
        execute(
            "UPDATE databases SET snapshot = ?, settings = ? WHERE folded = ?",
            (snapshot, settings, folded),
        )
        execute("DELETE FROM deltas WHERE folded = ?", (folded,))
        for delta, _ in stored.history:
            self._insert_delta(folded, delta, codec.encode_changes(delta.changes))

    def _insert_delta(self, folded: str, delta: Delta, changes: bytes) -> None:
        self._connection.execute(
            "INSERT INTO deltas VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                folded,
                delta.to_version.major,
                delta.to_version.minor,
                delta.from_version.major,
                delta.from_version.minor,
                changes,
                delta.event_time_ns,
                delta.text,
                delta.user,
            ),
        )

    def _pragma(self, text: str) -> object:
        row = self._connection.execute(f"PRAGMA {text}").fetchone()
        return row[0] if row else None

    def _load_database(
        self,
        folded: str,
        snapshot: bytes,
        leader: str | None,
        leader_database: str | None,
        stored_settings: bytes | None,
    ) -> StoredDatabase:
        settings = FollowingSettings()
        try:
            if stored_settings is not None:
                settings = decode_settings(stored_settings)
            snapshot_tree = codec.decode_database(snapshot)
            history = [_read_delta(row) for row in self._delta_rows(folded)]
            deltas = [delta for delta, _ in history]
            check_continuous(deltas)
            newer = [item for item in history if item[0].from_version >= snapshot_tree.version]
            database = replay(snapshot_tree, [delta for delta, _ in newer])
        except ProtocolError as error:
            raise self._corrupt(f"database '{folded}': {error.message}", error.remedy) from error
        if fold_database_name(database.name) != folded:
            raise self._corrupt(f"the snapshot of '{folded}' is of '{database.name}'")
        if deltas and deltas[-1].to_version != database.version:
            raise self._corrupt(f"database '{folded}': the journal ends before the snapshot")
        source = None
        if leader is not None and leader_database is not None:
            source = FollowingSource(leader, leader_database)
        journal_bytes = sum(size for _, size in newer)
        return StoredDatabase(
            database, source, settings, tuple(history), len(snapshot), journal_bytes
        )

    def _delta_rows(self, folded: str) -> list[_DeltaRow]:
        return self._connection.execute(
            "SELECT from_major, from_minor, major, minor, changes, event_time_ns, text, user"
            " FROM deltas WHERE folded = ? ORDER BY major, minor",
            (folded,),
        ).fetchall()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise _unavailable(self._path, error) from error
        except sqlite3.DatabaseError as error:
            raise self._corrupt(str(error)) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise _unavailable(self._path, error) from error

    def _corrupt(self, problem: str, remedy: str | None = None) -> CorruptionError:
        return CorruptionError(
            f"The catalog file {self._path} cannot be read: {problem}.",
            remedy=remedy,
            metadata={"file": str(self._path), "offset": "unknown"},
        )


def _size(changes: bytes, text: str) -> int:
    return len(changes) + len(text) + DELTA_OVERHEAD_BYTES


def _read_delta(row: _DeltaRow) -> tuple[Delta, int]:
    from_major, from_minor, major, minor, changes, event_time_ns, text, user = row
    delta = Delta(
        Version(from_major, from_minor),
        Version(major, minor),
        codec.decode_changes(changes),
        event_time_ns,
        text,
        user,
    )
    return delta, _size(changes, text)


def _unavailable(path: Path, error: sqlite3.Error) -> UnavailableError:
    # Errors raised by the module itself, not by SQLite, have no code; extended codes have the
    # primary one in their low byte.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        message = f"The catalog file {path} is in use by another process."
        remedy = "Stop the other node, or give this one its own data folder."
    else:
        message = f"The catalog file {path} cannot be used: {error}."
        remedy = "Check the disk and the permissions of the data folder, then restart the node."
    return UnavailableError(message, remedy=remedy, metadata={"file": str(path)})
