"""The coordinator's state on disk: one SQLite file.

WAL with ``synchronous=FULL``: what :meth:`Store.save` has written survives SIGKILL and power loss.
One transaction carries all rows of one step, so a crash leaves the state before it or after it.
The file is locked for as long as it is open: two coordinators cannot share it.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import contextmanager
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, Self

import trio

from cluster.catalog.following import ModificationKind
from cluster.coordinator.configuration import Configuration, sharing_from_text, sharing_to_text
from cluster.coordinator.state import (
    Attachment,
    Change,
    ChangeKind,
    Cluster,
    Durable,
    Node,
)
from cluster.errors import ConflictError, CorruptionError, NotSupportedError
from cluster.replication.authority import NO_ISSUER, Issuer, Origin, PastLife

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE_NAME = "coordinator.sqlite3"
FORMAT_VERSION = 4
"""``PRAGMA user_version`` of the file. A file of a newer format is refused, one of an older format
is brought to this one when it is opened."""

_FORMAT_1 = """
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE clusters (name TEXT PRIMARY KEY, streaming_ingestion INTEGER NOT NULL,
    strict INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE nodes (node TEXT PRIMARY KEY, cluster TEXT NOT NULL, instance TEXT NOT NULL,
    grpc_address TEXT NOT NULL, pid INTEGER NOT NULL, data TEXT NOT NULL,
    streaming_tables TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE attachments (leader_cluster TEXT, database_key TEXT, follower_cluster TEXT,
    database TEXT NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (leader_cluster, database_key, follower_cluster)) WITHOUT ROWID;
CREATE TABLE changes (kind TEXT, cluster TEXT, leader_cluster TEXT, database_key TEXT,
    database TEXT NOT NULL, epoch INTEGER NOT NULL, revision INTEGER NOT NULL,
    PRIMARY KEY (kind, cluster, leader_cluster, database_key)) WITHOUT ROWID;
"""

_FORMAT_2 = """
ALTER TABLE clusters ADD COLUMN location TEXT NOT NULL DEFAULT 'local';
ALTER TABLE attachments ADD COLUMN configuration TEXT NOT NULL DEFAULT '';
ALTER TABLE attachments ADD COLUMN follower_database TEXT NOT NULL DEFAULT '';
ALTER TABLE attachments ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE changes ADD COLUMN configuration TEXT NOT NULL DEFAULT '';
ALTER TABLE changes ADD COLUMN follower_database TEXT NOT NULL DEFAULT '';
CREATE TABLE configurations (follower_cluster TEXT, name_key TEXT, name TEXT NOT NULL,
    leader_cluster TEXT NOT NULL, database TEXT NOT NULL, database_name_override TEXT NOT NULL,
    database_name_prefix TEXT NOT NULL, sharing TEXT NOT NULL, principals_kind TEXT NOT NULL,
    origin TEXT NOT NULL, PRIMARY KEY (follower_cluster, name_key)) WITHOUT ROWID;
UPDATE attachments SET configuration = leader_cluster || '.' || database,
    follower_database = database;
UPDATE changes SET configuration = leader_cluster || '.' || database, follower_database = database
    WHERE kind = 'detach';
INSERT INTO configurations SELECT follower_cluster, lower(leader_cluster) || '.' || database_key,
    configuration, leader_cluster, database, '', '', '{}', 'union', 'Direct' FROM attachments;
"""
"""Attachments have had no configuration before: each gets the one that attaching it makes now."""

_FORMAT_3 = """
ALTER TABLE nodes ADD COLUMN registration INTEGER NOT NULL DEFAULT 0;
"""

_FORMAT_4 = """
UPDATE facts SET value = json_insert(value, '$[#]', json('[]')) WHERE name = 'issuer';
"""
"""An issuer has had no past before: lives of then are forgotten ones."""

_MIGRATIONS = (_FORMAT_1, _FORMAT_2, _FORMAT_3, _FORMAT_4)
"""What makes each format of the one before; a new file takes them all."""

_FACTS = (
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
)
"""Whose views these are, and what nodes have left to seal: JSON by name. Made in files of every
format, because a file without facts says the same as one that has none."""

_ISSUER = "issuer"
_UNSEALED = "unsealed/"

_PUT = {
    "facts": "INSERT OR REPLACE INTO facts VALUES (?, ?)",
    "counters": "INSERT OR REPLACE INTO counters VALUES (?, ?)",
    "clusters": "INSERT OR REPLACE INTO clusters VALUES (?, ?, ?, ?)",
    "nodes": "INSERT OR REPLACE INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    "attachments": "INSERT OR REPLACE INTO attachments VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    "changes": "INSERT OR REPLACE INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "configurations": "INSERT OR REPLACE INTO configurations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
}
_DROP = {
    "facts": "DELETE FROM facts WHERE name = ?",
    "clusters": "DELETE FROM clusters WHERE name = ?",
    "nodes": "DELETE FROM nodes WHERE node = ?",
    "attachments": "DELETE FROM attachments "
    "WHERE leader_cluster = ? AND database_key = ? AND follower_cluster = ?",
    "changes": "DELETE FROM changes "
    "WHERE kind = ? AND cluster = ? AND leader_cluster = ? AND database_key = ?",
    "configurations": "DELETE FROM configurations WHERE follower_cluster = ? AND name_key = ?",
}

_Rows = dict[tuple[Any, ...], tuple[Any, ...]]


def _tables(durable: Durable) -> dict[str, _Rows]:
    """The state as rows: for each table, primary key to whole row."""
    return {
        "facts": {(name,): (name, value) for name, value in _facts(durable)},
        "counters": {
            ("epoch",): ("epoch", durable.epoch),
            ("revision",): ("revision", durable.revision),
        },
        "clusters": {(c.name,): astuple(c) for c in durable.clusters.values()},
        "nodes": {
            (n.node,): (
                n.node,
                n.cluster,
                n.instance,
                n.grpc_address,
                n.pid,
                n.data,
                json.dumps(n.streaming_tables),
                n.registration,
            )
            for n in durable.nodes.values()
        },
        "attachments": {
            tuple(key): (
                *key,
                a.database,
                a.epoch,
                a.configuration,
                a.follower_database,
                a.revision,
            )
            for key, a in durable.attachments.items()
        },
        "changes": {
            (key.kind.value, *key[1:]): (
                key.kind.value,
                *key[1:],
                c.database,
                c.epoch,
                c.revision,
                c.configuration,
                c.follower_database,
            )
            for key, c in durable.changes.items()
        },
        "configurations": {
            tuple(key): (
                *key,
                c.name,
                c.leader_cluster,
                c.database,
                c.database_name_override,
                c.database_name_prefix,
                sharing_to_text(c.sharing),
                c.principals_kind.value,
                c.origin.value,
            )
            for key, c in durable.configurations.items()
        },
    }


def _facts(durable: Durable) -> Iterator[tuple[str, str]]:
    if durable.issuer != NO_ISSUER:
        yield _ISSUER, json.dumps(astuple(durable.issuer))
    for node in durable.nodes.values():
        if node.unsealed:
            yield _UNSEALED + node.node, json.dumps(node.unsealed)


def _issuer(facts: dict[str, str]) -> Issuer:
    if _ISSUER not in facts:
        return NO_ISSUER
    coordinator, generation, instance, began, succeeds, past = json.loads(facts[_ISSUER])
    lives = tuple(PastLife(*life) for life in past)
    return Issuer(coordinator, generation, instance, began, tuple(succeeds), lives)


def _unsealed(facts: dict[str, str], node: str) -> tuple[str, ...]:
    return tuple(json.loads(facts.get(_UNSEALED + node, "[]")))


def _differences(before: Durable, after: Durable) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Statements with their parameters that turn ``before`` into ``after``."""
    old, new = _tables(before), _tables(after)
    for table, rows in new.items():
        gone = [key for key in old[table] if key not in rows]
        if gone:
            yield _DROP[table], gone
        changed = [row for key, row in rows.items() if old[table].get(key) != row]
        if changed:
            yield _PUT[table], changed


class Store:
    """The open file. Not for concurrent use; any thread may call it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Opens or creates the file in ``folder``, and locks it.

        Raises ConflictError if another process has it open, NotSupportedError if a newer version
        wrote it, CorruptionError if it is not such a file or damaged.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE_NAME
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        store = cls(path, connection)
        try:
            with _explained(path):
                store._prepare()
        except BaseException:
            connection.close()
            raise
        return store

    def _prepare(self) -> None:
        run = self._connection.execute
        # Exclusive before WAL: no shared-memory file, and the lock is held from the first write.
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("BEGIN EXCLUSIVE")
        (version,) = run("PRAGMA user_version").fetchone()
        if version > FORMAT_VERSION:
            run("ROLLBACK")
            raise NotSupportedError(
                f"{self._path} has format {version}; this version reads format {FORMAT_VERSION}",
                remedy="Use the version that wrote it, or another data folder.",
            )
        run(_FACTS)
        for migration in _MIGRATIONS[version:]:
            for statement in migration.split(";"):
                run(statement)
        run(f"PRAGMA user_version = {FORMAT_VERSION}")
        run("COMMIT")
        (verdict,) = run("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def load(self) -> Durable:
        """The state last saved. Raises CorruptionError."""
        with _explained(self._path):
            read = self._connection.execute
            counters = dict(read("SELECT name, value FROM counters").fetchall())
            facts = dict(read("SELECT name, value FROM facts").fetchall())
            clusters = [
                Cluster(name, bool(on), bool(strict), location)
                for name, on, strict, location in read("SELECT * FROM clusters")
            ]
            nodes = [
                Node(
                    node,
                    cluster,
                    instance,
                    address,
                    pid,
                    data,
                    streaming_tables=_streaming_tables(tables),
                    unsealed=_unsealed(facts, node),
                    registration=registration,
                )
                for node, cluster, instance, address, pid, data, tables, registration in read(
                    "SELECT * FROM nodes"
                )
            ]
            attachments = [
                Attachment(leader, database, follower, *rest)
                for leader, _, follower, database, *rest in read("SELECT * FROM attachments")
            ]
            changes = [
                Change(ChangeKind(kind), cluster, epoch, revision, leader, database, *rest)
                for kind, cluster, leader, _, database, epoch, revision, *rest in read(
                    "SELECT * FROM changes"
                )
            ]
            configurations = [
                _configuration(*row) for row in read("SELECT * FROM configurations").fetchall()
            ]
        return Durable(
            epoch=counters.get("epoch", 0),
            revision=counters.get("revision", 0),
            issuer=_issuer(facts),
            clusters={cluster.name: cluster for cluster in clusters},
            nodes={node.node: node for node in nodes},
            attachments={attachment.key: attachment for attachment in attachments},
            changes={change.key: change for change in changes},
            configurations={configuration.key: configuration for configuration in configurations},
        )

    def save(self, before: Durable, after: Durable) -> None:
        """Makes ``after`` durable; ``before`` is what the file holds. Atomic; one fsync.

        Any error is final: the caller must stop, because it cannot know what the file holds.
        """
        with _explained(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            for statement, rows in _differences(before, after):
                self._connection.executemany(statement, rows)
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Closes and unlocks the file. Idempotent."""
        self._connection.close()


class ThreadedStore:
    """A :class:`Store` saved to in a worker thread, so that no fsync holds up the trio thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def save(self, before: Durable, after: Durable) -> None:
        """As :meth:`Store.save`. Cancellation waits until it is done."""
        await trio.to_thread.run_sync(self._store.save, before, after)


def _configuration(
    follower: str,
    _: str,
    name: str,
    leader: str,
    database: str,
    override: str,
    prefix: str,
    sharing: str,
    principals_kind: str,
    origin: str,
) -> Configuration:
    return Configuration(
        follower,
        name,
        leader,
        database,
        override,
        prefix,
        sharing_from_text(sharing),
        ModificationKind(principals_kind),
        Origin(origin),
    )


def _streaming_tables(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    pairs: list[tuple[str, list[str]]] = json.loads(text)
    return tuple((database, tuple(tables)) for database, tables in pairs)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into typed ones that name the file."""
    facts = {"file": str(path)}
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise ConflictError(
                f"{path} is in use by another coordinator",
                remedy="Stop the other one first, or use another data folder.",
                metadata=facts,
            ) from error
        # Disk full, read-only file system and the like: the file is not damaged.
        raise OSError(f"{path}: {error}") from error
    except (sqlite3.DatabaseError, ValueError) as error:
        raise CorruptionError(f"{path} is damaged: {error}", metadata=facts) from error
