"""Messages of queues elsewhere that were taken: statements within the caller's transaction.

A message is deleted in its queue when it has ended here. Until then, and for long after, it is
known by its id there, so that one that is seen again is not taken twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

TABLES: Final = (
    (
        "CREATE TABLE received (sequence INTEGER PRIMARY KEY AUTOINCREMENT, origin TEXT NOT NULL, "
        "message_id TEXT NOT NULL, receipt TEXT NOT NULL, number INTEGER NOT NULL, "
        "is_gone INTEGER NOT NULL, UNIQUE (origin, message_id))"
    ),
    "CREATE INDEX received_open ON received (origin, sequence) WHERE NOT is_gone",
)


@dataclass(frozen=True, slots=True)
class Received:
    """A message that was taken from elsewhere, and its last receipt there."""

    message_id: str
    receipt: str


def is_waiting(
    connection: sqlite3.Connection, origin: str, message_id: str, receipt: str
) -> bool | None:
    """Notes that a message was seen again; whether it waits. None: it was never seen."""
    row = connection.execute(
        "UPDATE received SET receipt = ?, is_gone = 0 WHERE origin = ? AND message_id = ? "
        "RETURNING EXISTS (SELECT 1 FROM messages WHERE messages.number = received.number)",
        (receipt, origin, message_id),
    ).fetchone()
    return None if row is None else bool(row[0])


def is_known(connection: sqlite3.Connection, origin: str, message_id: str) -> bool:
    """Whether a message was seen."""
    row = connection.execute(
        "SELECT 1 FROM received WHERE origin = ? AND message_id = ?", (origin, message_id)
    ).fetchone()
    return row is not None


def add(
    connection: sqlite3.Connection, origin: str, message_id: str, receipt: str, number: int
) -> None:
    """A message was taken; ``number`` is what it is here, 0: it repeats another one."""
    connection.execute(
        "INSERT INTO received (origin, message_id, receipt, number, is_gone) "
        "VALUES (?, ?, ?, ?, 0)",
        (origin, message_id, receipt, number),
    )


def renew(connection: sqlite3.Connection, origin: str, message_id: str, receipt: str) -> None:
    """It has another receipt now."""
    connection.execute(
        "UPDATE received SET receipt = ? WHERE origin = ? AND message_id = ?",
        (receipt, origin, message_id),
    )


def ended(connection: sqlite3.Connection, origin: str, limit: int) -> list[Received]:
    """Messages that have ended here and are there, as far as we know; oldest first."""
    rows = connection.execute(
        "SELECT message_id, receipt FROM received WHERE origin = ? AND NOT is_gone "
        "AND receipt <> '' AND number NOT IN (SELECT number FROM messages) "
        "ORDER BY sequence LIMIT ?",
        (origin, limit),
    )
    return [Received(*row) for row in rows]


def settle(connection: sqlite3.Connection, origin: str, found: Received, is_gone: bool) -> None:
    """It is gone there; or its receipt is not good any more, until it is seen again."""
    connection.execute(
        "UPDATE received SET is_gone = ?, receipt = '' "
        "WHERE origin = ? AND message_id = ? AND receipt = ?",
        (is_gone, origin, found.message_id, found.receipt),
    )


def trim(connection: sqlite3.Connection, most: int) -> None:
    """Of messages that are gone the newest ``most`` are remembered."""
    connection.execute(
        "DELETE FROM received WHERE is_gone AND sequence <= "
        "(SELECT sequence FROM received ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
        (most,),
    )
