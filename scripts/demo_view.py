"""What the demo shows while it runs."""

from __future__ import annotations

import sys
import time
from typing import Any

import trio
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

CLUSTERS = ("leader", "follower1", "follower2")


class View:
    """A live table on a terminal; plain lines elsewhere. ``quiet`` writes to standard error."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(file=sys.stderr if quiet else sys.stdout, highlight=False)
        self._started = time.monotonic()

    def tell(self, text: str) -> None:
        """One line of the story."""
        style = "bold cyan" if text.startswith("$") else ""
        stamp = f"{time.monotonic() - self._started:5.1f} s  "
        line = Text.assemble((stamp, "dim"), (text, style))
        self._console.print(line, soft_wrap=True)

    async def refresh(self, observed: Any) -> None:
        """Redraws four times a second; without a terminal prints a line a second."""
        if not self._console.is_terminal:
            while True:
                await trio.sleep(1)
                parts = [f"{name}={observed.rows.get(name)}" for name in CLUSTERS]
                self.tell("rows visible: " + "  ".join(parts))
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(self._draw(observed), refresh=True)
                await trio.sleep(0.25)

    def _draw(self, observed: Any) -> Group:
        table = Table(title="rows visible, counted by query")
        columns = ("cluster", "streaming", "gate", "rows", "lag p50 ms", "lag p99 ms")
        for column in columns:
            table.add_column(column, justify="left" if column in columns[:3] else "right")
        for name in CLUSTERS:
            rows = observed.rows.get(name)
            gate = "-" if name == "leader" else observed.gate.get(name, "unknown")
            lag = observed.lag_ms.get(name)
            table.add_row(
                name,
                "on" if observed.capability.get(name) else "off",
                Text(gate, style="green" if gate == "open" else "red" if name != "leader" else ""),
                "down" if rows is None else f"{rows:,}",
                f"{lag[0]:.2f}" if lag else "-",
                f"{lag[1]:.2f}" if lag else "-",
            )
        return Group(table)

    def finish(self, summary: dict[str, Any]) -> None:
        """The end: the counts, in words."""
        followers = summary["followers"]
        first, second = followers["follower1"], followers["follower2"]
        ends = f"leader {summary['leader_rows']:,}, follower1 {first['rows']:,}"
        lag = f"p50 {first['lag_ms_p50']} ms, p99 {first['lag_ms_p99']} ms"
        lines = [
            f"{summary['rows_acked']:,} rows acknowledged by the leader",
            f"rows at the end: {ends}, follower2 {second['rows']:,}",
            f"follower2 while its capability was off: {second['rows_while_off']} streaming rows",
            f"follower1 lag from commit to visible: {lag}",
            f"lost {summary['lost']}, duplicated {summary['duplicated']}",
        ]
        for line in lines:
            self.tell(line)
        verdict = "the rule held, nothing was lost" if summary["ok"] else "SOMETHING IS WRONG"
        self._console.print(Text(verdict, style="bold green" if summary["ok"] else "bold red"))
