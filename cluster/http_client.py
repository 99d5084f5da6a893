"""HTTP/1.1 requests over trio: just enough for services of our own kind, and nothing silent.

No redirects, no cookies, no proxies, no hidden retries: a request is sent at most once, so that
whoever asks knows whether it may have been. No error tells a request's query, which may have a
signature.
"""

from __future__ import annotations

import select
import ssl
import zlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import h11
import trio

from cluster.errors import ProtocolError, TimedOutError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ANSWER_BYTES: Final = 64 * 1024 * 1024
"""An answer that is longer is given up, unless the client is told otherwise."""

IDLE_SECONDS: Final = 30.0
"""So long a connection without a request is used again, unless the client is told otherwise."""

_IDLE_MOST: Final = 4
_CONNECT_SECONDS: Final = 5.0
_READ_BYTES: Final = 64 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS

_Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer: names of headers are lower case, the body is not compressed any more."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class _Connection:
    stream: _Stream
    http: h11.Connection
    socket: trio.socket.SocketType
    idle_since: float = 0.0

    def is_fresh(self, idle_seconds: float) -> bool:
        """Nothing has come since the last answer: whatever comes unasked is the end of it."""
        if trio.current_time() - self.idle_since > idle_seconds:
            return False
        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLIN)
        return not poll.poll(0)


class HttpClient:
    """Requests to one server, with connections that are kept between them.

    ``url`` is ``http://HOST[:PORT][/PATH]`` or ``https://...``; targets of requests are below its
    path. Certificates are checked against the system's authorities, or those of ``SSL_CERT_FILE``.
    """

    def __init__(
        self, url: str, *, answer_bytes: int = ANSWER_BYTES, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"no HTTP URL: {url!r}")
        self._host = parts.hostname
        self._is_tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._is_tls else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._path = parts.path.rstrip("/")
        self._shown = f"{parts.scheme}://{self._authority}"
        self._answer_bytes = answer_bytes
        self._idle_seconds = idle_seconds
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
    ) -> HttpAnswer:
        """Sends a request and waits for the whole answer, whatever its status.

        Raises TimedOutError after ``timeout_seconds``, UnavailableError if there is no connection
        or it breaks (also in the middle of the answer), ProtocolError if what comes is encoded as
        it should not be or is too long. After any of these the request may have been carried out.
        """
        try:
            with trio.fail_after(timeout_seconds):
                async with self._connected() as connection:
                    return await self._exchange(connection, method, target, headers, body)
        except trio.TooSlowError:
            text = f"{self._shown} has not answered within {timeout_seconds:g} seconds"
            raise TimedOutError(text) from None
        except h11.RemoteProtocolError as error:
            raise UnavailableError(f"{self._shown} broke off its answer: {error}") from error
        except (trio.BrokenResourceError, OSError) as error:
            raise UnavailableError(f"the connection to {self._shown} broke: {error}") from error

    async def _exchange(
        self,
        connection: _Connection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> HttpAnswer:
        request = h11.Request(
            method=method,
            target=self._path + target,
            headers=[
                ("Host", self._authority),
                ("Content-Length", str(len(body))),
                ("Accept-Encoding", "gzip"),
                *headers.items(),
            ],
        )
        events = (request, h11.Data(body), h11.EndOfMessage())
        # In one write: header and body in two wait for each other's acknowledgement.
        await connection.stream.send_all(
            b"".join(connection.http.send(event) or b"" for event in events)
        )
        head, received = await self._received(connection)
        found = {
            name.decode("ascii").lower(): value.decode("latin-1") for name, value in head.headers
        }
        return HttpAnswer(head.status_code, found, self._decoded(found, received))

    async def _received(self, connection: _Connection) -> tuple[h11.Response, bytes]:
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
                if len(received) > self._answer_bytes:
                    raise self._too_long()
            elif isinstance(event, h11.EndOfMessage):
                break
            elif not isinstance(event, h11.InformationalResponse):
                raise UnavailableError(f"{self._shown} closed the connection without an answer")
        assert head is not None  # h11 gives no end before a beginning
        return head, bytes(received)

    def _too_long(self) -> ProtocolError:
        return ProtocolError(f"{self._shown}: an answer of more than {self._answer_bytes} bytes")

    def _decoded(self, headers: Mapping[str, str], body: bytes) -> bytes:
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding == "identity" or not body:
            return body
        if encoding != "gzip":
            text = f"{self._shown} answers encoded as {encoding!r}, which was not asked for"
            raise ProtocolError(text)
        inflater = zlib.decompressobj(_GZIP)
        try:
            plain = inflater.decompress(body, self._answer_bytes)
        except zlib.error as error:
            text = f"the answer of {self._shown} is not what gzip makes: {error}"
            raise UnavailableError(text) from error
        if inflater.unconsumed_tail:
            raise self._too_long()
        if not inflater.eof:
            raise UnavailableError(f"the archive that {self._shown} answers with ends too early")
        return plain

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
            if connection.is_fresh(self._idle_seconds):
                return connection
            await trio.aclose_forcefully(connection.stream)
        with trio.move_on_after(_CONNECT_SECONDS) as scope:
            try:
                plain = await trio.open_tcp_stream(self._host, self._port)
            except OSError as error:
                raise UnavailableError(f"{self._shown} cannot be reached: {error}") from error
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
        except (trio.BrokenResourceError, OSError) as error:
            await trio.aclose_forcefully(stream)
            cause = error.__cause__ or error
            raise UnavailableError(f"no secure connection to {self._shown}: {cause}") from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return _Connection(stream, http, plain.socket)
