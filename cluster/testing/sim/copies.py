"""What a coordinator's folder held, moment by moment: backups that a fault may bring back."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from pathlib import Path

EVERY_SECONDS: Final = 5.0


class StateCopies:
    """Copies of a folder's files, taken every five virtual seconds while it changes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._copies: list[tuple[float, dict[str, bytes]]] = []
        self._is_written = True

    def written(self) -> None:
        """Something has been written there; until it is called again nothing is read."""
        self._is_written = True

    async def run(self) -> None:
        """Copies until cancelled. No step of the simulation is in the middle of a write here."""
        while True:
            if self._is_written:
                self._is_written = False
                self.take()
            await trio.sleep(EVERY_SECONDS)

    def take(self) -> None:
        """A copy of now, if it differs from the last."""
        files = files_in(self._folder)
        if files and (not self._copies or self._copies[-1][1] != files):
            self._copies.append((trio.current_time(), files))

    def restore(self, seconds_ago: float) -> None:
        """Brings back what the folder held so long ago, or the oldest copy."""
        at = trio.current_time() - seconds_ago
        older = [files for time, files in self._copies if time <= at]
        if self._copies:
            put_files(self._folder, older[-1] if older else self._copies[0][1])


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by name."""
    if not folder.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def put_files(folder: Path, files: dict[str, bytes]) -> None:
    """Makes these the files of a folder, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
