"""``remora conform sim``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.cli.conform_options import (
    DEFAULT_HANG_SECONDS,
    DEFAULT_TRIES,
    AsJson,
    HangSeconds,
    Jobs,
    KeepAll,
    LivenessSeconds,
    MutantName,
    Report,
    SafetySeconds,
    Seeds,
    Shrink,
    Tries,
    processors,
    seed_range,
)
from cluster.cli.conform_systems import check_mutant, system_runner

if TYPE_CHECKING:
    from cluster.conformance.faults import Schedule

Budget = Annotated[
    float,
    typer.Option(
        "--seconds",
        envvar="REMORA_CONFORM_SECONDS",
        min=0.0,
        metavar="BUDGET",
        help="Begin no more seeds after this long; 0: run them all.",
    ),
]
Intensity = Annotated[
    float,
    typer.Option(
        "--intensity",
        envvar="REMORA_CONFORM_INTENSITY",
        min=0.0,
        metavar="TIMES",
        help="Times the usual number of faults; 0: none.",
    ),
]
FaultsFile = Annotated[
    Path | None,
    typer.Option(
        "--faults",
        envvar="REMORA_CONFORM_FAULTS",
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="These faults for every seed, instead of drawing them; faults.json of a report.",
    ),
]


def sim(
    seeds: Seeds = "1-200",
    shrink: Shrink = False,
    as_json: AsJson = False,
    report: Report = None,
    mutant: MutantName = "",
    jobs: Jobs = 0,
    seconds: Budget = 0.0,
    intensity: Intensity = 1.0,
    faults: FaultsFile = None,
    safety: SafetySeconds = None,
    liveness: LivenessSeconds = None,
    keep_all: KeepAll = False,
    tries: Tries = DEFAULT_TRIES,
    hang: HangSeconds = DEFAULT_HANG_SECONDS,
) -> None:
    """Runs seeds in a simulated world: real code, virtual time, faults drawn from the seed.

    One seed is one history of clients, faults, healing and quiet, byte for byte the same each time.
    Every rule judges it. A failure is a line with the seed, the time, the guarantee that was broken
    and a command that replays it.

    Examples:

      remora conform sim --seeds 1-200

      remora conform sim --seeds 1-5000 --jobs 8 --shrink --report ./store

      remora conform sim --seeds 7 --report ./store --keep-all   (then open latest/7/timeline.html)

      remora conform sim --seeds 1-100000 --seconds 3600 --json | tail -1
    """
    chosen = seed_range(seeds)
    runner = system_runner("sim")
    from cluster.cli.conform_campaign import Campaign, finish, run_campaign
    from cluster.conformance.request import RunRequest

    check_mutant(mutant)
    base = RunRequest(
        seed=chosen[0],
        schedule=_schedule(faults),
        mutant=mutant,
        intensity=intensity,
        safety_seconds=safety,
        liveness_seconds=liveness,
    )
    summary, store = run_campaign(
        Campaign(
            runner=runner,
            base=base,
            seeds=chosen,
            jobs=processors(jobs),
            shrink_tries=tries if shrink else 0,
            seconds=seconds,
            hang_seconds=hang,
            report=report,
            keep_all=keep_all,
        )
    )
    finish(summary, store, as_json=as_json)


def _schedule(path: Path | None) -> Schedule | None:
    if path is None:
        return None
    from cluster.conformance.store import parse_schedule_file

    try:
        return parse_schedule_file(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="--faults") from None
