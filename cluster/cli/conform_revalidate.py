"""``remora conform revalidate DIR``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from cluster.cli.conform_systems import refuse
from cluster.cli.options import AsJson  # noqa: TC001 - typer reads annotations

if TYPE_CHECKING:
    from cluster.conformance.request import RunResult
    from cluster.conformance.store import StoredRun

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", exists=True, file_okay=False, help="A report, or any folder of reports."
    ),
]


def revalidate(folder: Folder, as_json: AsJson = False) -> None:
    """Lets today's rules judge the histories of old reports; nothing is run.

    For whoever changed a rule: what it says of everything that was ever found. Prints where a
    verdict is now another one. The files stay as they are.

    Examples:

      remora conform revalidate ./store

      remora conform revalidate ./store/latest --json
    """
    from cluster.cli.conform_campaign import finish
    from cluster.conformance.store import ReportError, stored_runs
    from cluster.conformance.summary import (
        Failure,
        Tally,
        failure_line,
        outcome_of,
        violations_of,
    )

    began = time.monotonic()
    tally = Tally("stored histories")
    changed = 0
    try:
        for number, stored in enumerate(stored_runs(folder)):
            result = _judged(stored)
            failures = [Failure(violation=v, replay="") for v in violations_of(result)]
            place = stored.folder.relative_to(folder.resolve())
            for failure in failures:
                typer.echo(f"{place}: {failure_line(result.seed, failure)}")
            for line in _changes(stored, result):
                changed += 1
                typer.echo(f"{place}: {line}")
            # Several runs of a folder may be of one seed: here they are numbered as they come.
            outcome = outcome_of(result, failures)
            tally.add(msgspec.structs.replace(outcome, seed=number))
    except ReportError as error:
        refuse(str(error))
    summary = tally.summary(time.monotonic() - began)
    if not summary.seeds:
        refuse(f"no report below {folder}: there is no verdict.json")
    if not as_json:
        typer.echo(f"{changed} verdicts are others than when the runs were made")
    finish(summary, None, as_json=as_json)


def _judged(stored: StoredRun) -> RunResult:
    """The run as today's rules see it."""
    from cluster.conformance.faults import Schedule
    from cluster.conformance.request import RunResult
    from cluster.conformance.rules import check_all
    from cluster.conformance.store import ReportError

    old = stored.verdicts
    if old.profile is None:
        raise ReportError(f"{stored.folder}: its verdict.json has no profile to judge it by")
    try:
        profile = old.profile.profile()
    except ValueError as error:
        raise ReportError(f"{stored.folder}: {error}") from error
    return RunResult(
        seed=old.seed,
        history=stored.history,
        schedule=Schedule(),
        verdicts=check_all(stored.history, profile, old.parameters),
        virtual_seconds=old.virtual_seconds,
        real_seconds=0.0,
        error=old.error,
        profile=profile,
        parameters=old.parameters,
    )


def _changes(stored: StoredRun, now: RunResult) -> list[str]:
    """Rules whose verdict is another one than was stored."""
    before = {verdict.rule: verdict.judgement.value for verdict in stored.verdicts.verdicts}
    after = {verdict.rule: verdict.judgement.value for verdict in now.verdicts}
    rules = list(dict.fromkeys([*before, *after]))
    return [
        f"{rule} was {before.get(rule, 'not judged')}, is {after.get(rule, 'not judged')}"
        for rule in rules
        if before.get(rule) != after.get(rule)
    ]
