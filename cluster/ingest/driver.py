"""The ingestion pipeline of a node: from requests to committed rows, many at a time.

::

    submit -> lane -> group -> decode (here, or in a thread) -> stage -> commit -> ticket decided

One trio thread owns all state; worker threads only decode. Requests that arrive while a group is
being worked on wait in their lane and make the next group, so groups grow with the load and cost
falls with their size. The gates that depend on the cluster and the catalog are asked when a group
is taken, and again when it comes back from a thread: a table that changed in the meantime has its
rows decoded again, a table that went away has them refused.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from cluster.errors import PayloadTooLargeError, RemoraError, ThrottledError, UnavailableError
from cluster.ingest.admission import CatalogView, Target, admit_request, admit_table
from cluster.ingest.decode import TableDecoder
from cluster.ingest.grouping import DecodeGroup, Lane, LaneKey, take_group
from cluster.ingest.inflight import InFlight
from cluster.ingest.isolation import decode_isolated
from cluster.ingest.statistics import Counters
from cluster.ingest.ticket import Ticket
from cluster.limits import LIMITS, Limits
from cluster.processors import on_all
from cluster.rowstore.record import RequestSpan, source_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from cluster.catalog.model import RowStoreKey
    from cluster.clock import Clock
    from cluster.ingest.decode import GroupResult
    from cluster.ingest.request import IngestOutcome, IngestPayload
    from cluster.ingest.sink import RowSink, StagedRows
    from cluster.ingest.statistics import IngestStatistics
    from cluster.replication.position import KeyPosition

DECODERS_REMEMBERED: Final = 256


class _Pending(NamedTuple):
    """Staged requests that wait for their commit."""

    staged: StagedRows
    tickets: Sequence[Ticket]
    row_counts: Sequence[int]
    duplicate: bool = False


class IngestPipeline:
    """Takes requests for all tables of a node. :meth:`run` must be running."""

    def __init__(
        self,
        row_store: RowSink,
        catalog: CatalogView,
        *,
        streaming_capability: Callable[[], bool],
        cores: int,
        clock: Clock,
        limits: Limits = LIMITS,
        processors: tuple[int, ...] = (),
    ) -> None:
        self._processors = processors
        self._row_store = row_store
        self._catalog = catalog
        self._streaming_capability = streaming_capability
        self._clock = clock
        self._limits = limits
        self.in_flight = InFlight(limits, cores)
        self._threads = trio.CapacityLimiter(cores)
        self._lanes: dict[LaneKey, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._work = trio.Event()
        self._pending: dict[int, _Pending] = {}
        self._in_threads: set[DecodeGroup] = set()
        self._by_source: dict[bytes, Ticket] = {}
        self._decoders: OrderedDict[tuple[LaneKey, RowStoreKey, int], TableDecoder] = OrderedDict()
        self._stopped = False
        self._counters = Counters()

    # Taking requests

    async def ingest(self, request: IngestPayload) -> IngestOutcome:
        """Ingests one unary request and waits for its outcome.

        Raises ThrottledError at once when too much is in flight, else whatever admission, decoding
        or the row store refuse it with. A cancelled wait does not take the request back.
        """
        try:
            self.in_flight.check_unary(len(request.payload))
        except ThrottledError:
            self._counters.requests_throttled += 1
            raise
        return await self._submit(request, None, is_unary=True).wait()

    def submit(
        self, request: IngestPayload, on_decided: Callable[[], None] | None = None
    ) -> Ticket:
        """Takes one request of a stream; never blocks. ``on_decided`` may be called at once.

        The caller bounds what it submits, by ``in_flight.wait_for_room``.
        """
        return self._submit(request, on_decided, is_unary=False)

    def statistics(self) -> IngestStatistics:
        """A snapshot of the counters."""
        return self._counters.snapshot(
            unary_in_flight=self.in_flight.unary_count,
            bytes_in_flight=self.in_flight.byte_count,
            lanes=len(self._lanes),
        )

    def _submit(
        self, request: IngestPayload, on_decided: Callable[[], None] | None, *, is_unary: bool
    ) -> Ticket:
        ticket = Ticket(request, on_decided, is_unary=is_unary)
        self._counters.requests_submitted += 1
        self.in_flight.enter(len(request.payload), is_unary=is_unary)
        try:
            if self._stopped:
                raise UnavailableError("the node is stopping")
            data_format = admit_request(request, self._limits)
        except RemoraError as error:
            self._refuse(ticket, self._first_error(request, error))
            return ticket
        key = (request.database, request.table, data_format)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        lane.waiting.append(ticket)
        if not lane.is_ready:
            self._make_ready(lane)
        return ticket

    def _first_error(self, request: IngestPayload, error: RemoraError) -> RemoraError:
        """The gates of the table come before those of the request, so their error comes first."""
        try:
            self._admit(request.database, request.table)
        except RemoraError as earlier:
            return earlier
        return error

    def _admit(self, database: str, table: str) -> Target:
        enabled = self._streaming_capability()
        return admit_table(database, table, self._catalog, streaming_enabled=enabled)

    def _make_ready(self, lane: Lane) -> None:
        if lane.waiting and not lane.is_busy:
            lane.is_ready = True
            self._ready.append(lane)
            self._work.set()

    # Working

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Works until cancelled. What is undecided then is refused with UnavailableError."""
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    # Other tasks get their turn between groups; they bring what the next one is.
                    if self._ready:
                        await trio.lowlevel.checkpoint()
                    else:
                        self._work = trio.Event()
                        await self._work.wait()
                        await trio.lowlevel.checkpoint_if_cancelled()
                    self._start_group(self._ready.popleft(), nursery)
        finally:
            self._stop()

    def _start_group(self, lane: Lane, nursery: trio.Nursery) -> None:
        lane.is_ready = False
        database, table, _ = lane.key
        try:
            target = self._admit(database, table)
        except RemoraError as error:
            while lane.waiting:
                self._refuse(lane.waiting.popleft(), error)
        else:
            key, columns = target.table.key, target.table.columns
            group = take_group(lane, len(columns), self._limits, lambda t: self._claim(t, key))
            for ticket, damage in group.damaged:
                self._refuse(ticket, damage)
            if group.tickets:
                counters = self._counters
                counters.groups += 1
                counters.group_requests_max = max(counters.group_requests_max, len(group.tickets))
                decoder = self._decoder(lane, target)
                if group.is_small:
                    self._stage(target, group.tickets, self._decode(decoder, lane, group.payloads))
                else:
                    lane.is_busy = True
                    self._in_threads.add(group)
                    nursery.start_soon(self._decode_in_thread, lane, target, decoder, group)
        self._settle_lane(lane)

    def _settle_lane(self, lane: Lane) -> None:
        if lane.waiting:
            self._make_ready(lane)
        elif not lane.is_busy:
            # Names come from callers: a lane nobody waits in must not stay.
            self._lanes.pop(lane.key, None)

    def _claim(self, ticket: Ticket, key: RowStoreKey) -> bool:
        """False if the request is a duplicate, which waits for the first one or is answered."""
        source_id = ticket.request.source_id
        if not source_id:
            return True
        source = source_digest(key, source_id)
        first = self._by_source.get(source)
        if first is ticket:
            return True
        if first is not None:
            if first.duplicates is None:
                first.duplicates = []
            first.duplicates.append(ticket)
            return False
        stored = self._row_store.outcome_of(source)
        if stored is None:
            self._by_source[source] = ticket
            ticket.source = source
            return True
        if stored.staged is not None:
            self._await_commit(_Pending(stored.staged, [ticket], [stored.row_count], True))
        else:
            position = self._row_store.position_of((stored.key,))[stored.key]
            self._commit(ticket, stored.key, stored.row_count, position, duplicate=True)
        return False

    def _decoder(self, lane: Lane, target: Target) -> TableDecoder:
        """The decoder of a lane and schema; no other lane uses it, so a thread may."""
        table = target.table
        key = (lane.key, table.key, table.schema_version)
        decoder = self._decoders.get(key)
        if decoder is None:
            decoder = TableDecoder(
                table.columns, self._limits, database=target.database.name, table=table.name
            )
            self._decoders[key] = decoder
            if len(self._decoders) > DECODERS_REMEMBERED:
                self._decoders.popitem(last=False)
        return decoder

    def _decode(self, decoder: TableDecoder, lane: Lane, payloads: Sequence[bytes]) -> GroupResult:
        started = self._clock.monotonic()
        result = decode_isolated(decoder, lane.key[2], payloads)
        self._counters.decode_seconds_total += self._clock.monotonic() - started
        return result

    async def _decode_in_thread(
        self, lane: Lane, target: Target, decoder: TableDecoder, group: DecodeGroup
    ) -> None:
        self._counters.groups_in_threads += 1
        started = self._clock.monotonic()
        result = await trio.to_thread.run_sync(
            on_all(self._processors, decode_isolated),
            decoder,
            lane.key[2],
            group.payloads,
            limiter=self._threads,
        )
        self._counters.decode_seconds_total += self._clock.monotonic() - started
        self._in_threads.discard(group)
        lane.is_busy = False
        database, table, _ = lane.key
        try:
            now = self._admit(database, table)
        except RemoraError as error:
            for ticket in group.tickets:
                self._refuse(ticket, error)
        else:
            is_same_key = now.table.key == target.table.key
            if is_same_key and now.table.schema_version == target.table.schema_version:
                self._stage(now, group.tickets, result)
            else:
                self._counters.groups_decoded_again += 1
                if not is_same_key:
                    for ticket in group.tickets:
                        self._by_source.pop(ticket.source, None)
                        ticket.source = b""
                lane.waiting.extendleft(reversed(group.tickets))
        self._settle_lane(lane)

    def _stage(self, target: Target, tickets: Sequence[Ticket], result: GroupResult) -> None:
        if any(result.errors):
            for ticket, error in zip(tickets, result.errors, strict=True):
                if error is not None:
                    self._refuse(ticket, error)
        if result.batch is None:
            return
        good = [
            (ticket, rows) for ticket, rows in zip(tickets, result.row_counts, strict=True) if rows
        ]
        try:
            self._stage_rows(target, result.batch, good)
        except PayloadTooLargeError as error:
            if len(good) == 1:
                self._refuse(good[0][0], error)
                return
            # Too large together is no fault of any one of them.
            first_row = 0
            for ticket, rows in good:
                part = result.batch.slice(first_row, rows)
                first_row += rows
                try:
                    self._stage_rows(target, part, [(ticket, rows)])
                except RemoraError as own_error:
                    self._refuse(ticket, own_error)
        except RemoraError as error:
            for ticket, _ in good:
                self._refuse(ticket, error)

    def _stage_rows(
        self, target: Target, batch: pa.RecordBatch, good: Sequence[tuple[Ticket, int]]
    ) -> None:
        table = target.table
        spans = [RequestSpan(ticket.source, rows) for ticket, rows in good]
        staged = self._row_store.stage(table.key, table.schema_version, batch, spans)
        tickets, row_counts = zip(*good, strict=True)
        self._await_commit(_Pending(staged, tickets, row_counts))

    # Deciding

    def _await_commit(self, pending: _Pending) -> None:
        self._pending[id(pending)] = pending
        pending.staged.when_decided(partial(self._decide, pending))

    def _decide(self, pending: _Pending) -> None:
        """Decides requests whose group is durable, or refused."""
        if self._pending.pop(id(pending), None) is None:
            return  # the pipeline has stopped and refused them
        staged, tickets, row_counts, duplicate = pending
        try:
            staged.check_committed()
        except RemoraError as error:
            for ticket in tickets:
                self._refuse(ticket, error)
            return
        key = staged.key
        position = self._row_store.position_of((key,))[key]
        for ticket, row_count in zip(tickets, row_counts, strict=True):
            self._commit(ticket, key, row_count, position, duplicate=duplicate)

    def _commit(
        self,
        ticket: Ticket,
        key: RowStoreKey,
        row_count: int,
        position: KeyPosition,
        *,
        duplicate: bool,
    ) -> None:
        if duplicate:
            self._counters.requests_duplicate += 1
        else:
            self._counters.requests_committed += 1
            self._counters.rows_committed += row_count
        self._release(ticket)
        ticket.commit(key, row_count, position, duplicate=duplicate)
        for other in ticket.duplicates or ():
            self._commit(other, key, row_count, position, duplicate=True)

    def _refuse(self, ticket: Ticket, error: RemoraError) -> None:
        self._counters.requests_refused += 1
        self._release(ticket)
        ticket.refuse(error)
        for other in ticket.duplicates or ():
            self._refuse(other, error)

    def _release(self, ticket: Ticket) -> None:
        if ticket.source:
            self._by_source.pop(ticket.source, None)
        self.in_flight.leave(len(ticket.request.payload), is_unary=ticket.is_unary)

    def _stop(self) -> None:
        self._stopped = True
        undecided = [ticket for lane in self._lanes.values() for ticket in lane.waiting]
        undecided += [ticket for group in self._in_threads for ticket in group.tickets]
        for ticket in undecided:
            self._refuse(ticket, UnavailableError("the node is stopping; nothing was stored"))
        for pending in self._pending.values():
            for ticket in pending.tickets:
                error = UnavailableError("the node is stopping; the rows may have been stored")
                self._refuse(ticket, error)
        self._lanes.clear()
        self._ready.clear()
        self._in_threads.clear()
        self._pending.clear()
