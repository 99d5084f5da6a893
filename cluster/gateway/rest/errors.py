"""Errors as the SDKs read them: the OneApiErrors object of non-200 responses. Pure.

``code``, ``message``, ``@type``, ``@message``, ``@context`` and ``@permanent`` are what clients
look at; ``message`` is one general sentence, the particulars are in ``@message``. ``@permanent``
decides whether they try again, or queue what they wanted to stream.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cluster.errors import PayloadTooLargeError, SemanticError, SyntaxRefusedError
from cluster.gateway.http.messages import HttpResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.errors import RemoraError

_MESSAGES: Final[Mapping[int, str]] = {
    400: "Request is invalid and cannot be executed.",
    401: "Request is not authenticated and cannot be executed.",
    403: "Request is forbidden and cannot be executed.",
    404: "Request is aimed at something that does not exist and cannot be executed.",
    405: "Request is invalid and cannot be executed.",
    409: "Request conflicts with the state of the service and cannot be executed.",
    413: "Request is too large and cannot be executed.",
    429: "Request is throttled and cannot be executed now.",
    499: "Request was canceled.",
    503: "Request cannot be executed now: the service is not available.",
    504: "Request was not executed in the time allowed.",
}
_OTHER_MESSAGE: Final = "Request could not be executed because of an internal failure."
_SUBCODE: Final = re.compile(r"\b(?:SEM|SYN)\d{4}\b")
_PREFIXES: Final[Mapping[type[RemoraError], str]] = {
    SemanticError: "Semantic error: ",
    SyntaxRefusedError: "Syntax error: ",
}
"""What clients look for in ``@message`` (``is_semantic_error`` of the Python SDK)."""


@dataclass(frozen=True, slots=True)
class ErrorContext:
    """Where and for whom an error happened; ``@context`` of the error object."""

    service: str
    machine: str
    process_id: int
    now_ns: int
    client_request_id: str
    activity_id: str

    def to_values(self) -> dict[str, Any]:
        """The documented keys, in the documented order."""
        at = datetime.fromtimestamp(self.now_ns // 10**9, UTC)
        ticks = self.now_ns % 10**9 // 100
        return {
            "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{ticks:07}Z",
            "serviceAlias": self.service,
            "machineName": self.machine,
            "processName": "remora",
            "processId": self.process_id,
            "threadId": 1,
            "clientRequestId": self.client_request_id,
            "activityId": self.activity_id,
            "subActivityId": self.activity_id,
            "activityType": "GW.Http.CallContext",
            "parentActivityId": self.activity_id,
            "activityStack": "",
        }


def error_values(
    error: RemoraError, context: ErrorContext, *, is_streaming: bool = False
) -> dict[str, Any]:
    """The ``error`` object. ``is_streaming``: of streaming ingestion, which adds a failure code."""
    told = _told(error)
    where = context.to_values()
    # What is too large to stream can be queued: managed clients do that unless an error is
    # permanent (app-managed-streaming-ingest.md: "if the service rejects it by size").
    is_permanent = error.permanent and not (
        is_streaming and isinstance(error, PayloadTooLargeError)
    )
    values: dict[str, Any] = {
        "code": error.code,
        "message": _MESSAGES.get(error.http_status, _OTHER_MESSAGE),
        "@type": error.kusto_type,
        "@message": told,
        "@context": where,
        "@permanent": is_permanent,
    }
    if is_streaming:
        values["@failureCode"] = error.http_status
    subcode = _SUBCODE.search(told)
    if subcode is not None:
        values["innererror"] = {
            "code": subcode[0],
            "message": told,
            "@type": error.kusto_type,
            "@message": told,
            "@context": where,
            "@permanent": is_permanent,
        }
    return values


def error_response(
    error: RemoraError, context: ErrorContext, *, is_streaming: bool = False
) -> HttpResponse:
    """The response to a request that failed."""
    body = json.dumps({"error": error_values(error, context, is_streaming=is_streaming)})
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    if "allow" in error.metadata and error.http_status == 405:
        headers["Allow"] = error.metadata["allow"]
    return HttpResponse(status=error.http_status, body=body.encode(), headers=headers)


def _told(error: RemoraError) -> str:
    """The error's own words with what to do about it, as one text."""
    prefix = next((text for kind, text in _PREFIXES.items() if isinstance(error, kind)), "")
    told = error.message if error.message.startswith(prefix) else prefix + error.message
    if not error.remedy or error.remedy in told:
        return told
    return f"{told}{'' if told.endswith(('.', '!', '?')) else '.'} {error.remedy}"
