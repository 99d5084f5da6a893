"""Bits that flip on a follower's disk: in its copies of extents, or in its logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cluster.testing.sim.disk import MachineDisk

CACHE: Final = "cache"
HEADER: Final = "header"
BODY: Final = "body"

_HEADER_BYTES: Final = 64


def flip_bit(disk: MachineDisk, data: Path, part: str, chance: Callable[[str], float]) -> bool:
    """Flips one bit of a part of a node's files; False if it has none of that part.

    ``part`` is ``cache`` (a copy of an extent), or ``header`` or ``body`` (of a log of followed
    rows). ValueError for another part.
    """
    if part == CACHE:
        return _in_copies(data / "extent-cache", chance)
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
