"""The door of a node's storage: who may do what, which service it is for, refusals."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cluster.errors import RemoraError
from cluster.gateway.http.routes import Route
from cluster.gateway.storage.blobs import BlobService
from cluster.gateway.storage.errors import StorageError, json_error, of_remora, xml_error
from cluster.gateway.storage.queues import QueueService
from cluster.gateway.storage.tables import KEYS, TableService
from cluster.queued.signatures import VERSION, SignatureRefusedError
from cluster.queued.values import ACCOUNT, CONTAINERS, QUEUES, TABLES

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.gateway.http.messages import HttpRequest, HttpResponse
    from cluster.limits import Limits
    from cluster.queued.service import QueuedIngestion
    from cluster.queued.signatures import Signer

logger = logging.getLogger(__name__)

_METHODS: Final = ("GET", "HEAD", "PUT", "POST", "DELETE", "MERGE", "PATCH")
_MESSAGES: Final = "messages"

_PERMISSIONS: Final = {
    "GET": "r",
    "HEAD": "r",
    "PUT": "cwu",
    "POST": "a",
    "DELETE": "d",
    "MERGE": "u",
    "PATCH": "u",
}
"""Which letters of a SAS allow a method, any of them."""

_PROCESS: Final = "p"
"""The letter for taking messages and deleting them."""


@dataclass(frozen=True, slots=True)
class StorageStatistics:
    """Requests since the start: ``answered`` were, ``refused`` got an error."""

    answered: int
    refused: int


class StorageDoor:
    """One handler for all requests below the account. It raises nothing."""

    def __init__(self, queued: QueuedIngestion, *, clock: Clock, limits: Limits) -> None:
        self._signer: Signer = queued.signer
        self._blobs = BlobService(queued.files, queued.thread, clock=clock, limits=limits)
        self._queues = QueueService(
            queued.store, queued.thread, queued.enqueue, clock=clock, limits=limits
        )
        self._tables = TableService(queued.store, queued.thread, clock=clock, limits=limits)
        self._clock = clock
        self._answered = self._refused = 0

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Answers one request."""
        path = request.path.removeprefix(f"/{ACCOUNT}/")
        name, _, rest = path.partition("/")
        try:
            response = await self._answer(request, name, rest)
            self._answered += 1
        except StorageError as error:
            response = self._refusal(request, name, error)
        except RemoraError as error:
            response = self._refusal(request, name, of_remora(error))
        except Exception:
            logger.exception("%s %s failed", request.method, request.path)
            defect = StorageError("InternalError", "The request failed by a defect of this node.")
            response = self._refusal(request, name, defect)
        headers = {
            "x-ms-request-id": request.activity_id,
            "x-ms-version": request.headers.get("x-ms-version", VERSION),
            **response.headers,
        }
        return replace(response, headers=headers)

    def _refusal(self, request: HttpRequest, name: str, error: StorageError) -> HttpResponse:
        self._refused += 1
        if _table_of(name) in TABLES:
            return json_error(error)
        return xml_error(error, has_body=request.method != "HEAD")

    def statistics(self) -> StorageStatistics:
        """Counts of this moment."""
        return StorageStatistics(self._answered, self._refused)

    async def _answer(self, request: HttpRequest, name: str, rest: str) -> HttpResponse:
        if name in CONTAINERS:
            self._check(request, name, _PERMISSIONS[request.method])
            if rest:
                return await self._blobs.blob(request, name, rest)
            if request.query.get("comp") == "list":
                self._check(request, name, "l")
            return await self._blobs.container(request, name)
        if name in QUEUES:
            return await self._of_queue(request, name, rest)
        if (table := _table_of(name)) in TABLES:
            self._check(request, table, _PERMISSIONS[request.method] + "a" * _is_upsert(request))
            path = f"{name}/{rest}" if rest else name  # keys may have slashes
            if keys := KEYS.fullmatch(path):
                partition, row = (keys[part].replace("''", "'") for part in ("partition", "row"))
                return await self._tables.entity(request, table, partition, row)
            if path in (table, f"{table}()"):
                return await self._tables.table(request, table)
        raise StorageError("ResourceNotFound", f"There is nothing named '{name[:64]}' here.")

    async def _of_queue(self, request: HttpRequest, name: str, rest: str) -> HttpResponse:
        is_peek = request.query.get("peekonly", "").lower() == "true"
        takes = (request.method == "GET" and not is_peek) or request.method == "DELETE"
        if rest == _MESSAGES:
            self._check(request, name, _PROCESS if takes else _PERMISSIONS[request.method])
            return await self._queues.messages(request, name)
        start, _, message_id = rest.partition("/")
        if start == _MESSAGES and message_id:
            self._check(request, name, _PROCESS if takes else "u")
            return await self._queues.message(request, name, message_id)
        if rest:
            raise StorageError("ResourceNotFound", "A queue has messages.")
        self._check(request, name, _PERMISSIONS[request.method])
        return await self._queues.queue(request, name)

    def _check(self, request: HttpRequest, name: str, permission: str) -> None:
        now_seconds = self._clock.now_ns() / 1e9
        try:
            self._signer.check(name, request.query, permission, now_seconds)
        except SignatureRefusedError as error:
            raise StorageError(error.code, error.message) from None


def _table_of(name: str) -> str:
    return name.partition("(")[0]


def _is_upsert(request: HttpRequest) -> bool:
    return request.method in ("PUT", "MERGE", "PATCH")


def storage_routes(door: StorageDoor, limits: Limits) -> tuple[Route, ...]:
    """Routes of everything below the account; for blobs of up to ``limits.storage_body_bytes``."""
    pattern = f"/{ACCOUNT}/{{path*}}"
    return tuple(
        Route(method, pattern, door.answer, body_bytes=limits.storage_body_bytes)
        for method in _METHODS
    )
