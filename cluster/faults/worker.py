"""TCP links that can be made bad: what is written at one end arrives at the other, or does not.

For each link the proxy listens on a port of its own and connects on to the address of its acceptor.
Each direction of each connection is a line: pieces are read, wait until they are due, and are
written in order. While a direction is held nothing is read from it, so that the sender's window
fills, and what was read already waits. Without faults a piece is due at once.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from cluster.faults.composition import NO_DIRECTION_FAULTS

if TYPE_CHECKING:
    import random

    from cluster.faults.composition import DirectionFaults

LOOPBACK: Final = "127.0.0.1"
PIECE_BYTES: Final = 64 * 1024
LINE_BYTES: Final = 4 * 1024 * 1024
"""What a line holds at most before it stops reading."""

PIECES_PER_SECOND: Final = 50
"""Under a bandwidth, pieces are small enough that so many fit into a second."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST."""


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """Counters of a link since the proxy began. ``broken`` connections were broken by a fault."""

    connections: int
    open_connections: int
    forwarded_bytes: int
    broken: int


class Direction:
    """The faults of one direction of a link, shared by its connections."""

    def __init__(self, rng: random.Random) -> None:
        self.faults = NO_DIRECTION_FAULTS
        self.changed = trio.Event()
        self.forwarded_bytes = 0
        self._rng = rng
        self._sent_until = 0.0

    def suffer(self, faults: DirectionFaults) -> None:
        """From now on these."""
        self.faults = faults
        self.changed.set()
        self.changed = trio.Event()

    async def wait_passable(self) -> None:
        """Returns when nothing holds it."""
        while self.faults.is_held:
            await self.changed.wait()

    def piece_bytes(self) -> int:
        """How much to read at once."""
        rate = self.faults.bytes_per_second
        return min(PIECE_BYTES, max(1, rate // PIECES_PER_SECOND)) if rate else PIECE_BYTES

    def breaks(self) -> bool:
        """Whether the next piece breaks its connection."""
        ratio = self.faults.break_ratio
        return bool(ratio) and self._rng.random() < ratio

    def draw(self) -> float:
        """A piece's share of the jitter."""
        return self._rng.random() if self.faults.jitter_seconds else 0.0

    async def wait_turn(self, size: int) -> None:
        """Returns when ``size`` more bytes are through the bandwidth, which connections share."""
        rate = self.faults.bytes_per_second
        if not rate:
            self._sent_until = 0.0
            return
        now = trio.current_time()
        self._sent_until = max(now, self._sent_until) + size / rate
        changed = self.changed
        with trio.move_on_after(self._sent_until - now):
            await changed.wait()


class _Line:
    """One direction of one connection."""

    def __init__(self, source: trio.SocketStream, sink: trio.SocketStream, way: Direction) -> None:
        self._source = source
        self._sink = sink
        self._way = way
        self._pieces: deque[tuple[float, float, bytes]] = deque()  # received at, jitter, bytes
        self._held_bytes = 0
        self._stirred = trio.Event()
        self._drained = trio.Event()

    async def read(self) -> None:
        """Reads until the end, no more than the line holds. Raises BrokenResourceError."""
        while True:
            await self._way.wait_passable()
            while self._held_bytes >= LINE_BYTES:
                self._drained = trio.Event()
                await self._drained.wait()
            piece = bytes(await self._source.receive_some(self._way.piece_bytes()))
            if self._way.breaks():
                raise trio.BrokenResourceError("a fault")
            self._pieces.append((trio.current_time(), self._way.draw(), piece))
            self._held_bytes += len(piece)
            self._stirred.set()
            if not piece:
                return

    async def write(self) -> None:
        """Writes what has been read, when it is due. Raises BrokenResourceError."""
        while True:
            while not self._pieces:
                self._stirred = trio.Event()
                await self._stirred.wait()
            received_at, jitter, piece = self._pieces[0]
            await self._wait_due(received_at, jitter)
            if not piece:
                await self._sink.send_eof()
                return
            await self._way.wait_turn(len(piece))
            await self._way.wait_passable()
            await self._sink.send_all(piece)
            self._pieces.popleft()
            self._held_bytes -= len(piece)
            self._way.forwarded_bytes += len(piece)
            self._drained.set()

    async def _wait_due(self, received_at: float, jitter: float) -> None:
        """A change of the delay also strikes, or frees, what is on its way."""
        while True:
            await self._way.wait_passable()
            faults, changed = self._way.faults, self._way.changed
            due = received_at + faults.delay_seconds + jitter * faults.jitter_seconds
            left = due - trio.current_time()
            if left <= 0:
                return
            with trio.move_on_after(left):
                await changed.wait()


class Link:
    """One link: who dials whom. ``forward`` are bytes of the dialer, ``backward`` the acceptor's.

    :meth:`run` must be running.
    """

    def __init__(self, rng: random.Random) -> None:
        self.upstream = ""
        self.forward = Direction(rng)
        self.backward = Direction(rng)
        self._open: dict[trio.CancelScope, tuple[trio.SocketStream, ...]] = {}
        self._connections = 0
        self._broken = 0

    def suffer(self, forward: DirectionFaults, backward: DirectionFaults) -> None:
        """From now on these. Faults that reset do so before this returns."""
        known = self.forward.faults.resets | self.backward.faults.resets
        fresh = (forward.resets | backward.resets) - known
        self.forward.suffer(forward)
        self.backward.suffer(backward)
        if fresh:
            for scope, streams in self._open.items():
                self._break(streams)
                scope.cancel()

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Serves until cancelled. Started with the address to dial."""
        (listener,) = await trio.open_tcp_listeners(0, host=LOOPBACK)
        async with listener, trio.open_nursery() as nursery:
            host, port = listener.socket.getsockname()[:2]
            task_status.started(f"{host}:{port}")
            while True:
                await self._wait_connectable()
                stream = await listener.accept()
                nursery.start_soon(self._serve, stream)

    async def _wait_connectable(self) -> None:
        """A cut of either direction keeps connections from being made."""
        while (cut := self._cut()) is not None:
            await cut.changed.wait()

    def _cut(self) -> Direction | None:
        return next((way for way in (self.forward, self.backward) if way.faults.is_cut), None)

    async def _serve(self, dialer: trio.SocketStream) -> None:
        self._connections += 1
        with trio.CancelScope() as scope:
            async with dialer:
                # One that was waiting in accept() when the link was cut.
                await self._wait_connectable()
                host, _, port = self.upstream.rpartition(":")
                try:
                    acceptor = await trio.open_tcp_stream(host, int(port))
                except (OSError, ValueError):  # nobody is there: the dialer is told as by nobody
                    self._break((dialer,))
                    return
                async with acceptor:
                    self._open[scope] = (dialer, acceptor)
                    try:
                        await self._join(dialer, acceptor)
                    finally:
                        del self._open[scope]

    async def _join(self, dialer: trio.SocketStream, acceptor: trio.SocketStream) -> None:
        there = _Line(dialer, acceptor, self.forward)
        back = _Line(acceptor, dialer, self.backward)
        try:
            async with trio.open_nursery() as nursery:
                for line in (there, back):
                    nursery.start_soon(line.read)
                    nursery.start_soon(line.write)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            # One end is gone, or a fault broke it: the other end hears of it as of a crash.
            self._break((dialer, acceptor))

    def _break(self, streams: tuple[trio.SocketStream, ...]) -> None:
        if any(stream.socket.fileno() < 0 for stream in streams):
            return  # broken already
        self._broken += 1
        for stream in streams:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            stream.socket.close()

    def statistics(self) -> LinkStatistics:
        """Counters."""
        return LinkStatistics(
            connections=self._connections,
            open_connections=len(self._open),
            forwarded_bytes=self.forward.forwarded_bytes + self.backward.forwarded_bytes,
            broken=self._broken,
        )
