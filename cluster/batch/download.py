"""Brings the sources of ``.ingest into`` to local files, within bounds."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import obstore
import trio
from obstore.exceptions import (
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import from_url

from cluster.batch.sources import FileSource
from cluster.errors import (
    LimitExceededError,
    NotSupportedError,
    SourceForbiddenError,
    SourceNotFoundError,
    UnavailableError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.batch.sources import ObjectSource, Source
    from cluster.limits import Limits

_CHUNK_BYTES: Final = 8 * 1024 * 1024
_CLIENT: Final = {"allow_http": True, "connect_timeout": "10s", "timeout": "300s"}
_RETRY: Final = {"max_retries": 3}
_OPEN: Final[Any] = from_url  # its overloads name the options of each store


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A source that can be read. ``is_copy``: the reader deletes ``path`` afterwards.

    ``name`` is the file name at its origin; ``shown`` is what may be printed of where it was.
    """

    path: Path
    name: str
    shown: str
    size_bytes: int
    is_copy: bool


class Downloads:
    """Reads files below ``folder`` in place and objects into ``work``."""

    def __init__(self, *, folder: Path, work: Path, limits: Limits) -> None:
        """``work`` is a folder of this process alone; what an earlier one left is removed."""
        shutil.rmtree(work, ignore_errors=True)
        self._folder = folder
        self._work = work
        self._limits = limits

    async def get(self, source: Source | LocalSource, number: int) -> LocalSource:
        """The source as a local file; ``number`` tells sources of one command apart.

        One that is local already must be of the node's own storage: it is not looked at.

        Raises SourceNotFoundError, SourceForbiddenError, NotSupportedError (its name),
        LimitExceededError (over ``limits.ingest_source_bytes``), UnavailableError (its store does
        not answer, after retries).
        """
        if isinstance(source, LocalSource):
            self._check(source.size_bytes, source.shown)
            return source
        if isinstance(source, FileSource):
            return await trio.to_thread.run_sync(self._file, source)
        path = self._work / f"{os.getpid()}-{id(source):x}-{number}"
        try:
            size = await trio.to_thread.run_sync(self._download, source, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return LocalSource(path, source.name, source.shown, size, is_copy=True)

    def _file(self, source: FileSource) -> LocalSource:
        folder = self._folder.resolve()
        try:
            path = (folder / source.path).resolve()  # an absolute path stays what it is
        except (ValueError, RuntimeError):  # NUL; links that go round
            raise SourceNotFoundError(f"{source.shown!r} is not the path of a file.") from None
        if not path.is_relative_to(folder):
            raise SourceForbiddenError(
                f"File {source.shown} is not in the folder that may be read, {folder}.",
                remedy=f"Copy it into {folder}, or set ingest_folder in the topology.",
            )
        try:
            size = path.stat().st_size
            if not path.is_file():
                raise SourceNotFoundError(f"{source.shown} is not a file.")
            with path.open("rb"):
                pass
        except PermissionError:
            raise SourceForbiddenError(f"File {source.shown} cannot be read.") from None
        except OSError:  # not there, below something that is no folder, with too long a name
            raise SourceNotFoundError(f"There is no file {source.shown} in {folder}.") from None
        self._check(size, source.shown)
        return LocalSource(path, source.name, source.shown, size, is_copy=False)

    def _download(self, source: ObjectSource, path: Path) -> int:
        self._work.mkdir(parents=True, exist_ok=True)
        size = 0
        try:
            store = _OPEN(source.url, client_options=_CLIENT, retry_config=_RETRY, **source.options)
            with path.open("wb") as file:
                for chunk in obstore.get(store, source.key).stream(min_chunk_size=_CHUNK_BYTES):
                    trio.from_thread.check_cancelled()
                    size += len(chunk)
                    self._check(size, source.shown)
                    file.write(chunk)
        except (NotFoundError, FileNotFoundError):
            raise SourceNotFoundError(f"There is no object {source.shown}.") from None
        except (PermissionDeniedError, UnauthenticatedError, PermissionError):
            raise SourceForbiddenError(f"The store of {source.shown} refuses access.") from None
        except ValueError:
            raise NotSupportedError(
                f"{source.shown} has a name that cannot be read: with an empty part, '.', '..' "
                "or a control character."
            ) from None
        except BaseError as error:
            # Its text may hold the address with credentials.
            raise UnavailableError(
                f"Source {source.shown} could not be read ({type(error).__name__}).",
                remedy="Check the address and that its store answers, then try again.",
            ) from None
        return size

    def _check(self, size: int, shown: str) -> None:
        limit = self._limits.ingest_source_bytes
        if size > limit:
            raise LimitExceededError(
                f"Source {shown} has more than {limit} bytes.",
                remedy="Split it, or raise the limit named.",
                metadata={"limit": "ingest_source_bytes", "maximum": str(limit)},
            )
