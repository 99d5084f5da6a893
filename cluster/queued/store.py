"""What queued ingestion must not lose: queues, status rows, sources, attempts. One SQLite file.

WAL with ``synchronous=FULL``: what a method has written when it returns survives SIGKILL and power
loss. Each method is one transaction. Called in worker threads, one at a time.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

from cluster.errors import ConflictError, CorruptionError, StorageFullError, UnavailableError
from cluster.queued import blobs, entities, ledger, queues, received
from cluster.queued.values import READY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from cluster.limits import Limits
    from cluster.queued.received import Received
    from cluster.queued.values import Arrival, Attempt, Ended, Entity, Source, StoredMessage

FILE_NAME: Final = "queued.sqlite3"
FORMAT_VERSION: Final = 2
_WITHOUT_RECEIVED: Final = 1
_APPLICATION_ID: Final = 0x52515545

_TABLES: Final = (
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    *queues.TABLES,
    *entities.TABLES,
    *ledger.TABLES,
    *blobs.TABLES,
    *received.TABLES,
)


class QueuedStore:
    """The file. ``secret`` is the node's own, made with the file."""

    def __init__(self, connection: sqlite3.Connection, secret: bytes, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self.secret = secret

    @classmethod
    def open(cls, path: Path, *, secret: bytes, limits: Limits) -> Self:
        """Opens the file, or makes it with ``secret``.

        Raises CorruptionError (damaged, or of another format), ConflictError (in use),
        UnavailableError.
        """
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=0.0
        )
        try:
            found = _prepared(connection, path, secret)
        except BaseException:
            connection.close()
            raise
        return cls(connection, found, limits)

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    # Queues

    def put_message(
        self, queue: str, text: str, *, now_ns: int, visible_ns: int, expires_ns: int
    ) -> StoredMessage | None:
        """Adds a message; None: the queue is full (``limits.storage_messages``)."""
        with self.transaction() as connection:
            if queues.count(connection, queue, now_ns) >= self._limits.storage_messages:
                return None
            return queues.put(connection, queue, text, now_ns, visible_ns, expires_ns)

    def enqueue(
        self, text: str, source: Source | None, *, now_ns: int, changed_ns: int = 0
    ) -> tuple[StoredMessage, bool]:
        """Adds a message about a blob, and its source; False: the source is known, nothing is done.

        A source that is pending or was stored is known; one that failed is queued again, and one
        whose blob has changed at ``changed_ns``, after the message first came.
        """
        most = self._limits.queued_sources
        with self.transaction() as connection:
            if source is not None and not ledger.add_source(
                connection, source, now_ns, changed_ns, most
            ):
                return queues.unstored(READY, text, now_ns), False
            stored = queues.put(connection, READY, text, now_ns, now_ns, queues.NEVER_NS)
            return stored, True

    def take_messages(
        self, queue: str, count: int, *, now_ns: int, visible_ns: int
    ) -> Sequence[StoredMessage]:
        """Gets messages, which are hidden until ``visible_ns``, oldest first."""
        with self.transaction() as connection:
            return queues.take(connection, queue, count, now_ns, visible_ns)

    def peek_messages(self, queue: str, count: int, *, now_ns: int) -> Sequence[StoredMessage]:
        """Looks at messages."""
        with self.transaction() as connection:
            return queues.peek(connection, queue, count, now_ns)

    def update_message(
        self, queue: str, message_id: str, receipt: str, text: str | None, *, visible_ns: int
    ) -> StoredMessage | None:
        """Changes a message that was taken; None: there is none with that receipt."""
        with self.transaction() as connection:
            return queues.update(connection, queue, message_id, receipt, text, visible_ns)

    def delete_message(self, queue: str, message_id: str, receipt: str) -> bool:
        """Deletes a message that was taken; False: there is none with that receipt."""
        with self.transaction() as connection:
            return queues.delete(connection, queue, message_id, receipt)

    def clear_queue(self, queue: str) -> None:
        """Deletes all messages of a queue."""
        with self.transaction() as connection:
            queues.clear(connection, queue)

    def count_messages(self, queue: str, *, now_ns: int) -> int:
        """Messages that have not expired, hidden ones included."""
        with self.transaction() as connection:
            return queues.count(connection, queue, now_ns)

    # Tables

    def insert_entity(self, entity: Entity) -> bool:
        """Adds a row; False: there is one."""
        with self.transaction() as connection:
            return entities.insert(connection, entity, self._limits.storage_entities)

    def get_entity(self, table: str, partition: str, row: str) -> Entity | None:
        """A row."""
        with self.transaction() as connection:
            return entities.get(connection, table, partition, row)

    def put_entity(self, entity: Entity, *, merge: bool, upsert: bool) -> bool:
        """Replaces a row, or ``merge``: its properties; False: there is none to change."""
        with self.transaction() as connection:
            return entities.put(connection, entity, merge, upsert, self._limits.storage_entities)

    def delete_entity(self, table: str, partition: str, row: str) -> bool:
        """Deletes a row; False: there is none."""
        with self.transaction() as connection:
            return entities.delete(connection, table, partition, row)

    def list_entities(
        self, table: str, partition: str | None, row: str | None, count: int
    ) -> Sequence[Entity]:
        """Rows by partition and row key, of one of each or of all (None)."""
        with self.transaction() as connection:
            return entities.listed(connection, table, partition, row, count)

    # What goes to and comes from elsewhere

    def is_known(self, key: str) -> bool:
        """Whether a message with this source key has come before."""
        with self.transaction() as connection:
            return ledger.is_known(connection, key)

    def unseen(self, origin: str, arrivals: Sequence[Arrival]) -> set[str]:
        """Ids of those messages of a queue elsewhere that were never seen."""
        with self.transaction() as connection:
            return {
                arrival.message_id
                for arrival in arrivals
                if not received.is_known(connection, origin, arrival.message_id)
            }

    def receive(
        self, origin: str, arrivals: Sequence[tuple[Arrival, Source | None]], *, now_ns: int
    ) -> tuple[list[StoredMessage], list[Arrival], int]:
        """Takes messages of a queue elsewhere, each once, as :meth:`enqueue` does.

        Returns the new ones, those that wait already, and how many repeat a known source.
        """
        new: list[StoredMessage] = []
        waiting: list[Arrival] = []
        most, duplicates = self._limits.queued_sources, 0
        with self.transaction() as connection:
            for arrival, source in arrivals:
                known = received.is_waiting(connection, origin, arrival.message_id, arrival.receipt)
                if known is not None:
                    if known:
                        waiting.append(arrival)
                    continue
                number, arrived_ns = 0, min(arrival.inserted_ns, now_ns)
                # Of a clock that is ahead: compared with when its blobs change, by the same clock.
                started_ns = max(arrival.inserted_ns, now_ns)
                if source is None or ledger.add_source(
                    connection, source, started_ns, arrival.changed_ns, most
                ):
                    stored = queues.put(
                        connection, READY, arrival.text, arrived_ns, now_ns, queues.NEVER_NS
                    )
                    new.append(stored)
                    number = stored.number
                else:
                    duplicates += 1
                received.add(connection, origin, arrival.message_id, arrival.receipt, number)
        return new, waiting, duplicates

    def renew(self, origin: str, message_id: str, receipt: str) -> None:
        """A message of a queue elsewhere has another receipt now."""
        with self.transaction() as connection:
            received.renew(connection, origin, message_id, receipt)

    def ended_elsewhere(self, origin: str, count: int) -> Sequence[Received]:
        """Messages of a queue elsewhere that have ended and are to be deleted there."""
        with self.transaction() as connection:
            return received.ended(connection, origin, count)

    def settle(self, origin: str, settled: Sequence[tuple[Received, bool]]) -> None:
        """Messages are gone elsewhere (True); or have another receipt, which is not known."""
        with self.transaction() as connection:
            for message, is_gone in settled:
                received.settle(connection, origin, message, is_gone)
            received.trim(connection, self._limits.queued_sources)

    def told(self, message: StoredMessage) -> None:
        """A message of a queue of outcomes was passed on."""
        with self.transaction() as connection:
            queues.remove(connection, message.number)

    def told_entity(self, entity: Entity) -> None:
        """A row was passed on, and goes unless it has changed since."""
        with self.transaction() as connection:
            if entities.get(connection, entity.table, entity.partition, entity.row) == entity:
                entities.delete(connection, entity.table, entity.partition, entity.row)

    # Ingestion

    def waiting(self) -> Sequence[StoredMessage]:
        """All messages about blobs that have not ended, oldest first."""
        with self.transaction() as connection:
            return queues.all_of(connection, READY)

    def begin(self, attempt: Attempt, *, now_ns: int) -> Mapping[int, int]:
        """An attempt begins. Returns how many each of its messages has had, with this one."""
        with self.transaction() as connection:
            ledger.begin(connection, attempt, now_ns)
            return queues.counted(connection, attempt.numbers)

    def abandon(self, attempt_id: str, *, uncounted: Sequence[int] = ()) -> None:
        """The attempt has stored nothing, and will not; it does not count for ``uncounted``."""
        with self.transaction() as connection:
            ledger.abandon(connection, attempt_id)
            queues.uncount(connection, uncounted)

    def attempts(self) -> Sequence[Attempt]:
        """Attempts of which nobody has written how they ended, oldest first."""
        with self.transaction() as connection:
            return ledger.attempts(connection)

    def finish(self, ended: Sequence[Ended], *, now_ns: int) -> None:
        """Messages have ended: they go, with their attempts; what is told of them is told."""
        with self.transaction() as connection:
            for item in ended:
                queues.remove(connection, item.number)
                ledger.end_source(connection, item, now_ns)
                if item.entity is not None:
                    entities.put(connection, item.entity, True, True, self._limits.storage_entities)
                if item.report is not None:
                    queue, text = item.report
                    expires_ns = now_ns + queues.LIFE_NS
                    queues.put(connection, queue, text, now_ns, now_ns, expires_ns)
                    queues.trim(connection, queue, self._limits.storage_messages)
            ledger.close_attempts(connection)

    def sources_of(self, operation_id: str) -> Sequence[Source]:
        """Sources of an operation of the preview REST interface, in their order."""
        with self.transaction() as connection:
            return ledger.sources_of(connection, operation_id)

    def sweep(self, *, now_ns: int) -> None:
        """Deletes messages that have expired."""
        with self.transaction() as connection:
            queues.expire(connection, now_ns)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that is done within, or nothing.

        Raises StorageFullError, UnavailableError, CorruptionError.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise StorageFullError("The disk of the queues is full.") from error
            raise UnavailableError(f"The file of the queues cannot be used: {error}.") from error
        except sqlite3.DatabaseError as error:
            raise CorruptionError(f"The file of the queues is damaged: {error}.") from error


def _prepared(connection: sqlite3.Connection, path: Path, secret: bytes) -> bytes:
    """Makes what a new file lacks; returns the secret."""
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if not application and not version:
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute("INSERT INTO facts VALUES ('secret', ?)", (secret,))
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        elif application == _APPLICATION_ID and version == _WITHOUT_RECEIVED:
            for statement in received.TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        elif application != _APPLICATION_ID or version != FORMAT_VERSION:
            raise CorruptionError(
                f"{path} is not a file of queues of format {FORMAT_VERSION}.",
                remedy="Start the version that has made it.",
            )
        row = connection.execute("SELECT value FROM facts WHERE name = 'secret'").fetchone()
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise ConflictError(f"{path} is in use by another process.") from error
        raise UnavailableError(f"{path} cannot be opened: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise CorruptionError(f"{path} is damaged: {error}.") from error
    return bytes(row[0])
