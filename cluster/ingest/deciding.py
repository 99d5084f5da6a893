"""How requests end: duplicates found, rows committed, errors handed out, history told.

Pure but for the tickets, which tasks wait for.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from cluster.catalog.lookup import table_not_found
from cluster.errors import RemoraError, UnavailableError
from cluster.history.records import StreamedRequest
from cluster.ingest.compression import is_compressed
from cluster.ingest.request import DISPLAY_NAMES
from cluster.rowstore.record import source_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cluster.catalog.model import RowStoreKey
    from cluster.clock import Clock
    from cluster.ingest.inflight import InFlight
    from cluster.ingest.sink import RowSink, StagedRows
    from cluster.ingest.statistics import Counters
    from cluster.ingest.ticket import Ticket
    from cluster.replication.position import KeyPosition


class Pending(NamedTuple):
    """Staged requests that wait for their commit. ``then`` is called once they are durable."""

    staged: StagedRows
    tickets: Sequence[Ticket]
    row_counts: Sequence[int]
    duplicate: bool = False
    then: Callable[[], None] | None = None


class Decider:
    """Decides tickets. ``reference_count_of(ticket)`` is for history alone."""

    def __init__(
        self,
        row_store: RowSink,
        in_flight: InFlight,
        counters: Counters,
        clock: Clock,
        on_streamed: Callable[[StreamedRequest], None] | None,
    ) -> None:
        self._row_store = row_store
        self._in_flight = in_flight
        self._counters = counters
        self._clock = clock
        self._on_streamed = on_streamed
        self._pending: dict[int, Pending] = {}
        self._by_source: dict[bytes, Ticket] = {}

    def claim(self, ticket: Ticket, key: RowStoreKey) -> bool:
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
            self.await_commit(Pending(stored.staged, [ticket], [stored.row_count], duplicate=True))
        else:
            position = self._row_store.position_of((stored.key,))[stored.key]
            self._commit(ticket, stored.key, stored.row_count, position, duplicate=True)
        return False

    def unclaim(self, tickets: Iterable[Ticket]) -> None:
        """Their table is another one now: source ids mean something else there."""
        for ticket in tickets:
            self._by_source.pop(ticket.source, None)
            ticket.source = b""

    def await_commit(self, pending: Pending) -> None:
        """Decides the requests as soon as it is known whether their rows are durable."""
        self._pending[id(pending)] = pending
        pending.staged.when_decided(partial(self._decide, pending))

    def refuse(self, ticket: Ticket, error: RemoraError) -> None:
        """The request is not stored, or not known to be."""
        self._counters.requests_refused += 1
        self._release(ticket)
        ticket.refuse(error)
        if self._on_streamed is not None:
            self._tell(ticket, 0, error)
        for other in ticket.duplicates or ():
            self.refuse(other, error)

    def stop(self, undecided: Iterable[Ticket]) -> None:
        """Refuses everything; of rows that are staged nobody knows."""
        for ticket in undecided:
            self.refuse(ticket, UnavailableError("the node is stopping; nothing was stored"))
        for pending in self._pending.values():
            for ticket in pending.tickets:
                error = UnavailableError("the node is stopping; the rows may have been stored")
                self.refuse(ticket, error)
        self._pending.clear()

    def _decide(self, pending: Pending) -> None:
        """Decides requests whose group is durable, or refused."""
        if self._pending.pop(id(pending), None) is None:
            return  # the pipeline has stopped and refused them
        staged, tickets, row_counts, duplicate, then = pending
        try:
            staged.check_committed()
        except RemoraError as error:
            for ticket in tickets:
                self.refuse(ticket, error)
            return
        key = staged.key
        position = self._row_store.position_of((key,))[key]
        if position.ordinal < staged.end_ordinal:
            # They were never visible: the key was given up while they were on their way.
            for ticket in tickets:
                self.refuse(ticket, table_not_found(ticket.request.table))
            return
        for ticket, row_count in zip(tickets, row_counts, strict=True):
            self._commit(ticket, key, row_count, position, duplicate=duplicate)
        if then is not None:
            then()

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
        if self._on_streamed is not None:
            self._tell(ticket, 0 if duplicate else row_count, None)
        for other in ticket.duplicates or ():
            self._commit(other, key, row_count, position, duplicate=True)

    def _release(self, ticket: Ticket) -> None:
        if ticket.source:
            self._by_source.pop(ticket.source, None)
        self._in_flight.leave(len(ticket.request.payload), is_unary=ticket.is_unary)

    def _tell(self, ticket: Ticket, row_count: int, error: RemoraError | None) -> None:
        request = ticket.request
        assert self._on_streamed is not None
        self._on_streamed(
            StreamedRequest(
                database=request.database,
                table=request.table,
                ended_ns=self._clock.now_ns(),
                duration_seconds=self._clock.monotonic() - ticket.taken_at_seconds,
                byte_count=len(request.payload),
                row_count=row_count,
                format="" if request.format is None else DISPLAY_NAMES[request.format],
                mapping=request.mapping,
                is_compressed=is_compressed(request.payload),
                error_code="" if error is None else error.code,
                details="" if error is None else error.message,
                is_permanent=error is not None and error.permanent,
                reference_count=ticket.reference_count,
            )
        )
