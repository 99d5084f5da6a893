"""A storage account as the place to upload to (:class:`cluster.queued.ports.StoragePort`).

::

    clients ── blobs, messages ─▶ account ── take, hidden ─▶ inbox (durable) ─▶ the pipeline
       ▲                            ▲  ▲                                            │
       └── status rows, outcomes ───┘  └── tell, delete the message ◀── ended (durable)

A message is deleted in the account only after its end is durable here, and with it whether its rows
are. Until then it is hidden there; if it is seen again it is known by its id. Outcomes wait here
until the account has them. While the account is away nothing is lost on either side.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import trio

from cluster.errors import (
    AccountRefusedError,
    BlobAddressError,
    BlobUnreadableError,
    InternalError,
    RemoraError,
    SourceNotFoundError,
    UnavailableError,
)
from cluster.queued.account.signatures import is_own_container_sas
from cluster.queued.account.wire import MESSAGES_MOST
from cluster.queued.values import CONTAINERS, FAILURES, READY, STATUS_TABLE, SUCCESSES

if TYPE_CHECKING:
    from collections.abc import Collection

    from cluster.batch.download import LocalSource
    from cluster.clock import Clock
    from cluster.limits import Limits
    from cluster.queued.account.names import ResourceNames
    from cluster.queued.account.port import AccountPort
    from cluster.queued.account.settings import StorageAccount
    from cluster.queued.files import QueuedFiles
    from cluster.queued.ports import InboxPort, StoragePort
    from cluster.queued.received import Received
    from cluster.queued.values import OwnBlob

logger = logging.getLogger(__name__)

_LONGEST_DELAY_SECONDS: Final = 30.0
_KNOWN_TIMES: Final = 10
"""A message that waits here is hidden for so many times as long. Not for ever: a node that is
killed before it has written the new receipt can delete it only when it is seen again."""

_SWEEP_NS: Final = 3600 * 1_000_000_000
_NOT_YET: Final = "it has not answered yet"


class AccountStorage:
    """The account, and behind it the node's own storage for what was uploaded there earlier."""

    def __init__(
        self,
        account: StorageAccount,
        names: ResourceNames,
        client: AccountPort,
        *,
        files: QueuedFiles,
        own: StoragePort,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._account = account
        self._client = client
        self._store = files.store
        self._run = files.thread.run
        self._own = own
        self._clock = clock
        self._limits = limits
        self._containers = frozenset(names.containers.values())
        self._origin = f"{account.queue}/{names.queues[READY]}"
        self._blob = urlsplit(account.blob)
        self._trouble = _NOT_YET
        self._news = trio.Event()
        self._swept_ns = 0

    async def run(
        self, inbox: InboxPort, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Brings messages here and outcomes there, whenever the account answers.

        Started when the account was asked for the first time, whatever it has said.
        """
        delay = first = self._limits.queued_retry_first_seconds
        is_ready = is_started = False
        while True:
            try:
                if not is_ready:
                    await self._client.prepare()
                    is_ready = True
                    self._answers()
                    if not is_started:
                        task_status.started()
                        is_started = True
                is_idle = not await self._turn(inbox)
                delay = first
            except RemoraError as error:
                is_ready, is_idle = False, False
                self._is_away(error, delay)
            except Exception as error:
                logger.exception("the storage account of queued ingestion cannot be used")
                is_ready, is_idle = False, False
                self._is_away(InternalError(f"a defect: {type(error).__name__}"), delay)
            if not is_started:
                task_status.started()
                is_started = True
            if not is_ready:
                await trio.sleep(delay)
                delay = min(2 * delay, _LONGEST_DELAY_SECONDS)
            elif is_idle:
                with trio.move_on_after(self._limits.queued_poll_seconds):
                    await self._news.wait()
                self._news = trio.Event()

    def poke(self) -> None:
        """Messages have ended."""
        self._news.set()

    def trouble(self) -> str:
        """Why the account cannot be used."""
        return f"storage account {self._account.shown}: {self._trouble}" if self._trouble else ""

    def own(self, address: str, arrived_ns: int) -> OwnBlob | None:
        """By address and signature; or of the node's own storage."""
        parts = urlsplit(address)
        base = f"{self._blob.path}/"
        is_there = (parts.scheme, parts.netloc.lower()) == (
            self._blob.scheme,
            self._blob.netloc.lower(),
        )
        if not is_there or not parts.path.startswith(base):
            return self._own.own(address, arrived_ns)
        container, _, name = unquote(parts.path.removeprefix(base)).partition("/")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if container not in self._containers or not name:
            return None
        if not is_own_container_sas(self._account, container, query, arrived_ns / 1e9):
            return None
        return container, name

    async def needed(self, blob: OwnBlob, source_key: str) -> int:
        """Asked of the account only if the message has come before."""
        if blob[0] not in self._containers:
            return await self._own.needed(blob, source_key)
        if not await self._run(self._store.is_known, source_key):
            return 0
        try:
            found = await self._client.look(blob)
        except AccountRefusedError:
            return 0  # it takes no such name: there is no blob that could have changed
        return 0 if found is None else found[1]

    async def size_of(self, blob: OwnBlob) -> int | None:
        """Not asked while the account is away: a start of the node must not wait for it."""
        if blob[0] not in self._containers:
            return await self._own.size_of(blob)
        if self._trouble:
            return None
        found = await self._client.look(blob)
        return None if found is None else found[0]

    async def source(self, blob: OwnBlob, shown: str) -> LocalSource:
        """A copy, read with the account's key: the client's signature may have ended.

        Raises BlobAddressError too: the account takes no such name; BlobUnreadableError: it has
        the blob and does not give it, as one of the archive tier.
        """
        if blob[0] not in self._containers:
            return await self._own.source(blob, shown)
        try:
            return await self._client.download(blob, shown)
        except UnavailableError as failure:
            # Is the account away, or is it this blob? Of the one all messages wait for it.
            try:
                found = await self._client.look(blob)
            except AccountRefusedError as error:
                raise BlobAddressError(f"{shown} cannot be read: {error.message}.") from None
            if found is None:
                raise SourceNotFoundError(f"There is no blob {shown}.") from None
            raise BlobUnreadableError(
                f"{shown} is there, and is not given: {failure.message}"
            ) from None

    async def release(self, blob: OwnBlob, *, is_deleted: bool) -> None:
        """It goes now, or by age."""
        if blob[0] not in self._containers:
            await self._own.release(blob, is_deleted=is_deleted)
        elif is_deleted:
            await self._client.delete(blob)

    async def sweep(self, kept: Collection[OwnBlob], *, now_ns: int) -> None:
        """Deletes old blobs once an hour, while no message is in the account's queue.

        A node that was down for longer than blobs are kept must not delete what is still queued.
        """
        await self._own.sweep([blob for blob in kept if blob[0] in CONTAINERS], now_ns=now_ns)
        if self._trouble or now_ns - self._swept_ns < _SWEEP_NS:
            return
        before_ns = now_ns - int(self._limits.storage_blob_seconds * 1e9)
        needed = frozenset(kept)
        try:
            # A message is deleted there last of all: where none is, none has a blob that is there.
            if await self._client.count(READY):
                return
            old = [
                blob for name in CONTAINERS for blob in await self._client.older(name, before_ns)
            ]
            if old and await self._client.count(READY):
                return
            for blob in old:
                if blob not in needed:
                    await self._deleted(blob)
        except RemoraError as error:
            logger.warning("old blobs of the storage account stay: %s", error)
        else:
            self._swept_ns = now_ns

    # Inside

    async def _turn(self, inbox: InboxPort) -> bool:
        """One round; whether it did anything."""
        told = await self._tell()
        removed = await self._remove_ended()
        count = min(MESSAGES_MOST, inbox.room())
        if not count:
            return told or removed
        hidden = max(1, int(self._limits.queued_visibility_seconds))
        arrivals = await self._client.take(READY, count, hidden)
        if not arrivals:
            return told or removed
        for arrival in await inbox.receive(self._origin, arrivals):
            receipt = await self._client.hide(READY, arrival, _KNOWN_TIMES * hidden)
            if receipt is not None:
                await self._run(self._store.renew, self._origin, arrival.message_id, receipt)
        return True

    async def _deleted(self, blob: OwnBlob) -> None:
        try:
            await self._client.delete(blob)
        except AccountRefusedError as error:  # somebody holds a lease, say
            logger.warning("an old blob of the storage account stays: %s", error)

    async def _tell(self) -> bool:
        """Passes on status rows, then messages of outcomes."""
        rows = await self._run(self._store.list_entities, STATUS_TABLE, None, None, MESSAGES_MOST)
        for row in rows:
            try:
                await self._client.merge(row)
            except AccountRefusedError as error:
                logger.warning("a status row cannot be written: %s", error)
            await self._run(self._store.told_entity, row)
        now_ns = self._clock.now_ns()
        reports = [
            message
            for queue in (SUCCESSES, FAILURES)
            for message in await self._run(
                self._store.peek_messages, queue, MESSAGES_MOST, now_ns=now_ns
            )
        ]
        for message in reports:
            try:
                await self._client.report(message.queue, message.text)
            except AccountRefusedError as error:
                logger.warning("an outcome cannot be told: %s", error)
            await self._run(self._store.told, message)
        return bool(rows or reports)

    async def _remove_ended(self) -> bool:
        ended = await self._run(self._store.ended_elsewhere, self._origin, MESSAGES_MOST)
        settled: list[tuple[Received, bool]] = []
        try:
            for message in ended:
                is_gone = await self._client.remove(READY, message)
                settled.append((message, is_gone))
        finally:
            if settled:
                await self._run(self._store.settle, self._origin, settled)
        return bool(ended)

    def _answers(self) -> None:
        if self._trouble and self._trouble != _NOT_YET:
            logger.warning("queued ingestion: %s answers again", self._account.shown)
        self._trouble = ""

    def _is_away(self, error: RemoraError, delay_seconds: float) -> None:
        if self._trouble != error.message:
            logger.warning(
                "queued ingestion: %s cannot be used and is tried again in %g s and more: %s",
                self._account.shown,
                delay_seconds,
                error.message,
            )
        self._trouble = error.message
