"""Files inside files: gzip and zip, read in pieces. Pure.

``ingestion-supported-formats.md``: ``.gz`` and ``.zip`` (without Deflate64); the archive's name may
say both, as ``MyData.csv.zip``. Every member of a zip archive is a file of the same format.
"""

from __future__ import annotations

import errno
import gzip
import io
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

from cluster.errors import InvalidArchiveError
from cluster.ingest.compression import MAGIC as GZIP_MAGIC

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

ZIP_MAGIC: Final = b"PK\x03\x04"
_EMPTY_ZIP_MAGIC: Final = b"PK\x05\x06"


def is_archive(head: bytes, *, keep_gzip: bool) -> bool:
    """Whether a file that starts with these bytes is compressed."""
    return _is_zip(head) or (head.startswith(GZIP_MAGIC) and not keep_gzip)


def members(stream: BinaryIO, *, keep_gzip: bool) -> Iterator[BinaryIO]:
    """The files in a seekable file, one after the other; itself if it is no archive.

    ``keep_gzip``: gzip is left as it is (``TreatGzAsUncompressed``). Raises InvalidArchiveError
    while it, or what it gives, is read.
    """
    head = stream.read(len(ZIP_MAGIC))
    stream.seek(0)
    if _is_zip(head):
        yield from _zip_members(stream)
    elif is_archive(head, keep_gzip=keep_gzip):
        with readable_archive(), gzip.GzipFile(fileobj=stream) as inner:
            yield cast("BinaryIO", io.BufferedReader(inner))
    else:
        yield stream


def _is_zip(head: bytes) -> bool:
    return head.startswith((ZIP_MAGIC, _EMPTY_ZIP_MAGIC))


def _zip_members(stream: BinaryIO) -> Iterator[BinaryIO]:
    with readable_archive(), zipfile.ZipFile(stream) as archive:
        files = [item for item in archive.infolist() if not item.is_dir()]
        if not files:
            raise InvalidArchiveError("the zip archive has no file in it")
        for item in files:
            with archive.open(item) as inner:
                yield cast("BinaryIO", inner)


@contextmanager
def readable_archive() -> Iterator[None]:
    """Turns what the readers of archives raise into InvalidArchiveError."""
    try:
        yield
    except (zlib.error, EOFError, zipfile.BadZipFile, gzip.BadGzipFile) as error:
        raise InvalidArchiveError(f"the archive is damaged: {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise InvalidArchiveError("the archive names a place outside of itself") from None
    except (NotImplementedError, RuntimeError) as error:  # Deflate64; a password
        raise InvalidArchiveError(f"the archive is of a kind that is not read: {error}") from None
