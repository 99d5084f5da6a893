"""Tables of other clusters brought into the snapshot of a query, in two steps.

Before a text is translated its references get the columns of their tables; when it is known what
the query needs of them, their rows. Both within the time of the query, and within the bounds of a
result: the other cluster's own, because it answers, and those of this query.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from cluster.catalog.arrow_types import arrow_schema
from cluster.catalog.model import Column, ScalarType
from cluster.errors import LimitExceededError, NotSupportedError, SemanticError
from cluster.query.binding import BoundTable, GivenRows, QueryResult, QuerySnapshot, given_table
from cluster.query.lexical import functions_mentioned
from cluster.query.records import storage_batches
from cluster.query.remote import (
    ASKED,
    cluster_name,
    mentions_cluster,
    references,
    remote_name,
    rows_of,
    shape_of,
)
from cluster.request import NODE_REQUEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.query.remote import OtherClusters, OtherRows
    from cluster.query.translation import Translation
    from cluster.request import ClientRequest


class Reaching:
    """What one query reads of other clusters; ``clusters`` None: there is no way to them."""

    def __init__(
        self,
        clusters: OtherClusters | None,
        request: ClientRequest,
        settings: Sequence[tuple[str, str | None]],
        most_bytes: int,
        *,
        is_forced: bool = False,
    ) -> None:
        self._clusters = clusters
        self._request = request
        self._is_asked = any(name == ASKED for name, _ in settings)
        self._most_bytes = most_bytes
        self._is_forced = is_forced
        self._places: dict[str, tuple[str, str]] = {}
        self._hidden: dict[tuple[str, str], str] = {}

    @property
    def hidden(self) -> tuple[str, ...]:
        """Where rows that were streamed are hidden, and why: databases that were asked for rows."""
        return tuple(
            f"cluster('{cluster}').database('{database}'): {reason}"
            for (cluster, database), reason in self._hidden.items()
        )

    async def shaped(self, text: str, snapshot: QuerySnapshot) -> QuerySnapshot:
        """The snapshot with the tables of other clusters that ``text`` names, without rows.

        Raises NotSupportedError where other clusters cannot be asked, SemanticError for a table
        that is not there, EntityNotFoundError and UnavailableError for a cluster that is not, and
        what the other cluster refuses with.
        """
        functions = functions_mentioned(text, snapshot.functions)
        whole = " ".join([text, *(part for function in functions for part in function[1:])])
        if not mentions_cluster(whole):
            return snapshot
        others: dict[str, Mapping[str, BoundTable]] = dict(snapshot.others)
        for cluster, database, table in references(whole):
            name = remote_name(cluster, database)
            if self._clusters is not None and self._clusters.is_own(cluster_name(cluster)):
                others[name] = _own(snapshot, database)
                continue
            asked = self._reachable(cluster)
            shape = shape_of(table, is_forced=self._is_forced)
            answer = await asked.ask(cluster_name(cluster), database, shape, self._request)
            known = tuple(Column(c.name, c.type) for c in answer.columns)
            others[name] = {**others.get(name, {}), table: given_table(table, known)}
            self._places[name] = (cluster_name(cluster), database)
        return replace(snapshot, others=others)

    def _reachable(self, cluster: str) -> OtherClusters:
        if self._is_asked:
            raise NotSupportedError(
                f"cluster('{cluster}'): a query of another cluster that asks a third one is not "
                "supported by Remora."
            )
        if self._clusters is None or self._request is NODE_REQUEST:
            raise NotSupportedError(
                f"cluster('{cluster}') is supported by Remora in queries across clusters that a "
                "client sends, not in commands and policies.",
                remedy="Query the other cluster and ingest the result.",
            )
        return self._clusters

    async def filled(
        self, translation: Translation, snapshot: QuerySnapshot, now_us: int
    ) -> dict[int, BoundTable]:
        """Rows of the tables of other clusters, by their place among the translation's tables."""
        found: dict[int, BoundTable] = {}
        size = 0
        for index, use in enumerate(translation.tables):
            place = self._places.get(use.database)
            if place is None or self._clusters is None:
                continue
            known = snapshot.others[use.database][use.table].columns
            kinds = {column.name: column.type.value for column in known}
            text = rows_of(use, kinds, now_us, is_forced=self._is_forced)
            answer = await self._clusters.ask(*place, text, self._request)
            if answer.hidden_reason:
                self._hidden[place] = answer.hidden_reason
            size += answer.table.nbytes
            if size > self._most_bytes:
                raise LimitExceededError(
                    f"Tables of other clusters have more than {self._most_bytes} bytes.",
                    remedy="Add a where right behind cluster(...).database(...).T.",
                    metadata={"limit": "query_result_bytes"},
                )
            found[index] = _bound(use.table, answer, counted=use.counted)
        return found


def _own(snapshot: QuerySnapshot, database: str) -> Mapping[str, BoundTable]:
    """A database of the own cluster, as ``database('...')`` sees it."""
    if database.casefold() == snapshot.database.casefold():
        return snapshot.tables
    for name, tables in snapshot.others.items():
        if name.casefold() == database.casefold():
            return tables
    raise SemanticError(
        f"Semantic error: SEM0100: Failed to resolve entity 'database(\"{database}\")'",
        metadata={"name": database},
    )


def _bound(name: str, answer: OtherRows, *, counted: bool) -> BoundTable:
    if counted:
        (count,) = answer.table.column(0).to_pylist()
        nothing = (Column("$nothing", ScalarType.BOOL),)
        rows = pa.RecordBatch.from_arrays(
            [pa.nulls(count, pa.bool_())], schema=arrow_schema(nothing)
        )
        empty = given_table(name, nothing)
        return replace(empty, fresh=(GivenRows((rows,)),))
    result = QueryResult(answer.columns, answer.table)
    schema = tuple(Column(c.name, c.type) for c in result.columns)
    return given_table(name, schema, storage_batches(result))
