"""Refusals in the words of Azure storage: XML of blobs and queues, JSON of tables. Pure."""

from __future__ import annotations

import json
from typing import Final
from xml.sax.saxutils import escape

from cluster.errors import RemoraError, ThrottledError, UnavailableError
from cluster.gateway.http.messages import HttpResponse

STATUSES: Final = {
    "AuthenticationFailed": 403,
    "AuthorizationPermissionMismatch": 403,
    "BlobAlreadyExists": 409,
    "BlobNotFound": 404,
    "BlockListTooLong": 400,
    "ConditionNotMet": 412,
    "ContainerAlreadyExists": 409,
    "ContainerNotFound": 404,
    "EntityAlreadyExists": 409,
    "InternalError": 500,
    "InvalidBlockId": 400,
    "InvalidBlockList": 400,
    "InvalidHeaderValue": 400,
    "InvalidInput": 400,
    "InvalidQueryParameterValue": 400,
    "InvalidRange": 416,
    "InvalidResourceName": 400,
    "InvalidXmlDocument": 400,
    "Md5Mismatch": 400,
    "MessageNotFound": 404,
    "NotImplemented": 501,
    "OutOfRangeQueryParameterValue": 400,
    "PopReceiptMismatch": 400,
    "QueueNotFound": 404,
    "RequestBodyTooLarge": 413,
    "ResourceNotFound": 404,
    "ServerBusy": 503,
    "TableAlreadyExists": 409,
    "TableNotFound": 404,
    "UnsupportedHttpVerb": 405,
}
"""Codes and their HTTP statuses (``rest/api/storageservices/*-error-codes``)."""


class StorageError(Exception):
    """A request is refused. ``code`` is one of :data:`STATUSES`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status of its code."""
        return STATUSES[self.code]


def of_remora(error: RemoraError) -> StorageError:
    """An error of the node in the words of storage. SDKs try 503 and 500 again."""
    busy = isinstance(error, (ThrottledError, UnavailableError))
    return StorageError("ServerBusy" if busy else "InternalError", error.message)


def xml_error(error: StorageError, *, has_body: bool = True) -> HttpResponse:
    """A refusal of the blob or queue service. HEAD has no body."""
    text = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message></Error>"
    )
    return HttpResponse(
        status=error.status,
        body=text.encode() if has_body else b"",
        content_type="application/xml" if has_body else "",
        headers={"x-ms-error-code": error.code},
    )


def json_error(error: StorageError) -> HttpResponse:
    """A refusal of the table service."""
    body = {
        "odata.error": {
            "code": error.code,
            "message": {"lang": "en-US", "value": error.message},
        }
    }
    return HttpResponse(
        status=error.status,
        body=json.dumps(body).encode(),
        content_type="application/json",
        headers={"x-ms-error-code": error.code},
    )
