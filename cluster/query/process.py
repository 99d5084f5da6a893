"""The translator process as seen from trio: started when needed, bounded, killed, restarted."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import trio

import cluster
from cluster.errors import InternalError, LimitExceededError
from cluster.query.messages import HEADER, Answer, Hello, Question, encode, error_of

if TYPE_CHECKING:
    from cluster.limits import Limits
    from cluster.query.messages import Query
    from cluster.query.translation import Translation

_START_SECONDS: Final = 30.0
_ANSWER_EXTRA_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TranslatorStatistics:
    """The translator process so far."""

    pid: int | None
    """Process that is running; None before the first query and after a kill."""
    started: int
    """Processes started."""
    killed: int
    """Processes killed: time over, or the caller gone."""
    crashed: int
    """Processes that ended by themselves."""
    asked: int
    """Questions put to a process."""
    start_seconds: float
    """From start to ready, of the last one."""
    resident_bytes: int
    """Peak memory of the last one, as of its last answer."""


class _DiedError(Exception):
    """The process ended before it answered."""


class TranslatorProcess:
    """One process, one question at a time; others wait in order of arrival."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = trio.Lock()
        self._process: trio.Process | None = None
        self._buffer = bytearray()
        self._started = self._killed = self._crashed = self._asked = 0
        self._start_seconds = 0.0
        self._resident_bytes = 0

    async def translate(self, query: Query) -> Translation:
        """Translates one query; raises what ``translate.translate`` raises.

        Raises LimitExceededError after ``query_translate_seconds``; a process that dies is
        replaced once, then InternalError.
        """
        limits = self._limits
        question = encode(
            Question(
                query,
                limits.query_sql_bytes,
                limits.string_value_bytes,
                limits.query_translate_seconds,
                limits.query_operators,
                limits.query_tables,
                limits.query_partitions,
            )
        )
        async with self._lock:
            for _ in range(2):
                try:
                    answer = await self._ask(question)
                except _DiedError:
                    self._crashed += 1
                    await self._end()
                    continue
                self._resident_bytes = answer.resident_bytes
                if answer.refusal is not None:
                    raise error_of(answer.refusal)
                assert answer.translation is not None
                return answer.translation
        raise InternalError("The query translator died twice.")

    async def _ask(self, question: bytes) -> Answer:
        process = await self._ready()
        assert process.stdin is not None
        self._asked += 1
        answered = False
        try:
            with trio.move_on_after(self._limits.query_translate_seconds):
                try:
                    await process.stdin.send_all(question)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    raise _DiedError from None
                body = await self._receive(process)
                answered = True
                return msgspec.msgpack.decode(body, type=Answer)
            raise LimitExceededError(
                "The query took longer to translate than "
                f"{self._limits.query_translate_seconds} seconds: it is too complex.",
                metadata={"limit": "query_translate_seconds"},
            )
        except _DiedError:
            answered = True
            raise
        finally:
            if not answered:  # its answer would be taken for the next one's
                self._killed += 1
                await self._end()

    async def _ready(self) -> trio.Process:
        if self._process is not None:
            return self._process
        began = trio.current_time()
        path = str(Path(cluster.__file__).parent.parent)
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [path, environment.get("PYTHONPATH")])
        )
        self._buffer.clear()
        self._process = await trio.lowlevel.open_process(
            [
                sys.executable,
                "-P",
                "-m",
                "cluster.query.worker",
                str(self._limits.query_translator_bytes),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._started += 1
        ready = False
        try:
            with trio.move_on_after(_START_SECONDS):
                hello = msgspec.msgpack.decode(await self._receive(self._process), type=Hello)
                self._resident_bytes = hello.resident_bytes
                ready = True
            if not ready:
                raise InternalError("The query translator did not start in time.")
        except _DiedError:
            ready = True
            raise
        finally:
            if not ready:
                self._killed += 1
                await self._end()
        self._start_seconds = trio.current_time() - began
        return self._process

    async def _receive(self, process: trio.Process) -> bytes:
        (length,) = HEADER.unpack(await self._take(process, HEADER.size))
        if length > self._limits.query_sql_bytes * 2 + _ANSWER_EXTRA_BYTES:
            raise _DiedError  # not a frame: it is broken
        return await self._take(process, length)

    async def _take(self, process: trio.Process, size: int) -> bytes:
        assert process.stdout is not None
        while len(self._buffer) < size:
            received = await process.stdout.receive_some()
            if not received:
                raise _DiedError
            self._buffer += received
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    async def _end(self) -> None:
        """Kills the process, if there is one, and waits until it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()

    async def aclose(self) -> None:
        """Ends the process. A later question would start another."""
        await self._end()

    def statistics(self) -> TranslatorStatistics:
        """Counters and figures of the process."""
        return TranslatorStatistics(
            pid=None if self._process is None else self._process.pid,
            started=self._started,
            killed=self._killed,
            crashed=self._crashed,
            asked=self._asked,
            start_seconds=self._start_seconds,
            resident_bytes=self._resident_bytes,
        )
