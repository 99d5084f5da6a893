"""What update policies make of new rows, for streaming and for batch ingestion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from cluster.batch.ports import Derived
from cluster.catalog.arrow_types import arrow_schema
from cluster.errors import (
    RemoraError,
    RequestError,
    ThrottledError,
    UpdatePolicyFailedError,
    UpdatePolicyIncompatibleError,
    UpdatePolicyRequestError,
)
from cluster.history.records import IngestionFailure
from cluster.ingest.update_policy import (
    Step,
    batches_of,
    check_types,
    has_join,
    is_derived,
    is_row_by_row,
    query_of,
    receives_streamed,
    sources_of,
    steps_from,
)
from cluster.query.binding import QuerySnapshot, given_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    import pyarrow as pa

    from cluster.catalog.model import Column, Database, Function, Table
    from cluster.catalog.policies import UpdatePolicy
    from cluster.clock import Clock
    from cluster.ingest.request import IngestPayload
    from cluster.query.binding import QueryResult

    RunQuery = Callable[[str, QuerySnapshot], Awaitable[QueryResult]]

_CHECKS_REMEMBERED: Final = 1024
_STEPS_REMEMBERED: Final = 4096


class DerivedRows(NamedTuple):
    """New rows of ``table`` (as it is in the tree they were derived in)."""

    table: Table
    batches: tuple[pa.RecordBatch, ...]
    is_transactional: bool
    propagates: bool = False
    """Whether every policy on the way here propagates the properties of the ingestion."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """All that follows from some rows. ``failures`` are of policies that are not transactional."""

    rows: tuple[DerivedRows, ...] = ()
    failures: tuple[IngestionFailure, ...] = ()

    @property
    def byte_count(self) -> int:
        """Bytes of all derived rows in memory."""
        return sum(batch.nbytes for rows in self.rows for batch in rows.batches)


class _Checked(NamedTuple):
    """A step that was tried on no rows, and what came of it."""

    step: Step
    functions: Mapping[str, Function]
    error: RemoraError | None


@dataclass(frozen=True, slots=True)
class UpdatePolicyStatistics:
    """Counters since the start."""

    queries: int
    rows: int
    failures: int


class UpdatePolicies:
    """Runs update policies. One a node.

    ``run`` answers a query over a snapshot (``QueryEngine.run``). ``snapshot_of(database)`` gives
    what a query of that database may see: batch ingestion lets policies read other tables,
    streaming does not. ``on_failure`` hears of failures that refuse nothing.
    """

    def __init__(
        self,
        run: RunQuery,
        *,
        snapshot_of: Callable[[str], QuerySnapshot],
        clock: Clock,
        on_failure: Callable[[IngestionFailure], None],
    ) -> None:
        self._run = run
        self._snapshot_of = snapshot_of
        self._clock = clock
        self._on_failure = on_failure
        self._checked: dict[tuple[str, str, str], _Checked] = {}
        self._steps: dict[tuple[str, str], tuple[Mapping[str, Table], tuple[Step, ...]]] = {}
        self._queries = self._rows = self._failures = 0

    def statistics(self) -> UpdatePolicyStatistics:
        """A snapshot of the counters."""
        return UpdatePolicyStatistics(self._queries, self._rows, self._failures)

    # What reads a table

    def has_targets(self, database: Database, table: Table) -> bool:
        """Whether an enabled update policy reads the table."""
        return bool(self._steps_of(database, table))

    def is_row_by_row(self, database: Database, table: Table, path: tuple[str, ...] = ()) -> bool:
        """Whether rows of several requests may go through the policies together."""
        path = (*path, table.name)
        return all(
            is_row_by_row(step.query, step.source.name, database.functions)
            and self.is_row_by_row(database, step.target, path)
            for step in self._steps_of(database, table)
            if step.target.name not in path
        )

    def _steps_of(self, database: Database, table: Table) -> tuple[Step, ...]:
        # Asked for every group of requests: looking at all tables each time would be felt.
        key = (database.name, table.name)
        known = self._steps.get(key)
        if known is None or known[0] is not database.tables:
            if len(self._steps) >= _STEPS_REMEMBERED:
                self._steps.clear()
            known = self._steps[key] = (database.tables, steps_from(database, table))
        return known[1]

    # Deriving

    async def derive(
        self, database: Database, table: Table, batch: pa.RecordBatch
    ) -> Sequence[Derived]:
        """All that follows from rows ingested into extents; failures go to ``on_failure``.

        Raises UpdatePolicyFailedError, UpdatePolicySchemaError or UpdatePolicyRequestError if a
        transactional policy fails. A table whose policy gave no rows is in it without batches.
        """
        derivation = await self._derive(database, table, batch, streaming=False)
        self.report(derivation.failures)
        return [
            Derived(rows.table.name, rows.table.key, rows.batches, rows.propagates)
            for rows in derivation.rows
        ]

    def targets(
        self, database: Database, table: Table, path: tuple[str, ...] = ()
    ) -> Sequence[Derived]:
        """Every table that rows of this one can reach, as if no policy gave any."""
        path = (*path, table.name)
        found: list[Derived] = []
        for step in self._steps_of(database, table):
            if step.target.name not in path:
                found.append(Derived(step.target.name, step.target.key, ()))
                found += self.targets(database, step.target, path)
        return found

    async def derive_streamed(
        self, database: Database, table: Table, batch: pa.RecordBatch
    ) -> Derivation:
        """All that follows from streamed rows; report its failures once it is stored.

        Raises as :meth:`derive` does, ThrottledError while too many queries run, and
        UpdatePolicyIncompatibleError or UpdatePolicySchemaError for a policy that streaming does
        not allow, transactional or not.
        """
        return await self._derive(database, table, batch, streaming=True)

    def report(self, failures: Sequence[IngestionFailure]) -> None:
        """Tells of failures that refused nothing."""
        for failure in failures:
            self._on_failure(failure)

    def not_stored(
        self, request: IngestPayload, rows: DerivedRows, error: RemoraError
    ) -> IngestionFailure:
        """Derived rows that could not be stored, as a failure to report."""
        self._failures += 1
        return self._failure(request.database, rows.table.name, request.table, error, error.code)

    async def _derive(
        self, database: Database, table: Table, batch: pa.RecordBatch, *, streaming: bool
    ) -> Derivation:
        rows: list[DerivedRows] = []
        failures: list[IngestionFailure] = []
        await self._descend(database, table, batch, (table.name,), streaming, rows, failures)
        return Derivation(tuple(rows), tuple(failures))

    async def _descend(
        self,
        database: Database,
        table: Table,
        batch: pa.RecordBatch,
        path: tuple[str, ...],
        streaming: bool,
        rows: list[DerivedRows],
        failures: list[IngestionFailure],
        *,
        propagates: bool = True,
    ) -> None:
        for step in self._steps_of(database, table):
            if step.target.name in path:
                continue  # a circle, cut where it would close
            if streaming:
                await self._check_streaming(database, step, depth=len(path) - 1)
            mark = len(rows)
            try:
                batches = await self._query(database, step, batch, streaming=streaming)
                goes_on = propagates and step.policy.propagate_ingestion_properties
                if batches or not streaming:
                    is_transactional = step.policy.is_transactional
                    rows.append(DerivedRows(step.target, batches, is_transactional, goes_on))
                deeper = (*path, step.target.name)
                for made in batches:
                    await self._descend(
                        database, step.target, made, deeper, streaming, rows, failures,
                        propagates=goes_on,
                    )  # fmt: skip
                if not batches and not streaming:
                    rows += [
                        DerivedRows(database.tables[below.table], (), is_transactional=False)
                        for below in self.targets(database, step.target, path)
                    ]
            except (UpdatePolicyIncompatibleError, ThrottledError):
                # Throttled is not failed: the request can be tried again, lost rows cannot.
                raise
            except RemoraError as error:
                del rows[mark:]  # what followed from rows that are not stored is not stored
                if step.policy.is_transactional:
                    raise _as_update_failure(step, error) from error
                self._failures += 1
                code = _as_update_failure(step, error).code
                names = (database.name, step.target.name, step.source.name)
                failures.append(self._failure(*names, error, code))

    async def _query(
        self, database: Database, step: Step, batch: pa.RecordBatch, *, streaming: bool
    ) -> tuple[pa.RecordBatch, ...]:
        self._queries += 1
        snapshot = self._snapshot(database, step.source, (batch,), streaming=streaming)
        result = await self._run(step.query, snapshot)
        check_types(result.columns, step)
        batches = batches_of(result, step.target.columns)
        self._rows += sum(made.num_rows for made in batches)
        return batches

    def _snapshot(
        self,
        database: Database,
        source: Table,
        batches: Sequence[pa.RecordBatch],
        *,
        streaming: bool,
    ) -> QuerySnapshot:
        """The source is the new rows and nothing else; streaming sees no other table."""
        now_us = self._clock.now_ns() // 1000
        columns = _columns_of(source, batches)
        given = given_table(source.name, columns, batches, ingested_us=now_us)
        if streaming:
            return QuerySnapshot(database.name, {source.name: given}, functions=database.functions)
        snapshot = self._snapshot_of(database.name)
        return replace(snapshot, tables={**snapshot.tables, source.name: given})

    # Checking

    async def check(
        self, database: Database, target: str, policies: Sequence[UpdatePolicy]
    ) -> None:
        """Whether these can be the update policy of a table.

        Raises UpdatePolicyRequestError (a query that fails, a source that is not there),
        UpdatePolicySchemaError, UpdatePolicyCycleError, UpdatePolicyIncompatibleError (streamed
        rows would reach it, and it is not allowed to see what it asks for).
        """
        table = database.tables[target]
        for policy in policies:
            if not policy.is_enabled:
                continue
            for source in sources_of(database, target, policy):
                step = Step(source, table, policy, query_of(policy, source.name))
                await self._try(database, step, streaming=False)
                if receives_streamed(database, source):
                    depth = int(is_derived(database, source))
                    await self._check_streaming(database, step, depth=depth)

    async def _check_streaming(self, database: Database, step: Step, *, depth: int) -> None:
        """Raises UpdatePolicyIncompatibleError or UpdatePolicySchemaError."""
        in_cascade = depth > 0 or is_derived(database, step.source)
        if in_cascade and has_join(step.query):
            raise _incompatible(step, "it joins, and is part of a cascade of update policies")
        key = (database.name, step.source.name, step.target.name)
        known = self._checked.get(key)
        if known is None or not _is_same(known, step, database):
            error: RemoraError | None = None
            try:
                await self._try(database, step, streaming=True)
            except UpdatePolicyRequestError as refused:
                error = _incompatible(step, f"over its new rows alone it fails: {refused.message}")
            except RequestError as refused:
                error = refused
            if len(self._checked) >= _CHECKS_REMEMBERED:
                self._checked.clear()
            known = self._checked[key] = _Checked(step, database.functions, error)
        if known.error is not None:
            raise known.error

    async def _try(self, database: Database, step: Step, *, streaming: bool) -> None:
        """Runs the query over no rows."""
        empty = arrow_schema(step.source.columns).empty_table().to_batches(max_chunksize=1)
        snapshot = self._snapshot(database, step.source, empty, streaming=streaming)
        self._queries += 1
        try:
            result = await self._run(step.query, snapshot)
        except RequestError as error:
            raise UpdatePolicyRequestError(
                f"the update policy of table '{step.target.name}': {error.message}",
                metadata={"table": step.target.name, "source": step.source.name},
            ) from error
        check_types(result.columns, step)

    def _failure(
        self, database: str, target: str, source: str, error: RemoraError, code: str
    ) -> IngestionFailure:
        return IngestionFailure(
            operation_id="",
            database=database,
            table=target,
            failed_ns=self._clock.now_ns(),
            source=source,
            details=error.message,
            is_permanent=error.permanent,
            error_code=code,
            operation_kind="UpdatePolicy",
            from_update_policy=True,
        )


def _columns_of(source: Table, batches: Sequence[pa.RecordBatch]) -> tuple[Column, ...]:
    """The columns the rows have: those of the schema they were decoded under."""
    if not batches:
        return source.columns
    schema = batches[0].schema
    for columns in reversed(source.schemas):
        if schema.names == [column.name for column in columns] and schema == arrow_schema(columns):
            return columns
    return source.columns


def _is_same(known: _Checked, step: Step, database: Database) -> bool:
    return (
        known.step.policy == step.policy
        and known.step.source.columns == step.source.columns
        and known.step.target.columns == step.target.columns
        and known.functions is database.functions
    )


def _incompatible(step: Step, reason: str) -> UpdatePolicyIncompatibleError:
    return UpdatePolicyIncompatibleError(
        f"the update policy of table '{step.target.name}' on table '{step.source.name}' cannot be "
        f"used with streaming ingestion: {reason}",
        metadata={"table": step.target.name, "source": step.source.name},
    )


def _as_update_failure(step: Step, error: RemoraError) -> RemoraError:
    """The error as one of update policies: permanent or not as it was."""
    if error.code.startswith("UpdatePolicy_"):
        return error
    kind = UpdatePolicyRequestError if error.permanent else UpdatePolicyFailedError
    return kind(
        f"the update policy of table '{step.target.name}' on table '{step.source.name}' failed: "
        f"{error.message}",
        metadata={"table": step.target.name, "source": step.source.name, "code": error.code},
    )
