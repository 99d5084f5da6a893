"""What tasks wait for: rows that are on their way to the log, and the group they go with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from cluster.errors import RowStoreReadOnlyError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.catalog.model import RowStoreKey
    from cluster.errors import TransientError
    from cluster.rowstore.entry import Entry, LogRecord


class Group:
    """Everything staged between two commits. Its fate is one: durable, or refused."""

    __slots__ = (
        "byte_count",
        "callbacks",
        "done",
        "entries",
        "error",
        "failure",
        "records",
        "request_count",
    )

    def __init__(self) -> None:
        self.records: list[LogRecord] = []
        self.entries: list[Entry] = []
        self.byte_count = 0
        self.request_count = 0
        self.failure = ""
        self.error: type[TransientError] = RowStoreReadOnlyError
        self.done = trio.Event()
        self.callbacks: list[Callable[[], None]] = []

    def decide(self, failure: str = "") -> None:
        """Its fate is known: tells everyone who waits, callbacks first and in order."""
        self.failure = failure
        self.done.set()
        for callback in self.callbacks:
            callback()
        self.callbacks.clear()

    def check(self) -> None:
        """Raises :class:`RowStoreReadOnlyError` if it was refused."""
        if self.failure:
            raise self.error(self.failure)

    def add(self, record: LogRecord) -> None:
        """Takes the next record of the log."""
        self.records.append(record)
        self.byte_count += len(record.raw)

    async def wait(self) -> None:
        """Returns when durable and visible; raises :class:`RowStoreReadOnlyError` if never."""
        await self.done.wait()
        self.check()


class Staged:
    """Rows that have their ordinals but are not durable yet. Acknowledge after committed()."""

    __slots__ = ("_group", "first_ordinal", "key", "row_count")

    def __init__(self, key: RowStoreKey, first_ordinal: int, row_count: int, group: Group) -> None:
        self.key = key
        self.first_ordinal = first_ordinal
        self.row_count = row_count
        self._group = group

    @property
    def end_ordinal(self) -> int:
        """One more than the last ordinal of the rows."""
        return self.first_ordinal + self.row_count

    async def committed(self) -> None:
        """Returns when the rows are durable and visible. Any number of tasks may wait.

        Raises :class:`RowStoreReadOnlyError` if they could not be made durable; whether they
        are there after a restart is then unknown. Raises :class:`UnavailableError` if they were
        withdrawn, with the chain they belong to. Cancelling the wait does not unstage them.
        """
        await self._group.wait()

    def withdraw(self, reason: str) -> None:
        """The rows will not be written: their chain was not completed."""
        self._group.error = UnavailableError
        self._group.decide(reason)

    def join(self, group: Group) -> None:
        """The rows, so far of a group of their own, share the fate of another one."""
        own, self._group = self._group, group
        if own is not group:
            group.callbacks.append(lambda: own.decide(group.failure))

    def when_decided(self, callback: Callable[[], None]) -> None:
        """Calls ``callback`` in the trio thread once :meth:`check_committed` can be asked.

        At once if it can be asked now. Costs less than a task that waits. It must not raise.
        """
        if self._group.done.is_set():
            callback()
        else:
            self._group.callbacks.append(callback)

    def check_committed(self) -> None:
        """Raises as :meth:`committed` does, without waiting; ask after the decision only."""
        assert self._group.done.is_set(), "nobody knows yet whether it will be durable"
        self._group.check()
