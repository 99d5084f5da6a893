"""Forms about columns (``adx-behaviour.md`` 7.3). Pure data."""

from __future__ import annotations

from typing import Final

from cluster.commands.grammar.spec import (
    SCHEMA_ROW,
    TABLE_ADMIN,
    CommandSpec,
    Kind,
)

_COLUMN_ROW: Final = "EntityName, DataType, Policy"

COMMANDS: Final[tuple[CommandSpec, ...]] = (
    CommandSpec("alter column type", "alter column <column:column> type '=' <type:type>",
                _COLUMN_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("rename column", "rename column <column:column> to <name:name>",
                _COLUMN_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("rename columns", "rename columns <renames:column_renames>",
                _COLUMN_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("drop column", "drop column <column:column> [ifexists]",
                SCHEMA_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("drop table columns", "drop table <table:name> columns <columns:names>",
                SCHEMA_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("alter table column-docstrings",
                "alter table <table:name> column-docstrings <docstrings:docstrings>",
                SCHEMA_ROW, Kind.MUTATE, TABLE_ADMIN),
    CommandSpec("alter-merge table column-docstrings",
                "alter-merge table <table:name> column-docstrings <docstrings:docstrings>",
                SCHEMA_ROW, Kind.MUTATE, TABLE_ADMIN),
)  # fmt: skip
