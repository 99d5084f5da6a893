"""DuckDB: hardened once, then one cursor for each query. Called from worker threads, never trio's.

A query reads what is registered on its own cursor, relations of the hot cache, and files in the
folders of extents; nothing else: no other file, no network, no Python variable, no extension, no
change of configuration (``SETTINGS``, locked last). What SQL names it is decided here, not by the
text of the query.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from cluster.catalog.model import ScalarType
from cluster.errors import (
    InternalError,
    LimitExceededError,
    NotSupportedError,
    RemoraError,
    SemanticError,
    TimedOutError,
)
from cluster.query import pairs
from cluster.query.binding import QueryResult, ResultColumn
from cluster.query.native.runs import STOPPED, VARIABLE
from cluster.query.native.table import install
from cluster.query.relation import quote, relation_sql, text
from cluster.query.run_errors import raised
from cluster.query.translation import (
    CURSOR_SLOT,
    REFUSED_VALUE,
    TOO_LONG,
    too_long,
    two_types,
)
from cluster.query.types import RESULT_TYPES, kusto_name, outgoing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cluster.limits import Limits
    from cluster.query.native.runs import Runs
    from cluster.query.relation import Input
    from cluster.query.translation import Translation
    from cluster.query.types import Outgoing

SETTINGS: Final = (
    ("TimeZone", "'UTC'"),
    ("temp_directory", "''"),  # nothing is spilled: too large is an error, not a full disk
    ("python_enable_replacements", "false"),
    ("autoinstall_known_extensions", "false"),
    ("autoload_known_extensions", "false"),
    ("allow_community_extensions", "false"),
    ("parquet_metadata_cache", "true"),  # files of extents never change
    ("enable_external_access", "false"),
)
"""Besides allowed_directories, memory_limit and threads, in order; then it is locked."""

Shape: TypeAlias = "tuple[tuple[str, Outgoing], ...]"
"""Names of a result's columns and how they leave DuckDB: always the same for one translation."""

_BATCH_ROWS: Final = 65_536
_EPOCH: Final = dt.datetime(1970, 1, 1)  # no zone: Kusto datetimes are UTC by definition
_KINDS: Final = {
    "INTERRUPT": duckdb.InterruptException,
    "Out of Memory": duckdb.OutOfMemoryException,
    "Conversion": duckdb.ConversionException,
    "Out of Range": duckdb.OutOfRangeException,
    "Invalid Input": duckdb.InvalidInputException,
    "Not implemented": duckdb.NotImplementedException,
}
"""Errors that rows can have, by how their texts begin."""

_TOO_DEEP: Final = "expression depth limit"
_MISSING: Final = re.compile(r'Referenced column "(.*?)" (?:not found|was not found)')
_COMPARED: Final = re.compile(r"Cannot compare values of type (.+?) and type (.+?)(?: -|$|\.)")
_CALLED: Final = re.compile(r"No function matches the given name and argument types '.*?\((.*)\)'")
_TYPE: Final = re.compile(r"DECIMAL\(\d+, ?\d+\)|[A-Z][A-Z_ ]*(?:\[\])*|\"NULL\"")


def open_database(
    limits: Limits, threads: int, runs: Runs, folders: Sequence[Path] = ()
) -> duckdb.DuckDBPyConnection:
    """An empty in-memory database that can reach nothing outside itself but files in ``folders``.

    Its memory limit is what queries and the hot cache may use together. ``runs`` are those of its
    queries, to stop them within functions of Python.
    """
    connection = duckdb.connect(":memory:")
    allowed = ", ".join(text(f"{folder}/") for folder in folders)
    connection.execute(f"SET allowed_directories=[{allowed}]")
    for name, value in SETTINGS:
        connection.execute(f"SET {name}={value}")
    install(connection, limits.string_value_bytes, runs)
    pairs.install(connection, runs)
    memory_bytes = limits.query_memory_bytes + limits.hot_cache_bytes
    connection.execute(f"SET memory_limit='{memory_bytes}B'")
    connection.execute(f"SET threads={max(1, threads)}")
    connection.execute("SET lock_configuration=true")
    return connection


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds for one query: the time it is answered at, and how much it may answer."""

    now_us: int
    rows: int
    result_bytes: int
    string_bytes: int
    take: int | None = None
    """Rows to return; the rest is left out. None: all."""


class Execution:
    """One translated query over its tables. ``run`` in a worker thread, ``interrupt`` from trio."""

    def __init__(
        self,
        database: duckdb.DuckDBPyConnection,
        translation: Translation,
        inputs: Sequence[Input],
        bounds: Bounds,
        runs: Runs,
        *,
        cursor_us: int | None = None,
        shape: Shape | None = None,
    ) -> None:
        self._cursor = database.cursor()
        self._translation = translation
        self._inputs = inputs
        self._bounds = bounds
        self._runs = runs
        self._run = runs.begin()
        self._prefix = ""
        self._parameters: dict[str, Any] = {CURSOR_SLOT: cursor_us}
        if translation.clock_slot is not None:
            moment = _EPOCH + dt.timedelta(microseconds=bounds.now_us)
            self._parameters[translation.clock_slot] = moment
        self.shape = shape
        """What the answer looks like, known from an earlier run or after this one."""
        self.calls_python = VARIABLE in translation.sql
        """Functions of Python are called for its rows."""
        self.finished = False
        """True once ``run`` is over, or nobody will call it. An interrupt before DuckDB has begun
        has no effect, so it is repeated until then."""

    def interrupt(self) -> None:
        """Asks DuckDB to stop, and the functions of Python that it calls."""
        self._runs.stop(self._run)
        self._cursor.interrupt()

    def run(self) -> QueryResult:
        """Runs the query to its end.

        Raises SemanticError (types that do not go together, a value that does not fit),
        LimitExceededError (rows, bytes, memory), NotSupportedError (a union of one name with two
        types), TimedOutError (interrupted).
        """
        try:
            self._bind()
            if self.shape is None:
                for arms in self._translation.same_types:
                    self._require_same_types(arms)
                relation = self._relation(self._translation.sql)
                self.shape = tuple(
                    (name, outgoing(str(kind)))
                    for name, kind in zip(relation.columns, relation.types, strict=True)
                )
            return self._read(self.shape)
        except duckdb.Error as error:
            raise _ours(error, self._bounds) from error
        finally:
            self.finished = True
            self._cursor.close()

    def forget(self) -> None:
        """To be called once nobody interrupts any more."""
        self._runs.end(self._run)

    def _bind(self) -> None:
        """Makes each input a common table expression, which DuckDB looks up before all else.

        Functions of Python are told whose they are.
        """
        if self.calls_python:  # it costs 0.5 ms
            self._cursor.execute(f"SET VARIABLE {VARIABLE} = {self._run}")
        bindings = []
        for index, source in enumerate(self._inputs):
            sql, tables = relation_sql(index, source)
            for name, table in tables.items():
                self._cursor.register(name, table)
            bindings.append(f'"${index}" AS NOT MATERIALIZED ({sql})')
        self._prefix = f"WITH {', '.join(bindings)}" if bindings else ""

    def _relation(self, sql: str) -> Any:
        return self._bound(self._prefixed(sql))

    def _bound(self, sql: str) -> Any:
        # A value without its placeholder is an error.
        given = {name: value for name, value in self._parameters.items() if f"${name}" in sql}
        return self._cursor.sql(sql, params=given) if given else self._cursor.sql(sql)

    def _prefixed(self, sql: str) -> str:
        if not self._prefix:
            return sql
        has_more = sql.startswith("WITH ")
        return f"{self._prefix}, {sql[5:]}" if has_more else f"{self._prefix} {sql}"

    def _require_same_types(self, arms: Sequence[str]) -> None:
        known: dict[str, str] = {}
        for sql in arms:
            relation = self._relation(sql)
            for name, kind in zip(relation.columns, map(str, relation.types), strict=True):
                kusto = kusto_name(kind)
                first = known.setdefault(name, kusto)
                if first != kusto:
                    raise two_types(name, first, kusto)

    def _read(self, shape: Shape) -> QueryResult:
        """Runs the query. With its shape known DuckDB binds it once."""
        names = [name for name, _ in shape]
        leaving = [one for _, one in shape]
        sql = self._translation.sql
        if any(one.sql != "{}" for one in leaving):
            values = ", ".join(f"{o.sql.format(quote(n))} AS {quote(n)}" for n, o in shape)
            sql = f"SELECT {values} FROM ({self._prefixed(sql)})"  # noqa: S608 - quoted
            relation = self._bound(sql)
        else:
            relation = self._relation(sql)
        schema = pa.schema(
            [pa.field(n, RESULT_TYPES[o.type]) for n, o in zip(names, leaving, strict=True)]
        )
        batches: list[pa.RecordBatch] = []
        rows = size = 0
        take = self._bounds.take
        for received in _received(relation):
            batch = _typed(received, leaving, schema)
            if take is not None and rows + batch.num_rows >= take:
                batches.append(batch.slice(0, take - rows))
                break
            rows += batch.num_rows
            size += batch.nbytes
            _require_within("record count", rows, self._bounds.rows, "query_rows")
            _require_within("data size", size, self._bounds.result_bytes, "query_result_bytes")
            batches.append(batch)
        columns = tuple(ResultColumn(n, o.type) for n, o in zip(names, leaving, strict=True))
        return QueryResult(
            columns,
            pa.Table.from_batches(batches, schema),
            visualization=self._translation.visualization,
        )


def _received(relation: Any) -> Iterator[pa.RecordBatch]:
    """The batches of a result. Raises duckdb.Error for the late ones too.

    An error behind the first batch comes through Arrow's interface for streams, which has no kinds
    of errors but a text: it begins as those of DuckDB do.
    """
    try:
        yield from relation.to_arrow_reader(_BATCH_ROWS)
    except OSError as error:
        kind = str(error).partition(" Error: ")[0]
        raise _KINDS.get(kind, duckdb.Error)(str(error)) from error


def _require_within(what: str, value: int, most: int, limit: str) -> None:
    """Both messages are those of query-limits.md."""
    if value > most:
        raise LimitExceededError(
            f"Query result set has exceeded the internal {what} limit {most} "
            "(E_QUERY_RESULT_SET_TOO_LARGE).",
            remedy="Add a where, a summarize or a take to the query, or set notruncation.",
            metadata={"limit": limit, "limit_value": str(most)},
        )


def _typed(batch: pa.RecordBatch, leaving: Sequence[Outgoing], schema: pa.Schema) -> pa.RecordBatch:
    arrays = []
    for array, one, field in zip(batch.columns, leaving, schema, strict=True):
        if array.type != field.type:
            array = array.cast(field.type)
        if one.type is ScalarType.STRING and array.null_count:
            array = pc.fill_null(array, "")  # a Kusto string is never null
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _ours(error: duckdb.Error, bounds: Bounds) -> RemoraError:
    """A DuckDB error in Kusto's words; never its text, which quotes the SQL."""
    if isinstance(error, duckdb.InterruptException) or STOPPED in str(error):
        return TimedOutError("The query was interrupted.")
    if isinstance(error, duckdb.OutOfMemoryException):
        return LimitExceededError(
            "The query needs more memory than it may use (E_LOW_MEMORY_CONDITION).",
            metadata={"limit": "query_memory_bytes"},
        )
    text = str(error).partition("\n")[0]
    refused = raised(text)
    if refused is not None:
        return refused
    if _TOO_DEEP in text:
        return LimitExceededError(
            "The query is too complex: it nests too deeply.", metadata={"limit": "query_operators"}
        )
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
        return _binder(text)
    if isinstance(error, duckdb.ConversionException | duckdb.OutOfRangeException):
        return SemanticError(
            "Semantic error: a value does not fit the type it is converted to or computed in."
        )
    if TOO_LONG in text:
        return too_long(bounds.string_bytes)
    if "Unknown TimeZone" in text:
        return SemanticError("Semantic error: the name of a time zone is not known.")
    if REFUSED_VALUE in text:
        what = text.partition(REFUSED_VALUE)[2]
        return NotSupportedError(f"{what} is not supported by Remora.")
    if isinstance(error, duckdb.InvalidInputException):
        return SemanticError("Semantic error: a function was given a value it does not take.")
    if isinstance(error, duckdb.NotImplementedException):
        return NotSupportedError("The query combines types in a way that is not supported.")
    return InternalError(f"The query failed in the engine ({type(error).__name__}).")


def _binder(text: str) -> SemanticError:
    missing = _MISSING.search(text)
    if missing is not None:
        return SemanticError(
            "Semantic error: SEM0100: Failed to resolve column or scalar expression named "
            f"'{missing[1]}'"
        )
    compared = _COMPARED.search(text)
    if compared is not None:
        one, other = kusto_name(compared[1]), kusto_name(compared[2])
        return SemanticError(
            f"Semantic error: SEM0064: Cannot compare values of types {one} and {other}. "
            "Try adding explicit casts"
        )
    called = _CALLED.search(text)
    types = "" if called is None else ", ".join(map(kusto_name, _TYPE.findall(called[1])))
    return SemanticError(
        "Semantic error: an operator or function does not take arguments of "
        + (f"types ({types})." if types else "these types.")
    )
