"""What verbs print: one line of JSON, CSV, or a table for people."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from cluster.client import Result

_WIDE = 100_000


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


def plain_table(columns: Sequence[str], *, right: Sequence[str] = ()) -> Table:
    """A table with a rule under its head; columns in ``right`` are right-aligned."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        # On a narrow terminal a long value goes on below; none is cut.
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


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
    rows = (
        [to_text(kind, value) for kind, value in zip(types, row, strict=True)]
        for row in result.rows()
    )
    names = [name for name, _ in result.columns]
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
        return
    from rich.text import Text

    numbers = {"decimal", "int", "long", "real", "timespan"}
    table = plain_table(names, right=[name for name, kind in result.columns if kind in numbers])
    for row in rows:
        table.add_row(*map(Text, row))
    console().print(table)
    typer.echo(f"({result.table.num_rows} {'row' if result.table.num_rows == 1 else 'rows'})")
