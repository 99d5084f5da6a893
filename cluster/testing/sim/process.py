"""One simulated process: lives of real code on a machine whose disk and clock outlive them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import trio

from cluster.errors import (
    CorruptionError,
    RowStoreReadOnlyError,
    StorageFullError,
    UnavailableError,
)
from cluster.testing.sim.lives import LIFE, Life

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.testing.sim.clock import MachineClock
    from cluster.testing.sim.disk import MachineDisk
    from cluster.transport.memory_network import MemoryNetwork


class Program(Protocol):
    """What a process runs."""

    async def __call__(self, life: Life, ready: Callable[[], None]) -> None:
        """Serves until cancelled; calls ``ready`` when it serves."""


class Watcher(Protocol):
    """Hears of the lives of processes."""

    def began(self, process: Process, *, lost_disk: bool) -> None:
        """It serves."""

    def ended(self, process: Process, how: str, error: BaseException | None) -> None:
        """It is gone; ``how`` as in :class:`cluster.conformance.notes.ProcessEnded`."""


class Process:
    """A process of that name on a host of its own. The nursery is where its lives run.

    ``point`` is told of points of its work on files; it may :meth:`strike` there.
    """

    def __init__(
        self,
        name: str,
        host: str,
        program: Program,
        *,
        clock: MachineClock,
        disk: MachineDisk,
        network: MemoryNetwork,
        nursery: trio.Nursery,
        watcher: Watcher,
        point: Callable[[str], None],
    ) -> None:
        self.name = name
        self.host = host
        self.clock = clock
        self.disk = disk
        self.served = trio.Event()
        self._program = program
        self._network = network
        self._nursery = nursery
        self._watcher = watcher
        self._point = point
        self._life: Life | None = None
        self._last: Life | None = None
        self._lost_disk = False

    @property
    def is_running(self) -> bool:
        """It has been started and is not gone."""
        return self._life is not None

    async def start(self) -> None:
        """Starts it, if it is not running. It serves when ``served`` is set."""
        await trio.lowlevel.checkpoint()
        if self._last is not None and self._last.is_over:
            await self._last.ended.wait()
        if self.is_running:
            return
        self._network.turn_on(self.host)
        self._life = self._last = Life(self.name, self.disk, self._point)
        self.served = trio.Event()
        self._nursery.start_soon(self._live, self._life, name=self.name)

    def strike(self, how: str, *, kept_bytes: int = 0) -> Life | None:
        """``kill`` or ``power``, at once: from now on nothing it does counts. Returns the life.

        With ``power`` the disk keeps ``kept_bytes`` of the unsynced bytes.
        """
        life = self._life
        if life is None:
            return None
        # First what others could notice, then the tasks, which may try to clean up.
        self._network.turn_off(self.host)
        if how == "power":
            self._lost_disk = True
            self.disk.crash(kept_bytes=kept_bytes)
        else:
            self.disk.kill()
        life.end()
        self._gone(how, None)
        return life

    async def end(self, how: str, *, kept_bytes: int = 0) -> None:
        """As :meth:`strike`, or ``stop`` in good order; returns when nothing is left of it."""
        if how == "stop":
            life = self._life
            if life is not None:
                life.scope.cancel()
        else:
            life = self.strike(how, kept_bytes=kept_bytes) or self._last
        if life is not None:
            await life.ended.wait()
        else:
            await trio.lowlevel.checkpoint()

    async def _live(self, life: Life) -> None:
        LIFE.set(life)
        failure: BaseException | None = None
        try:
            with life.scope:
                await self._program(life, lambda: self._ready(life))
        except Exception as error:
            failure = error
        finally:
            if not life.is_over:
                is_stopped = life.scope.cancel_called and failure is None
                self._network.turn_off(self.host)
                self.disk.kill()
                self._gone("stop" if is_stopped else "crash", failure)
            life.ended.set()

    def _ready(self, life: Life) -> None:
        if not life.is_over:
            lost, self._lost_disk = self._lost_disk, False
            self.served.set()
            self._watcher.began(self, lost_disk=lost)

    def _gone(self, how: str, failure: BaseException | None) -> None:
        self._life = None
        self._watcher.ended(self, how, failure)


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group, or the one that is none."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def blames_disk(error: BaseException) -> bool:
    """Whether a process that ends with this says that its files are damaged or take no writes."""
    disk = CorruptionError | RowStoreReadOnlyError | StorageFullError | UnavailableError | OSError
    return all(isinstance(leaf, disk) for leaf in leaves(error))
