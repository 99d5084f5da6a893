"""Worker processes: many seeds at once, and a seed that kills or hangs its process costs only it.

Each worker is spawned, so that nothing leaks from the parent or from one worker to another, not
even the seed of hashes: a run whose history depends on it shows as another history hash.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from cluster.conformance.campaign import SeedTask, perform_seed
from cluster.conformance.mutation import HuntOutcome, HuntTask, Planted, load_mutants, perform_hunt
from cluster.conformance.replay import Replay, command
from cluster.conformance.summary import CRASH, SeedOutcome, lost_outcome

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from cluster.conformance.request import RunSeed
    from cluster.conformance.store import CampaignStore

Task = SeedTask | HuntTask
Outcome = SeedOutcome | HuntOutcome

HANG_SECONDS: Final = 300.0
"""Real seconds that a single run may take before its process is ended."""

_POLL_SECONDS: Final = 0.5
_GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What every worker knows. ``runner`` and ``mutants`` are module paths to import.

    ``runner`` is ``package.module:function``, a RunSeed. Runs that failed, or proved nothing, are
    stored in ``store``; all of them with ``keep_all``.
    """

    runner: str
    mutants: str
    store: CampaignStore | None = None
    keep_all: bool = False


def load_runner(reference: str) -> RunSeed:
    """The function that ``package.module:function`` names. Raises ImportError."""
    module, _, name = reference.partition(":")
    try:
        return cast("RunSeed", getattr(importlib.import_module(module), name))
    except AttributeError as error:
        raise ImportError(f"{module} has no {name}") from error


def perform(task: Task, run: RunSeed, settings: WorkerSettings, beat: Beat) -> Outcome:
    """Does one task in this process, and stores what is to be stored."""
    if isinstance(task, HuntTask):
        return perform_hunt(task, run, time.monotonic, beat)
    report = perform_seed(task, run, beat)
    outcome = report.outcome
    noteworthy = outcome.failures or not outcome.proves or settings.keep_all
    if settings.store is not None and noteworthy:
        settings.store.save_seed(task.request, report)
    return outcome


class Beat:
    """Tells the parent that another run begins."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self) -> None:
        """None on the wire is a sign of life."""
        self._connection.send(None)


def serve(connection: Connection, settings: WorkerSettings) -> None:
    """The life of a worker: a task comes, an outcome goes, until the other end is closed."""
    # Ended like a program at a terminal: event loops unwind, real processes are stopped.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What the code under test logs belongs into histories; failures are told by rules.
    logging.getLogger().addHandler(logging.NullHandler())
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        run = Planted(load_runner(settings.runner), lambda: load_mutants(settings.mutants))
        while True:
            task: Task = connection.recv()
            try:
                outcome = perform(task, run, settings, Beat(connection))
            except (BrokenPipeError, ConnectionResetError):
                raise
            except Exception:
                outcome = _lost(task, traceback.format_exc(), 0.0)
            connection.send(outcome)
    # Nothing is left to unwind, and an interrupt in the interpreter's own end would be told.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_with_parent() -> None:
    """Nobody wants what an orphan finds out; a run that hangs would go on for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:  # not spawned: there is nobody to wait for
        return
    multiprocessing.connection.wait([parent.sentinel])
    signal.raise_signal(signal.SIGINT)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)


def _lost(task: Task, message: str, real_seconds: float) -> Outcome:
    request = task.request
    if isinstance(task, SeedTask):
        replay = command(Replay(request, CRASH)) if request.target is None else ""
        return lost_outcome(request.seed, message, replay, real_seconds)
    return HuntOutcome(
        mutant=request.mutant, rule=task.rule, runs=0, real_seconds=real_seconds, message=message
    )


@dataclass(slots=True)
class _Worker:
    """A process, what it does and since when nothing was heard of it."""

    process: BaseProcess
    connection: Connection
    task: Task | None = None
    began: float = 0.0
    heard: float = 0.0

    @classmethod
    def start(cls, settings: WorkerSettings) -> _Worker:
        """Spawns it."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, settings), daemon=False)
        process.start()
        theirs.close()  # so that its death is the end of our pipe
        return cls(process, ours)

    def give(self, task: Task) -> None:
        """The next task. A worker that is dead already is noticed when its answer is read."""
        self.task = task
        self.began = self.heard = time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(task)

    def take(self) -> Outcome | None:
        """What it sent: an outcome, or None for a sign of life. Raises EOFError if it is dead."""
        self.heard = time.monotonic()
        try:
            return cast("Outcome | None", self.connection.recv())
        except ConnectionResetError as error:
            raise EOFError from error

    def end(self) -> None:
        """Ends the process, gently at first."""
        self.connection.close()
        if self.process.is_alive():
            self.process.terminate()
        self.process.join(_GRACE_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def perform_all(
    tasks: Iterable[Task],
    settings: WorkerSettings,
    jobs: int,
    *,
    hang_seconds: float = HANG_SECONDS,
) -> Generator[tuple[Task, Outcome], None, None]:
    """Does all tasks in ``jobs`` processes; outcomes come as they are ready, in any order.

    Tasks are taken from the iterable one by one, when a worker is free. Close the generator to end
    every worker.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    source = iter(tasks)
    workers: list[_Worker] = []
    try:
        for task in source:
            workers.append(_Worker.start(settings))
            workers[-1].give(task)
            if len(workers) == jobs:
                break
        while busy := [worker for worker in workers if worker.task is not None]:
            for worker, outcome in _outcomes(busy, hang_seconds):
                assert worker.task is not None
                done, worker.task = worker.task, None
                yield done, outcome
                following = next(source, None)
                if worker.process.exitcode is not None or worker.connection.closed:
                    workers.remove(worker)
                    if following is None:
                        continue
                    worker = _Worker.start(settings)
                    workers.append(worker)
                if following is not None:
                    worker.give(following)
    finally:
        for worker in workers:
            worker.end()


def _outcomes(busy: list[_Worker], hang_seconds: float) -> Iterator[tuple[_Worker, Outcome]]:
    """What is ready now, also of workers that died or must be ended."""
    by_connection = {worker.connection: worker for worker in busy}
    for ready in multiprocessing.connection.wait(list(by_connection), _POLL_SECONDS):
        worker = by_connection.pop(cast("Connection", ready))
        try:
            outcome = worker.take()
        except EOFError:
            worker.end()
            yield worker, _ended(worker, _how(worker.process.exitcode))
            continue
        if outcome is not None:
            yield worker, outcome
    for worker in by_connection.values():
        if time.monotonic() - worker.heard > hang_seconds:
            worker.end()
            yield worker, _ended(worker, f"a run did not end within {hang_seconds:g} s")


def _ended(worker: _Worker, what: str) -> Outcome:
    assert worker.task is not None
    message = f"the code under test never takes its process down: {what}"
    return _lost(worker.task, message, time.monotonic() - worker.began)


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"its process was killed by {signal.Signals(-exit_code).name}"
    return f"its process ended with exit code {exit_code}"
