"""The index of blobs in the file of queued ingestion: statements in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

TABLES: Final = (
    (
        "CREATE TABLE blobs (container TEXT NOT NULL, name TEXT NOT NULL, "
        "file TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, "
        "type TEXT NOT NULL, "
        "is_used INTEGER NOT NULL, PRIMARY KEY (container, name)) WITHOUT ROWID"
    ),
    (
        "CREATE TABLE blocks (container TEXT NOT NULL, name TEXT NOT NULL, block TEXT NOT NULL, "
        "file TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, "
        "PRIMARY KEY (container, name, block)) WITHOUT ROWID"
    ),
)
_BLOB: Final = "SELECT container, name, file, size, modified_ns, type, is_used FROM blobs"
_BLOCK: Final = "SELECT block, file, size FROM blocks WHERE container = ? AND name = ?"


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob. ``file`` is its file's name; ``is_used``: all messages about it have ended."""

    container: str
    name: str
    file: str
    size: int
    modified_ns: int
    type: str
    is_used: bool = False

    @property
    def etag(self) -> str:
        """Another one for each content."""
        return f'"0x{self.file[:16].upper()}"'


@dataclass(frozen=True, slots=True)
class Block:
    """A block that is in no blob yet."""

    block: str
    file: str
    size: int


def put(connection: sqlite3.Connection, blob: Blob) -> list[str]:
    """Adds or replaces a blob, whose blocks go; returns the files that are of nothing now."""
    freed = delete(connection, blob.container, blob.name)
    freed += [block.file for block in blocks(connection, blob.container, blob.name)]
    connection.execute(
        "DELETE FROM blocks WHERE container = ? AND name = ?", (blob.container, blob.name)
    )
    connection.execute(
        "INSERT INTO blobs VALUES (?, ?, ?, ?, ?, ?, ?)",
        (blob.container, blob.name, blob.file, blob.size, blob.modified_ns, blob.type, 0),
    )
    return freed


def get(connection: sqlite3.Connection, container: str, name: str) -> Blob | None:
    """None: there is none."""
    row = connection.execute(
        f"{_BLOB} WHERE container = ? AND name = ?", (container, name)
    ).fetchone()
    return None if row is None else _blob(row)


def delete(connection: sqlite3.Connection, container: str, name: str) -> list[str]:
    """Returns its file, if there is such a blob."""
    rows = connection.execute(
        "DELETE FROM blobs WHERE container = ? AND name = ? RETURNING file", (container, name)
    )
    return [file for (file,) in rows]


def listed(connection: sqlite3.Connection, container: str, prefix: str, limit: int) -> list[Blob]:
    """By name."""
    rows = connection.execute(
        f"{_BLOB} WHERE container = ? AND substr(name, 1, ?) = ? ORDER BY name LIMIT ?",
        (container, len(prefix), prefix, limit),
    )
    return [_blob(row) for row in rows]


def use(connection: sqlite3.Connection, container: str, name: str, is_used: bool) -> None:
    """All messages about it have ended, or there is one again."""
    connection.execute(
        "UPDATE blobs SET is_used = ? WHERE container = ? AND name = ?", (is_used, container, name)
    )


def put_block(
    connection: sqlite3.Connection, container: str, name: str, block: Block, modified_ns: int
) -> list[str]:
    """Adds or replaces a block; returns the file that is of nothing now."""
    rows = connection.execute(
        "DELETE FROM blocks WHERE container = ? AND name = ? AND block = ? RETURNING file",
        (container, name, block.block),
    ).fetchall()
    connection.execute(
        "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?)",
        (container, name, block.block, block.file, block.size, modified_ns),
    )
    return [file for (file,) in rows]


def blocks(connection: sqlite3.Connection, container: str, name: str) -> list[Block]:
    """Blocks that are in no blob yet."""
    return [Block(*row) for row in connection.execute(_BLOCK, (container, name))]


def count_blocks(connection: sqlite3.Connection, container: str, name: str) -> int:
    """How many there are."""
    row = connection.execute(
        "SELECT count(*) FROM blocks WHERE container = ? AND name = ?", (container, name)
    ).fetchone()
    return int(row[0])


def size(connection: sqlite3.Connection) -> int:
    """Bytes of all blobs and blocks."""
    row = connection.execute(
        "SELECT (SELECT total(size) FROM blobs) + (SELECT total(size) FROM blocks)"
    ).fetchone()
    return int(row[0])


def files(connection: sqlite3.Connection) -> set[str]:
    """Every file that is of something."""
    rows = connection.execute("SELECT file FROM blobs UNION ALL SELECT file FROM blocks")
    return {file for (file,) in rows}


def make_room(connection: sqlite3.Connection, wanted: int) -> list[str]:
    """Deletes used blobs, the oldest first, until ``wanted`` bytes are free or none is left."""
    freed: list[str] = []
    used = connection.execute(f"{_BLOB} WHERE is_used ORDER BY modified_ns").fetchall()
    for blob in map(_blob, used):
        if wanted <= 0:
            break
        freed += delete(connection, blob.container, blob.name)
        wanted -= blob.size
    return freed


def expire(
    connection: sqlite3.Connection, before_ns: int, kept: Iterable[tuple[str, str]]
) -> list[str]:
    """Deletes blobs and blocks of before that, but for those ``kept``; returns their files."""
    known = set(kept)
    freed: list[str] = []
    old = connection.execute(f"{_BLOB} WHERE modified_ns < ?", (before_ns,)).fetchall()
    for blob in map(_blob, old):
        if (blob.container, blob.name) not in known:
            freed += delete(connection, blob.container, blob.name)
    rows = connection.execute(
        "DELETE FROM blocks WHERE modified_ns < ? RETURNING file", (before_ns,)
    )
    return freed + [file for (file,) in rows]


def _blob(row: Sequence[object]) -> Blob:
    container, name, file, length, modified_ns, kind, is_used = row
    return Blob(
        str(container), str(name), str(file), int(str(length)), int(str(modified_ns)), str(kind),
        is_used=bool(is_used),
    )  # fmt: skip
