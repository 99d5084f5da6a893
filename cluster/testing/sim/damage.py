"""Bits that flip on a follower's disk: in its copies of extents, or in its logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.replication.position import START
from cluster.rowstore.record import (
    Record,
    RecordDamageError,
    encode_record,
    iter_records,
    next_checksum,
)
from cluster.rowstore.segment import SEGMENT_HEADER_BYTES, SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cluster.testing.sim.disk import MachineDisk

CACHE: Final = "cache"
HEADER: Final = "header"
BODY: Final = "body"
MEMORY: Final = "memory"
"""A bit of a row has flipped before its record was checked and written: nothing on this disk tells
it, only the leader's checksum does."""

_HEADER_BYTES: Final = 64
_TEXT_LETTERS: Final = 8


def flip_bit(disk: MachineDisk, data: Path, part: str, chance: Callable[[str], float]) -> bool:
    """Flips one bit of a part of a node's files; False if it has none of that part.

    ``part`` is ``cache`` (a copy of an extent), ``header`` or ``body`` (of a log of followed rows),
    or ``memory`` (of a row, with every check of the log made right). ValueError for another part.
    """
    if part == CACHE:
        return _in_copies(data / "extent-cache", chance)
    if part == MEMORY:
        return _in_memory(disk, chance)
    if part not in (HEADER, BODY):
        raise ValueError(f"no such part of a follower's files: {part!r}")
    logs = [path for path in disk.paths() if "followed" in path.parts and disk.content(path)]
    if not logs:
        return False
    path = _pick(logs, chance("file"))
    size = len(disk.content(path))
    first, end = (0, min(size, _HEADER_BYTES)) if part == HEADER else (0, size)
    disk.flip_bit(path, first + int(chance("offset") * (end - first)), int(chance("bit") * 8))
    return True


def _in_copies(folder: Path, chance: Callable[[str], float]) -> bool:
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    if not files:
        return False
    path = _pick(files, chance("file"))
    content = bytearray(path.read_bytes())
    content[int(chance("offset") * len(content))] ^= 1 << int(chance("bit") * 8)
    path.unlink()  # it may be a hard link to the leader's own file, which is another disk's
    path.write_bytes(content)
    return True


def _pick(items: Sequence[Path], chance: float) -> Path:
    return items[int(chance * len(items))]


def _in_memory(disk: MachineDisk, chance: Callable[[str], float]) -> bool:
    """The newest record of a key gets a letter of its text changed, and the checksum of that."""
    found: dict[tuple[Path, int], tuple[Path, Record, int]] = {}
    for path in sorted(disk.paths()):
        if path.suffix != SUFFIX or "followed" not in path.parts:
            continue
        content = disk.content(path)
        try:
            for record in iter_records(content, SEGMENT_HEADER_BYTES):
                key = (path.parent, int(record.header.key))
                before = found[key][1].header.checksum if key in found else START.checksum
                found[key] = (path, record, before)
        except RecordDamageError:
            continue  # other damage is there already
    usable = [
        (path, record, before, letter)
        for path, record, before in found.values()
        if next_checksum(before, record.body) == record.header.checksum
        and (letter := _last_letter(record.body)) is not None
    ]
    if not usable:
        return False
    path, record, before, letter = usable[int(chance("file") * len(usable))]
    body = bytearray(record.body)
    body[letter] ^= 1
    header = record.header._replace(checksum=next_checksum(before, body))
    changed = bytearray(disk.content(path))
    changed[record.start : record.start + record.header.length] = encode_record(
        header, record.spans, body
    )
    disk.overwrite(path, bytes(changed))
    return True


def _last_letter(body: memoryview) -> int | None:
    """Where the last letter of a row's text is: ids, which are numbers, stay as they are."""
    text = bytes(body)
    for at in range(len(text) - _TEXT_LETTERS, -1, -1):
        if text[at : at + _TEXT_LETTERS].isalnum():
            return at
    return None
