"""Forms about batch ingestion (``adx-behaviour.md`` 5.4). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.asynchronous import with_async
from cluster.commands.grammar.spec import (
    DATABASE_USER,
    TABLE_ADMIN,
    TABLE_INGESTOR,
    WITH,
    CommandSpec,
    Kind,
)

_PULL_ROW: Final = "ExtentId:guid, ItemLoaded, Duration:timespan, HasErrors:bool, OperationId:guid"
_QUERY_ROW: Final = (
    "ExtentId:guid, OriginalSize:long, ExtentSize:long, CompressedSize:long, IndexSize:long, "
    "RowCount:long"
)
_CREATOR: Final = f"{DATABASE_USER} to create the table, {TABLE_INGESTOR} to append to it"
_MODES: Final = (
    ("set", DATABASE_USER),
    ("append", TABLE_INGESTOR),
    ("set-or-append", _CREATOR),
    ("set-or-replace", f"{DATABASE_USER} to create the table, {TABLE_ADMIN} to replace its data"),
)

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("ingest inline",
                f"ingest inline into table <table:name> {WITH} "
                "('<|' <data:rest> | <records:records>)",
                "ExtentId:guid", Kind.MUTATE, TABLE_INGESTOR),
    *with_async("ingest",
                "ingest [async] into table <table:name> (<sources:strings> | <source:string>) "
                f"{WITH}", _PULL_ROW, TABLE_INGESTOR),
    *(
        form
        for mode, permission in _MODES
        for form in with_async(mode, f"{mode} [async] <table:name> {WITH} '<|' <query:rest>",
                               _QUERY_ROW, permission)
    ),
)  # fmt: skip
