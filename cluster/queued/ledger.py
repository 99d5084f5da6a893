"""Sources and attempts in the file of queued ingestion: why every blob is ingested exactly once.

Statements, each within the caller's transaction. An attempt is written before the metadata
transaction it is about, with the id that the transaction's journal entry will have. Whoever finds
an attempt later looks there whether it was committed, and never has to guess.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cluster.catalog.model import Version
from cluster.queued.statuses import TRANSITIONS, Event, State
from cluster.queued.values import Attempt, Source

if TYPE_CHECKING:
    import sqlite3

    from cluster.queued.values import Ended

TABLES: Final = (
    (
        "CREATE TABLE sources (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, "
        "source_id TEXT NOT NULL, operation_id TEXT NOT NULL, state TEXT NOT NULL, "
        "error_code TEXT NOT NULL, failure_status TEXT NOT NULL, details TEXT NOT NULL, "
        "started_ns INTEGER NOT NULL, updated_ns INTEGER NOT NULL)"
    ),
    "CREATE INDEX sources_of_operation ON sources (operation_id)",
    (
        "CREATE TABLE attempts (number INTEGER PRIMARY KEY AUTOINCREMENT, "
        "attempt_id TEXT NOT NULL UNIQUE, "
        "database TEXT NOT NULL, major INTEGER NOT NULL, minor INTEGER NOT NULL, "
        "numbers TEXT NOT NULL, started_ns INTEGER NOT NULL)"
    ),
)


def add_source(
    connection: sqlite3.Connection, source: Source, now_ns: int, changed_ns: int, most: int
) -> bool:
    """A blob is queued; False: it is known, did not fail and was not ``changed_ns`` since."""
    row = connection.execute(
        "SELECT state, started_ns FROM sources WHERE key = ?", (source.key,)
    ).fetchone()
    if row is not None:
        state, started_ns = State(row[0]), row[1]
        if (state, Event.QUEUED_AGAIN) not in TRANSITIONS and changed_ns <= started_ns:
            return False
    connection.execute("DELETE FROM sources WHERE key = ?", (source.key,))
    connection.execute(
        "INSERT INTO sources (key, source_id, operation_id, state, error_code, failure_status, "
        "details, started_ns, updated_ns) VALUES (?, ?, ?, ?, '', '', '', ?, ?)",
        (
            source.key,
            source.source_id,
            source.operation_id,
            State.PENDING.value,
            now_ns,
            now_ns,
        ),
    )
    connection.execute(
        "DELETE FROM sources WHERE state <> ? AND number <= "
        "(SELECT number FROM sources ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (State.PENDING.value, most),
    )
    return True


def is_known(connection: sqlite3.Connection, key: str) -> bool:
    """Whether there is a source of that key."""
    return connection.execute("SELECT 1 FROM sources WHERE key = ?", (key,)).fetchone() is not None


def end_source(connection: sqlite3.Connection, ended: Ended, now_ns: int) -> None:
    """A blob has ended."""
    connection.execute(
        "UPDATE sources SET state = ?, error_code = ?, failure_status = ?, details = ?, "
        "updated_ns = ? WHERE key = ?",
        (
            ended.state.value,
            ended.error_code,
            ended.failure_status,
            ended.details,
            now_ns,
            ended.key,
        ),
    )


def sources_of(connection: sqlite3.Connection, operation_id: str) -> list[Source]:
    """Sources of one operation."""
    rows = connection.execute(
        "SELECT key, source_id, operation_id, state, error_code, failure_status, details, "
        "started_ns, updated_ns FROM sources WHERE operation_id = ? ORDER BY number",
        (operation_id,),
    )
    return [Source(row[0], row[1], row[2], State(row[3]), *row[4:]) for row in rows]


def begin(connection: sqlite3.Connection, attempt: Attempt, now_ns: int) -> None:
    """An attempt begins."""
    connection.execute(
        "INSERT INTO attempts (attempt_id, database, major, minor, numbers, started_ns) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            attempt.attempt_id,
            attempt.database,
            attempt.version.major,
            attempt.version.minor,
            json.dumps(attempt.numbers),
            now_ns,
        ),
    )


def abandon(connection: sqlite3.Connection, attempt_id: str) -> None:
    """An attempt is known to have stored nothing."""
    connection.execute("DELETE FROM attempts WHERE attempt_id = ?", (attempt_id,))


def attempts(connection: sqlite3.Connection) -> list[Attempt]:
    """Open attempts, oldest first."""
    rows = connection.execute(
        "SELECT attempt_id, database, major, minor, numbers FROM attempts ORDER BY number"
    )
    return [
        Attempt(attempt_id, database, Version(major, minor), tuple(json.loads(numbers)))
        for attempt_id, database, major, minor, numbers in rows
    ]


def close_attempts(connection: sqlite3.Connection) -> None:
    """Forgets attempts of whose messages none is left."""
    waiting = {number for (number,) in connection.execute("SELECT number FROM messages")}
    for attempt in attempts(connection):
        if waiting.isdisjoint(attempt.numbers):
            abandon(connection, attempt.attempt_id)
