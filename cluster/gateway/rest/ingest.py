"""``POST /v1/rest/ingest/{database}/{table}``: streaming ingestion over HTTP. Pure.

The answer comes when the rows are durable and visible. Errors are those of the pipeline, in the
order of its gates (:mod:`cluster.ingest.admission`); where clients know a wording of Azure's, it
comes first in theirs.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, Protocol

from xxhash import xxh3_128

from cluster.access.permissions import INGEST
from cluster.errors import EmptyPayloadError, InvalidRequestError, MappingNotFoundError
from cluster.gateway.http.messages import HttpResponse
from cluster.gateway.http.routes import Route
from cluster.gateway.rest.headers import REQUEST_ID
from cluster.ingest.request import IngestPayload, data_format

if TYPE_CHECKING:
    from cluster.gateway.http.messages import HttpRequest
    from cluster.gateway.rest.headers import Authorize
    from cluster.ingest.request import DataFormat, IngestOutcome
    from cluster.limits import Limits

_SHOWN_CHARACTERS: Final = 256

_SOURCE: Final = re.compile(
    r"K\w*C\.execute(?:Managed\w*;(?P<counted>.+);\d{1,9}|\w*;(?P<single>.+))", re.DOTALL
)
"""Request ids of the SDKs. A managed client puts its source id there and counts attempts behind it;
others a guid of their own. Ids that people choose are nothing to tell retries by."""
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_TIME: Final = slice(4, 8)
"""Where an archive says when it was made, which may differ between attempts."""


def _column(name: str, clr: str, kind: str) -> dict[str, str]:
    return {"ColumnName": name, "DataType": clr, "ColumnType": kind}


_TABLE: Final[dict[str, Any]] = {
    "TableName": "Table_0",
    "Columns": [
        _column("ConsumedRecordsCount", "Int64", "long"),
        _column("UpdatePolicyStatus", "String", "string"),
        _column("UpdatePolicyFailureCode", "String", "string"),
        _column("UpdatePolicyFailureReason", "String", "string"),
    ],
    "Rows": [[0, "Inactive", "Unknown", None]],
}
_INGESTED: Final = HttpResponse(body=json.dumps({"Tables": [_TABLE]}).encode())
"""The one answer there is: Azure's own says 0 records however many there were."""


class Pipeline(Protocol):
    """Takes payloads: :class:`cluster.ingest.driver.IngestPipeline`."""

    async def ingest(self, request: IngestPayload) -> IngestOutcome:
        """Returns when the rows are durable and visible, or raises why they are not."""


class Sources(Protocol):
    """Reads what ``sourceKind=uri`` names: :class:`cluster.gateway.rest.sources.UriSources`."""

    async def read(self, uri: str) -> bytes:
        """The whole object. Raises SourceNotFoundError and its like, PayloadTooLargeError."""


def ingest_routes(
    pipeline: Pipeline, sources: Sources, *, authorize: Authorize, limits: Limits
) -> tuple[Route, ...]:
    """The route. ``authorize`` raises what keeps a caller from ingesting into a table."""

    async def ingest(request: HttpRequest) -> HttpResponse:
        database, table = request.values["database"], request.values["table"]
        authorize(request, INGEST, database, table)
        body = request.body
        if (kind := request.query.get("sourceKind")) is not None:
            body = await sources.read(_source_uri(kind, body))
        stream_format = data_format(_stream_format(request))
        mapping = request.query.get("mappingName", "")
        source = source_id(request.headers.get(REQUEST_ID, ""), stream_format, mapping, body)
        payload = IngestPayload(database, table, stream_format, body, mapping, source)
        try:
            await pipeline.ingest(payload)
        except EmptyPayloadError as error:
            raise EmptyPayloadError(
                f"Bad streaming ingestion request to {database}.{table} : The input stream is empty"
                f" after processing, tip:check stream validity ({error.message})",
                metadata=error.metadata,
            ) from None
        except MappingNotFoundError as error:
            raise MappingNotFoundError(
                f"Entity ID '{payload.mapping}' of kind 'MappingPersistent' was not found."
                f" ({error.message})",
                metadata=error.metadata,
            ) from None
        return _INGESTED

    # One more than it takes, so that the pipeline says what is too large, in the order of gates.
    most = max(limits.ingest_wire_bytes, limits.ingest_request_bytes) + 1
    return (Route("POST", "/v1/rest/ingest/{database}/{table}", ingest, body_bytes=most),)


def source_id(request_id: str, stream_format: DataFormat | None, mapping: str, body: bytes) -> str:
    """What a retry has in common with the first attempt, and nothing else has; empty: nothing.

    It is of the source in the request id and of all that decides which rows are stored: one source
    may be sent again on purpose with other data (a descriptor of an SDK that is used twice).
    """
    found = _SOURCE.fullmatch(request_id)
    if found is None:
        return ""
    source = found["counted"] or found["single"]
    told = "" if stream_format is None else stream_format.value
    digest = xxh3_128("\0".join((source, told, mapping, "")).encode())
    view = memoryview(body)
    if body.startswith(_GZIP_MAGIC):
        digest.update(view[: _GZIP_TIME.start])
        view = view[_GZIP_TIME.stop :]
    digest.update(view)
    return digest.hexdigest()


def _stream_format(request: HttpRequest) -> str:
    name = request.query.get("streamFormat", "")
    if not name:
        raise InvalidRequestError(
            "the query parameter streamFormat is missing",
            remedy="Name the data format: ?streamFormat=Csv.",
        )
    return name


def _source_uri(kind: str, body: bytes) -> str:
    if kind.lower() != "uri":
        raise InvalidRequestError(
            f"sourceKind is 'uri' or not there at all, not '{kind[:_SHOWN_CHARACTERS]}'"
        )
    try:
        values = json.loads(body)
        # Python writes sourceUri, Java SourceUri.
        found = {name.lower(): text for name, text in values.items()}["sourceuri"]
    except (ValueError, RecursionError, AttributeError, KeyError):
        found = None
    if not isinstance(found, str) or not found:
        raise InvalidRequestError('sourceKind=uri wants the body {"sourceUri": "<URL>"}')
    return found
