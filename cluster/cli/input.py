"""What ``remora ingest`` reads: files and standard input, gzip or not, as payloads."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import trio
import typer

from cluster.cli.splitting import ArraySplitter, Splitter
from cluster.errors import InvalidArchiveError, InvalidRequestError
from cluster.limits import LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    Pieces = AsyncGenerator[tuple[bytes, int], None]

FORMATS: Final = (
    "csv",
    "tsv",
    "scsv",
    "sohsv",
    "psv",
    "tsve",
    "txt",
    "raw",
    "json",
    "multijson",
    "singlejson",
    "avro",
    "apacheavro",
)
PAYLOAD_BYTES: Final = 1 << 20
"""Payloads this long keep the node's group commits busy and a failed one short."""

_CHUNK_BYTES: Final = 1 << 18
_GZIP_MAGIC: Final = b"\x1f\x8b"
_EXTENSIONS: Final = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "json",
    ".ndjson": "json",
    # Files named .json hold one bag a line, an array, or bags over many lines; this takes all.
    ".json": "multijson",
    ".multijson": "multijson",
    ".scsv": "scsv",
    ".psv": "psv",
    ".sohsv": "sohsv",
    ".tsve": "tsve",
    ".txt": "txt",
    ".raw": "raw",
    ".avro": "avro",
}


def guess_format(file: str) -> str | None:
    """The format an extension stands for, ``.gz`` left aside; None if it stands for none."""
    path = Path(file)
    if path.suffix.lower() == ".gz":
        path = path.with_suffix("")
    return _EXTENSIONS.get(path.suffix.lower())


@dataclass(slots=True)
class Input:
    """One input. ``path`` None is standard input; ``size_bytes`` None is not known.

    ``source_id`` names it for idempotence. ``is_live`` input is sent as it trickles in, so where
    it is cut depends on time, and a repetition has other payloads.
    """

    name: str
    path: Path | None
    data_format: str
    source_id: str
    size_bytes: int | None
    is_live: bool

    @classmethod
    def described(cls, file: str, data_format: str, source: str) -> Input:
        """A file, or standard input for ``-``. Wrong usage if it cannot be read."""
        if data_format not in FORMATS:
            raise typer.BadParameter(
                f"'{data_format}' is none of {', '.join(FORMATS)}", param_hint="--format"
            )
        if file == "-":
            source_id = _digest(source) if source else uuid.uuid4().hex
            return cls("standard input", None, data_format, source_id, None, not source)
        path = Path(file)
        try:
            with path.open("rb") as stream:
                facts = os.fstat(stream.fileno())
        except OSError as error:
            raise typer.BadParameter(
                f"{file}: {error.strerror or error}", param_hint="FILE"
            ) from None
        identity = f"{path.absolute()}\n{facts.st_size}\n{facts.st_mtime_ns}"
        source_id = _digest(source or identity)
        return cls(file, path, data_format, source_id, facts.st_size, False)

    async def payloads(self, limits: Limits = LIMITS) -> Pieces:
        """Yields payloads with the input's bytes read so far.

        Raises InvalidArchiveError, PayloadTooLargeError or MalformedPayloadError.
        """
        try:
            opened = None if self.path is None else self.path.open("rb")
        except OSError as error:
            raise InvalidRequestError(f"{self.name}: {error.strerror or error}") from None
        with contextlib.nullcontext(sys.stdin.buffer) if opened is None else opened as stream:
            async with contextlib.aclosing(self._split(stream, limits)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _split(self, stream: BinaryIO, limits: Limits) -> Pieces:
        read = 0
        inflate: _Gunzip | None = None
        splitter: Splitter | ArraySplitter | None = None
        while chunk := await trio.to_thread.run_sync(self._read, stream, abandon_on_cancel=True):
            if not read and chunk.startswith(_GZIP_MAGIC):
                inflate = _Gunzip(self.name)
            read += len(chunk)
            for data in [chunk] if inflate is None else inflate.feed(chunk):
                splitter = splitter or self._splitter(data, limits)
                if splitter is None:
                    continue  # only blanks so far
                for payload in splitter.feed(data):
                    yield payload, read
                if self.is_live:
                    for payload in splitter.flush():
                        yield payload, read
        if inflate is not None:
            inflate.finish()
        for payload in [] if splitter is None else splitter.finish():
            yield payload, read

    def _read(self, stream: BinaryIO) -> bytes:
        # read1 returns what there is: a pipe that trickles is not waited for.
        reader = getattr(stream, "read1", stream.read)
        try:
            return cast("bytes", reader(_CHUNK_BYTES))
        except OSError as error:
            raise InvalidRequestError(f"{self.name}: {error.strerror or error}") from None

    def _splitter(self, start: bytes, limits: Limits) -> Splitter | ArraySplitter | None:
        record_bytes = limits.ingest_request_bytes
        target_bytes = min(PAYLOAD_BYTES, record_bytes)
        if self.data_format == "multijson":
            stripped = start.lstrip()
            if not stripped:
                return None
            if stripped.startswith(b"["):
                return ArraySplitter(target_bytes=target_bytes, record_bytes=record_bytes)
        return Splitter(self.data_format, target_bytes=target_bytes, record_bytes=record_bytes)


class _Gunzip:
    """Decompresses gzip members one after the other, a bounded piece at a time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            try:
                piece = self._member.decompress(data, _CHUNK_BYTES)
            except zlib.error as error:
                raise InvalidArchiveError(f"{self._name} is damaged: {error}") from None
            data = self._member.unconsumed_tail or self._member.unused_data
            yield piece

    def finish(self) -> None:
        if not self._member.eof:
            raise InvalidArchiveError(f"{self._name} ends in the middle of its gzip data")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=16).hexdigest()
