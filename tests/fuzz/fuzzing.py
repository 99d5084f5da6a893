"""Runs a door over examples that nobody would think of, and says what it must never do.

A :class:`Target` is a door with a generator of what comes through it. Of every example is asked:

- Whatever is refused is refused with a typed error; nothing else leaves the door.
- It takes bounded processor time and memory, and ends.

A run is made of rounds; a round is given by its seed and number alone, so that one that found
something is run again by its line. Hypothesis makes examples and shrinks them to the smallest that
still fails.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import SearchStrategy

HANG_SECONDS: Final = 120
"""An example that takes longer hangs. Wall clock, so generous: under load 30 s were not enough for
the process of an ORC file."""

ROUND_EXAMPLES: Final = 500

_ROOT: Final = Path(__file__).parents[2]
WORLDS: Final = (
    _ROOT / "scripts",
    *(_ROOT / "tests/unit" / name for name in ("commands", "ingest", "gateway/rest", "query")),
)
"""Folders of what targets import, and tests of them."""


Check = Callable[[Any], str]


class HangError(BaseException):
    """An example did not end. No Exception: what is under test must not catch it."""


@dataclass(frozen=True)
class Target:
    """A door under test. ``check`` takes an example and returns in a word what became of it.

    It raises whatever the door must not raise. ``processor_seconds`` and ``memory_mib`` bound one
    example.
    """

    name: str
    examples: SearchStrategy[Any]
    check: Check
    processor_seconds: float = 2.0
    memory_mib: int = 256
    outcomes: Counter[str] = field(default_factory=Counter)


def run_round(target: Target, number: int, *, start: int, examples: int = ROUND_EXAMPLES) -> None:
    """One round of the run with seed ``start``. Raises what was found, with its example."""

    @seed(start * 1_000_003 + number)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.examples)
    def one(example: Any) -> None:
        target.outcomes[_judged(target, example)] += 1

    one()


def _judged(target: Target, example: Any) -> str:
    before = _reset_peak()
    began = time.process_time()
    with _ends(HANG_SECONDS):
        try:
            outcome = target.check(example)
        except HangError as error:  # Hypothesis tells the example of an Exception only
            error.add_note(f"example: {example!r}")
            raise
    took = time.process_time() - began
    assert took <= target.processor_seconds, f"took {took:.1f} s of processor time"
    grown = _peak_mib() - before
    assert grown <= target.memory_mib, f"took {grown} MiB of memory"
    return outcome


@contextmanager
def _ends(seconds: float) -> Iterator[None]:
    """Raises HangError after a time; a loop in C that hears no signal ends the process instead."""

    def late(_number: int, _frame: object) -> None:
        raise HangError(f"no end after {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(3 * seconds, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _reset_peak() -> int:
    """The memory in use now, in MiB: the peak is measured from here on (``proc(5)``)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_mib()


def _peak_mib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) // 1024
