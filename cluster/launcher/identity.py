"""Which process of this machine is ours, whether it runs, and how it is signalled.

A pid alone is not enough: it may belong to somebody else by now. An :class:`Identity` also has the
moment the process was created and its command line, which carries the folder of its setup; nothing
is ever signalled unless all three match. The check and the signal go through one pidfd, so the pid
cannot change hands in between.
"""

from __future__ import annotations

import contextlib
import enum
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psutil
import trio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CLOCK_STEP_SECONDS: Final = 60.0
"""psutil derives creation times from the wall clock, which may be set while a process lives."""

_CLOCK_JITTER_SECONDS: Final = 2.0
"""The same without a step: the boot time it is added to has whole seconds."""

STOP_SECONDS: Final = 10.0
"""How long a process may take to stop: it is asleep in the kernel, or the machine is busy."""
_LOOK_SECONDS: Final = 0.002


class ProcessState(enum.Enum):
    """What a process is doing, as far as the operating system knows."""

    RUNNING = "running"
    PAUSED = "paused"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, never another one that got its pid. Creation time: seconds since 1970 UTC."""

    pid: int
    created_at_seconds: float
    command: tuple[str, ...]


def identify(pid: int, command: Sequence[str]) -> Identity:
    """The identity of a child just started with ``command``; it may be dead but not reaped."""
    return Identity(pid, psutil.Process(pid).create_time(), tuple(command))


def state_of(identity: Identity | None) -> ProcessState:
    """What the process does now. A pid that belongs to another process counts as DOWN."""
    if identity is None:
        return ProcessState.DOWN
    try:
        process = psutil.Process(identity.pid)
        status = process.status()
        if status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) or not _matches(process, identity):
            return ProcessState.DOWN
    except psutil.Error:  # gone, or somebody else's
        return ProcessState.DOWN
    stopped = status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    return ProcessState.PAUSED if stopped else ProcessState.RUNNING


def send_signal(identity: Identity, number: signal.Signals) -> bool:
    """Signals the process. False: it is gone, and nothing was signalled."""
    with _opened(identity) as handle:
        if handle is None or state_of(identity) is ProcessState.DOWN:
            return False
        with contextlib.suppress(ProcessLookupError):  # it died since: as good as signalled
            signal.pidfd_send_signal(handle, number)
        return True


async def wait_stopped(identity: Identity) -> None:
    """Returns when a process that was sent SIGSTOP has stopped, or is gone.

    The signal is only noted when it is sent; until it acts, the process works and counts as
    running. One that somebody resumes meanwhile is waited for no longer than STOP_SECONDS.
    """
    with trio.move_on_after(STOP_SECONDS):
        while state_of(identity) is ProcessState.RUNNING:  # noqa: ASYNC110
            await trio.sleep(_LOOK_SECONDS)


async def wait_exit(identity: Identity) -> int | None:
    """Returns when the process is gone. A child of ours is reaped, and its exit code returned.

    Gone means every thread of it: a process whose first thread has ended is a zombie already, and
    still holds its sockets and locks until its last thread has. The handle tells the difference.
    """
    with _opened(identity) as handle:
        if handle is not None:
            await trio.lowlevel.wait_readable(handle)
    return reap(identity.pid)


def reap(pid: int) -> int | None:
    """Collects a dead child, so it does not stay a zombie; None if there is nothing to collect.

    Returns the exit code, negative for the signal that ended it.
    """
    try:
        reaped, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # another command started it
        return None
    return os.waitstatus_to_exitcode(status) if reaped else None


@contextlib.contextmanager
def _opened(identity: Identity) -> Iterator[int | None]:
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        # Checked after opening: what the handle refers to stays the same process.
        yield handle if _is_same(identity) else None
    finally:
        os.close(handle)


def _is_same(identity: Identity) -> bool:
    """The process with this id, alive or a zombie, is the one that was started."""
    try:
        process = psutil.Process(identity.pid)
        moved = abs(process.create_time() - identity.created_at_seconds)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return moved <= _CLOCK_JITTER_SECONDS  # it has no command line any more
        return _matches(process, identity)
    except psutil.ZombieProcess:  # it became one while we looked
        return moved <= _CLOCK_JITTER_SECONDS
    except psutil.Error:
        return False


def _matches(process: psutil.Process, identity: Identity) -> bool:
    moved = abs(process.create_time() - identity.created_at_seconds)
    command = tuple(process.cmdline())
    if not command:
        # A dying process loses its command line before its sockets and its place in the process
        # table. It counts until it is gone, so that whoever waits for its end really does.
        return moved <= _CLOCK_JITTER_SECONDS
    return moved <= _CLOCK_STEP_SECONDS and command == identity.command
