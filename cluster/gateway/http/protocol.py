"""uvicorn's protocol on httptools with what the door adds: bounds, lost clients, upgrades.

Imported in the server's thread, because uvicorn takes a while to import.
"""

from __future__ import annotations

import asyncio
import json
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cluster.gateway.http.application import CONNECTION, encode_response

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from cluster.gateway.http.application import Application
    from cluster.gateway.http.bridge import Exchange
    from cluster.gateway.http.messages import HttpResponse
    from cluster.limits import Limits

_OF_UPGRADES = frozenset((b"connection", b"upgrade", b"http2-settings"))
BACKLOG = 512
"""Connections the system holds until they are accepted; SDK test suites open 84 at once."""


class Counts:
    """What the connections of one server count; written in the asyncio thread only."""

    def __init__(self) -> None:
        self.connections_total = 0
        self.connections_refused = 0
        self.requests_malformed = 0
        self.heads_too_large = 0
        self.clients_lost = 0


class DoorConfig(uvicorn.Config):
    """uvicorn's configuration with ours: ``limits`` and ``counts``."""

    def __init__(
        self,
        application: Application,
        *,
        tls: ssl.SSLContext | None,
        limits: Limits,
        counts: Counts,
        stop_seconds: float,
    ) -> None:
        super().__init__(
            application,
            http=DoorProtocol,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=limits.http_idle_seconds,  # type: ignore[arg-type]
            timeout_graceful_shutdown=stop_seconds,  # type: ignore[arg-type]
            ssl_context_factory=None if tls is None else (lambda *_: tls),
        )
        self.application = application
        self.limits = limits
        self.counts = counts


class DoorServer(uvicorn.Server):
    """uvicorn's server; :meth:`stop` ends it at once instead of at the next tick."""

    def __init__(self, config: DoorConfig, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept connections, and tells so."""
        await super().startup(sockets)
        self._on_started()

    async def main_loop(self) -> None:
        """Waits. uvicorn looks ten times a second whether it should end."""
        await self._stopping.wait()

    def stop(self) -> None:
        """Closes the listener and idle connections; others end with their response."""
        self._stopping.set()


class DoorProtocol(HttpToolsProtocol):
    """One connection."""

    config: DoorConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.exchange: Exchange | None = None
        """What is being answered; set by the application."""
        self._running: RequestResponseCycle | None = None
        """Of several requests on the way on one connection, the one that is being answered."""
        self._head_bytes_most = self.config.limits.http_head_bytes
        self._head_bytes = 0
        self._is_in_head = False
        self._is_head_too_large = False
        self._upgrade_in = b""
        """Method of a request that asked for another protocol; empty: it did not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        counts = self.config.counts
        counts.connections_total += 1
        if len(self.connections) > self.config.limits.http_connections:
            counts.connections_refused += 1
            transport.close()
            return
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            self.config.counts.clients_lost += 1
            self.config.application.abandon(exchange)

    def data_received(self, data: bytes) -> None:
        """Parses; a request to upgrade is answered like any other, in HTTP/1.1."""
        self._unset_keepalive_if_required()
        rest = b""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._upgrade_in == b"CONNECT":  # there is nothing to answer it as
                self._refuse()
                return
            rest = self._head_again() + data[upgrade.args[0] :]
        except httptools.HttpParserError:
            self._refuse()
            return
        if self._is_in_head:
            # A header is told of when it ends, which it might not do.
            self._head_bytes += len(data)
            if self._head_bytes > 2 * self._head_bytes_most:
                self._is_head_too_large = True
                self._refuse()
                return
        if rest:
            self.data_received(rest)

    def respond(self, response: HttpResponse) -> None:
        """Sends a whole response in one write, and ends the request."""
        cycle = self._running
        if cycle is None or cycle.disconnected or self.transport.is_closing():
            return
        has_body = cycle.scope["method"] != "HEAD"
        data = encode_response(response, has_body=has_body, keep_alive=cycle.keep_alive)
        self.transport.write(data)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_bytes, self._is_in_head = 0, True

    def on_headers_complete(self) -> None:
        """Its head is complete."""
        self._is_in_head = False
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self._head_bytes_most:
            self._is_head_too_large = True
            raise ValueError("the head of the request is too large")
        self._upgrade_in = self.parser.get_method() if self.parser.should_upgrade() else b""
        if not self._upgrade_in:
            self.scope[CONNECTION] = self  # type: ignore[typeddict-unknown-key]
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is complete."""
        if not self._upgrade_in:
            super().on_message_complete()

    @property
    def _is_answering(self) -> bool:
        """Whether a whole request has no response yet."""
        running = self._running
        if running is None or running.response_complete:
            return False
        return running is not self.cycle or not running.more_body

    def _head_again(self) -> bytes:
        """The head of a request to upgrade, without that wish, for a parser of its own.

        The old one takes what follows for another protocol, the body included. Java's client asks
        for HTTP/2 like this.
        """
        lines = [b"%s %s HTTP/1.1" % (self._upgrade_in, self.url)]
        lines += [
            b"%s: %s" % (name, value) for name, value in self.headers if name not in _OF_UPGRADES
        ]
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join((*lines, b"", b""))

    def _refuse(self) -> None:
        """Answers what is not HTTP, or has too much of a head, and closes.

        Behind a request that is being answered it just closes: that one's client would take the
        refusal for its answer, and what it asked for may be done.
        """
        self.config.counts.requests_malformed += 1
        self.config.counts.heads_too_large += self._is_head_too_large
        if self._is_answering:
            self.transport.close()
            return
        text = "The request is not HTTP/1.1."
        status = HTTPStatus.BAD_REQUEST
        if self._is_head_too_large:
            text = f"The request's head has more than {self._head_bytes_most} bytes."
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        error = {
            "code": "General_BadRequest",
            "message": "Request is invalid and cannot be executed.",
            "@type": "Kusto.Data.Exceptions.KustoBadRequestException",
            "@message": text,
            "@permanent": True,
        }
        body = json.dumps({"error": error}).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            "content-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
