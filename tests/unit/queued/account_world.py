"""A storage account in memory, and nodes whose queued clients upload to it."""

from __future__ import annotations

import base64
import itertools
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from queued_world import SECRET, START_NS, encoded, message, process

from cluster.batch.download import LocalSource
from cluster.errors import AccountRefusedError, SourceNotFoundError, UnavailableError
from cluster.limits import LIMITS
from cluster.queued.account.names import ResourceNames
from cluster.queued.account.settings import parse_account
from cluster.queued.account.signatures import service_sas
from cluster.queued.account.storage import AccountStorage
from cluster.queued.addresses import StorageKind
from cluster.queued.builtin import BuiltInStorage
from cluster.queued.signatures import Signer
from cluster.queued.values import READY, UPLOADS, Arrival

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from queued_world import Node, VirtualClock, World

    from cluster.queued.files import QueuedFiles
    from cluster.queued.received import Received
    from cluster.queued.values import Entity, OwnBlob

ACCOUNT = parse_account("UseDevelopmentStorage=true")
NAMES = ResourceNames.of("leader", SECRET)
SECOND_NS = 1_000_000_000


def now_ns() -> int:
    return START_NS + int(trio.current_time() * 1e9)


@dataclass
class Queued:
    """A message in the account."""

    message_id: str
    text: str
    inserted_ns: int
    visible_ns: int
    receipt: str = ""
    dequeued: int = 0


@dataclass
class FakeAccount:
    """The account; it outlives nodes.

    ``away`` is what every request is answered with, ``calls`` are the names of requests.
    ``plan`` has what happens at the next requests of a name: an error that is raised instead, or
    ``"lost"``, done but with the answer lost. Its clock is ``ahead_seconds`` ahead of the nodes'.
    """

    queue: dict[str, Queued] = field(default_factory=dict)
    blobs: dict[OwnBlob, tuple[int, int]] = field(default_factory=dict)
    reports: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    away: Exception | None = None
    ahead_seconds: int = 0
    plan: dict[str, list[Exception | str]] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    # What clients do

    def upload(self, name: str, *, size: int = 2) -> str:
        """Puts a blob; returns its address, as clients write it."""
        container = NAMES.containers[UPLOADS]
        self.blobs[container, name] = (size, now_ns() + self.ahead_seconds * SECOND_NS)
        sas = service_sas(ACCOUNT, StorageKind.BLOB, container, "rcwdl", START_NS // 10**9 + 172800)
        return f"{ACCOUNT.blob}/{container}/{name}?{sas}"

    def send(self, name: str, **fields: Any) -> str:
        """Puts a blob and a message about it; returns the message's text."""
        text = message(self.upload(name), name, **fields)
        self.put(text)
        return text

    def put(self, text: str) -> None:
        message_id = f"message-{next(self.numbers)}"
        ahead_ns = now_ns() + self.ahead_seconds * SECOND_NS
        seconds_ns = ahead_ns // SECOND_NS * SECOND_NS + SECOND_NS - 1
        self.queue[message_id] = Queued(message_id, encoded(text), seconds_ns, now_ns())

    # What the node does

    async def _asked(self, name: str) -> bool:
        """Whether the answer is to be lost."""
        self.calls.append(name)
        await trio.lowlevel.checkpoint()
        if self.away is not None:
            raise self.away
        step = self.plan[name].pop(0) if self.plan.get(name) else None
        if isinstance(step, Exception):
            raise step
        return step == "lost"

    @staticmethod
    def _answered(is_lost: bool) -> None:
        if is_lost:
            raise UnavailableError("the connection broke")

    async def prepare(self) -> None:
        await self._asked("prepare")

    async def take(self, queue: str, count: int, hidden_seconds: int) -> Sequence[Arrival]:
        assert queue == READY
        is_lost = await self._asked("take")
        found = [item for item in self.queue.values() if item.visible_ns <= now_ns()][:count]
        for item in found:
            item.visible_ns = now_ns() + hidden_seconds * SECOND_NS
            item.receipt = f"receipt-{next(self.numbers)}"
            item.dequeued += 1
        self._answered(is_lost)
        return [
            Arrival(item.message_id, item.receipt, item.inserted_ns, item.dequeued, item.text)
            for item in found
        ]

    async def hide(self, queue: str, message: Arrival, hidden_seconds: int) -> str | None:
        is_lost = await self._asked("hide")
        item = self.queue.get(message.message_id)
        if item is None or item.receipt != message.receipt:
            return None
        item.visible_ns = now_ns() + hidden_seconds * SECOND_NS
        item.receipt = f"receipt-{next(self.numbers)}"
        self._answered(is_lost)
        return item.receipt

    async def remove(self, queue: str, message: Received) -> bool:
        is_lost = await self._asked("remove")
        item = self.queue.get(message.message_id)
        if item is not None and item.receipt != message.receipt:
            return False
        self.queue.pop(message.message_id, None)
        self._answered(is_lost)
        return True

    async def report(self, queue: str, text: str) -> None:
        is_lost = await self._asked("report")
        self.reports.append((queue, json.loads(base64.b64decode(text))))
        self._answered(is_lost)

    async def merge(self, entity: Entity) -> None:
        is_lost = await self._asked("merge")
        if "/" in entity.row:
            raise AccountRefusedError("400 OutOfRangeInput")
        self.rows.setdefault((entity.partition, entity.row), {}).update(entity.properties)
        self._answered(is_lost)

    async def count(self, queue: str) -> int:
        await self._asked("count")
        return len(self.queue)

    async def look(self, blob: OwnBlob) -> tuple[int, int] | None:
        await self._asked("look")
        return self.blobs.get(blob)

    async def delete(self, blob: OwnBlob) -> None:
        await self._asked("delete")
        self.blobs.pop(blob, None)

    async def older(self, container: str, before_ns: int) -> Sequence[OwnBlob]:
        await self._asked("older")
        return [
            blob
            for blob, (_, put_ns) in self.blobs.items()
            if blob[0] == NAMES.containers[container] and put_ns < before_ns
        ]

    async def download(self, blob: OwnBlob, shown: str) -> LocalSource:
        await self._asked("download")
        if blob not in self.blobs:
            raise SourceNotFoundError(f"There is no blob {shown}.")
        return LocalSource(Path("/nowhere"), blob[1], shown, self.blobs[blob][0], is_copy=True)


@asynccontextmanager
async def account_process(
    folder: Path, node: Node, account: FakeAccount, **more: Any
) -> AsyncIterator[World]:
    """One process that uses the account; it ends with the context."""

    def storage_of(files: QueuedFiles, clock: VirtualClock) -> AccountStorage:
        own = BuiltInStorage(files, Signer(files.store.secret))
        limits = more.get("limits", LIMITS)
        return AccountStorage(
            ACCOUNT, NAMES, account, files=files, own=own, clock=clock, limits=limits
        )

    async with process(folder, node, storage_of=storage_of, **more) as world:
        yield world
