"""A storage account over HTTP (:class:`cluster.queued.account.port.AccountPort`)."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import obstore
import trio
from obstore.exceptions import BaseError
from obstore.store import from_url

from cluster.batch.sources import ObjectSource
from cluster.errors import (
    AccountRefusedError,
    NotSupportedError,
    SourceForbiddenError,
    StorageFullError,
    TimedOutError,
    UnavailableError,
)
from cluster.http_client import HttpClient
from cluster.queued.account import wire
from cluster.queued.account.signatures import account_sas, service_sas
from cluster.queued.account.wire import AccountAnswer
from cluster.queued.addresses import StorageKind
from cluster.queued.values import Entity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from cluster.batch.download import Downloads, LocalSource
    from cluster.clock import Clock
    from cluster.queued.account.names import ResourceNames
    from cluster.queued.account.settings import StorageAccount
    from cluster.queued.account.wire import AccountRequest
    from cluster.queued.received import Received
    from cluster.queued.values import Arrival, OwnBlob

_CALL_SECONDS: Final = 15.0
_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""The longest answer has 32 messages of 64 KiB."""

_IDLE_SECONDS: Final = 2.0
"""Azurite closes connections that are idle for 5 seconds."""

_READ_SECONDS: Final = 3600
_OK: Final = range(200, 300)
_PASSING: Final = frozenset({401, 403, 404, 408, 409, 429})
"""Not the fault of one request: the key, what was deleted, what is busy."""

_KEY_REFUSED: Final = frozenset({401, 403})
_NOT_FOUND: Final = 404
_STALE: Final = frozenset({"PopReceiptMismatch", "MessageNotFound"})
_TEXT_MOST: Final = 32_000
"""Letters of one property of a row: Azure takes 64 KiB of UTF-16."""

_CLIENT: Final = {"allow_http": True, "connect_timeout": "5s", "timeout": "60s"}
_OPEN: Final[Any] = from_url  # its overloads name the options of each store


class AccountClient:
    """Requests to one account. Close it with :func:`open_account`'s context."""

    def __init__(
        self,
        account: StorageAccount,
        names: ResourceNames,
        *,
        downloads: Downloads,
        clock: Clock,
    ) -> None:
        self._account = account
        self._names = names
        self._downloads = downloads
        self._clock = clock
        self._clients = {
            kind: HttpClient(
                account.endpoint(kind), answer_bytes=_ANSWER_BYTES, idle_seconds=_IDLE_SECONDS
            )
            for kind in StorageKind
        }
        self._count = 0

    async def aclose(self) -> None:
        """Closes the connections."""
        for client in self._clients.values():
            await client.aclose()

    async def prepare(self) -> None:
        """Makes what is missing."""
        for kind in StorageKind:
            for name in self._names.of_kind(kind).values():
                answer = await self._send(wire.create(kind, name))
                if not answer.is_there_already:
                    self._check(answer, kind)

    async def take(self, queue: str, count: int, hidden_seconds: int) -> Sequence[Arrival]:
        """Takes messages."""
        request = wire.take(self._names.queues[queue], count, hidden_seconds)
        return wire.arrivals((await self._done(request)).body)

    async def hide(self, queue: str, message: Arrival, hidden_seconds: int) -> str | None:
        """Hides a taken message for longer."""
        name = self._names.queues[queue]
        request = wire.hide(name, message.message_id, message.receipt, hidden_seconds)
        answer = await self._send(request)
        if answer.code in _STALE:
            return None
        self._check(answer, request.kind)
        return wire.receipt_of(answer)

    async def remove(self, queue: str, message: Received) -> bool:
        """Deletes a taken message."""
        name = self._names.queues[queue]
        request = wire.remove(name, message.message_id, message.receipt)
        answer = await self._send(request)
        if answer.code in _STALE:
            return answer.status == _NOT_FOUND
        self._check(answer, request.kind)
        return True

    async def report(self, queue: str, text: str) -> None:
        """Adds a message; what is too long for one is cut."""
        await self._done(wire.put(self._names.queues[queue], wire.fitting(text)))

    async def merge(self, entity: Entity) -> None:
        """Merges a row."""
        properties = {
            name: value[:_TEXT_MOST] if isinstance(value, str) else value
            for name, value in entity.properties.items()
        }
        known = Entity(entity.table, entity.partition, entity.row, properties, entity.updated_ns)
        await self._done(wire.merge(self._names.tables[entity.table], known))

    async def count(self, queue: str) -> int:
        """Messages of a queue."""
        return wire.count_of(await self._done(wire.count(self._names.queues[queue])))

    async def look(self, blob: OwnBlob) -> tuple[int, int] | None:
        """What is known of a blob."""
        request = wire.look(*blob)
        answer = await self._send(request)
        if answer.status == _NOT_FOUND:
            return None
        self._check(answer, request.kind)
        return wire.modified_of(answer)

    async def delete(self, blob: OwnBlob) -> None:
        """Deletes a blob."""
        request = wire.delete(*blob)
        answer = await self._send(request)
        if answer.status != _NOT_FOUND:
            self._check(answer, request.kind)

    async def older(self, container: str, before_ns: int) -> Sequence[OwnBlob]:
        """Old blobs of a container."""
        name = self._names.containers[container]
        found = await trio.to_thread.run_sync(self._older, name, before_ns / 1e9)
        return [(name, path) for path in found]

    async def download(self, blob: OwnBlob, shown: str) -> LocalSource:
        """A copy of a blob. Raises NotSupportedError too, for names that cannot be read."""
        container, name = blob
        if name != name.strip("/"):
            # The library would read another blob, without these.
            raise NotSupportedError(f"{shown} has a name that begins or ends with '/'.")
        self._count += 1
        options = self._options(container)
        source = ObjectSource(f"az://{container}", name, shown, options)
        try:
            return await self._downloads.get(source, self._count)
        except SourceForbiddenError:
            # Signed by us a moment ago: nothing is wrong with the message.
            raise UnavailableError(f"{self._account.shown} refuses the account's key.") from None
        except OSError as error:
            raise StorageFullError(f"A copy of {shown} cannot be written: {error}.") from error

    # Inside

    def _options(self, container: str) -> dict[str, str]:
        expires = int(self._clock.now_ns() / 1e9) + _READ_SECONDS
        sas = service_sas(self._account, StorageKind.BLOB, container, "rl", expires)
        return {
            "account_name": self._account.name,
            "endpoint": self._account.blob,
            "sas_key": sas,
        }

    def _older(self, container: str, before_seconds: float) -> list[str]:
        found: list[str] = []
        try:
            store = _OPEN(f"az://{container}", client_options=_CLIENT, **self._options(container))
            for batch in obstore.list(store):
                trio.from_thread.check_cancelled()
                found += [
                    item["path"]
                    for item in batch
                    if item["last_modified"].timestamp() < before_seconds
                ]
        except BaseError as error:
            # Its text may hold an address with a signature.
            name = type(error).__name__
            raise UnavailableError(f"{self._account.shown}: no list of blobs ({name}).") from None
        return found

    async def _done(self, request: AccountRequest) -> AccountAnswer:
        answer = await self._send(request)
        self._check(answer, request.kind)
        return answer

    async def _send(self, request: AccountRequest) -> AccountAnswer:
        sas = account_sas(self._account, self._clock.now_ns() / 1e9)
        query = f"{request.query}&{sas}" if request.query else sas
        try:
            answer = await self._clients[request.kind].send(
                request.method,
                f"{request.path}?{query}",
                {**wire.VERSION_HEADER, **request.headers},
                request.body,
                timeout_seconds=_CALL_SECONDS,
            )
        except TimedOutError as error:
            raise UnavailableError(error.message) from None
        return AccountAnswer(answer.status, answer.headers, answer.body)

    def _check(self, answer: AccountAnswer, kind: StorageKind) -> None:
        status = answer.status
        if status in _OK:
            return
        where, code = self._account.endpoint(kind), answer.code or str(status)
        if status in _KEY_REFUSED:
            raise UnavailableError(
                f"the storage account refuses the account key at {where} ({code})",
                remedy="Check AccountName, AccountKey and this machine's clock.",
            )
        if 400 <= status < 500 and status not in _PASSING:
            raise AccountRefusedError(f"{where} answers {status} {code}")
        raise UnavailableError(f"{where} answers {status} {code}")


@asynccontextmanager
async def open_account(
    account: StorageAccount, names: ResourceNames, *, downloads: Downloads, clock: Clock
) -> AsyncIterator[AccountClient]:
    """A client, whose connections are closed when the context ends."""
    client = AccountClient(account, names, downloads=downloads, clock=clock)
    try:
        yield client
    finally:
        with trio.CancelScope(shield=True):
            await client.aclose()
