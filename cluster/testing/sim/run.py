"""One simulated run of a seed: world, plan, schedule, verdicts."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
import traceback
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from cluster.conformance.draw import Draw
from cluster.conformance.generate import CLIENTS, FaultMenu, generate_plan, generate_schedule
from cluster.conformance.history import History
from cluster.conformance.request import RunResult
from cluster.conformance.rules import check_all
from cluster.conformance.runner import run
from cluster.extents.keeping import CrashPoint
from cluster.testing.sim.damage import BODY, CACHE, HEADER, MEMORY
from cluster.testing.sim.lives import WRITE_POINTS
from cluster.testing.sim.scheduling import run_virtual
from cluster.testing.sim.settings import SIMULATED_LIMITS, Reach, Settings
from cluster.testing.sim.system import SimulatedSystem, profile_of
from cluster.testing.sim.watchdog import RunHangsError, bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cluster.conformance.faults import Schedule
    from cluster.conformance.plan import Plan
    from cluster.conformance.request import RunRequest

SAFETY_SECONDS: Final = 600.0
LIVENESS_SECONDS: Final = 400.0

_SLACK_SECONDS: Final = 1500.0
"""Beyond its phases a run takes no longer than this, or it hangs."""

REAL_SECONDS: Final = 240.0
"""Some hundred times what a run takes on a busy machine, and less than a campaign's patience."""

MENU: Final = FaultMenu(
    crash_points=(*(point.value for point in CrashPoint), *WRITE_POINTS),
    bit_flips=(CACHE, HEADER, BODY, MEMORY, MEMORY),
    clients=CLIENTS,
)
"""What a world can be made to suffer."""


def draw_settings(seed: int) -> Settings:
    """The world of a seed: how many followers, how far apart, how slow."""
    draw = Draw(seed, "world")
    followers = ["follower1", "follower2"]
    if draw.chance(0.2):
        followers.append("follower3")
    reach = tuple((name, draw.pick(tuple(Reach))) for name in followers)
    return Settings(
        seed=seed,
        followers=tuple(followers),
        strict=frozenset(name for name in followers[2:] if draw.chance(0.5)),
        reach=reach,
        delay_seconds=draw.pick((0.0, 0.001, 0.001, 0.02, 0.4)),
        sync_seconds=draw.pick((0.0, 0.002, 0.03)),
        think_seconds=draw.pick((0.0, 0.0, 0.2, 3.0)),
        # With one, a follower that missed two changes needs a snapshot; with more, it gets deltas.
        limits=replace(SIMULATED_LIMITS, catalog_history_deltas=draw.pick((1, 2, 12))),
    )


def run_seed(request: RunRequest) -> RunResult:
    """Runs a request in this thread. See :class:`cluster.conformance.request.RunSeed`."""
    began = time.perf_counter()
    settings = draw_settings(request.seed)
    profile = profile_of(settings)
    safety = request.safety_seconds or SAFETY_SECONDS
    liveness = request.liveness_seconds or LIVENESS_SECONDS
    whole = generate_plan(
        request.seed,
        profile,
        safety_seconds=safety,
        liveness_seconds=liveness,
        version=request.plan_version,
    )
    plan = whole.without(request.skipped)
    schedule = request.schedule
    if schedule is None:
        intensity = None if request.intensity == 1.0 else request.intensity
        schedule = generate_schedule(
            request.seed, profile, menu=MENU, safety_seconds=safety, intensity=intensity
        )
    held = _Held()
    error = ""
    with _folder() as folder:
        try:
            with bounded(REAL_SECONDS):
                run_virtual(lambda: _main(settings, plan, schedule, folder, held), request.seed)
        except (
            Exception,
            RunHangsError,
        ):  # whatever the run or the code under test did is the result
            error = traceback.format_exc()
    return RunResult(
        seed=request.seed,
        history=held.history,
        schedule=schedule,
        verdicts=check_all(held.history, profile),
        virtual_seconds=held.virtual_seconds,
        real_seconds=time.perf_counter() - began,
        error="\n".join([*held.failures, error]).strip(),
        operations=whole.operations,
        profile=profile,
    )


class _Held:
    """What a run leaves behind, also when it breaks."""

    def __init__(self) -> None:
        self.history = History()
        self.failures: list[str] = []
        self.virtual_seconds = 0.0


async def _main(
    settings: Settings, plan: Plan, schedule: Schedule, folder: Path, held: _Held
) -> None:
    longest = plan.safety_seconds + plan.liveness_seconds + _SLACK_SECONDS
    async with trio.open_nursery() as nursery:
        system = SimulatedSystem(settings, folder, nursery)
        held.history, held.failures = system.history, system.failures
        try:
            with _listening(system.emit), trio.fail_after(longest):
                await system.start()
                await run(system, plan, schedule)
        finally:
            held.virtual_seconds = system.now()
            system.close()
            nursery.cancel_scope.cancel()


class _Handler(logging.Handler):
    """Hands errors on."""

    def __init__(self, emit: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(logging.ERROR)
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        """See :class:`logging.Handler`."""
        self._emit(record)


@contextmanager
def _listening(emit: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    handler = _Handler(emit)
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)


@contextmanager
def _folder() -> Iterator[Path]:
    """An empty folder, in memory where there is such a place, as the current one while it lasts.

    Relative paths are in messages, in the lengths of frames and so in what happens: they must be
    the same in every run.
    """
    memory = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
    parent = memory if memory.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="remora-sim-", dir=parent))
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield Path("world")
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)
