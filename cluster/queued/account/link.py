"""HTTP/1.1 to the services of a storage account, over trio.

No redirects, no proxies, no hidden retries: a request is sent at most once. An error never tells a
request's query, which has a signature.
"""

from __future__ import annotations

import select
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import h11
import trio

from cluster.errors import ProtocolError, UnavailableError
from cluster.queued.account.wire import AccountAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""Longer answers are given up: the longest has 32 messages of 64 KiB."""

_IDLE_SECONDS: Final = 2.0
"""Azurite closes connections that are idle for 5 seconds."""

_IDLE_MOST: Final = 4
_CONNECT_SECONDS: Final = 5.0
_READ_BYTES: Final = 64 * 1024
_Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@dataclass(slots=True)
class _Connection:
    stream: _Stream
    http: h11.Connection
    socket: trio.socket.SocketType
    idle_since: float = 0.0

    def is_fresh(self) -> bool:
        """Nothing has come since the last answer: whatever comes unasked is the end of it."""
        if trio.current_time() - self.idle_since > _IDLE_SECONDS:
            return False
        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLIN)
        return not poll.poll(0)


class HttpLink:
    """Requests to one server, ``http://HOST:PORT`` or ``https://HOST``."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._is_tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._is_tls else 80)
        self._authority = parts.netloc
        self._shown = f"{parts.scheme}://{parts.netloc}"
        self._idle: list[_Connection] = []

    async def aclose(self) -> None:
        """Closes the connections."""
        while self._idle:
            await trio.aclose_forcefully(self._idle.pop().stream)

    async def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        timeout_seconds: float,
    ) -> AccountAnswer:
        """Sends a request and waits for the whole answer, whatever its status.

        Raises UnavailableError: no connection, or it breaks, or no answer in time; ProtocolError:
        what comes is too long. After any of these the request may have been carried out.
        """
        try:
            with trio.fail_after(timeout_seconds):
                async with self._connected() as connection:
                    return await self._exchange(connection, method, target, headers, body)
        except trio.TooSlowError:
            text = f"{self._shown} has not answered within {timeout_seconds:g} seconds"
            raise UnavailableError(text) from None
        except h11.RemoteProtocolError as error:
            raise UnavailableError(f"{self._shown} broke off its answer: {error}") from None
        except (trio.BrokenResourceError, OSError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__ or error
            raise UnavailableError(f"{self._shown} cannot be reached: {cause}") from None

    async def _exchange(
        self,
        connection: _Connection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> AccountAnswer:
        request = h11.Request(
            method=method,
            target=target,
            headers=[
                ("Host", self._authority),
                ("Content-Length", str(len(body))),
                *headers.items(),
            ],
        )
        events = (request, h11.Data(body), h11.EndOfMessage())
        # In one write: header and body in two wait for each other's acknowledgement.
        await connection.stream.send_all(
            b"".join(connection.http.send(event) or b"" for event in events)
        )
        head: h11.Response | None = None
        received = bytearray()
        while True:
            event = connection.http.next_event()
            if event is h11.NEED_DATA:
                data = await connection.stream.receive_some(_READ_BYTES)
                connection.http.receive_data(bytes(data))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                received += event.data
                if len(received) > _ANSWER_BYTES:
                    raise ProtocolError(f"{self._shown}: an answer of over {_ANSWER_BYTES} bytes")
            elif isinstance(event, h11.EndOfMessage):
                break
            elif not isinstance(event, h11.InformationalResponse):
                raise UnavailableError(f"{self._shown} closed the connection without an answer")
        assert head is not None  # h11 gives no end before a beginning
        found = {
            name.decode("ascii").lower(): value.decode("latin-1") for name, value in head.headers
        }
        return AccountAnswer(head.status_code, found, bytes(received))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Connection]:
        """A connection, which is kept for the next request if this one ended well."""
        connection = await self._take()
        try:
            yield connection
        except BaseException:
            await trio.aclose_forcefully(connection.stream)
            raise
        http = connection.http
        is_done = http.our_state is http.their_state is h11.DONE
        if is_done and len(self._idle) < _IDLE_MOST:
            http.start_next_cycle()
            connection.idle_since = trio.current_time()
            self._idle.append(connection)
        else:
            await trio.aclose_forcefully(connection.stream)

    async def _take(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh():
                return connection
            await trio.aclose_forcefully(connection.stream)
        with trio.move_on_after(_CONNECT_SECONDS) as scope:
            plain = await trio.open_tcp_stream(self._host, self._port)
        if scope.cancelled_caught:
            text = f"{self._shown} has not taken a connection within {_CONNECT_SECONDS:g} seconds"
            raise UnavailableError(text)
        http = h11.Connection(h11.CLIENT)
        if not self._is_tls:
            return _Connection(plain, http, plain.socket)
        stream = trio.SSLStream(
            plain, ssl.create_default_context(), server_hostname=self._host, https_compatible=True
        )
        try:
            await stream.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return _Connection(stream, http, plain.socket)
