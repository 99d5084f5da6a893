"""``remora conform replay LINE``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.cli import conform_systems
from cluster.cli.conform_options import DEFAULT_TRIES, AsJson, Report, Shrink, Tries
from cluster.cli.conform_systems import EXIT_UNKNOWN, refuse, system_runner
from cluster.cli.output import print_json

if TYPE_CHECKING:
    from cluster.conformance.campaign import SeedReport
    from cluster.conformance.replay import Replay

Line = Annotated[
    str, typer.Argument(metavar="LINE", help="What a failure printed after replay, in quotes.")
]


def replay(
    line: Line,
    report: Report = None,
    shrink: Shrink = False,
    tries: Tries = DEFAULT_TRIES,
    as_json: AsJson = False,
) -> None:
    """Runs one recorded failure again, in this process, and shows what every rule says.

    The line holds the seed, the faults, the mutant and the rule. It tells itself of what version it
    is; a line of another version is refused. Says also whether the history is the recorded one,
    byte for byte: if not, the code has changed since.

    Examples:

      remora conform replay 'v=1;history=1;seed=7;rule=R5;faults=kill:leader/0@12+5'

      remora conform replay 'v=1;...' --report ./store   (then open latest/7/timeline.html)

      remora conform replay 'v=1;...' --shrink
    """
    from cluster.conformance.campaign import SeedTask, perform_seed, replay_mismatch
    from cluster.conformance.mutation import (
        Planted,
        UnknownMutantError,
        load_mutants,
        select_mutants,
    )
    from cluster.conformance.replay import ReplayError, decode
    from cluster.conformance.worker import load_runner

    try:
        recorded = decode(line)
    except ReplayError as error:
        refuse(str(error))
    mutant = recorded.request.mutant
    mutants = load_mutants(conform_systems.MUTANTS_MODULE) if mutant else ()
    try:
        select_mutants(mutants, [mutant] if mutant else [])
    except UnknownMutantError as error:
        refuse(str(error))
    run = Planted(load_runner(system_runner(recorded.request.system)), lambda: mutants)
    began = time.monotonic()
    task = SeedTask(recorded.request, tries if shrink else 0, rule=recorded.rule)
    seed = perform_seed(task, run)
    mismatch = replay_mismatch(recorded, seed.result)
    _tell(recorded, seed, mismatch, report, as_json, time.monotonic() - began)


def _tell(
    recorded: Replay,
    seed: SeedReport,
    mismatch: str,
    report: Any,
    as_json: bool,
    real_seconds: float,
) -> None:
    from cluster.cli.conform_campaign import print_rules, rule_rows
    from cluster.conformance.store import CampaignStore
    from cluster.conformance.summary import Tally, failure_line

    tally = Tally(recorded.request.system, recorded.request.mutant)
    tally.add(seed.outcome)
    summary = tally.summary(real_seconds)
    for failure in seed.outcome.failures:
        typer.echo(failure_line(seed.outcome.seed, failure))
    folder = None
    if report is not None:
        store = CampaignStore(report, f"replay-{recorded.rule or 'all'}-{seed.outcome.digest[:8]}")
        folder = store.save_seed(recorded.request, seed)
        store.save_summary(summary)
    broken = [failure.violation.rule for failure in seed.outcome.failures]
    code = summary.exit_code
    if recorded.rule and not broken:  # what other rules had nothing to look at was not asked
        code = EXIT_UNKNOWN if recorded.rule in seed.outcome.why_unknown else 0
    if as_json:
        print_json(summary.line())
        raise typer.Exit(code)
    print_rules(rule_rows(summary))
    if mismatch:
        typer.echo(f"note: {mismatch}")
    elif recorded.digest:
        typer.echo("the history is the recorded one, byte for byte")
    if recorded.rule:
        again = "fails again" if recorded.rule in broken else "does not fail any more"
        typer.echo(f"rule {recorded.rule} {again}")
    if seed.result.error:
        typer.echo(seed.result.error.rstrip())
    if folder is not None:
        typer.echo(f"timeline in {folder / 'timeline.html'}")
    raise typer.Exit(code)
