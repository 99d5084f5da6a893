"""Queued ingestion over REST, the preview interface of Java's ``ingest-v2``.

::

    GET  /v1/rest/ingestion/configuration                            where to upload, what to send
    POST /v1/rest/ingestion/queued/{database}/{table}                blobs to ingest: an operation
    GET  /v1/rest/ingestion/queued/{database}/{table}/{operation}    what has become of them

Blobs take the way of every queued message. An operation whose tracking is not asked for has no id.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID, uuid4

from cluster.access.permissions import INGEST
from cluster.errors import EntityNotFoundError, InvalidRequestError, LimitExceededError
from cluster.gateway.http.messages import HttpResponse
from cluster.gateway.http.routes import Route
from cluster.gateway.rest.headers import client_request
from cluster.queued.messages import decode_message
from cluster.queued.statuses import State, iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.gateway.http.messages import HttpRequest
    from cluster.gateway.rest.headers import Authenticate, Authorize
    from cluster.limits import Limits
    from cluster.queued.values import Source, StoredMessage
    from cluster.request import ClientRequest


_REFRESH: Final = "01:00:00"

_PROPERTIES: Final = {
    "format": "format",
    "ingestionMapping": "ingestionMapping",
    "ingestionMappingReference": "ingestionMappingReference",
    "mappingReference": "ingestionMappingReference",
    "creationTime": "creationTime",
    "tags": "tags",
    "ingestIfNotExists": "ingestIfNotExists",
    "ignoreFirstRecord": "ignoreFirstRecord",
    "zipPattern": "zipPattern",
}
"""Properties of a request, and their names in messages."""

_STATES: Final = {
    State.SUCCEEDED: "succeeded",
    State.SKIPPED: "succeeded",
    State.FAILED: "failed",
    State.PENDING: "inProgress",
}
"""Nothing is ever canceled. What had been ingested before counts as ingested."""

_DETAILS: Final = {
    State.SUCCEEDED: "Succeeded",
    State.SKIPPED: "Succeeded",
    State.FAILED: "Failed",
    State.PENDING: "InProgress",
}


class Queued(Protocol):
    """What takes messages (:class:`cluster.queued.service.QueuedIngestion`)."""

    async def enqueue(self, text: str) -> StoredMessage: ...

    async def operation(self, operation_id: str) -> tuple[Source, ...]: ...


class Resources(Protocol):
    """What gives addresses (:class:`cluster.commands.doors.ResourcesDoor`)."""

    async def ingestion_resources(self, request: ClientRequest) -> Sequence[tuple[str, str]]: ...

    async def identity_token(self, request: ClientRequest) -> str: ...


class QueuedRest:
    """The endpoints. ``authorize`` raises what keeps a caller from ingesting into a table."""

    def __init__(
        self,
        queued: Queued,
        resources: Resources,
        *,
        authenticate: Authenticate,
        authorize: Authorize,
        limits: Limits,
    ) -> None:
        self._queued = queued
        self._resources = resources
        self._authenticate = authenticate
        self._authorize = authorize
        self._limits = limits

    def routes(self) -> tuple[Route, ...]:
        """All of them."""
        base = "/v1/rest/ingestion"
        table = f"{base}/queued/{{database}}/{{table}}"
        return (
            Route("GET", f"{base}/configuration", self.configuration),
            Route("POST", table, self.queue),
            Route("GET", f"{table}/{{operation}}", self.status),
        )

    async def configuration(self, request: HttpRequest) -> HttpResponse:
        """Where to upload to. Raises NotSupportedError."""
        asked = self._asked(request)
        found = await self._resources.ingestion_resources(asked)
        containers = [{"path": address} for kind, address in found if kind == "TempStorage"]
        return _answer(
            {
                "containerSettings": {
                    "containers": containers,
                    "lakeFolders": [],
                    "refreshInterval": _REFRESH,
                    "preferredUploadMethod": "Storage",
                },
                "ingestionSettings": {
                    "maxBlobsPerBatch": self._limits.queued_request_blobs,
                    "maxDataSize": self._limits.ingest_source_bytes,
                    "preferredIngestionMethod": "Rest",
                },
            }
        )

    async def queue(self, request: HttpRequest) -> HttpResponse:
        """Queues blobs; they are durable when it returns.

        Raises InvalidRequestError, CorruptedMessageError (a text or an address is none),
        LimitExceededError (``limits.queued_request_blobs``), AccessDeniedError, ThrottledError.
        """
        database, table = request.values["database"], request.values["table"]
        asked = self._asked(request)
        self._authorize(request, INGEST, database, table)
        body = _object(_parsed(request.body), "The body")
        properties = _object(body.get("properties") or {}, "'properties'")
        blobs = _blobs(body, self._limits.queued_request_blobs)
        is_tracked = properties.get("enableTracking") is True
        operation_id = str(uuid4())
        identity = await self._resources.identity_token(asked)
        message = {
            "DatabaseName": database,
            "TableName": table,
            "FlushImmediately": properties.get("skipBatching") is True,
            "RetainBlobOnSuccess": properties.get("deleteAfterDownload") is not True,
            "ReportLevel": 1,
            "RemoraOperationId": operation_id if is_tracked else "",
            "AdditionalProperties": {
                "authorizationContext": identity,
                **{
                    name: properties[given]
                    for given, name in _PROPERTIES.items()
                    if properties.get(given) is not None
                },
            },
        }
        texts = [
            json.dumps(
                {
                    **message,
                    "BlobPath": blob["url"],
                    "Id": blob.get("sourceId") or str(uuid4()),
                    "RawDataSize": blob.get("rawSize") or 0,
                }
            )
            for blob in blobs
        ]
        for text in texts:
            decode_message(text)
        for text in texts:
            await self._queued.enqueue(text)
        return _answer({"ingestionOperationId": operation_id if is_tracked else ""})

    async def status(self, request: HttpRequest) -> HttpResponse:
        """What has become of an operation's blobs, each of them with ``details=true``.

        Raises EntityNotFoundError, AccessDeniedError.
        """
        values = request.values
        self._authorize(request, INGEST, values["database"], values["table"])
        sources = await self._queued.operation(_guid(values["operation"]))
        if not sources:
            raise EntityNotFoundError("There is no ingestion operation of that id.")
        counts = Counter(_STATES[source.state] for source in sources)
        states = ("succeeded", "failed", "inProgress", "canceled")
        body: dict[str, Any] = {
            "startTime": iso(min(source.started_ns for source in sources)),
            "lastUpdated": iso(max(source.updated_ns for source in sources)),
            "status": {state: counts[state] for state in states},
        }
        if request.query.get("details", "").lower() == "true":
            body["details"] = [_detail(source) for source in sources]
        return _answer(body)

    def _asked(self, request: HttpRequest) -> ClientRequest:
        return client_request(request, self._authenticate(request.headers))


def _detail(source: Source) -> dict[str, Any]:
    found: dict[str, Any] = {
        "sourceId": source.source_id,
        "startTime": iso(source.started_ns),
        "lastUpdated": iso(source.updated_ns),
        "status": _DETAILS[source.state],
    }
    if source.state is State.FAILED:
        found |= {
            "errorCode": source.error_code,
            "failureStatus": source.failure_status,
            "details": source.details,
        }
    return found


def _answer(body: Mapping[str, object]) -> HttpResponse:
    return HttpResponse(body=json.dumps(body).encode())


def _parsed(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidRequestError("The body is not JSON.") from None


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequestError(f"{what} is not an object of JSON.")
    return value


def _blobs(body: Mapping[str, Any], most: int) -> list[dict[str, Any]]:
    blobs = body.get("blobs")
    if not isinstance(blobs, list) or not blobs:
        raise InvalidRequestError("'blobs' is not a list with at least one blob.")
    if len(blobs) > most:
        raise LimitExceededError(
            f"{len(blobs)} blobs in one request, the limit is {most}.",
            metadata={"limit": "queued_request_blobs", "maximum": str(most)},
        )
    for blob in blobs:
        found = _object(blob, "A blob")
        if not isinstance(found.get("url"), str) or not found["url"]:
            raise InvalidRequestError("A blob has no 'url'.")
        if not isinstance(found.get("sourceId") or "", str):
            raise InvalidRequestError("A blob's 'sourceId' is not a string.")
        if not isinstance(found.get("rawSize") or 0, int):
            raise InvalidRequestError("A blob's 'rawSize' is not a number.")
    return blobs


def _guid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise EntityNotFoundError("There is no ingestion operation of that id.") from None
