"""Lives of simulated processes, and whose life a piece of work belongs to.

A process that is killed does nothing more, whatever its code would do while it unwinds. Its tasks
are cancelled, but tasks clean up: so a life says that it is over first, and everything that reaches
the outside asks it. Work in "threads" belongs to the life it was started in; trio's contexts carry
that to every task a task starts.
"""

from __future__ import annotations

import contextvars
import errno
import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import outcome
import trio

from cluster.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cluster.extents.root import StorageRoot

T = TypeVar("T")


class Writing(Protocol):
    """What a disk does to whoever writes."""

    slow_seconds: float
    """Virtual seconds that every sync takes longer."""

    def check_file_write(self) -> None:
        """Raises OSError if a database file cannot be written now."""

    def write_seconds(self) -> tuple[float, float]:
        """Virtual seconds before a call takes effect, and from then until it returns."""


BEFORE_SYNC: Final = "log.before-sync"
AFTER_SYNC: Final = "log.after-sync"
BEFORE_FILE: Final = "file.before-write"
AFTER_FILE: Final = "file.after-write"
WRITE_POINTS: Final = (BEFORE_SYNC, AFTER_SYNC, BEFORE_FILE, AFTER_FILE)
"""Points of every life: before the write of a log or another file happens, and when it has
happened and nobody has been told."""


class Life:
    """One life of a process; ``ended`` is set when nothing of it is left.

    ``disk`` says how long writes in the background take; ``point`` hears of :data:`WRITE_POINTS`.
    """

    def __init__(self, process: str, disk: Writing, point: Callable[[str], None]) -> None:
        self.process = process
        self.disk = disk
        self.point = point
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


_CATALOG: Final = "CatalogWriter"
_COORDINATOR: Final = "Store"
"""Classes whose functions write database files: those of catalogs, and the coordinator's."""

_POSTED: contextvars.ContextVar[list[Callable[[], object]] | None] = contextvars.ContextVar(
    "_POSTED", default=None
)
"""What a "thread" has asked trio's thread to do, while it works."""


class DirectToken:
    """Stands in for a :class:`trio.lowlevel.TrioToken`: calls come in the caller's own context.

    What a "thread" posts is done when the disk's time is over, as if the write had ended then.
    """

    def run_sync_soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """See :class:`trio.lowlevel.TrioToken`."""
        posted = _POSTED.get()
        if posted is None:
            function(*arguments)
        else:
            posted.append(partial(function, *arguments))


async def run_in_place(function: Callable[..., T], *arguments: Any, **_: Any) -> T:
    """Stands in for ``trio.to_thread.run_sync``. Raises OSError in a life that is over.

    Files are closed all the same: the system does that for processes that die.
    """
    await trio.lowlevel.cancel_shielded_checkpoint()
    life = LIFE.get()
    if life is None or getattr(function, "__name__", "") == "close":
        return function(*arguments)
    if life.disk.slow_seconds:
        with trio.CancelScope(shield=True):
            await _pass(life, life.disk.slow_seconds)
    writer = getattr(function, "__qualname__", "").partition(".")[0]
    if writer not in (_CATALOG, _COORDINATOR):
        life.check()
        return function(*arguments)
    life.point(BEFORE_FILE)
    life.check()
    try:
        life.disk.check_file_write()
    except OSError as error:
        if writer == _CATALOG:  # whose store gives its errors this name
            raise UnavailableError(f"the catalog cannot be written: {error}") from error
        raise
    result = function(*arguments)
    life.point(AFTER_FILE)
    life.check()
    return result


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
    assert life is not None, "only processes have disks"
    before, after = life.disk.write_seconds()
    await _pass(life, before)
    life.point(BEFORE_SYNC)
    posted: list[Callable[[], object]] = []
    _POSTED.set(posted)
    result = outcome.capture(function)  # on a dead process's disk it raises
    _POSTED.set(None)
    life.point(AFTER_SYNC)
    await _pass(life, after)
    for call in posted:
        call()
    deliver(result)


async def _pass(life: Life, seconds: float) -> None:
    if seconds > 0:
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

    async def download(self, name: str, local: Path) -> None:
        """See :class:`cluster.extents.root.StorageRoot`: a link, as of a folder's root."""
        path = self.local_path(name)
        self._life.check()
        if path is None:
            await self._root.download(name, local)
        else:
            await self._root.size_of(name)  # which fails where a download would
            os.link(path, local)

    def __getattr__(self, name: str) -> Any:
        self._life.check()
        return getattr(self._root, name)
