"""What a request to a query or management endpoint says: text, database, properties. Pure.

The body of a POST is ``{"db": ..., "csl": ..., "properties": ...}``; a GET has the same names after
the ``?``. ``properties`` are the client request properties, as an object or as JSON in a string:
SDKs send both. Options nobody knows are kept and ignored by whoever interprets options.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cluster.errors import InvalidRequestError
from cluster.gateway.rest.dataset_v2 import Encoding, ErrorPlacement, Form
from cluster.gateway.rest.headers import REQUEST_ID, client_request
from cluster.query.options import timeout_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cluster.gateway.http.messages import HttpRequest
    from cluster.limits import Limits
    from cluster.request import Caller, ClientRequest

_COMMAND_SECONDS: Final = 600.0
"""Where the client says nothing (set-timeout-limits)."""
_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_MARKS: Final = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_PLACEMENTS: Final = {
    "in_data": ErrorPlacement.IN_DATA,
    "end_of_table": ErrorPlacement.END_OF_TABLE,
    "end_of_dataset": ErrorPlacement.END_OF_DATASET,
}
_WHOLE_TABLES_ONLY: Final = ("kusto.python.", "kusto.java.", "kusto.javascript.")
"""Clients that ask for progressive results, or pass the wish on, and cannot read them."""


@dataclass(frozen=True, slots=True)
class RestRequest:
    """One request. ``database`` is empty where none was named; ``text`` is never empty."""

    database: str
    text: str
    client: ClientRequest


def read_request(request: HttpRequest, caller: Caller) -> RestRequest:
    """Reads a GET or POST. A GET may only read. Raises InvalidRequestError."""
    values: Mapping[str, Any] = request.query if request.method == "GET" else _body(request)
    known = {name.lower(): value for name, value in values.items()}
    text = known.get("csl")
    if not isinstance(text, str) or not text.strip():
        raise InvalidRequestError(
            "The request has no text: 'csl' is missing or empty.",
            remedy='Send {"db": "<database>", "csl": "<query or command>"}.',
        )
    database = known.get("db")
    if database is None:
        database = ""
    if not isinstance(database, str):
        raise InvalidRequestError("'db' is not a string.")
    properties = _properties(known.get("properties"))
    return RestRequest(database, text, _client(request, caller, properties))


def encoding_of(client: ClientRequest, client_version: str) -> Encoding:
    """The form of a version 2 answer.

    ``client_version`` is the header ``x-ms-client-version``: progressive results are for clients
    that can read them.
    """
    options = {name.lower(): value for name, value in client.options.items()}
    form = Form.PLAIN
    if is_set(options.get("results_v2_fragment_primary_tables")):
        form = Form.FRAGMENTED
    elif is_set(options.get("results_progressive_enabled")):
        reads_it = not client_version.lower().startswith(_WHOLE_TABLES_ONLY)
        form = Form.PROGRESSIVE if reads_it else Form.PLAIN
    placement = str(options.get("results_error_reporting_placement") or "").lower()
    where = _PLACEMENTS.get(placement, ErrorPlacement.IN_DATA)
    if is_set(options.get("deferpartialqueryfailures")):
        where = ErrorPlacement.END_OF_DATASET
    newlines = is_set(options.get("results_v2_newlines_between_frames"))
    return Encoding(form, newlines=newlines, error_placement=where)


def command_seconds(client: ClientRequest, limits: Limits) -> float:
    """How long a command may take. Raises InvalidRequestError for a timeout that is none."""
    options = {name.lower(): value for name, value in client.options.items()}
    if is_set(options.get("norequesttimeout")):
        return limits.command_seconds
    asked = options.get("servertimeout")
    seconds = _COMMAND_SECONDS if asked is None else timeout_seconds(asked)
    return min(seconds, limits.command_seconds)


def is_set(value: object) -> bool:
    """Whether an option is on: SDKs send ``true`` and ``"true"``."""
    return value.strip().lower() in ("true", "1") if isinstance(value, str) else bool(value)


def _client(request: HttpRequest, caller: Caller, properties: Mapping[str, Any]) -> ClientRequest:
    options = _object(properties.get("options"), "Options")
    client = client_request(
        request,
        caller,
        options=options,
        parameters=_object(properties.get("parameters"), "Parameters"),
    )
    named = {name.lower(): value for name, value in options.items()}
    given_id = properties.get("clientrequestid")
    if isinstance(given_id, str) and given_id and not request.headers.get(REQUEST_ID):
        client = replace(client, request_id=given_id)
    read_only = (
        client.read_only
        or request.method == "GET"
        or is_set(named.get("request_readonly"))
        or is_set(named.get("request_readonly_hardline"))
    )
    return replace(
        client,
        application=str(named.get("request_app_name") or client.application),
        user=str(named.get("request_user") or client.user),
        read_only=read_only,
    )


def _body(request: HttpRequest) -> Mapping[str, Any]:
    value = _json(_text(request), "The body")
    if not isinstance(value, dict):
        raise InvalidRequestError("The body is not a JSON object.")
    return value


def _text(request: HttpRequest) -> str:
    encoding = next((name for mark, name in _MARKS if request.body.startswith(mark)), "")
    if not encoding:
        found = _CHARSET.search(request.headers.get("content-type", ""))
        encoding = found[1] if found is not None else "utf-8"
    try:
        return request.body.decode(encoding)
    except LookupError:
        raise InvalidRequestError(f"The charset '{encoding}' of the body is not known.") from None
    except ValueError:
        raise InvalidRequestError(f"The body is not {encoding} text.") from None


def _properties(value: object) -> Mapping[str, Any]:
    """Names in lower case."""
    if isinstance(value, str):
        value = _json(value, "'properties'") if value.strip() else None
    found = _object(value, "properties")
    return {name.lower(): item for name, item in found.items()}


def _object(value: object, name: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequestError(f"'{name}' is not a JSON object.")
    return value


def _json(text: str, what: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{what} is not JSON: {error}.") from None
