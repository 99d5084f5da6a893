"""Lives of simulated processes, and whose life a piece of work belongs to.

A process that is killed does nothing more, whatever its code would do while it unwinds. Its tasks
are cancelled, but tasks clean up: so a life says that it is over first, and everything that reaches
the outside asks it. Work in "threads" belongs to the life it was started in; trio's contexts carry
that to every task a task starts.
"""

from __future__ import annotations

import contextvars
import errno
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import outcome
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.extents.root import StorageRoot

T = TypeVar("T")


class Writing(Protocol):
    """How long a disk takes."""

    def write_seconds(self) -> tuple[float, float]:
        """Virtual seconds before a call takes effect, and from then until it returns."""


class Life:
    """One life of a process; ``ended`` is set when nothing of it is left.

    ``disk`` says how long writes in the background take.
    """

    def __init__(self, process: str, disk: Writing | None = None) -> None:
        self.process = process
        self.disk = disk
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.over = trio.Event()

    @property
    def is_over(self) -> bool:
        """It was killed: nothing it does counts any more."""
        return self.over.is_set()

    def end(self) -> None:
        """Kills it."""
        self.over.set()
        self.scope.cancel()

    def check(self) -> None:
        """Raises OSError if it is over."""
        if self.is_over:
            raise OSError(errno.EIO, f"the process {self.process} is dead")


LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("LIFE", default=None)
"""Whose life the running task is part of; None: the world's own."""


async def run_in_place(function: Callable[..., T], *arguments: Any, **_: Any) -> T:
    """Stands in for ``trio.to_thread.run_sync``. Raises OSError in a life that is over.

    Files are closed all the same: the system does that for processes that die.
    """
    await trio.lowlevel.cancel_shielded_checkpoint()
    life = LIFE.get()
    if life is not None and getattr(function, "__name__", "") != "close":
        life.check()
    return function(*arguments)


def start_in_place(
    function: Callable[[], T], deliver: Callable[[outcome.Outcome[T]], object], name: Any = None
) -> None:
    """Stands in for ``trio.lowlevel.start_thread_soon``: the threads of the row stores' disks.

    What they do takes the disk's time, in part before it has happened and in part after, so that a
    process can die at both moments.
    """
    del name
    trio.lowlevel.spawn_system_task(
        _work, function, deliver, name="disk", context=contextvars.copy_context()
    )


async def _work(function: Callable[[], T], deliver: Callable[[outcome.Outcome[T]], object]) -> None:
    life = LIFE.get()
    before, after = (0.0, 0.0) if life is None or life.disk is None else life.disk.write_seconds()
    await _pass(life, before)
    result = outcome.capture(function)  # on a dead process's disk it raises
    await _pass(life, after)
    deliver(result)


async def _pass(life: Life | None, seconds: float) -> None:
    if seconds <= 0:
        return
    if life is None:
        await trio.sleep(seconds)
        return
    with trio.move_on_after(seconds):
        await life.over.wait()


class LivingRoot:
    """A storage root as one life sees it: out of reach once the life is over.

    ``is_remote``: its files are not on this machine, as far as the process can see.
    """

    def __init__(self, root: StorageRoot, life: Life, *, is_remote: bool = False) -> None:
        self._root = root
        self._life = life
        self._is_remote = is_remote

    def local_path(self, name: str) -> Any:
        """See :class:`cluster.extents.root.StorageRoot`."""
        return None if self._is_remote else self._root.local_path(name)

    def __getattr__(self, name: str) -> Any:
        self._life.check()
        return getattr(self._root, name)
