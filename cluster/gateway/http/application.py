"""The ASGI side of the bridge: whole requests in, whole responses out. Runs in the asyncio thread.

The connection writes head and body of a response at once: two small writes cost a client a second
read, or 40 ms (Nagle and delayed acks).
"""

from __future__ import annotations

from http.client import responses
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from cluster.gateway.http.bridge import Exchange
from cluster.gateway.http.messages import HttpRequest, HttpResponse

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from cluster.transport.hub import Hub

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]
    BodyLimit = Callable[[str, str], int]
    """The most bytes a body may have, by method and path."""

CONNECTION: Final = "remora.connection"
"""Key of a scope: the connection the request came on."""

_STOPPED: Final = HttpResponse(
    status=503,
    body=b'{"error":{"code":"ServiceUnavailable","message":"The node is stopping.",'
    b'"@type":"Kusto.Common.Svc.Exceptions.InternalServiceErrorException",'
    b'"@message":"The node is stopping.","@permanent":false}}',
)
"""For a request whose handler was cancelled, which happens only when the node stops."""

_DIGITS: Final = 18
"""The parser has seen to it that a length is digits; so many are too much for any limit."""

_STATUS_LINES: Final = {
    code: f"HTTP/1.1 {code} {responses.get(code, 'Error')}\r\n" for code in range(200, 600)
}
_CONTROL: Final = dict.fromkeys((*range(32), 127), "?")


class Application:
    """An ASGI application that has its answers made in the trio thread.

    ``start`` runs there with each exchange.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        hub: Hub,
        start: Callable[[Exchange], None],
        body_limit: BodyLimit,
    ) -> None:
        self._loop = loop
        self._hub = hub
        self._start = start
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; nothing is sent to a client that has gone."""
        del send  # it would send head and body separately
        limit = self._body_limit(scope["method"], scope["path"])
        request = await read_request(scope, receive, limit)
        if request is None:
            return
        exchange = Exchange(request, self._loop.create_future())
        connection = scope[CONNECTION]
        connection.exchange = exchange
        self._hub.post(self._start, exchange)
        await exchange.wait_in_loop()
        connection.exchange = None
        if not exchange.is_lost:
            connection.respond(exchange.response or _STOPPED)

    def abandon(self, exchange: Exchange) -> None:
        """The client of a running exchange has gone."""
        exchange.lose_in_loop()
        self._hub.post(exchange.abandon_in_trio)


async def read_request(scope: Scope, receive: Receive, limit: int) -> HttpRequest | None:
    """The whole request with at most ``limit`` bytes of body; None: the client went away."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    body = await _read_body(receive, headers, limit)
    if body is None:
        return None
    raw_query = scope["query_string"].decode("latin-1")
    client = scope["client"]
    return HttpRequest(
        scope["method"],
        scope["path"],
        query=dict(parse_qsl(raw_query, keep_blank_values=True)) if raw_query else {},
        headers=headers,
        body=body if len(body) <= limit else b"",
        raw_query=raw_query,
        scheme=scope["scheme"],
        peer=client[0] if client else "",
        body_over_bytes=limit if len(body) > limit else 0,
    )


async def _read_body(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes | None:
    """The body, or just more than ``limit`` bytes; None: the client went away.

    What declares itself too long is not read: a client that waits for "100 Continue" sends nothing.
    """
    declared = headers.get("content-length", "0")
    if len(declared) > _DIGITS or int(declared) > limit:
        return bytes(limit + 1)
    message = await receive()
    if message["type"] != "http.request":
        return None
    body: bytes = message["body"]
    if not message["more_body"]:
        return body
    parts = [body]
    size = len(body)
    while message["more_body"] and size <= limit:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message["body"])
        size += len(parts[-1])
    return b"".join(parts)


def encode_response(response: HttpResponse, *, has_body: bool, keep_alive: bool) -> bytes:
    """The response on the wire. ``has_body`` is False for HEAD, which gets the head alone.

    A handler that knows how long the body would be says so in ``Content-Length``.
    """
    body = response.body
    head = [_STATUS_LINES[response.status]]
    if response.content_type:
        head.append(f"content-type: {_clean(response.content_type)}\r\n")
    if response.status != 204 and "Content-Length" not in response.headers:
        head.append(f"content-length: {len(body)}\r\n")
    head += [f"{name}: {_clean(text)}\r\n" for name, text in response.headers.items()]
    head.append("\r\n" if keep_alive else "connection: close\r\n\r\n")
    encoded = "".join(head).encode("ascii", "replace")
    return encoded + body if has_body else encoded


def _clean(text: str) -> str:
    """A header value; what is not ASCII, or would end the line, becomes a question mark."""
    return text if text.isprintable() else text.translate(_CONTROL)
