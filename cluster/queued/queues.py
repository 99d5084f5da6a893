"""Queues in the file of queued ingestion: statements, each within the caller's transaction."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

from cluster.queued.values import StoredMessage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

LIFE_NS: Final = 7 * 24 * 3600 * 1_000_000_000
"""How long a message lives that does not say how long."""

NEVER_NS: Final = 9_000_000_000 * 1_000_000_000
"""In the year 2255: what does not expire, expires then."""

TABLES: Final = (
    (
        "CREATE TABLE messages (number INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, "
        "message_id TEXT NOT NULL UNIQUE, text TEXT NOT NULL, inserted_ns INTEGER NOT NULL, "
        "expires_ns INTEGER NOT NULL, visible_ns INTEGER NOT NULL, receipt TEXT NOT NULL, "
        "dequeued INTEGER NOT NULL)"
    ),
    "CREATE INDEX messages_of_queue ON messages (queue, number)",
)
_COLUMNS: Final = (
    "number, queue, message_id, text, inserted_ns, expires_ns, visible_ns, receipt, dequeued"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM messages WHERE queue = ?"  # noqa: S608  # constants


def put(
    connection: sqlite3.Connection,
    queue: str,
    text: str,
    now_ns: int,
    visible_ns: int,
    expires_ns: int,
) -> StoredMessage:
    """Adds a message at the end."""
    message_id, receipt = str(uuid.uuid4()), uuid.uuid4().hex
    cursor = connection.execute(
        "INSERT INTO messages (queue, message_id, text, inserted_ns, expires_ns, visible_ns, "
        "receipt, dequeued) VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
        (queue, message_id, text, now_ns, expires_ns, visible_ns, receipt),
    )
    number = cursor.lastrowid or 0
    return StoredMessage(
        number, queue, message_id, text, now_ns, expires_ns, visible_ns, receipt, 0
    )


def unstored(queue: str, text: str, now_ns: int) -> StoredMessage:
    """A message as the answer to a repeated one has it; it is nowhere."""
    message_id, receipt = str(uuid.uuid4()), uuid.uuid4().hex
    return StoredMessage(0, queue, message_id, text, now_ns, NEVER_NS, now_ns, receipt, 0)


def count(connection: sqlite3.Connection, queue: str, now_ns: int) -> int:
    """Messages that have not expired."""
    row = connection.execute(
        "SELECT count(*) FROM messages WHERE queue = ? AND expires_ns > ?", (queue, now_ns)
    ).fetchone()
    return int(row[0])


def peek(
    connection: sqlite3.Connection, queue: str, limit: int, now_ns: int
) -> list[StoredMessage]:
    """Visible messages, oldest first."""
    rows = connection.execute(
        f"{_SELECT} AND visible_ns <= ? AND expires_ns > ? ORDER BY number LIMIT ?",
        (queue, now_ns, now_ns, limit),
    )
    return [StoredMessage(*row) for row in rows]


def take(
    connection: sqlite3.Connection, queue: str, limit: int, now_ns: int, visible_ns: int
) -> list[StoredMessage]:
    """Visible messages, hidden from now on, each with a new receipt."""
    taken: list[StoredMessage] = []
    for message in peek(connection, queue, limit, now_ns):
        values: tuple[Any, ...] = (visible_ns, uuid.uuid4().hex, message.number)
        connection.execute(
            "UPDATE messages SET visible_ns = ?, receipt = ?, dequeued = dequeued + 1 "
            "WHERE number = ?",
            values,
        )
        taken.append(_get(connection, message.number))
    return taken


def update(
    connection: sqlite3.Connection,
    queue: str,
    message_id: str,
    receipt: str,
    text: str | None,
    visible_ns: int,
) -> StoredMessage | None:
    """Changes text and visibility; None: no such message, or another receipt."""
    row = connection.execute(
        f"{_SELECT} AND message_id = ? AND receipt = ?", (queue, message_id, receipt)
    ).fetchone()
    if row is None:
        return None
    found = StoredMessage(*row)
    connection.execute(
        "UPDATE messages SET text = ?, visible_ns = ?, receipt = ? WHERE number = ?",
        (found.text if text is None else text, visible_ns, uuid.uuid4().hex, found.number),
    )
    return _get(connection, found.number)


def delete(connection: sqlite3.Connection, queue: str, message_id: str, receipt: str) -> bool:
    """False: no such message, or another receipt."""
    cursor = connection.execute(
        "DELETE FROM messages WHERE queue = ? AND message_id = ? AND receipt = ?",
        (queue, message_id, receipt),
    )
    return cursor.rowcount > 0


def remove(connection: sqlite3.Connection, number: int) -> None:
    """Deletes a message by its number."""
    connection.execute("DELETE FROM messages WHERE number = ?", (number,))


def clear(connection: sqlite3.Connection, queue: str) -> None:
    """Deletes all."""
    connection.execute("DELETE FROM messages WHERE queue = ?", (queue,))


def trim(connection: sqlite3.Connection, queue: str, most: int) -> None:
    """Deletes the oldest over ``most``."""
    connection.execute(
        "DELETE FROM messages WHERE queue = ? AND number <= (SELECT number FROM messages "
        "WHERE queue = ? ORDER BY number DESC LIMIT 1 OFFSET ?)",
        (queue, queue, most),
    )


def expire(connection: sqlite3.Connection, now_ns: int) -> None:
    """Deletes what has expired, of every queue."""
    connection.execute("DELETE FROM messages WHERE expires_ns <= ?", (now_ns,))


def all_of(connection: sqlite3.Connection, queue: str) -> list[StoredMessage]:
    """Every message, oldest first."""
    rows = connection.execute(f"{_SELECT} ORDER BY number", (queue,))
    return [StoredMessage(*row) for row in rows]


def counted(connection: sqlite3.Connection, numbers: Sequence[int]) -> Mapping[int, int]:
    """Counts one more taking of each message; returns the counts."""
    counts: dict[int, int] = {}
    for number in numbers:
        connection.execute(
            "UPDATE messages SET dequeued = dequeued + 1 WHERE number = ?", (number,)
        )
        counts[number] = _get(connection, number).dequeued
    return counts


def uncount(connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
    """Takes back what :func:`counted` did."""
    connection.executemany(
        "UPDATE messages SET dequeued = dequeued - 1 WHERE number = ?",
        [(number,) for number in numbers],
    )


def _get(connection: sqlite3.Connection, number: int) -> StoredMessage:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM messages WHERE number = ?",  # noqa: S608  # constants
        (number,),
    ).fetchone()
    return StoredMessage(*row)
