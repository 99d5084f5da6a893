"""What the headers of a request say of who asks, and what every response carries. Pure.

Names and forms are those of ``api/rest/request.md`` and ``api/rest/response.md``: the client's name
of the request is echoed, or made up as ``unspecified;<guid>``; the activity id is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.request import Caller, ClientRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.gateway.http.messages import HttpRequest

    Authenticate = Callable[[Mapping[str, str]], Caller]
    """Who sent these headers; raises UnauthenticatedError."""

    Authorize = Callable[[HttpRequest, str, str, str], None]
    """Request, permission, database, table; raises UnauthenticatedError, AccessDeniedError."""

REQUEST_ID: Final = "x-ms-client-request-id"
ACTIVITY_ID: Final = "x-ms-activity-id"
_GUID_TAIL_BITS: Final = 48


class ActivityIds:
    """Guids that nobody else uses: a random start, and a count as the last twelve digits."""

    def __init__(self, random_bits: Callable[[int], int]) -> None:
        digits = f"{random_bits(80):020x}"
        # Version 4, variant 1: parsers of guids may look at these two digits.
        self._head = f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[15:18]}"
        self._count = random_bits(_GUID_TAIL_BITS - 8)

    def next(self) -> str:
        """The next one."""
        self._count += 1
        return f"{self._head}-{self._count:012x}"


def anybody(headers: Mapping[str, str]) -> Caller:
    """Authenticates nobody: every caller is anonymous."""
    del headers
    return Caller()


def everybody(request: HttpRequest, permission: str, database: str, table: str) -> None:
    """Lets everybody do everything."""
    del request, permission, database, table


def request_id(request: HttpRequest) -> str:
    """The client's name of the request, or one made of its activity id."""
    return request.headers.get(REQUEST_ID) or f"unspecified;{request.activity_id}"


def client_request(
    request: HttpRequest,
    caller: Caller,
    *,
    options: Mapping[str, object] | None = None,
    parameters: Mapping[str, object] | None = None,
) -> ClientRequest:
    """The one value that goes on from here.

    ``options`` and ``parameters`` are those of the client request properties in the body, where the
    endpoint has them. ``x-ms-readonly`` forces read-only; the option ``request_readonly`` is for
    whoever interprets options.
    """
    headers = request.headers
    extra: dict[str, Mapping[str, object]] = {}
    if options is not None:
        extra["options"] = options
    if parameters is not None:
        extra["parameters"] = parameters
    return ClientRequest(
        caller,
        request_id=request_id(request),
        activity_id=request.activity_id,
        application=headers.get("x-ms-app", ""),
        user=headers.get("x-ms-user", ""),
        read_only=_is_read_only(headers),
        origin=request.origin,
        authorization=headers.get("authorization", ""),
        **extra,
    )


def _is_read_only(headers: Mapping[str, str]) -> bool:
    """The header's mere presence counts, unless it says no."""
    value = headers.get("x-ms-readonly")
    return value is not None and value.strip().lower() not in ("false", "0")
