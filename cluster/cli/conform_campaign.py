"""Runs a campaign and tells about it: a line for each failure as it is found, then the sum."""

from __future__ import annotations

import contextlib
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from cluster.cli import conform_systems
from cluster.cli.output import console, plain_table, print_json
from cluster.conformance.campaign import SeedTask
from cluster.conformance.store import CampaignStore
from cluster.conformance.summary import SeedOutcome, Tally, failure_line, unreached_line
from cluster.conformance.worker import WorkerSettings, perform_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.progress import Progress, TaskID

    from cluster.conformance.request import RunRequest
    from cluster.conformance.summary import Summary
    from cluster.conformance.worker import Outcome, Task


@dataclass(frozen=True, slots=True)
class Campaign:
    """What a verb asked for. ``seconds`` and ``hang_seconds`` are real ones; 0: no budget."""

    runner: str
    base: RunRequest
    seeds: range
    jobs: int
    shrink_tries: int = 0
    seconds: float = 0.0
    hang_seconds: float = 300.0
    report: Path | None = None
    keep_all: bool = False

    def store(self) -> CampaignStore | None:
        """A folder named for the system, the seeds and now, if a report is wanted."""
        if self.report is None:
            return None
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        mutant = f"-{self.base.mutant}" if self.base.mutant else ""
        seeds = f"{self.seeds[0]}-{self.seeds[-1]}"
        return CampaignStore(self.report, f"{now}-{self.base.system}{mutant}-{seeds}")


def run_campaign(campaign: Campaign) -> tuple[Summary, CampaignStore | None]:
    """Runs every seed, prints failures as they come, writes the report."""
    began = time.monotonic()
    store = campaign.store()
    settings = WorkerSettings(
        campaign.runner, conform_systems.MUTANTS_MODULE, store, campaign.keep_all
    )
    base = campaign.base
    blamed = base.system == "sim" and not base.mutant and base.schedule is None
    tally = Tally(base.system, base.mutant, blamed=blamed and base.intensity > 0)

    def tasks() -> Iterator[Task]:
        for seed in campaign.seeds:
            if campaign.seconds and time.monotonic() - began > campaign.seconds:
                return
            yield SeedTask(replace(campaign.base, seed=seed), campaign.shrink_tries)

    with progress(f"{campaign.base.system} seeds", len(campaign.seeds)) as bar:
        for _, outcome in finished(tasks(), settings, campaign.jobs, campaign.hang_seconds):
            assert isinstance(outcome, SeedOutcome)
            tally.add(outcome)
            for failure in outcome.failures:
                typer.echo(failure_line(outcome.seed, failure))
            bar.advance(f"{tally.violations} violations")
    summary = tally.summary(time.monotonic() - began)
    if store is not None:
        store.save_summary(summary)
    return summary, store


def finished(
    tasks: Iterator[Task], settings: WorkerSettings, jobs: int, hang_seconds: float
) -> Iterator[tuple[Task, Outcome]]:
    """:func:`perform_all`, with its workers ended whatever happens to the caller."""
    with contextlib.closing(
        perform_all(tasks, settings, jobs, hang_seconds=hang_seconds)
    ) as outcomes:
        yield from outcomes


class Bar:
    """A progress bar, or nothing where nobody looks."""

    def __init__(self, drawn: Progress | None, task: TaskID | None) -> None:
        self._drawn = drawn
        self._task = task

    def advance(self, note: str) -> None:
        """One more is done."""
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, advance=1, note=note)


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Bar]:
    """Draws on standard error if that is a terminal; standard output stays clean for pipes."""
    if not sys.stderr.isatty():
        yield Bar(None, None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    # Lines printed meanwhile go above the bar, if they go to a terminal as well.
    with Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    ) as drawn:
        yield Bar(drawn, drawn.add_task(what, total=total, note=""))


def print_summary(summary: Summary, store: CampaignStore | None) -> None:
    """The sum for people."""
    from rich.text import Text

    pace = summary.virtual_seconds / summary.real_seconds if summary.real_seconds else 0.0
    output = console()
    if any(summary.sometimes.values()) or summary.unreached:
        table = plain_table(
            ("interesting state", "seeds that reached it"), right=("seeds that reached it",)
        )
        for state, count in summary.sometimes.items():
            style = "red" if state in summary.unreached else ""
            table.add_row(Text(state, style=style), Text(f"{count:,}", style=style))
        output.print(table)
        typer.echo("")
    doubtful = {
        rule: counts for rule, counts in summary.rules.items() if counts.failed or not counts.proves
    }
    if doubtful:
        heads = ("rule", "pass", "fail", "unknown", "not applicable")
        table = plain_table((*heads, "what was missing"), right=heads[1:])
        why = {rule: text for one in summary.outcomes for rule, text in one.why_unknown.items()}
        for rule, counts in doubtful.items():
            numbers = (counts.passed, counts.failed, counts.unknown, counts.not_applicable)
            missing = "" if counts.failed else why.get(rule, "")
            table.add_row(rule, *(f"{number:,}" for number in numbers), Text(missing))
        output.print(table)
        if any(not counts.failed for counts in doubtful.values()):
            typer.echo("\nNothing was proved of a rule that no seed could judge; more seeds may.")
        typer.echo("")
    typer.echo(
        f"{summary.seeds:,} seeds, {summary.violations:,} violations, {summary.unknown:,} unknown; "
        f"{summary.virtual_seconds:,.0f} s of the system's time in {summary.real_seconds:,.1f} s "
        f"({pace:,.0f} times as fast)"
    )
    typer.echo(f"history hash {summary.history_hash}")
    if store is not None:
        typer.echo(f"report in {store.folder}")


def finish(summary: Summary, store: CampaignStore | None, *, as_json: bool) -> NoReturn:
    """Prints the sum and exits with its code."""
    for state in summary.unreached:
        typer.echo(unreached_line(summary, state))
    if as_json:
        print_json(summary.line())
    else:
        print_summary(summary, store)
    raise typer.Exit(summary.exit_code)


def rule_rows(summary: Summary) -> list[tuple[str, str, str]]:
    """Rule, what is said of it, and why: for campaigns of few seeds."""
    rows: list[tuple[str, str, str]] = []
    failed = {
        failure.violation.rule: failure.violation.message
        for outcome in summary.outcomes
        for failure in outcome.failures
    }
    why = {rule: text for outcome in summary.outcomes for rule, text in outcome.why_unknown.items()}
    for rule, counts in summary.rules.items():
        if rule in failed:
            rows.append((rule, "fail", failed.pop(rule)))
        elif counts.passed:
            rows.append((rule, "pass", ""))
        elif counts.unknown:
            rows.append((rule, "unknown", why.get(rule, "")))
        else:
            rows.append((rule, "not applicable", ""))
    rows += [(rule, "fail", message) for rule, message in failed.items()]
    return rows


def print_rules(rows: list[tuple[str, str, str]]) -> None:
    """A line for each rule."""
    from rich.text import Text

    styles: dict[str, Any] = {"pass": "green", "fail": "red", "unknown": "yellow"}
    table = plain_table(("rule", "verdict", "why"))
    for rule, verdict, why in rows:
        table.add_row(Text(rule), Text(verdict, style=styles.get(verdict, "")), Text(why))
    console().print(table)
    typer.echo("")
