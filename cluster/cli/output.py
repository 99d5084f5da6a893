"""What verbs print: one line of JSON, CSV, or a table for people."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Any, Final, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType
    from rich.table import Table

    from cluster.client import Result

_WIDE = 100_000

_READABLE: Final = 16
"""Characters of a column that is narrower than its values, at least."""

_GAP: Final = 3
"""Characters between two columns."""


def print_json(values: Any) -> None:
    """One line."""
    typer.echo(json.dumps(values, ensure_ascii=False, allow_nan=False))


def one_format(as_json: bool, as_csv: bool) -> None:
    """Wrong usage if both are asked for."""
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")


def console() -> Console:
    """Standard output for rich. Where nobody looks, lines are as long as they need to be."""
    from rich.console import Console

    made = Console(highlight=False, soft_wrap=True)
    if not made.is_terminal:
        made = Console(highlight=False, soft_wrap=True, width=_WIDE)
    return made


def plain_table(
    columns: Sequence[str], *, right: Sequence[str] = (), solid: Sequence[str] = ()
) -> Table:
    """A table with a rule under its head; columns in ``right`` are right-aligned.

    On a narrow terminal a long value goes on below, at a word if it has any; none is cut. Columns
    in ``solid`` keep their width as long as others can give way.
    """
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        justify: Literal["right", "left"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column in solid)
    return table


def fits(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether lines of ``width`` characters have room for a table that can be read: for each
    column all of it, or ``_READABLE`` characters of it with the rest below."""
    from rich.cells import cell_len

    needed = 0
    for index, column in enumerate(columns):
        longest = max((cell_len(row[index]) for row in rows), default=0)
        needed += max(cell_len(column), min(longest, _READABLE)) + _GAP
    return needed - _GAP <= width


def records(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    """A line for each value of each row, behind its column's name: for tables that are too wide."""
    from rich.console import Group
    from rich.rule import Rule
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for number, row in enumerate(rows, 1):
        lines = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        lines.add_column(overflow="fold", min_width=min(_READABLE, max(map(len, columns))))
        lines.add_column(overflow="fold")
        for column, value in zip(columns, row, strict=True):
            lines.add_row(Text(column), Text(value))
        parts += [Rule(f"row {number:,}", align="left", style=""), lines]
    return Group(*parts)


def print_result(result: Result, *, as_json: bool, as_csv: bool) -> None:
    """A result table in the format asked for.

    JSON: ``{"columns":[{"name","type"}],"rows":[[...]]}``, values as in Kusto's REST responses.
    """
    from cluster.cli.values import to_json, to_text

    types = [kind for _, kind in result.columns]
    if as_json:
        print_json(
            {
                "columns": [{"name": name, "type": kind} for name, kind in result.columns],
                "rows": [
                    [to_json(kind, value) for kind, value in zip(types, row, strict=True)]
                    for row in result.rows()
                ],
            }
        )
        return
    rows = [
        [to_text(kind, value) for kind, value in zip(types, row, strict=True)]
        for row in result.rows()
    ]
    names = [name for name, _ in result.columns]
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
        return
    from rich.text import Text

    output = console()
    if rows and not fits(names, rows, output.width):
        output.print(records(names, rows))
    else:
        numbers = {"decimal", "int", "long", "real", "timespan"}
        table = plain_table(names, right=[name for name, kind in result.columns if kind in numbers])
        for row in rows:
            table.add_row(*map(Text, row))
        output.print(table)
    typer.echo(f"({result.table.num_rows} {'row' if result.table.num_rows == 1 else 'rows'})")
