"""Calls to the leader: one Follow call, and fetching the file of an extent."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import trio

from cluster.errors import CorruptionError, RemoraError, UnavailableError
from cluster.replication.wire import (
    Assembler,
    follower_frame_to_message,
    leader_frame_from_message,
)
from cluster.rpc.v1 import replication_pb2, replication_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Sequence,
    )
    from pathlib import Path

    from cluster.catalog.model import Extent
    from cluster.limits import Limits
    from cluster.replication.protocol import FollowerFrame, LeaderFrame
    from cluster.transport.api import Channel, ClientStream


READ_ASIDE_BYTES: Final = 256 * 1024
"""Larger frames of metadata are decoded in a worker thread: a tree takes a second for each MB."""

FETCH_SILENCE_SECONDS: Final = 30.0
"""How long the leader may send nothing of a file; it may itself be asking a slow storage root."""


class LeaderCall:
    """One Follow call. :meth:`post` and :meth:`hang_up` may be called at any time."""

    def __init__(self, channel: Channel, limits: Limits) -> None:
        self.hung_up: RemoraError | None = None
        self.is_reading = False
        """A large frame that has come is being decoded."""
        self._channel = channel
        self._limits = limits
        self._outbox: deque[FollowerFrame] = deque()
        self._outgoing = trio.Event()
        self._scope = trio.CancelScope()

    def post(self, frame: FollowerFrame) -> None:
        """Sends a frame, in order, when the stream takes it."""
        self._outbox.append(frame)
        self._outgoing.set()

    def hang_up(self, error: RemoraError) -> None:
        """Ends the call for this reason."""
        self.hung_up = error
        self._scope.cancel()

    async def run(
        self,
        begin: Callable[[], Awaitable[None]],
        take: Callable[[LeaderFrame], Awaitable[None]],
        drained: Callable[[], Awaitable[None]],
    ) -> RemoraError | None:
        """The call, until it ends; returns why, None if the leader just ended it.

        ``begin`` runs once the stream is open, then ``take`` with each frame, and ``drained`` when
        all that had come are taken, also a part of one. What they raise ends the call.
        """
        failures: list[RemoraError] = []
        with self._scope:
            try:
                async with self._channel as channel:
                    stub = replication_pb2_grpc.ReplicationServiceStub(channel)
                    async with stub.Follow() as stream, trio.open_nursery() as nursery:
                        nursery.start_soon(self._send_all, stream)
                        try:
                            await begin()
                            await self._receive_all(stream, take, drained)
                        except RemoraError as error:
                            failures.append(error)
                        nursery.cancel_scope.cancel()
            except RemoraError as error:
                failures.append(error)
        return self.hung_up or (failures[0] if failures else None)

    async def _receive_all(
        self,
        stream: ClientStream[object, Any],
        take: Callable[[LeaderFrame], Awaitable[None]],
        drained: Callable[[], Awaitable[None]],
    ) -> None:
        assembler = Assembler(self._limits)

        while messages := await stream.recv_many():
            for message in messages:
                whole = assembler.take(message)
                if whole is not None:
                    await take(await self._decoded(whole))
            await drained()
        await stream.result()

    async def _decoded(self, message: replication_pb2.FollowResponse) -> LeaderFrame:
        is_metadata = message.WhichOneof("frame") in ("snapshot", "delta")
        if not is_metadata or message.ByteSize() <= READ_ASIDE_BYTES:
            return leader_frame_from_message(message)
        self.is_reading = True
        try:
            return await trio.to_thread.run_sync(
                leader_frame_from_message, message, abandon_on_cancel=True
            )
        finally:
            self.is_reading = False

    async def _send_all(self, stream: ClientStream[object, object]) -> None:
        while True:
            while self._outbox:
                try:
                    await stream.send(follower_frame_to_message(self._outbox.popleft()))
                except trio.BrokenResourceError:
                    return  # the receiving task learns why
                except RemoraError as error:
                    self.hang_up(error)
                    return
            self._outgoing = trio.Event()
            await self._outgoing.wait()


async def fetch_extent(
    channel: Channel, *, follower_cluster: str, database: str, extent: Extent, local: Path
) -> None:
    """Writes the file of an extent, as the leader streams it, to the new file ``local``.

    Its content is not verified, only that it is not longer than it should be. Raises
    EntityNotFoundError (the leader has no such file any more), FollowNotGrantedError,
    UnavailableError (also when it is silent for 30 s), CorruptionError (too long), OSError. Failed
    or cancelled: part of the file may be there.
    """
    request = replication_pb2.FetchExtentRequest(
        database=database,
        extent_id=extent.extent_id,
        follower_cluster=follower_cluster,
        file=extent.file,
    )
    size = 0
    async with channel as opened:
        stub = replication_pb2_grpc.ReplicationServiceStub(opened)
        async with (
            stub.FetchExtent(request) as stream,
            await trio.open_file(local, "xb") as file,
        ):
            while messages := await _heard(stream, extent):
                for message in messages:
                    size += len(message.data)
                    if size > extent.file_bytes:
                        raise CorruptionError(
                            f"the leader sends more than the {extent.file_bytes} bytes of "
                            f"extent {extent.extent_id}",
                            metadata={"file": extent.file, "extent": extent.extent_id},
                        )
                    await file.write(message.data)
            await stream.result()


async def _heard(stream: ClientStream[None, Any], extent: Extent) -> Sequence[Any]:
    """The next messages. Raises UnavailableError after a long silence."""
    with trio.move_on_after(FETCH_SILENCE_SECONDS):
        return await stream.recv_many()
    raise UnavailableError(
        f"the leader has sent nothing of extent {extent.extent_id} for {FETCH_SILENCE_SECONDS} s",
        metadata={"file": extent.file, "extent": extent.extent_id},
    )
