"""Decoded rows, and what update policies made of them, into the row stores. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cluster.errors import PayloadTooLargeError, RemoraError
from cluster.ingest.deciding import Pending
from cluster.rowstore.record import RequestSpan

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from cluster.ingest.admission import Target
    from cluster.ingest.deciding import Decider
    from cluster.ingest.deriving import Derivation, DerivedRows, UpdatePolicies
    from cluster.ingest.sink import RowSink, StagedRows
    from cluster.ingest.ticket import Ticket


class Part(NamedTuple):
    """Requests whose rows are stored as one record, with what follows from those rows.

    ``good`` are tickets and their numbers of rows, in the order of ``batch``. ``error`` refuses
    them all instead.
    """

    good: Sequence[tuple[Ticket, int]]
    batch: pa.RecordBatch
    derivation: Derivation | None = None
    error: RemoraError | None = None


class Stager:
    """Stages parts, and leaves their requests to the decider."""

    def __init__(
        self, row_store: RowSink, decider: Decider, updates: UpdatePolicies | None
    ) -> None:
        self._row_store = row_store
        self._decider = decider
        self._updates = updates

    def stage(self, target: Target, schema_version: int, part: Part) -> None:
        """Stages one part, or refuses its requests."""
        if part.error is not None:
            self._refuse(part, part.error)
            return
        try:
            self._stage_together(target, schema_version, part)
        except PayloadTooLargeError as error:
            if len(part.good) == 1 or part.derivation is not None:
                self._refuse(part, error)
                return
            # Too large together is no fault of any one of them.
            first_row = 0
            for ticket, rows in part.good:
                own = Part([(ticket, rows)], part.batch.slice(first_row, rows))
                first_row += rows
                self.stage(target, schema_version, own)
        except RemoraError as error:
            self._refuse(part, error)

    def _refuse(self, part: Part, error: RemoraError) -> None:
        for ticket, _ in part.good:
            self._decider.refuse(ticket, error)

    def _stage_together(self, target: Target, schema_version: int, part: Part) -> None:
        derived = () if part.derivation is None else part.derivation.rows
        # Only of rows that there are: a record that says another follows must have one.
        bound = [rows for rows in derived if rows.is_transactional and rows.batches]
        free = [rows for rows in derived if not rows.is_transactional]
        references = target.table.references
        if bound:
            tables = [references, *(rows.table.references for rows in bound)]
            chosen = self._row_store.choose_together(tables)
        else:
            chosen = (self._row_store.choose(references),)
        spans = [RequestSpan(ticket.source, rows) for ticket, rows in part.good]
        staged = self._row_store.stage(
            chosen[0].key, schema_version, part.batch, spans, with_next=bool(bound)
        )
        places = [
            (rows, reference.key, batch)
            for rows, reference in zip(bound, chosen[1:], strict=True)
            for batch in rows.batches
        ]
        for number, (rows, key, batch) in enumerate(places, 1):
            own = [RequestSpan(b"", batch.num_rows)]
            version = rows.table.schema_version
            with_next = number < len(places)
            self._row_store.stage(key, version, batch, own, with_next=with_next)
        tickets, row_counts = zip(*part.good, strict=True)
        reference_count = sum(reference.is_enabled for reference in references)
        for ticket in tickets:
            ticket.reference_count = reference_count
        self._follow(staged, tickets, row_counts, part, free)

    def _follow(
        self,
        staged: StagedRows,
        tickets: Sequence[Ticket],
        row_counts: Sequence[int],
        part: Part,
        free: Sequence[DerivedRows],
    ) -> None:
        """Derived rows that refuse nothing go their own way; the requests await their own."""
        failures = [] if part.derivation is None else list(part.derivation.failures)
        for rows in free:
            try:
                key = self._row_store.choose(rows.table.references).key
                for batch in rows.batches:
                    own = [RequestSpan(b"", batch.num_rows)]
                    self._row_store.stage(key, rows.table.schema_version, batch, own)
            except RemoraError as error:
                assert self._updates is not None
                failures.append(self._updates.not_stored(part.good[0][0].request, rows, error))
        updates = self._updates
        then = None
        if failures and updates is not None:
            then = lambda: updates.report(failures)  # noqa: E731 - told when it has happened
        self._decider.await_commit(Pending(staged, tickets, row_counts, then=then))
