"""KQL to DuckDB SQL. Pure: no clock, no I/O, no DuckDB.

The steps: literals normalised (``lexical``), lowered by duckdb-kql, resolved against our catalog
(``resolve``), rendered by duckdb-kql, and each table bound as a common table expression over the
input ``$0``, ``$1``, ... that the engine registers. The library's errors become ours, in Kusto's
words and without its inner talk.
"""

from __future__ import annotations

import datetime as dt
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from duckdb_kql import errors as library
from duckdb_kql import ir
from duckdb_kql.lower import lower
from duckdb_kql.parser import parse
from duckdb_kql.translate import CLOCK_SLOT, clock, quote_ident, to_sql

from cluster.errors import (
    InvalidRequestError,
    LimitExceededError,
    NotSupportedError,
    RemoraError,
    SemanticError,
)
from cluster.limits import LIMITS, Limits
from cluster.query import (
    aggregates,
    bins,
    functions,
    grammar,
    growth,
    lexical,
    native_calls,
    rewritten_calls,
    stored_functions,
    vocabulary,
    windows,
)
from cluster.query.discovery import Discovery, UndiscoveredError
from cluster.query.resolve import Resolver
from cluster.query.row_level_views import RowLevelViews
from cluster.query.second_look import SecondLook, sort_may_be_misread
from cluster.query.translation import Translation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.query.messages import FunctionText, Query
    from cluster.query.resolution import Resolution

_PINNED: Final = dt.datetime(1, 1, 1)  # a mark, never a moment
_BARRIER_ROWS: Final = 2**63 - 1
_CODE: Final = re.compile(r"\b(SEM\d{4}|SYN\d{4}|CRT\d{4})\b")
_OFFENDER: Final = re.compile(r"(?:input|at:|at input) '((?:[^'\\]|\\.)*)'?")
_INNER_TALK: Final = re.compile(
    r"wave|translate/|duckdb|internal|schema=|\(R\d|options\.|translator", re.IGNORECASE
)
_NOT_IN_GRAMMAR: Final = re.compile(r"\|\s*(project-by-names|graph-\w[\w-]*)\b")
_COMPLEX: Final = "The query is too complex: it nests too deeply or expands too far."


def translate(query: Query, limits: Limits = LIMITS) -> Translation:
    """Translates one query.

    Raises SyntaxRefusedError (metadata ``line`` and ``column``, from 1), SemanticError (the
    message starts with ``Semantic error: SEMxxxx``), NotSupportedError, InvalidRequestError for a
    control command, LimitExceededError for a query that nests too deeply or grows too large.
    """
    if lexical.is_command(query.kql):
        raise InvalidRequestError(
            "A control command was sent as a query.", remedy="Send it as a management command."
        )
    catalog = {
        name.casefold(): {table: tuple(map(tuple, columns)) for table, columns in tables.items()}
        for name, tables in {**query.others, query.database: query.schemas}.items()
    }
    try:
        return _translate(query, catalog, limits)
    except RemoraError:
        raise
    except (RecursionError, MemoryError) as error:
        raise _too_complex() from error
    except library.KqlError as error:
        raise _refusal(query.kql, error) from error
    except Exception as error:  # the library's defects (AssertionError and the like) end here
        raise NotSupportedError(
            "The query uses a construct that is not supported.",
            metadata={"cause": type(error).__name__},
        ) from error


def _translate(asked: Query, catalog: Any, limits: Limits) -> Translation:
    aggregates.register()
    functions.register()
    native_calls.register()
    rewritten_calls.register()
    windows.register()
    growth.register()
    bins.register()
    grammar.register()
    elsewhere = stored_functions.of_databases(asked.other_functions)
    row_level = RowLevelViews(asked.policies, lambda policy: _lowered(policy[2], policy[3]))
    with clock(_PINNED) as pinned:
        lowered, directions = _lowered(asked.kql, asked.functions, asked.prefix, elsewhere)
        resolver = Resolver(
            asked.database,
            catalog,
            directions,
            limits.string_value_bytes,
            dict(asked.facts),
            row_level,
        )
        resolver.discovery = Discovery(asked.discovered)
        resolver.limits = limits
        discovers = ""
        try:
            query = resolver.whole(lowered)
        except UndiscoveredError as stopped:
            query, discovers = stopped.query, stopped.plugin
        found = resolver.found
        found.forget_unread()
        views = {
            alias: str(to_sql(view.query, found.schema)) for alias, view in row_level.views.items()
        }
        sql = _bind(str(to_sql(query, found.schema)), found, views)
        groups = tuple(
            tuple(_bind(str(to_sql(arm, found.schema)), found, views) for arm in arms)
            for arms in found.same_types
        )
    size = len(sql.encode()) + sum(len(arm.encode()) for arms in groups for arm in arms)
    if size > limits.query_sql_bytes:
        raise LimitExceededError(
            f"{_COMPLEX} Its translation has {size} bytes, the limit is {limits.query_sql_bytes}.",
            metadata={"limit": "query_sql_bytes"},
        )
    return Translation(
        sql=sql,
        tables=found.uses(),
        same_types=groups,
        clock_slot=CLOCK_SLOT if pinned.used else None,
        only_count="" if views else _only_count(query, found),
        visualization=found.visualization,
        uses_cursor=found.uses_cursor,
        discovers=discovers,
    )


def _only_count(query: Any, found: Resolution) -> str:
    """Name of the result if the query is nothing but the number of rows of one table, else ""."""
    uses = list(found.tables.values())
    if query.operators or query.lets or not isinstance(query.source, ir.CommandSource):
        return ""
    alone = len(uses) == 1 and uses[0].counted
    return str(query.source.columns[0]) if alone else ""


def _lowered(
    kql: str,
    functions: Sequence[FunctionText],
    prefix: str = "",
    elsewhere: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Any, Any]:
    """A text as the library represents it, and the directions of its sorts, None as written."""
    stored = stored_functions.prepare(kql, functions)
    normal = lexical.normalise(prefix + stored.prefix + kql)
    directions = None
    if normal.may_name_arguments or sort_may_be_misread(normal.text):
        again = SecondLook(normal.text)
        again.refuse_named_arguments()
        directions = again.sort_directions()
    callable_here = {None: {}, **(stored.tabular or {}), **elsewhere}
    return lower(normal.text, functions=callable_here), directions


def _bind(sql: str, found: Resolution, views: Mapping[str, str]) -> str:
    """Puts one common table expression a table in front; DuckDB looks these up before all else.

    Behind them stand ``views``, which read them: what is read in the place of secured tables.
    Their limit, which no table reaches, keeps DuckDB from computing a caller's conditions before
    the policy's: an error would tell of a row that the caller may not see.
    """
    tables = [
        f'{quote_ident(alias)} AS NOT MATERIALIZED (FROM "${index}")'
        for index, alias in enumerate(found.tables)
    ]
    bindings = ", ".join(
        tables
        + [
            f"{quote_ident(n)} AS (FROM ({view}) LIMIT {_BARRIER_ROWS})"
            for n, view in views.items()
        ]
    )
    if not bindings:
        return sql
    return f"WITH {bindings}, {sql[5:]}" if sql.startswith("WITH ") else f"WITH {bindings} {sql}"


def _too_complex() -> RemoraError:
    return LimitExceededError(_COMPLEX, metadata={"limit": "query_sql_bytes"})


def _refusal(kql: str, error: library.KqlError) -> RemoraError:
    try:
        return _unparsed(kql, error) or _ours(_in_own_text(kql, error))
    except (RecursionError, MemoryError):  # what was made of the text was refused before that
        return _too_complex()


def _in_own_text(kql: str, error: library.KqlError) -> library.KqlError:
    """A syntax error at its place in the caller's text, of which what was parsed was made."""
    if isinstance(error, library.KqlSyntaxError):
        try:
            parse(kql)
        except library.KqlSyntaxError as own:
            return own
    return error


def _unparsed(kql: str, error: library.KqlError) -> RemoraError | None:
    """An operator of Kusto that the library's grammar does not have, if that is the error."""
    found = _NOT_IN_GRAMMAR.search(kql) if isinstance(error, library.KqlSyntaxError) else None
    if found is None:
        return None
    return NotSupportedError(
        f"'{found[1]}' is not supported by Remora.",
        remedy=vocabulary.ALTERNATIVES.get(found[1], ""),
    )


def _ours(error: library.KqlError) -> RemoraError:
    if isinstance(error, library.KqlSyntaxError):
        first = error.diagnostics[0]
        offender = _OFFENDER.search(first.message)
        token = "" if offender is None else offender[1].replace("<EOF>", "")
        return lexical.syntax_refused(token, first.span.line, first.span.column + 1)
    hint = getattr(error, "hint", None) or ""
    said = "" if _INNER_TALK.search(hint) else f": {hint}"
    code = _CODE.search(hint)
    if isinstance(error, library.KqlSchemaError):
        return SemanticError(
            f"Semantic error: {code[1] if code else 'SEM0100'}: '{error.name}'{said}"
        )
    if not isinstance(error, library.KqlUnsupportedError):
        return NotSupportedError("The query uses a construct that is not supported.")
    where = {}
    if error.span is not None:
        where = {"line": str(error.span.line), "column": str(error.span.column + 1)}
    if code is not None:
        return SemanticError(
            f"Semantic error: {code[1]}: '{error.construct}'{said}", metadata=where
        )
    place = f" (line {where['line']}, column {where['column']})" if where else ""
    name = _spoken(error.construct)
    return NotSupportedError(
        f"'{name}' is not supported by Remora{place}{said}.",
        remedy=vocabulary.ALTERNATIVES.get(name, ""),
        metadata=where,
    )


def _spoken(construct: str) -> str:
    """``source:MakeSeriesOperator`` -> ``make-series``."""
    name = re.sub(r"^(?:source|expression|function):", "", construct)
    if not re.fullmatch(r"(?:[A-Z][a-z]+)+", name):
        return name
    words = re.findall(r"[A-Z][a-z]+", name)
    return "-".join(word.lower() for word in words if word not in ("Operator", "Expression"))
