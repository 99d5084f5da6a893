"""The query or command after ``<|`` of a command about extents, and the extents it names."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from cluster.catalog.changes import find_table
from cluster.errors import EntityNotFoundError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cluster.catalog.model import Database
    from cluster.commands.context import Context

_RESULTS: Final = re.compile(r";\s*\$command_results\s*(?=\||$)")
"""Connectors write ``.show X; $command_results | KQL`` for ``.show X | KQL``."""


async def ask(context: Context, text: str) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Names of columns and rows of a query, or of a command that shows, maybe through KQL.

    Guids and ``dynamic`` values come as text. Raises what queries and commands raise;
    InvalidRequestError if there is no query.
    """
    text = text.strip().removesuffix(";").strip()
    if not text:
        raise InvalidRequestError("There must be a query after '<|'.")
    if text.startswith("."):
        result = await context.show(_RESULTS.sub(" ", text))
        names = tuple(column.name for column in result.columns)
        if result.piped is None:
            return names, [tuple(row) for row in result.rows]
        table = result.piped
    else:
        services = context.node.services
        snapshot, caller = context.snapshot(text), context.request.caller
        table = (await services.queries.run(text, snapshot, caller=caller)).table
        names = tuple(table.column_names)
    return names, list(zip(*(column.to_pylist() for column in table.columns), strict=True))


async def extents_asked(context: Context, text: str) -> list[tuple[str, str | None]]:
    """Extent ids that a query gives as ``ExtentId``, with their ``TableName`` if it has that.

    Each once, in the order given. Raises InvalidRequestError for a query without ``ExtentId``.
    """
    names, rows = await ask(context, text)
    at = _place(names, "ExtentId")
    tables = names.index("TableName") if "TableName" in names else None
    found: dict[str, str | None] = {}
    for row in rows:
        if row[at] is not None:
            found[_guid(row[at])] = None if tables is None else str(row[tables])
    return list(found.items())


async def tags_asked(context: Context, text: str) -> dict[str, tuple[str, ...]]:
    """Tags that a query gives for each extent, as ``ExtentId`` and ``Tags``.

    ``Tags`` is one tag, several with line breaks between them as ``.show table T extents`` has
    them, or a JSON array as ``extent_tags()`` has them.
    """
    names, rows = await ask(context, text)
    at, tags = _place(names, "ExtentId"), _place(names, "Tags")
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        if row[at] is not None and row[tags] is not None:
            extent_id = _guid(row[at])
            found[extent_id] = (*found.get(extent_id, ()), *_tags(str(row[tags])))
    return found


def by_table(
    database: Database, extents: Iterable[tuple[str, str | None]]
) -> list[tuple[str, list[str]]]:
    """The extents by the tables that hold them.

    An extent never changes its table under its id, so this stays right while it exists. Raises
    EntityNotFoundError, TableNotFoundError (a table that is named and is none).
    """
    tables: dict[str, list[str]] = {}
    for extent_id, name in extents:
        if name is not None:
            candidates: Sequence[str] = (find_table(database, name).name,)
        else:
            candidates = list(database.tables)
        holders = [each for each in candidates if extent_id in database.tables[each].extents]
        if not holders:
            where = f"table '{name}'" if name is not None else f"database '{database.name}'"
            raise EntityNotFoundError(
                f"Extent '{extent_id}' was not found in {where}.",
                remedy="Look at .show table T extents; merged extents have new ids.",
                metadata={"extent": extent_id},
            )
        tables.setdefault(holders[0], []).append(extent_id)
    return list(tables.items())


def _place(names: Sequence[str], name: str) -> int:
    if name not in names:
        raise InvalidRequestError(
            f"The query must give a column '{name}'; it gives {', '.join(names) or 'none'}.",
            metadata={"column": name},
        )
    return names.index(name)


def _guid(value: object) -> str:
    text = str(value).lower()
    if not _GUID.fullmatch(text):
        raise InvalidRequestError(f"'{text}' in the column 'ExtentId' is not a guid.")
    return text


_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _tags(text: str) -> tuple[str, ...]:
    if text.startswith("["):
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if isinstance(values, list):
            return tuple(str(value) for value in values)
    return tuple(tag for tag in text.splitlines() if tag)
