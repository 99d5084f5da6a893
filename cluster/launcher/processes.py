"""Starts one process, detached, and hears from it when it is ready.

A child gets its configuration as one JSON line on standard input, so it can be spawned, and can
import what it needs, before its configuration is known. It answers with one JSON line on a pipe,
``{"grpc": "127.0.0.1:PORT", "http": "http://127.0.0.1:PORT", "pid": N}``. The pipe also tells its
death: nothing is polled.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from cluster.errors import ProtocolError, TimedOutError, UnavailableError
from cluster.launcher.identity import Identity, identify, send_signal, wait_exit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LOG_TAIL_LINES: Final = 20
_LOG_TAIL_BYTES: Final = 64 * 1024
_READY_LINE_BYTES: Final = 64 * 1024
_DEATH_SECONDS: Final = 5.0
"""A process that has closed its end of the pipe gets this long to die by itself."""


@dataclass(frozen=True, slots=True)
class Served:
    """Where a process serves: gRPC's address, and the URLs of HTTP without and with TLS.

    A URL is empty where there is no such door.
    """

    grpc: str
    http: str = ""
    https: str = ""


@dataclass(slots=True)
class Child:
    """A process that was spawned and is not ready yet. The descriptors are this side's ends."""

    id: str
    identity: Identity
    log: Path
    log_start_bytes: int
    config_fd: int
    ready_fd: int
    child_ready_fd: int

    def close(self) -> None:
        """Closes this side's ends of the pipes that are still open."""
        for name in ("config_fd", "ready_fd"):
            if (descriptor := getattr(self, name)) >= 0:
                setattr(self, name, -1)
                os.close(descriptor)


def spawn(process: str, command: Sequence[str], log: Path) -> Child:
    """Starts ``command`` in a session of its own, its output appended to ``log``.

    It outlives this process. Raises OSError if it cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    ready_here, ready_there = os.pipe()
    try:
        with log.open("ab") as output:
            log_start = output.tell()
            started = subprocess.Popen(  # noqa: S603 - the launcher's own command lines
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(ready_there,),
                start_new_session=True,
            )
        assert started.stdin is not None
        config_there = os.dup(started.stdin.fileno())
        started.stdin.close()
        # Nobody waits for it here: it is meant to live on, and Popen must not complain about it.
        started.returncode = 0
        identity = identify(started.pid, command)
    except BaseException:
        os.close(ready_here)
        raise
    finally:
        os.close(ready_there)
    return Child(process, identity, log, log_start, config_there, ready_here, ready_there)


def configure(child: Child, config: Mapping[str, Any]) -> None:
    """Writes the configuration, with ``ready_fd`` added, and closes the child's input."""
    line = json.dumps({**config, "ready_fd": child.child_ready_fd}) + "\n"
    descriptor, child.config_fd = child.config_fd, -1
    with os.fdopen(descriptor, "wb") as stream:
        try:
            stream.write(line.encode())
            stream.flush()
        except BrokenPipeError:
            # It is dead already; wait_ready says so, with its last words.
            stream.raw.close()


async def wait_ready(child: Child, *, timeout_seconds: float) -> Served:
    """Returns where the child serves.

    Raises UnavailableError with its last log lines if it dies first, TimedOutError if it takes
    too long, ProtocolError if it says something else. It is killed in the last two cases.
    """
    line = b""
    descriptor, child.ready_fd = child.ready_fd, -1
    async with trio.lowlevel.FdStream(descriptor) as stream:
        with trio.move_on_after(timeout_seconds) as scope:
            while not line.endswith(b"\n") and len(line) < _READY_LINE_BYTES:
                received = await stream.receive_some(_READY_LINE_BYTES)
                if not received:
                    break
                line += received
    if line.endswith(b"\n"):
        return await _served(child, line)
    if scope.cancelled_caught:
        await kill(child)
        what = f"{child.id} was not ready after {timeout_seconds:g} s and was killed"
        raise TimedOutError(_with_log(child, what), remedy="Allow more time with --timeout.")
    code = None
    with trio.move_on_after(_DEATH_SECONDS) as scope:
        code = await wait_exit(child.identity)
    if scope.cancelled_caught:
        await kill(child)
    how = "" if code is None else f" (exit code {code})" if code >= 0 else f" (signal {-code})"
    raise UnavailableError(
        _with_log(child, f"{child.id} ended before it was ready{how}"),
        remedy=f"Its whole log: {child.log}",
        metadata={"process": child.id, "log": str(child.log)},
    )


async def kill(child: Child) -> None:
    """Kills a child unless it is dead, and collects it."""
    send_signal(child.identity, signal.SIGKILL)
    await wait_exit(child.identity)


async def _served(child: Child, line: bytes) -> Served:
    try:
        values = json.loads(line)
        served = Served(values["grpc"], values.get("http", ""), values.get("https", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        served = None
    if served is None or not all(isinstance(item, str) for item in astuple(served)):
        await kill(child)
        raise ProtocolError(f"{child.id} said {line[:200]!r} instead of its address; it was killed")
    return served


def last_lines(log: Path, count: int, *, start_bytes: int = 0) -> list[str]:
    """The last lines of a log after ``start_bytes``, at most 64 KiB of them."""
    try:
        with log.open("rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(max(start_bytes, end - _LOG_TAIL_BYTES))
            return stream.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


def _with_log(child: Child, what: str) -> str:
    lines = last_lines(child.log, LOG_TAIL_LINES, start_bytes=child.log_start_bytes)
    if not lines:
        return f"{what}; it wrote nothing to its log"
    return "\n".join([f"{what}. Its last words:", *(f"  | {line}" for line in lines)])
