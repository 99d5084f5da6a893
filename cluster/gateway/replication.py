"""ReplicationService: one :class:`LeaderSession` for each Follow call, and what it asks for.

Three small tasks tell the session what happened (frames, catalog changes, time); one asks it what
is due and does it. While nothing is due it sleeps right in the row store's queue of those who wait
for a commit, so a committed record leaves for the follower without polling and with one wake-up.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from cluster.catalog.following import shared
from cluster.errors import (
    DatabaseNotFoundError,
    EntityNotFoundError,
    FileMissingError,
    FollowNotGrantedError,
    ProtocolError,
    RemoraError,
    ThrottledError,
    UnavailableError,
)
from cluster.gateway.metadata import EncodedMetadata
from cluster.limits import LIMITS, Limits
from cluster.replication.acknowledged import AcknowledgedVersions
from cluster.replication.exchange import (
    End,
    MetadataRead,
    Moment,
    Output,
    ReadMetadata,
    ReadRows,
    ReplicationStatistics,
    RowsRead,
    Send,
)
from cluster.replication.leader import LeaderSession
from cluster.replication.protocol import FollowAck, Hello, MetadataDelta, Snapshot
from cluster.replication.sharing import is_file_of
from cluster.replication.wire import (
    follower_frame_from_message,
    leader_frame_to_messages,
    spans_of,
)
from cluster.rpc.v1 import replication_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.catalog.driver import Catalog
    from cluster.catalog.following import Sharing
    from cluster.catalog.model import Database, Version
    from cluster.clock import Clock
    from cluster.extents.root import StorageRoot
    from cluster.replication.acknowledged import FollowerName
    from cluster.replication.authority import Authority
    from cluster.replication.log import LeaderLog
    from cluster.replication.protocol import FollowerFrame
    from cluster.transport.api import ServerStream

    FollowStream = ServerStream[pb.FollowRequest, pb.FollowResponse]
    ExtentStream = ServerStream[pb.FetchExtentRequest, pb.FetchExtentResponse]


EXTENT_MESSAGE_BYTES: Final = 512 * 1024
"""Bytes of an extent file in one message, as ``replication.proto`` promises."""


class ReplicationService:
    """Servicer of ``cluster.rpc.v1.ReplicationService`` on a leader node.

    ``authority`` is asked before every frame. :meth:`authority_changed` makes a change of it take
    effect at once; without it, at the next frame or heartbeat. ``root_of`` gives the storage root
    of a database; followers are told its URL.
    """

    def __init__(
        self,
        *,
        row_stores: LeaderLog,
        catalog: Catalog,
        authority: Authority,
        clock: Clock,
        root_of: Callable[[Database], StorageRoot],
        limits: Limits = LIMITS,
    ) -> None:
        self.row_stores = row_stores
        self.catalog = catalog
        self.authority = authority
        self.clock = clock
        self.root_of = root_of
        self.limits = limits
        self.metadata = EncodedMetadata(limits)
        self._greeting = 0  # calls whose Hello has not come yet
        self._extents_total = self._extent_bytes_total = 0
        self._calls: dict[FollowerName, _FollowCall] = {}
        self._acknowledged = AcknowledgedVersions(limits.garbage_follower_seconds)
        self._sessions_total = self._records_total = self._bytes_total = 0
        row_stores.tell(self._rows_came)

    async def Follow(self, stream: FollowStream) -> None:  # noqa: N802 - named by the proto
        """Serves one follower until it leaves, is detached or breaks the protocol."""
        calls = len(self._calls) + self._greeting
        if calls >= self.limits.attachments:
            raise ThrottledError(f"{calls} followers already, the limit of attachments")
        self._greeting += 1
        try:
            frames = await self._greeted(stream)
        finally:
            self._greeting -= 1
        if not frames:
            return
        if not isinstance(frames[0], Hello):
            raise ProtocolError(f"{type(frames[0]).__name__} before Hello")
        hello = frames[0]
        call = _FollowCall(self, hello, stream)
        name = (hello.follower_cluster, hello.follower_node, hello.database.lower())
        if (older := self._calls.get(name)) is not None:
            self._leave(name, older)
            older.fail(UnavailableError("the follower has opened a newer session"))
        self._calls[name] = call
        self._sessions_total += 1
        try:
            await call.run(frames)
        finally:
            if self._calls.get(name) is call:
                self._leave(name, call)
            ended = call.session.statistics()
            self._records_total += ended.records_sent
            self._bytes_total += ended.bytes_sent

    async def FetchExtent(  # noqa: N802 - named by the proto
        self, request: pb.FetchExtentRequest, stream: ExtentStream
    ) -> None:
        """Sends the file of an extent to a follower that cannot read the storage root.

        The receiver verifies it. Raises FollowNotGrantedError, EntityNotFoundError, and what the
        storage root raises.
        """
        name, follower = request.database, request.follower_cluster
        decision = self.authority.followed(name, follower, self.clock.monotonic())
        if decision.grant is None:
            raise FollowNotGrantedError(
                f"Cluster '{follower}' may not read extents of database '{name}': "
                f"{decision.reason}.",
                metadata={"follower_cluster": follower, "database": name},
            )
        unknown = EntityNotFoundError(
            f"Database '{name}' has no extent '{request.extent_id}'.",
            metadata={"database": name, "extent_id": request.extent_id},
        )
        database = self.find_database(name)
        file = (
            None if database is None else self._file_of(database, request, decision.grant.sharing)
        )
        if database is None or file is None:
            raise unknown
        root = self.root_of(database)
        try:
            size = await root.size_of(file)
            for start in range(0, size, EXTENT_MESSAGE_BYTES):
                data = await root.get_range(file, start, min(EXTENT_MESSAGE_BYTES, size - start))
                await stream.send(pb.FetchExtentResponse(data=data))
                self._extent_bytes_total += len(data)
        except FileMissingError:
            raise unknown from None
        self._extents_total += 1

    def acknowledged_versions(self, database: str) -> tuple[Version, ...]:
        """For each follower of a database, the oldest version of which it may still read files.

        Connected or not: see :mod:`cluster.replication.acknowledged`. A follower that has not said
        how far it has come counts with the first version it was told.
        """
        name, view, attached = database.lower(), self.authority.view, None
        if view is not None:
            grants = (grant for grant in view.followed if grant.database.lower() == name)
            attached = {grant.follower_cluster for grant in grants}
        live = {key: call.session.acknowledged_version for key, call in self._calls.items()}
        return self._acknowledged.of(name, live, attached, self.clock.monotonic())

    def _leave(self, name: FollowerName, call: _FollowCall) -> None:
        del self._calls[name]
        version = call.session.acknowledged_version
        self._acknowledged.leave(name, version, self.clock.monotonic())
        if not self._calls:
            self.metadata.clear()

    def find_database(self, name: str) -> Database | None:
        """A database of our own; None if there is none.

        A database that follows is nobody's leader: its rows are not in our row stores.
        """
        try:
            return None if self.catalog.is_following(name) else self.catalog.get(name)
        except DatabaseNotFoundError:
            return None

    def authority_changed(self) -> None:
        """The authority has a new view, or its lease was renewed or ran out."""
        for call in self._calls.values():
            call.wake()

    def _rows_came(self) -> None:
        for call in self._calls.values():
            call.rows_came()

    def statistics(self) -> ReplicationStatistics:
        """Followers now, and totals since the node started."""
        live = tuple(call.session.statistics() for call in self._calls.values())
        return ReplicationStatistics(
            sessions=live,
            sessions_total=self._sessions_total,
            records_sent_total=self._records_total + sum(item.records_sent for item in live),
            bytes_sent_total=self._bytes_total + sum(item.bytes_sent for item in live),
            extents_sent_total=self._extents_total,
            extent_bytes_sent_total=self._extent_bytes_total,
            metadata_encoded_total=self.metadata.encoded_total,
            metadata_kept_bytes=self.metadata.kept_bytes,
        )

    async def _greeted(self, stream: FollowStream) -> list[FollowerFrame]:
        """The first frames; none if the caller has left. Raises ProtocolError if none come."""
        with trio.move_on_after(self.limits.lease_seconds):
            return [follower_frame_from_message(message) for message in await stream.recv_many()]
        raise ProtocolError(f"no Hello within {self.limits.lease_seconds} s")

    def _file_of(
        self, database: Database, request: pb.FetchExtentRequest, sharing: Sharing
    ) -> str | None:
        """The file of an extent that is there, can be restored, or waits for its removal.

        Never one of a table that is not shared.
        """
        visible = shared(database, sharing)
        dropped = (item.table for item in visible.dropped_tables)
        for table in (*visible.tables.values(), *dropped):
            if (extent := table.extents.get(request.extent_id)) is not None:
                return extent.file
        if visible is not database and not is_file_of(visible, request.file):
            return None
        for garbage in self.catalog.garbage():
            if garbage.database == database.name and garbage.file == request.file:
                return garbage.file
        return None


class _FollowCall:
    """One call: its session and the tasks around it."""

    def __init__(self, service: ReplicationService, hello: Hello, stream: FollowStream) -> None:
        self.session = LeaderSession(service.limits)
        self._service = service
        self._stream = stream
        self._database = hello.database
        self._follower = hello.follower_cluster
        self._scope = trio.CancelScope()
        self._nap = trio.lowlevel.ParkingLot()
        self._waits_for_rows = False
        self._failure: RemoraError | None = None
        self._heard_at = service.clock.monotonic()

    async def run(self, frames: Sequence[FollowerFrame]) -> None:
        """Serves the call. Raises the error that ended it."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, frames)
                nursery.start_soon(self._watch_catalog)
                nursery.start_soon(self._watch_time)
                nursery.start_soon(self._serve)
        if self._failure is not None:
            raise self._failure

    def fail(self, error: RemoraError) -> None:
        """Ends the call with this error."""
        self._failure = self._failure or error
        self._scope.cancel()

    def wake(self) -> None:
        """Something changed: ask again what is due."""
        self._nap.unpark_all()

    def rows_came(self) -> None:
        """Rows are durable that may be for the follower."""
        if self._waits_for_rows:
            self.wake()

    async def _receive(self, frames: Sequence[FollowerFrame]) -> None:
        while frames:
            self._heard_at = self._service.clock.monotonic()
            try:
                for frame in frames:
                    self.session.receive(frame)
                    # While waiting for rows the window is open: an ack changes nothing.
                    if not (self._waits_for_rows and isinstance(frame, FollowAck)) or frame.stamp:
                        self.wake()
                frames = [follower_frame_from_message(m) for m in await self._stream.recv_many()]
            except RemoraError as error:
                self.fail(error)
                return
        self._scope.cancel()  # the follower has left

    async def _watch_catalog(self) -> None:
        catalog = self._service.catalog
        revision = catalog.revision
        while True:
            revision = await catalog.wait_change(revision)
            self.wake()

    async def _watch_time(self) -> None:
        limits, clock = self._service.limits, self._service.clock
        while True:
            await trio.sleep(limits.heartbeat_seconds)
            silent = clock.monotonic() - self._heard_at
            if silent > limits.lease_seconds:
                self.fail(UnavailableError(f"the follower has been silent for {silent:.1f} s"))
                return
            self.session.heartbeat()
            self.wake()

    async def _serve(self) -> None:
        try:
            while True:
                moment = self._moment()
                output = self.session.next(moment)
                if output is None:
                    # No other task has run since the moment: nothing can have come unnoticed.
                    self._waits_for_rows = self.session.waiting_beyond(moment) is not None
                    await self._nap.park()
                    self._waits_for_rows = False
                else:
                    await self._perform(output)
        except RemoraError as error:
            self.fail(error)
        except trio.BrokenResourceError:
            self._scope.cancel()  # the call is over

    async def _perform(self, output: Output) -> None:
        match output:
            case Send(Snapshot() | MetadataDelta() as frame):
                async with self._service.metadata.messages(frame) as messages:
                    for message in messages:
                        await self._stream.send(message)
            case Send(frame):
                for message in leader_frame_to_messages(frame):
                    await self._stream.send(message)
            case ReadMetadata(after):
                self._read_metadata(after)
            case ReadRows():
                await self._read_rows(output)
            case End(error):
                raise error

    def _moment(self) -> Moment:
        service = self._service
        now = service.clock.monotonic()
        database = service.find_database(self._database)
        return Moment(
            decision=service.authority.followed(self._database, self._follower, now),
            version=database.version if database else None,
            database_id=database.database_id if database else "",
            end_lsn=service.row_stores.end_lsn(),
            leader_time_ns=service.clock.now_ns(),
        )

    def _read_metadata(self, after: Version | None) -> None:
        catalog = self._service.catalog
        database = self._service.find_database(self._database)
        assert database is not None, "it was there when this was asked for"
        if not database.storage_root:
            # Not in our own tree: the data folder may move.
            url = self._service.root_of(database).url
            database = self._service.metadata.rooted(database, url)
        deltas = None if after is None else catalog.deltas_since(self._database, after)
        frames = None
        if deltas is not None:
            frames = tuple(MetadataDelta(d.from_version, d.to_version, d.changes) for d in deltas)
        ends = partial(self._service.row_stores.position_of, database.row_store_keys())
        self.session.metadata_read(MetadataRead(database, frames, ends))

    async def _read_rows(self, asked: ReadRows) -> None:
        log = self._service.row_stores
        lsn = asked.lsn
        if lsn is None:
            lsn = log.start_lsn_for(asked.cursors, asked.cursors)
        chunk = await log.read(lsn, asked.cursors, asked.cursors, asked.max_bytes)
        self.session.rows_read(
            RowsRead(asked.generation, chunk.records, spans_of(chunk.records), chunk.next_lsn)
        )
