"""HTTP/1.1 requests over trio: just enough for a Kusto endpoint, and nothing silent.

No redirects, no cookies, no proxies, no hidden retries: a request is sent at most once, so that
whoever asks knows whether it may have been.
"""

from __future__ import annotations

import select
import ssl
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import h11
import trio

from cluster.errors import ProtocolError, TimedOutError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWER_BYTES: Final = 64 * 1024 * 1024
"""An answer that is longer is given up: tables of a run are small."""

_IDLE_SECONDS: Final = 30.0
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

    def is_fresh(self) -> bool:
        """Nothing has come since the last answer: whatever comes unasked is the end of it."""
        if trio.current_time() - self.idle_since > _IDLE_SECONDS:
            return False
        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLIN)
        return not poll.poll(0)


class HttpClient:
    """POST requests to one server, with connections that are kept between them.

    ``url`` is ``http://HOST[:PORT]`` or ``https://...``; certificates are checked against the
    system's authorities, or those of ``SSL_CERT_FILE``.
    """

    def __init__(self, url: str, *, answer_bytes: int = ANSWER_BYTES) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"no HTTP URL: {url!r}")
        self._url = url
        self._host = parts.hostname
        self._is_tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._is_tls else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._path = parts.path.rstrip("/")
        self._answer_bytes = answer_bytes
        self._idle: list[_Connection] = []

    async def aclose(self) -> None:
        """Closes the connections."""
        while self._idle:
            await trio.aclose_forcefully(self._idle.pop().stream)

    async def post(
        self, target: str, headers: Mapping[str, str], body: bytes, *, timeout_seconds: float
    ) -> HttpAnswer:
        """Sends a request and waits for the whole answer, whatever its status.

        Raises TimedOutError after ``timeout_seconds``, UnavailableError if there is no connection
        or it breaks (also in the middle of the answer), ProtocolError if what comes is no HTTP or
        is too long. After any of these the request may have been carried out.
        """
        try:
            with trio.fail_after(timeout_seconds):
                return await self._post(target, headers, body)
        except trio.TooSlowError as error:
            raise TimedOutError(
                f"no answer from {self._url} within {timeout_seconds:g} seconds"
            ) from error

    async def _post(self, target: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        connection = await self._connected()
        whole = False
        try:
            request = h11.Request(
                method="POST",
                target=self._path + target,
                headers=[
                    ("Host", self._authority),
                    ("Content-Length", str(len(body))),
                    ("Accept-Encoding", "gzip"),
                    *headers.items(),
                ],
            )
            sent = [connection.http.send(request), connection.http.send(h11.Data(body))]
            # In one write: header and body in two wait for each other's acknowledgement.
            await connection.stream.send_all(
                b"".join(data for data in sent if data)
                + (connection.http.send(h11.EndOfMessage()) or b"")
            )
            answer = await self._answer(connection)
            whole = True
        except h11.RemoteProtocolError as error:
            raise UnavailableError(f"{self._url} broke off its answer: {error}") from error
        except (trio.BrokenResourceError, OSError) as error:
            raise UnavailableError(f"the connection to {self._url} broke: {error}") from error
        finally:
            await self._release(connection, whole=whole)
        return answer

    async def _connected(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh():
                return connection
            await trio.aclose_forcefully(connection.stream)
        try:
            plain = await trio.open_tcp_stream(self._host, self._port)
        except OSError as error:
            raise UnavailableError(f"{self._url} cannot be reached: {error}") from error
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
            raise UnavailableError(f"no secure connection to {self._url}: {cause}") from error
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return _Connection(stream, http, plain.socket)

    async def _release(self, connection: _Connection, *, whole: bool) -> None:
        """Keeps a connection that can be used again, closes any other."""
        http = connection.http
        if whole and http.our_state is http.their_state is h11.DONE:
            http.start_next_cycle()
            connection.idle_since = trio.current_time()
            self._idle.append(connection)
        else:
            await trio.aclose_forcefully(connection.stream)

    async def _answer(self, connection: _Connection) -> HttpAnswer:
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = connection.http.next_event()
            if event is h11.NEED_DATA:
                data = await connection.stream.receive_some(_READ_BYTES)
                connection.http.receive_data(bytes(data))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._answer_bytes:
                    raise ProtocolError(f"an answer of more than {self._answer_bytes} bytes")
            elif isinstance(event, h11.EndOfMessage):
                break
            elif not isinstance(event, h11.InformationalResponse):
                raise UnavailableError(f"{self._url} closed the connection without an answer")
        assert head is not None  # h11 gives no end before a beginning
        headers = {
            name.decode("ascii").lower(): value.decode("latin-1") for name, value in head.headers
        }
        return HttpAnswer(head.status_code, headers, self._decoded(headers, bytes(body)))

    def _decoded(self, headers: Mapping[str, str], body: bytes) -> bytes:
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding == "identity" or not body:
            return body
        if encoding != "gzip":
            raise ProtocolError(f"the answer is encoded as {encoding!r}, which was not asked for")
        inflater = zlib.decompressobj(_GZIP)
        try:
            plain = inflater.decompress(body, self._answer_bytes)
        except zlib.error as error:
            raise UnavailableError(f"the answer is not what gzip makes: {error}") from error
        if inflater.unconsumed_tail:
            raise ProtocolError(f"an answer of more than {self._answer_bytes} bytes")
        if not inflater.eof:
            raise UnavailableError("the answer's archive ends too early")
        return plain
