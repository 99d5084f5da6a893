"""A storage root in memory that fails the way storage does, on request and the same way each time.

A confirmed put is there after a crash. A put that was under way when the power failed is there
whole or not at all, as the test chooses. Every fault raises what a real root raises.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import trio

from cluster.errors import (
    ConflictError,
    FileMissingError,
    LimitExceededError,
    StorageFullError,
    StorageUnavailableError,
)
from cluster.extents.root import StorageRootStatistics, StoredObject, check_name, check_prefix
from cluster.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cluster.errors import RemoraError
    from cluster.limits import Limits


class RootCall(NamedTuple):
    """One call: put, get, get_range, size_of, download, delete, list or sweep, and of what."""

    kind: str
    name: str


@dataclass(slots=True)
class _Fault:
    kind: str
    error: RemoraError
    successes_left: int
    takes_effect: bool


class FakeRoot:
    """A :class:`cluster.extents.root.StorageRoot` in memory.

    ``calls`` records every call in order, failed ones included. ``capacity_bytes`` bounds the
    contents: a put beyond it raises StorageFullError. ``delay_seconds`` is how long each call
    takes, on trio's clock. With ``folder`` the objects are files there as well, so that
    :meth:`local_path` gives paths: a folder root under a test's control.
    """

    blocks = False

    def __init__(
        self,
        url: str = "memory://root",
        *,
        capacity_bytes: int | None = None,
        delay_seconds: float = 0.0,
        folder: Path | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self.url = url
        self.calls: list[RootCall] = []
        self.capacity_bytes = capacity_bytes
        self.delay_seconds = delay_seconds
        self._folder = folder
        self._limits = limits
        self._objects: dict[str, bytes] = {}
        self._faults: list[_Fault] = []
        self._is_off = False
        self._halt_at: tuple[int, bool] | None = None
        self._counts: Counter[str] = Counter()

    # Faults

    def fail(
        self,
        kind: str,
        *,
        error: RemoraError | None = None,
        after: int = 0,
        takes_effect: bool = False,
    ) -> None:
        """Makes one call of ``kind`` fail, after so many that succeed.

        ``takes_effect``: it is carried out all the same and only its answer is lost, as over a
        network. The default error is StorageUnavailableError.
        """
        chosen = error or StorageUnavailableError(f"the storage root {self.url} is off, by request")
        self._faults.append(_Fault(kind, chosen, after, takes_effect))

    def halt_at(self, call: int, *, takes_effect: bool = False) -> None:
        """The power fails at the given call, counted from 0 over ``calls``.

        That call and all later ones raise StorageUnavailableError until :meth:`crash`.
        """
        self._halt_at = (call, takes_effect)

    def crash(self) -> None:
        """The process dies and starts again: requested faults are over, objects stay."""
        self._faults.clear()
        self._halt_at = None
        self._is_off = False

    def disconnect(self) -> None:
        """Every call fails from now on, until :meth:`crash` or :meth:`reconnect`."""
        self._is_off = True

    def reconnect(self) -> None:
        """Calls succeed again."""
        self._is_off = False

    def flip_bit(self, name: str, offset: int, bit: int = 0) -> None:
        """Damages one bit of an object."""
        data = bytearray(self._objects[name])
        data[offset] ^= 1 << bit
        self._set(name, bytes(data))

    def content(self, name: str) -> bytes:
        """What an object holds."""
        return self._objects[name]

    def names(self) -> list[str]:
        """All objects, sorted."""
        return sorted(self._objects)

    # The root

    async def put(self, name: str, data: bytes) -> None:
        """See :class:`cluster.extents.root.StorageRoot`."""
        check_name(name)
        fault = await self._call("put", name)
        if fault is None or fault.takes_effect:
            if name in self._objects:
                raise ConflictError(f"the storage root {self.url} has an object {name} already")
            held = sum(map(len, self._objects.values()))
            if self.capacity_bytes is not None and held + len(data) > self.capacity_bytes:
                self._counts["failures"] += 1
                raise StorageFullError(f"cannot write {name}: the storage root {self.url} is full")
            self._set(name, data)
            self._counts["put_bytes"] += len(data)
        self._raise(fault)

    async def put_file(self, name: str, local: Path) -> None:
        """See :class:`cluster.extents.root.StorageRoot`."""
        await self.put(name, local.read_bytes())  # noqa: ASYNC240 - a simulation has one thread

    async def get(self, name: str) -> bytes:
        """See :class:`cluster.extents.root.StorageRoot`."""
        data = await self._read("get", name)
        if len(data) > self._limits.storage_object_bytes:
            raise LimitExceededError(
                f"{name} has {len(data)} bytes, storage_object_bytes is "
                f"{self._limits.storage_object_bytes}"
            )
        return data

    async def get_range(self, name: str, start: int, length: int) -> bytes:
        """See :class:`cluster.extents.root.StorageRoot`."""
        return (await self._read("get_range", name))[start : start + length]

    async def size_of(self, name: str) -> int:
        """See :class:`cluster.extents.root.StorageRoot`."""
        return len(await self._read("size_of", name))

    async def download(self, name: str, local: Path) -> None:
        """See :class:`cluster.extents.root.StorageRoot`."""
        local.write_bytes(await self._read("download", name))  # noqa: ASYNC240 - see put_file

    async def _read(self, kind: str, name: str) -> bytes:
        check_name(name)
        self._raise(await self._call(kind, name))
        if name not in self._objects:
            raise FileMissingError(
                f"there is no object {name} in the storage root {self.url}",
                metadata={"file": name},
            )
        self._counts["get_bytes"] += len(self._objects[name])
        return self._objects[name]

    async def delete(self, names: Sequence[str]) -> None:
        """See :class:`cluster.extents.root.StorageRoot`."""
        for name in names:
            check_name(name)
            fault = await self._call("delete", name)
            if fault is None or fault.takes_effect:
                self._objects.pop(name, None)
                if self._folder is not None:
                    (self._folder / name).unlink(missing_ok=True)
            self._raise(fault)

    async def list(self, prefix: str = "") -> list[StoredObject]:
        """See :class:`cluster.extents.root.StorageRoot`."""
        check_prefix(prefix)
        self._raise(await self._call("list", prefix))
        return [
            StoredObject(name, len(self._objects[name]))
            for name in self.names()
            if name.startswith(prefix)
        ]

    async def sweep(self) -> int:
        """See :class:`cluster.extents.root.StorageRoot`. Nothing is ever half written here."""
        self._raise(await self._call("sweep", ""))
        return 0

    def local_path(self, name: str) -> Path | None:
        """See :class:`cluster.extents.root.StorageRoot`."""
        check_name(name)
        return None if self._folder is None else self._folder / name

    def statistics(self) -> StorageRootStatistics:
        """See :class:`cluster.extents.root.StorageRoot`."""
        counts = self._counts
        return StorageRootStatistics(
            self.url,
            len(self.calls),
            0,
            counts["failures"],
            counts["put_bytes"],
            counts["get_bytes"],
        )

    def _set(self, name: str, data: bytes) -> None:
        self._objects[name] = data
        if self._folder is not None:
            path = self._folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    async def _call(self, kind: str, name: str) -> _Fault | None:
        """Records a call, takes its time, and finds the fault that is to hit it."""
        number = len(self.calls)
        self.calls.append(RootCall(kind, name))
        if self.delay_seconds:
            await trio.sleep(self.delay_seconds)
        else:
            await trio.lowlevel.checkpoint()
        off = StorageUnavailableError(f"the storage root {self.url} cannot be reached")
        if self._is_off:
            return _Fault(kind, off, 0, takes_effect=False)
        if self._halt_at is not None and number >= self._halt_at[0]:
            takes_effect = self._halt_at[1] and number == self._halt_at[0]
            return _Fault(kind, off, 0, takes_effect)
        for fault in self._faults:
            if fault.kind != kind:
                continue
            if not fault.successes_left:
                self._faults.remove(fault)
                return fault
            fault.successes_left -= 1
        return None

    def _raise(self, fault: _Fault | None) -> None:
        if fault is not None:
            self._counts["failures"] += 1
            raise fault.error
