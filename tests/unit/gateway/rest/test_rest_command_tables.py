"""Tables of commands as results: the Python values executors give, of every type."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from cluster.catalog.model import Column, ScalarType
from cluster.commands.results import CommandResult
from cluster.gateway.rest.command_tables import command_table
from cluster.gateway.rest.rows import rows_of

ABROAD = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("kind", "values", "texts"),
    [
        ("bool", [True, None], ["true", "null"]),
        (
            "datetime",
            [
                dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
                dt.datetime(2026, 1, 2, 5, 4, 5, tzinfo=ABROAD),
                None,
            ],
            ['"2026-01-02T03:04:05.0000000Z"', '"2026-01-02T03:04:05.0000000Z"', "null"],
        ),
        ("decimal", [Decimal("1.50"), None], ['"1.5"', "null"]),
        ("dynamic", ['{"a":1}', None], ['{"a":1}', "null"]),
        ("guid", ["8a7e2f10-0000-4000-8000-00000000000d", None],
         ['"8a7e2f10-0000-4000-8000-00000000000d"', "null"]),
        ("int", [1, None], ["1", "null"]),
        ("long", [2**40, None], ["1099511627776", "null"]),
        ("real", [1.0, 2, None], ["1.0", "2.0", "null"]),
        ("string", ["x", None, 5], ['"x"', '""', '"5"']),
        ("timespan", [dt.timedelta(days=1, seconds=1), None], ['"1.00:00:01"', "null"]),
    ],
)  # fmt: skip
def test_values_of_executors_are_those_of_queries(kind, values, texts):
    columns = (Column("x", ScalarType(kind)),)
    table = command_table(CommandResult(columns, tuple((value,) for value in values)))
    assert [column.type for column in table.columns] == [ScalarType(kind)]
    assert b"".join(rows_of(table)).decode() == ",".join(f"[{text}]" for text in texts)


def test_no_rows_have_their_columns():
    columns = (Column("a", ScalarType.STRING), Column("b", ScalarType.GUID))
    table = command_table(CommandResult(columns, ()))
    assert (table.table.num_rows, table.table.column_names) == (0, ["a", "b"])
