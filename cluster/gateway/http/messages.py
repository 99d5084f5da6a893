"""Requests and responses of HTTP as values: what handlers get and give. Pure.

A handler runs in the trio thread and never sees a socket: it gets a whole request and gives a whole
response, which leaves in one write.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request with its whole body.

    ``method`` is upper case. ``path`` is percent-decoded and starts with ``/``. Names of
    ``headers`` are lower case, of ``query`` as sent; of a name that is repeated the last value
    counts. ``raw_query`` is what follows the ``?``, not decoded. ``body`` is whole and not
    decompressed. ``scheme`` is ``http`` or ``https``; ``peer`` the address of
    the other end. ``values`` are those of the route's pattern; ``activity_id`` is a guid, the
    name of this request in logs and in the response's ``x-ms-activity-id``. Both are empty until
    the request has passed the door. ``body_over_bytes`` is the limit that the body went over; the
    body is then empty. 0: it is whole.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    body: bytes = b""
    raw_query: str = ""
    scheme: str = "http"
    peer: str = ""
    values: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    activity_id: str = ""
    body_over_bytes: int = 0

    @property
    def host(self) -> str:
        """``Host`` as sent: where the client believes it is talking to, port included."""
        return self.headers.get("host", "")

    @property
    def origin(self) -> str:
        """Scheme and host the client used, without a path: ``http://127.0.0.1:8080``."""
        return f"{self.scheme}://{self.host}"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response with its whole body. Names of ``headers`` as they are to be sent.

    ``Content-Length`` is added by the server; an empty ``content_type`` is not sent.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]
"""Answers one request, in the trio thread. A RemoraError it raises becomes its error response."""
