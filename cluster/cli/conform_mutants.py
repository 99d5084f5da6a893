"""``remora conform mutants``."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli import conform_systems
from cluster.cli.conform_options import (
    DEFAULT_HANG_SECONDS,
    DEFAULT_TRIES,
    AsJson,
    HangSeconds,
    Jobs,
    Report,
    Tries,
    processors,
)
from cluster.cli.conform_systems import refuse, system_runner
from cluster.cli.output import console, plain_table, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cluster.conformance.mutation import HuntOutcome, Mutant
    from cluster.conformance.summary import SeedOutcome
    from cluster.conformance.worker import Task, WorkerSettings

Chosen = Annotated[
    list[str] | None, typer.Argument(metavar="[MUTANT]...", help="Only these; default: all.")
]
NamesOnly = Annotated[
    bool,
    typer.Option(
        "--names",
        envvar="REMORA_CONFORM_NAMES",
        help="Only list them: name, rule, and what a programmer did wrong.",
    ),
]
CleanSeeds = Annotated[
    int,
    typer.Option(
        "--clean",
        envvar="REMORA_CONFORM_CLEAN",
        min=0,
        metavar="SEEDS",
        help="Seeds without any mutant that must pass first: no false alarms.",
    ),
]
MutantSeeds = Annotated[
    int,
    typer.Option(
        "--seeds",
        envvar="REMORA_CONFORM_MUTANT_SEEDS",
        min=1,
        metavar="SEEDS",
        help="Seeds at most, for one mutant, from 1 on.",
    ),
]
MutantSeconds = Annotated[
    float,
    typer.Option(
        "--seconds",
        envvar="REMORA_CONFORM_MUTANT_SECONDS",
        min=0.1,
        metavar="TIME",
        help="Seconds at most to look for one mutant.",
    ),
]
NoShrink = Annotated[
    bool,
    typer.Option(
        "--no-shrink",
        envvar="REMORA_CONFORM_NO_SHRINK",
        help="Do not cut each failure down to the faults and operations that it needs.",
    ),
]


def mutants(
    chosen: Chosen = None,
    names: NamesOnly = False,
    clean: CleanSeeds = 20,
    seeds: MutantSeeds = 200,
    seconds: MutantSeconds = 120.0,
    no_shrink: NoShrink = False,
    tries: Tries = DEFAULT_TRIES,
    jobs: Jobs = 0,
    report: Report = None,
    hang: HangSeconds = DEFAULT_HANG_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Proves that the rules are watched: each planted defect must be caught by the rule it breaks.

    First some seeds run without any defect, because an alarm that always rings proves nothing. Then
    each mutant is planted into the simulated code, and seeds run until its own rule fails. A mutant
    that only other rules notice has survived.

    Examples:

      remora conform mutants --names

      remora conform mutants

      remora conform mutants ack-when-staged --seeds 50
    """
    from cluster.conformance.mutation import UnknownMutantError, load_mutants, select_mutants

    there = load_mutants(conform_systems.MUTANTS_MODULE)
    if not there:
        refuse("this build comes without mutants: nothing was run, nothing is proved")
    try:
        selected = select_mutants(there, chosen or [])
    except UnknownMutantError as error:
        refuse(str(error))
    if names:
        _print_names(selected, as_json)
        return
    runner = system_runner("sim")
    from cluster.conformance.summary import MutantCounts, Tally
    from cluster.conformance.worker import WorkerSettings

    began = time.monotonic()
    tally = Tally("sim")
    limit = 0 if no_shrink else tries
    if clean:
        for passed in _prove_clean(runner, clean, processors(jobs), limit, hang, report, as_json):
            tally.add(passed)
    settings = WorkerSettings(runner, conform_systems.MUTANTS_MODULE)
    hunts = _tasks(selected, seeds, seconds, limit)
    order = [mutant.name for mutant in selected]
    outcomes = _hunt(hunts, len(selected), settings, processors(jobs), hang)
    outcomes.sort(key=lambda outcome: order.index(outcome.mutant))
    caught = sum(outcome.caught for outcome in outcomes)
    counts = MutantCounts(caught=caught, total=len(selected))
    total = tally.summary(time.monotonic() - began, counts)
    for outcome in outcomes:
        if not outcome.caught:
            typer.echo(_survived(outcome))
    if as_json:
        print_json(total.line())
    else:
        _print_table(outcomes)
        typer.echo(
            f"{caught} of {len(selected)} mutants caught; {clean} clean seeds{_median(outcomes)}"
        )
    # Clean seeds are few: that they leave something unknown is not what was asked here.
    raise typer.Exit(0 if caught == len(selected) else 1)


def _prove_clean(
    runner: str,
    seeds: int,
    jobs: int,
    tries: int,
    hang_seconds: float,
    report: Path | None,
    as_json: bool,
) -> tuple[SeedOutcome, ...]:
    """Outcomes of seeds without a mutant; the command ends here if any of them fails."""
    from cluster.cli.conform_campaign import Campaign, finish, run_campaign
    from cluster.conformance.request import RunRequest

    campaign = Campaign(
        runner=runner,
        base=RunRequest(seed=1),
        seeds=range(1, seeds + 1),
        jobs=jobs,
        shrink_tries=tries,
        hang_seconds=hang_seconds,
        report=report,
    )
    summary, store = run_campaign(campaign)
    if summary.violations:
        typer.echo("false alarm: a rule fails without any mutant; none was planted")
        finish(summary, store, as_json=as_json)
    return summary.outcomes


def _tasks(selected: Sequence[Mutant], seeds: int, seconds: float, tries: int) -> Iterator[Task]:
    from cluster.conformance.mutation import HuntTask
    from cluster.conformance.request import RunRequest

    for mutant in selected:
        request = RunRequest(seed=1, mutant=mutant.name)
        yield HuntTask(request, mutant.rule, seeds, seconds, tries)


def _hunt(
    tasks: Iterator[Task], total: int, settings: WorkerSettings, jobs: int, hang_seconds: float
) -> list[HuntOutcome]:
    from cluster.cli.conform_campaign import finished, progress
    from cluster.conformance.mutation import HuntOutcome

    outcomes: list[HuntOutcome] = []
    with progress("mutants", total) as bar:
        for _, outcome in finished(tasks, settings, jobs, hang_seconds):
            assert isinstance(outcome, HuntOutcome)
            outcomes.append(outcome)
            bar.advance(f"{sum(item.caught for item in outcomes)} caught")
    return outcomes


def _survived(outcome: HuntOutcome) -> str:
    noticed = f"; only {', '.join(outcome.others)} failed" if outcome.others else ""
    trouble = f"; {' '.join(outcome.message.split()[-30:])}" if outcome.message else ""
    return (
        f"SURVIVED {outcome.mutant}: {outcome.rule} did not fail in {outcome.runs} runs"
        f"{noticed}{trouble}"
    )


def _median(outcomes: Sequence[HuntOutcome]) -> str:
    faults = [outcome.faults for outcome in outcomes if outcome.faults is not None]
    if not faults:
        return ""
    return f"; shrunk schedules: {median(faults):g} faults in the median, {max(faults)} at most"


def _print_names(selected: Sequence[Mutant], as_json: bool) -> None:
    if as_json:
        print_json([{"name": m.name, "rule": m.rule, "story": m.story} for m in selected])
        return
    table = plain_table(("mutant", "rule", "what a programmer did wrong"))
    for mutant in selected:
        table.add_row(mutant.name, mutant.rule, mutant.story)
    console().print(table)


def _print_table(outcomes: Sequence[HuntOutcome]) -> None:
    from rich.text import Text

    heads = ("mutant", "rule", "caught by", "seed", "runs", "shrunk faults", "seconds")
    table = plain_table(heads, right=heads[3:])
    for outcome in outcomes:
        by = [outcome.rule, *outcome.others] if outcome.caught else []
        table.add_row(
            outcome.mutant,
            outcome.rule,
            Text(", ".join(by) or "survived", style="" if by else "red"),
            "" if outcome.seed is None else str(outcome.seed),
            str(outcome.runs),
            "" if outcome.faults is None else str(outcome.faults),
            f"{outcome.real_seconds:.1f}",
        )
    console().print(table)
