"""The queue service: put, get, peek, update, delete, clear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from cluster.gateway.http.messages import HttpResponse
from cluster.gateway.storage import texts
from cluster.gateway.storage.errors import StorageError
from cluster.queued.queues import LIFE_NS, NEVER_NS
from cluster.queued.values import READY

if TYPE_CHECKING:
    from cluster.clock import Clock
    from cluster.gateway.http.messages import HttpRequest
    from cluster.limits import Limits
    from cluster.queued.store import QueuedStore
    from cluster.queued.values import StoredMessage
    from cluster.queued.worker import FilesThread

_SECOND_NS: Final = 1_000_000_000
_LONGEST_SECONDS: Final = 7 * 24 * 3600
_MOST: Final = 32
_HIDDEN_SECONDS: Final = 30


class Enqueue(Protocol):
    """What takes messages about blobs (:meth:`cluster.queued.service.QueuedIngestion.enqueue`)."""

    async def __call__(self, text: str) -> StoredMessage: ...


class QueueService:
    """Answers requests about one queue; access has been checked."""

    def __init__(
        self,
        store: QueuedStore,
        thread: FilesThread,
        enqueue: Enqueue,
        *,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._store = store
        self._run = thread.run
        self._enqueue = enqueue
        self._clock = clock
        self._limits = limits

    async def queue(self, request: HttpRequest, queue: str) -> HttpResponse:
        """Requests that name no messages."""
        if request.method == "PUT":
            return HttpResponse(204, content_type="")  # it is there, as it was asked for
        if request.method not in ("GET", "HEAD"):
            raise StorageError("UnsupportedHttpVerb", "Queues of the node are its own.")
        now_ns = self._clock.now_ns()
        count = await self._run(self._store.count_messages, queue, now_ns=now_ns)
        headers = {"x-ms-approximate-messages-count": str(count)}
        return HttpResponse(200, content_type="", headers=headers)

    async def messages(self, request: HttpRequest, queue: str) -> HttpResponse:
        """Requests about messages as a whole."""
        if request.method == "POST":
            return await self._put(request, queue)
        if request.method == "GET":
            return await self._get(request, queue)
        if request.method == "DELETE":
            await self._run(self._store.clear_queue, queue)
            return HttpResponse(204, content_type="")
        raise StorageError("UnsupportedHttpVerb", f"Messages do not take {request.method[:16]}.")

    async def message(self, request: HttpRequest, queue: str, message_id: str) -> HttpResponse:
        """Requests about one message that was taken."""
        receipt = request.query.get("popreceipt", "")
        if request.method == "DELETE":
            if not await self._run(self._store.delete_message, queue, message_id, receipt):
                raise _no_message()
            return HttpResponse(204, content_type="")
        if request.method == "PUT":
            text = self._text(request) if request.body else None
            hidden = _seconds(request, "visibilitytimeout", 0, 0)
            found = await self._run(
                self._store.update_message,
                queue,
                message_id,
                receipt,
                text,
                visible_ns=self._clock.now_ns() + hidden * _SECOND_NS,
            )
            if found is None:
                raise _no_message()
            headers = {
                "x-ms-popreceipt": found.receipt,
                "x-ms-time-next-visible": texts.http_time(found.visible_ns),
            }
            return HttpResponse(204, content_type="", headers=headers)
        raise StorageError("UnsupportedHttpVerb", f"A message takes no {request.method[:16]}.")

    async def _put(self, request: HttpRequest, queue: str) -> HttpResponse:
        text = self._text(request)
        now_ns = self._clock.now_ns()
        hidden = _seconds(request, "visibilitytimeout", 0, 0)
        life = _seconds(request, "messagettl", _LONGEST_SECONDS, -1)
        if queue == READY:
            stored: StoredMessage | None = await self._enqueue(text)
        else:
            stored = await self._run(
                self._store.put_message,
                queue,
                text,
                now_ns=now_ns,
                visible_ns=now_ns + hidden * _SECOND_NS,
                expires_ns=NEVER_NS if life == -1 else now_ns + min(life * _SECOND_NS, LIFE_NS),
            )
        if stored is None:
            raise StorageError("ServerBusy", "The queue is full.")
        return texts.xml(texts.put_result(stored), 201)

    async def _get(self, request: HttpRequest, queue: str) -> HttpResponse:
        count = _number(request, "numofmessages", 1)
        if not 1 <= count <= _MOST:
            raise _out_of_range("numofmessages", 1, _MOST)
        now_ns = self._clock.now_ns()
        if request.query.get("peekonly", "").lower() == "true":
            found = await self._run(self._store.peek_messages, queue, count, now_ns=now_ns)
            return texts.xml(texts.messages_list(found, is_peek=True))
        hidden = _seconds(request, "visibilitytimeout", _HIDDEN_SECONDS, 1)
        found = await self._run(
            self._store.take_messages,
            queue,
            count,
            now_ns=now_ns,
            visible_ns=now_ns + hidden * _SECOND_NS,
        )
        return texts.xml(texts.messages_list(found, is_peek=False))

    def _text(self, request: HttpRequest) -> str:
        text = texts.message_text(request.body)
        if len(text.encode()) > self._limits.storage_message_bytes:
            most = self._limits.storage_message_bytes
            raise StorageError("RequestBodyTooLarge", f"A message has at most {most} bytes.")
        return text


def _no_message() -> StorageError:
    return StorageError("MessageNotFound", "There is no such message, or it was taken again.")


def _out_of_range(name: str, least: int, most: int) -> StorageError:
    return StorageError("OutOfRangeQueryParameterValue", f"{name} is {least} to {most}.")


def _number(request: HttpRequest, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise StorageError("InvalidQueryParameterValue", f"{name} is a number.") from None


def _seconds(request: HttpRequest, name: str, default: int, least: int) -> int:
    number = _number(request, name, default)
    if not least <= number <= _LONGEST_SECONDS:
        raise _out_of_range(name, least, _LONGEST_SECONDS)
    return number
