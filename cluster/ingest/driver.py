"""The ingestion pipeline of a node: from requests to committed rows, many at a time.

::

    submit -> lane -> group -> decode (here, or in a thread) -> update policies -> stage -> commit

One trio thread owns all state; worker threads only decode. Requests that arrive while a group is
being worked on wait in their lane and make the next group, so groups grow with the load and cost
falls with their size. The gates that depend on the cluster and the catalog are asked when a group
is taken, and again when it comes back from a thread or from update policies: a table that changed
in the meantime has its rows decoded again, a table that went away has them refused.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from cluster.errors import RemoraError, ThrottledError, UnavailableError
from cluster.ingest.admission import CatalogView, Target, admit_request, admit_table
from cluster.ingest.deciding import Decider
from cluster.ingest.decode import TableDecoder
from cluster.ingest.grouping import DecodeGroup, Lane, LaneKey, take_group
from cluster.ingest.inflight import InFlight
from cluster.ingest.isolation import decode_isolated
from cluster.ingest.mappings import parse_mapping
from cluster.ingest.parts import derive_parts
from cluster.ingest.request import MAPPING_KINDS, STREAMING_FORMATS
from cluster.ingest.schema_cache import SchemaCache
from cluster.ingest.staging import Part, Stager
from cluster.ingest.statistics import Counters
from cluster.ingest.ticket import Ticket
from cluster.limits import LIMITS, Limits
from cluster.processors import on_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cluster.catalog.model import RowStoreKey
    from cluster.clock import Clock
    from cluster.history.records import StreamedRequest
    from cluster.ingest.decode import GroupResult
    from cluster.ingest.deriving import UpdatePolicies
    from cluster.ingest.request import IngestOutcome, IngestPayload
    from cluster.ingest.schema_cache import KnownSchema
    from cluster.ingest.sink import RowSink
    from cluster.ingest.statistics import IngestStatistics

DECODERS_REMEMBERED: Final = 256


class _Aim(NamedTuple):
    """Where a group goes: the table as it is now, and how its rows are decoded."""

    target: Target
    schema: KnownSchema
    decoder: TableDecoder


class IngestPipeline:
    """Takes requests for all tables of a node. :meth:`run` must be running.

    ``updates`` runs update policies; None: there are none. ``on_streamed`` hears of every decided
    request but those turned away at the door.
    """

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
        updates: UpdatePolicies | None = None,
        on_streamed: Callable[[StreamedRequest], None] | None = None,
    ) -> None:
        self._processors = processors
        self._catalog = catalog
        self._streaming_capability = streaming_capability
        self._clock = clock
        self._limits = limits
        self._updates = updates
        self.in_flight = InFlight(limits, cores)
        self.schemas = SchemaCache(clock, limits)
        self._threads = trio.CapacityLimiter(cores)
        self._deriving = trio.CapacityLimiter(cores)
        self._lanes: dict[LaneKey, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._work = trio.Event()
        self._working: set[DecodeGroup] = set()
        self._decoders: OrderedDict[tuple[LaneKey, RowStoreKey, int, str], TableDecoder]
        self._decoders = OrderedDict()
        self._stopped = False
        self._counters = Counters()
        self._decider = Decider(row_store, self.in_flight, self._counters, clock, on_streamed)
        self._stager = Stager(row_store, self._decider, updates)

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
        ticket = Ticket(
            request,
            on_decided,
            is_unary=is_unary,
            taken_at_seconds=self._clock.monotonic(),
        )
        self._counters.requests_submitted += 1
        self.in_flight.enter(len(request.payload), is_unary=is_unary)
        try:
            if self._stopped:
                raise UnavailableError("the node is stopping")
            data_format = admit_request(request, self._limits)
        except RemoraError as error:
            self._decider.refuse(ticket, self._first_error(request, error))
            return ticket
        key = (request.database, request.table, data_format, request.mapping)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        lane.waiting.append(ticket)
        if not lane.is_ready:
            self._make_ready(lane)
        return ticket

    def _first_error(self, request: IngestPayload, error: RemoraError) -> RemoraError:
        """The gates of the table come before those of the request, so their error comes first."""
        if self._stopped:
            return error
        try:
            target = self._admit(request.database, request.table)
            if request.mapping and request.format in STREAMING_FORMATS:
                schema = self.schemas.known(target.database, target.table)
                schema.mapping(MAPPING_KINDS[request.format], request.mapping)
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
        try:
            aim = self._aim(lane)
        except RemoraError as error:
            while lane.waiting:
                self._decider.refuse(lane.waiting.popleft(), error)
        else:
            key, columns = aim.target.table.key, aim.schema.table.columns
            claim = self._decider.claim
            group = take_group(lane, len(columns), self._limits, lambda t: claim(t, key))
            for ticket, damage in group.damaged:
                self._decider.refuse(ticket, damage)
            if group.tickets:
                counters = self._counters
                counters.groups += 1
                counters.group_requests_max = max(counters.group_requests_max, len(group.tickets))
                updates = self._updates
                derives = updates is not None and updates.has_targets(*aim.target)
                if group.is_small and not derives:
                    self._finish(lane, aim, group, self._decode(aim.decoder, lane, group))
                else:
                    lane.is_busy = True
                    self._working.add(group)
                    nursery.start_soon(self._work_on, lane, aim, group)
        self._settle_lane(lane)

    def _settle_lane(self, lane: Lane) -> None:
        if lane.waiting:
            self._make_ready(lane)
        elif not lane.is_busy:
            # Names come from callers: a lane nobody waits in must not stay.
            self._lanes.pop(lane.key, None)

    def _aim(self, lane: Lane) -> _Aim:
        """Asks the gates of the table, and finds out how to decode for it. Raises their error."""
        target = self._admit(lane.key[0], lane.key[1])
        schema = self.schemas.known(*target)
        try:
            return _Aim(target, schema, self._decoder(lane, target, schema))
        except RemoraError:
            if not self.schemas.is_behind(*target, schema):
                raise
        schema = self.schemas.known(*target)
        return _Aim(target, schema, self._decoder(lane, target, schema))

    def _decoder(self, lane: Lane, target: Target, schema: KnownSchema) -> TableDecoder:
        """The decoder of a lane and schema; no other lane uses it, so a thread may.

        Raises MappingNotFoundError, MappingReferenceError, MappingInconsistentError.
        """
        _, _, data_format, name = lane.key
        table = schema.table
        mapping = schema.mapping(MAPPING_KINDS[data_format], name) if name else None
        text = "" if mapping is None else mapping.text
        key = (lane.key, table.key, table.schema_version, text)
        decoder = self._decoders.get(key)
        if decoder is None:
            decoder = TableDecoder(
                table.columns,
                self._limits,
                database=target.database.name,
                table=table.name,
                mapping=None if mapping is None else parse_mapping(mapping.kind, text),
                mapping_name=name,
            )
            self._decoders[key] = decoder
            if len(self._decoders) > DECODERS_REMEMBERED:
                self._decoders.popitem(last=False)
        return decoder

    def _decode(self, decoder: TableDecoder, lane: Lane, group: DecodeGroup) -> GroupResult:
        started = self._clock.monotonic()
        result = decode_isolated(decoder, lane.key[2], group.payloads)
        self._counters.decode_seconds_total += self._clock.monotonic() - started
        return result

    async def _work_on(self, lane: Lane, aim: _Aim, group: DecodeGroup) -> None:
        """Decodes a large group in a thread, and runs update policies."""
        if group.is_small:
            result = self._decode(aim.decoder, lane, group)
        else:
            result = await self._decode_in_thread(aim.decoder, lane, group)
        parts: Sequence[Part] | None = None
        if self._updates is not None and self._updates.has_targets(*aim.target):
            # No more at once than there are processors: they are queries among the queries.
            async with self._deriving:
                parts = await derive_parts(
                    self._updates, aim.target, group.tickets, result, self._limits
                )
        self._working.discard(group)
        lane.is_busy = False
        try:
            now = self._aim(lane)
        except RemoraError as error:
            for ticket in group.tickets:
                self._decider.refuse(ticket, error)
        else:
            derives = self._updates is not None and self._updates.has_targets(*now.target)
            is_same = now.decoder is aim.decoder and derives == (parts is not None)
            if is_same:
                self._finish(lane, now, group, result, parts)
            else:
                if now.target.table.key != aim.target.table.key:
                    self._decider.unclaim(group.tickets)
                self._again(lane, group)
        self._settle_lane(lane)

    async def _decode_in_thread(
        self, decoder: TableDecoder, lane: Lane, group: DecodeGroup
    ) -> GroupResult:
        self._counters.groups_in_threads += 1
        started = self._clock.monotonic()
        result: GroupResult = await trio.to_thread.run_sync(
            on_all(self._processors, decode_isolated),
            decoder,
            lane.key[2],
            group.payloads,
            limiter=self._threads,
        )
        self._counters.decode_seconds_total += self._clock.monotonic() - started
        return result

    def _again(self, lane: Lane, group: DecodeGroup) -> None:
        self._counters.groups_decoded_again += 1
        lane.waiting.extendleft(reversed(group.tickets))

    def _finish(
        self,
        lane: Lane,
        aim: _Aim,
        group: DecodeGroup,
        result: GroupResult,
        parts: Sequence[Part] | None = None,
    ) -> None:
        """Refuses what is wrong and stages the rest; decodes again what an old schema refused."""
        if any(result.errors):
            if self.schemas.is_behind(*aim.target, aim.schema):
                self._again(lane, group)
                return
            for ticket, error in zip(group.tickets, result.errors, strict=True):
                if error is not None:
                    self._decider.refuse(ticket, error)
        if result.batch is None:
            return
        version = aim.schema.table.schema_version
        if parts is None:
            good = zip(group.tickets, result.row_counts, strict=True)
            parts = (Part([item for item in good if item[1]], result.batch),)
        for part in parts:
            self._stager.stage(aim.target, version, part)

    def _stop(self) -> None:
        self._stopped = True
        undecided = [ticket for lane in self._lanes.values() for ticket in lane.waiting]
        undecided += [ticket for group in self._working for ticket in group.tickets]
        self._decider.stop(undecided)
        self._lanes.clear()
        self._ready.clear()
        self._working.clear()
