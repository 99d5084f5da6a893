"""Cuts a failing run down to what makes it fail. Pure, deterministic, bounded.

Delta debugging (A. Zeller, R. Hildebrandt: *Simplifying and Isolating Failure-Inducing Input*, IEEE
TSE 2002): ``ddmin`` over the faults of the schedule, then each fault made shorter and weaker, then
operations of the plan left out in blocks. A smaller run counts only if the *same* rule fails; for
a crash, only if it is the same kind of error.
Simulated runs are functions of their requests, so the search never meets a flaky answer; on real
processes it does, and then keeps the last request that did fail.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from cluster.conformance.faults import Fault, FaultKind, Schedule
from cluster.conformance.summary import CRASH, crash_name, violations_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cluster.conformance.request import Ranges, RunRequest, RunResult, RunSeed

DEFAULT_TRIES: Final = 150
"""Runs at most, for one failure."""

SHORTEST_SECONDS: Final = 1.0
"""Faults are not made shorter than this: no reader gains from it."""

_HALVINGS: Final = 4
_FINEST_BLOCKS: Final = 32

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest failing run that was found.

    ``request`` has its schedule spelled out. ``reproduced`` is False if not even the original
    failed again; then nothing was cut. ``complete``: the search ended by itself, not by the bound.
    """

    request: RunRequest
    result: RunResult
    tries: int
    complete: bool
    reproduced: bool = True

    @property
    def schedule(self) -> Schedule:
        """The faults that are left."""
        assert self.request.schedule is not None
        return self.request.schedule


def shrink(
    request: RunRequest,
    found: RunResult,
    rule: str,
    run: RunSeed,
    *,
    tries: int = DEFAULT_TRIES,
) -> Shrunk:
    """Cuts ``request``, which gave ``found``, as long as ``rule`` fails; at most ``tries`` runs."""
    if tries < 1:
        raise ValueError(f"tries must be at least 1, not {tries}")
    search = _Search(replace(request, schedule=found.schedule), found, rule, run, tries)
    if not search.fails(search.best):
        return Shrunk(search.best, found, search.tried, complete=True, reproduced=False)
    _drop_faults(search)
    _weaken_faults(search)
    _skip_operations(search)
    _drop_faults(search)
    return Shrunk(search.best, search.result, search.tried, complete=not search.exhausted)


def ddmin(items: Sequence[Item], fails: Callable[[tuple[Item, ...]], bool]) -> tuple[Item, ...]:
    """A 1-minimal part of ``items`` that still fails: no single item of it can be left out.

    ``items`` as a whole must fail. Order is kept.
    """
    kept = tuple(items)
    if not kept or fails(()):
        return ()
    parts = 2
    while len(kept) >= 2:
        for smaller, parts_then in _candidates(kept, parts):
            if fails(smaller):
                kept, parts = smaller, parts_then
                break
        else:
            if parts >= len(kept):
                break
            parts = min(len(kept), 2 * parts)
    return kept


def _candidates(items: tuple[Item, ...], parts: int) -> Iterator[tuple[tuple[Item, ...], int]]:
    """Each part alone, then everything without each; and the number of parts to go on with."""
    bounds = [len(items) * number // parts for number in range(parts + 1)]
    blocks = list(pairwise(bounds))
    for first, end in blocks:
        yield items[first:end], 2
    if parts > 2:  # with two parts, the rest is the other part
        for first, end in blocks:
            yield items[:first] + items[end:], parts - 1


class _Search:
    """The best run so far, and what was tried."""

    def __init__(
        self, request: RunRequest, found: RunResult, rule: str, run: RunSeed, limit: int
    ) -> None:
        self.best = request
        self.result = found
        self.tried = 0
        self.exhausted = False
        self._rule = rule
        self._crash = crash_name(found) if rule == CRASH else ""
        self._run = run
        self._limit = limit
        self._known: dict[RunRequest, bool] = {}

    def fails(self, request: RunRequest) -> bool:
        """Runs it, unless it was run before; a failing one becomes the best."""
        if request in self._known:
            return self._known[request]
        if self.tried >= self._limit:
            self.exhausted = True
            return False
        self.tried += 1
        result = self._run(request)
        failed = any(violation.rule == self._rule for violation in violations_of(result))
        failed = failed and (not self._crash or self._crash == crash_name(result))
        self._known[request] = failed
        if failed:
            self.best, self.result = request, result
        return failed

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Of the best."""
        assert self.best.schedule is not None
        return self.best.schedule.faults

    def fails_with(self, faults: Sequence[Fault]) -> bool:
        """The best with other faults."""
        return self.fails(replace(self.best, schedule=Schedule(faults=tuple(faults))))


def _drop_faults(search: _Search) -> None:
    ddmin(search.faults, search.fails_with)


def _weaken_faults(search: _Search) -> None:
    """One fault after the other; each change that still fails is kept."""
    for number in range(len(search.faults)):
        for weaken in (_shorter, _weaker, _simpler):
            for _ in range(_HALVINGS):
                faults = list(search.faults)
                for smaller in weaken(faults[number]):
                    faults[number] = smaller
                    if search.fails_with(faults):
                        break
                else:
                    break


def _shorter(fault: Fault) -> Iterator[Fault]:
    """As short as can be, else half."""
    if fault.duration > SHORTEST_SECONDS:
        yield msgspec.structs.replace(fault, duration=SHORTEST_SECONDS)
        if fault.duration > 2 * SHORTEST_SECONDS:
            yield msgspec.structs.replace(fault, duration=round(fault.duration / 2, 1))


def _weaker(fault: Fault) -> Iterator[Fault]:
    """Half of everything that measures it, twice the bandwidth; then without jitter."""
    half = msgspec.structs.replace(
        fault,
        ratio=round(fault.ratio / 2, 3),
        seconds=round(fault.seconds / 2, 3),
        jitter_seconds=round(fault.jitter_seconds / 2, 3),
        bytes_per_second=2 * fault.bytes_per_second,
        monotonic_seconds=round(fault.monotonic_seconds / 2, 3),
    )
    # what rounds to nothing is another fault, not a weaker one
    if half != fault and all((half.ratio or not fault.ratio, half.seconds or not fault.seconds)):
        yield half
    if fault.jitter_seconds:
        yield msgspec.structs.replace(fault, jitter_seconds=0.0)


def _simpler(fault: Fault) -> Iterator[Fault]:
    """Begins at a full second; one direction of a link instead of both."""
    if fault.at != round(fault.at):
        yield msgspec.structs.replace(fault, at=float(round(fault.at)))
    if fault.kind is FaultKind.PARTITION and fault.link:
        yield msgspec.structs.replace(fault, kind=FaultKind.ONE_WAY)


def _skip_operations(search: _Search) -> None:
    """Leaves out blocks of the plan, from halves down to a 32nd of it."""
    total = search.result.operations
    blocks = 2
    while blocks <= min(_FINEST_BLOCKS, total):
        for number in reversed(range(blocks)):  # the end first: it often comes after the failure
            first, end = total * number // blocks, total * (number + 1) // blocks
            skipped = merged((*search.best.skipped, (first, end)))
            if skipped != search.best.skipped:
                search.fails(replace(search.best, skipped=skipped))
        blocks *= 2


def merged(ranges: Ranges) -> Ranges:
    """The union of ranges: ascending, not touching."""
    result: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if result and first <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((first, end))
    return tuple(result)
