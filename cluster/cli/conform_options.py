"""Options that the verbs of ``remora conform`` share. Light: loaded by every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from cluster.cli.options import AsJson as AsJson  # the verbs take it from here

EXIT_CODES: Final = (
    "Exit codes: 0 every rule that could be judged holds; 1 a rule is violated, the code under "
    "test crashed, a mutant survived, or a campaign of 50 seeds or more never reached an "
    "interesting state; 2 something is unknown (nothing was proved), or wrong usage; "
    "130 interrupted."
)

Seeds = Annotated[
    str,
    typer.Option(
        "--seeds", envvar="REMORA_CONFORM_SEEDS", metavar="A-B", help="One seed, or a range."
    ),
]
Shrink = Annotated[
    bool,
    typer.Option(
        "--shrink",
        envvar="REMORA_CONFORM_SHRINK",
        help="Cut each failure down to the faults and operations that it needs.",
    ),
]
Tries = Annotated[
    int,
    typer.Option(
        "--tries",
        envvar="REMORA_CONFORM_TRIES",
        min=1,
        metavar="RUNS",
        help="Runs at most to shrink a failure.",
    ),
]
Report = Annotated[
    Path | None,
    typer.Option(
        "--report",
        envvar="REMORA_CONFORM_REPORT",
        file_okay=False,
        metavar="DIR",
        help="Write verdicts, histories, timelines and JUnit XML below this folder.",
    ),
]
KeepAll = Annotated[
    bool,
    typer.Option(
        "--keep-all",
        envvar="REMORA_CONFORM_KEEP_ALL",
        help="Report every seed, also those that passed.",
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        envvar="REMORA_CONFORM_JOBS",
        min=0,
        metavar="JOBS",
        help="Worker processes; 0: as many as there are processors.",
    ),
]
HangSeconds = Annotated[
    float,
    typer.Option(
        "--hang",
        envvar="REMORA_CONFORM_HANG",
        min=0.1,
        metavar="SECONDS",
        help="A single run that takes longer is ended, and counts as a crash.",
    ),
]
SafetySeconds = Annotated[
    float | None,
    typer.Option(
        "--safety",
        envvar="REMORA_CONFORM_SAFETY",
        min=1.0,
        metavar="SECONDS",
        help="How long faults happen, by the system's clock; default: the system's own.",
    ),
]
LivenessSeconds = Annotated[
    float | None,
    typer.Option(
        "--liveness",
        envvar="REMORA_CONFORM_LIVENESS",
        min=1.0,
        metavar="SECONDS",
        help="Within how long all must have caught up after that.",
    ),
]

DEFAULT_TRIES: Final = 150
DEFAULT_HANG_SECONDS: Final = 300.0


def seed_range(text: str) -> range:
    """The seeds; wrong usage if the text is none."""
    from cluster.conformance.campaign import parse_seeds

    try:
        return parse_seeds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--seeds") from None


def processors(jobs: int) -> int:
    """The number of workers that was asked for, or that this process may use at once."""
    if jobs:
        return jobs
    from cluster.processors import usable

    return len(usable()) or 1


MutantName = Annotated[
    str,
    typer.Option(
        "--mutant",
        envvar="REMORA_CONFORM_MUTANT",
        metavar="NAME",
        help="Plant this defect into the code under test; see: remora conform mutants --names",
    ),
]
