"""ORC files are read in a process of their own: ``python -m cluster.ingest.process``.

The reader crashes the process it runs in on some damaged files (a few in a thousand with one bit
flipped). So a child reads, bounds its own memory, and writes Arrow; when it dies, the file is
refused. The file is the child's standard input, the columns it wants are its arguments. It costs
about a tenth of a second a file.

Nor does the reader end by itself on every damaged file, so a child is waited for
``limits.ingest_reader_seconds``, all its answers together; who takes them slowly costs it nothing.
Then, or when nobody wants the rest, it is killed.
"""

from __future__ import annotations

import io
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.orc as pa_orc

from cluster.errors import LimitExceededError, MalformedPayloadError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import BinaryIO

    from cluster.limits import Limits

BATCH_ROWS: Final = 65_536
_FAILED: Final = 3
"""Exit code of a child that has said on standard error what is wrong with the file."""

_SAID_BYTES: Final = 300
_PIPE_BYTES: Final = 64 * 1024


def orc_batches(
    file: BinaryIO, columns: Collection[str] | None, limits: Limits
) -> Iterator[pa.RecordBatch]:
    """The rows of a file that has a descriptor, in those of these columns it has; None: in all.

    Blocks, so call it in a worker thread. Raises MalformedPayloadError, LimitExceededError. However
    it ends, no child is left.
    """
    asked = json.dumps([None if columns is None else sorted(columns), limits.ingest_reader_bytes])
    file.seek(0)
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", "cluster.ingest.process", asked],
            stdin=file.fileno(),
            stdout=subprocess.PIPE,
            stderr=said,
        ) as child:
            assert child.stdout is not None
            answers = _Answers(child.stdout.fileno(), limits.ingest_reader_seconds)
            try:
                yield from _received(answers)
                answers.left_seconds -= _waited(child, answers.left_seconds)
            finally:
                child.kill()  # without effect on one that has ended
                code = child.wait()
        if answers.left_seconds <= 0:
            raise LimitExceededError(
                f"Reading the ORC file took longer than {limits.ingest_reader_seconds:g} seconds.",
                remedy="Check the file, or split it.",
                metadata={"limit": "ingest_reader_seconds"},
            )
        if code:
            said.seek(0)
            reason = said.read()[-_SAID_BYTES:].decode(errors="replace").strip()
            if code != _FAILED:
                reason = f"reading it ended a process with code {code}"
            raise MalformedPayloadError(
                f"the file is not orc, or damaged: {reason}",
                remedy="Check the format named, and the file.",
            )


class _Answers(io.RawIOBase):
    """What a child writes to a descriptor, and how long it may still be waited for."""

    def __init__(self, descriptor: int, left_seconds: float) -> None:
        self._descriptor = descriptor
        self.left_seconds = left_seconds

    def readable(self) -> bool:
        """True: that is all it is for."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes, 0 at the end. Raises TimeoutError when no time is left."""
        began = time.monotonic()
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, self.left_seconds))
        self.left_seconds -= time.monotonic() - began
        if not ready or self.left_seconds <= 0:
            self.left_seconds = 0.0
            raise TimeoutError
        data = os.read(self._descriptor, len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _waited(child: subprocess.Popen[bytes], most_seconds: float) -> float:
    """Waits for a child to end; how long that took, or ``most_seconds`` if it has not."""
    began = time.monotonic()
    try:
        child.wait(max(0.0, most_seconds))
    except subprocess.TimeoutExpired:
        return most_seconds
    return min(time.monotonic() - began, most_seconds)


def _received(answers: _Answers) -> Iterator[pa.RecordBatch]:
    stream = io.BufferedReader(answers, _PIPE_BYTES)
    try:
        with pa.ipc.open_stream(stream) as reader:
            yield from reader
    except (pa.ArrowException, OSError):
        return  # the child's exit code says why, or that there is no time left


def main(asked: str) -> int:
    """The child: reads standard input, writes standard output."""
    columns, memory_bytes = json.loads(asked)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints, prints to standard error
    try:
        with os.fdopen(os.dup(0), "rb") as file:
            orc = pa_orc.ORCFile(file)
            wanted = [name for name in orc.schema.names if columns is None or name in columns]
            schema = pa.schema([orc.schema.field(name) for name in wanted])
            with pa.ipc.new_stream(answers, schema) as writer:
                for stripe in range(orc.nstripes):
                    batch = orc.read_stripe(stripe, columns=wanted)
                    for first in range(0, batch.num_rows, BATCH_ROWS):
                        writer.write_batch(batch.slice(first, BATCH_ROWS))
            answers.flush()
    except BrokenPipeError:
        return 0
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError, ValueError) as error:
        print(str(error)[:_SAID_BYTES], file=sys.stderr)  # noqa: T201 - it is what is read
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
