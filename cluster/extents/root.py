"""A storage root: the folder, container or bucket that holds the extent files of databases.

Objects have names like ``database/table/extent.parquet`` and are never changed. The roots that
exist: a folder of this machine (``disk.py``), Azure Blob and S3 (``link.py``), a fake one for tests
(``cluster/testing/root.py``). ``store.py`` opens one by its URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NAME_BYTES = 1024  # the bound of both S3 and Azure Blob
_NAME = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*(/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing shows it."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StorageRootStatistics:
    """What a root has done since it was opened.

    ``calls`` counts every operation asked for, ``retries`` the further tries they needed,
    ``failures`` those that raised StorageUnavailableError, StorageFullError or
    StorageRefusedError. Bytes are those of objects that arrived whole.
    """

    url: str
    calls: int
    retries: int
    failures: int
    put_bytes: int
    get_bytes: int


class StorageRoot(Protocol):
    """Where objects are kept. All methods may be cancelled; see each for what then holds.

    Besides the errors named, every method raises StorageUnavailableError after bounded tries,
    StorageFullError if there is no room, StorageRefusedError if access is denied, and
    ValueError for a name that :func:`check_name` refuses.
    """

    @property
    def url(self) -> str:
        """What it was opened by, without secrets."""

    @property
    def blocks(self) -> bool:
        """Whether work on its files belongs in worker threads; False only in simulations."""

    async def put(self, name: str, data: bytes) -> None:
        """Makes an object; when this returns it is durable.

        It is there whole or not at all, at every moment and after any crash. Raises ConflictError
        if there is one of that name. Cancelled or failed: the object may or may not be there.
        """

    async def put_file(self, name: str, local: Path) -> None:
        """:meth:`put` of the content of a local file, in bounded memory.

        The file must not be changed afterwards: a root on the same file system keeps it as a hard
        link. The caller may remove it.
        """

    async def get(self, name: str) -> bytes:
        """The whole content.

        Raises FileMissingError if there is none, LimitExceededError if it is longer than
        ``limits.storage_object_bytes``.
        """

    async def get_range(self, name: str, start: int, length: int) -> bytes:
        """Bytes ``start .. start + length - 1``; fewer at the end. Raises FileMissingError."""

    async def size_of(self, name: str) -> int:
        """Bytes of an object. Raises FileMissingError."""

    async def download(self, name: str, local: Path) -> None:
        """Writes the content to a new local file, in bounded memory. Not synced.

        Raises FileMissingError. Failed or cancelled: there is no such local file.
        """

    async def delete(self, names: Sequence[str]) -> None:
        """Removes objects; those that are not there are no error. Durable on return."""

    async def list(self, prefix: str = "") -> list[StoredObject]:
        """All objects whose names start with ``prefix``, sorted by name.

        ``prefix`` is empty or ends with ``/``. Half-written objects are not among them.
        """

    async def sweep(self) -> int:
        """Removes what interrupted puts have left; returns how many.

        Only for the process that writes to the root, before its first put.
        """

    def local_path(self, name: str) -> Path | None:
        """The file of this machine that holds an object, whether it exists or not; None if remote.

        It is for reading only.
        """

    def statistics(self) -> StorageRootStatistics:
        """Counts since it was opened."""


def check_name(name: str) -> None:
    """Raises ValueError unless ``name`` is safe as an object's name in every root.

    Segments of letters, digits and ``. _ = -`` that do not start with a dot, joined by single
    slashes: so a name never leaves its root, and never is a temporary one.
    """
    if len(name) > _NAME_BYTES or not _NAME.fullmatch(name):
        raise ValueError(f"not a name of an object in a storage root: {name[:200]!r}")


def check_prefix(prefix: str) -> None:
    """Raises ValueError unless ``prefix`` is empty or the name of a folder with its slash."""
    if prefix:
        if not prefix.endswith("/"):
            raise ValueError(f"a prefix ends with a slash: {prefix[:200]!r}")
        check_name(prefix[:-1])
