"""Which kinds of operations a run has, and how much of each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.conformance.draw import Draw
from cluster.conformance.system import Feature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.conformance.plan import Home
    from cluster.conformance.system import Profile

_KINDS: Final[tuple[tuple[str, float, Feature | None], ...]] = (
    # what, share of runs that have it, what the system must be able to do
    ("writes", 1.0, None),
    ("bursts", 0.5, None),
    ("retries", 0.8, Feature.SOURCE_IDS),
    ("twins", 0.5, Feature.SOURCE_IDS),
    ("flaws", 0.5, None),
    ("writes-to-followers", 0.4, None),
    ("reads", 1.0, None),
    ("tokens", 0.8, Feature.AT_LEAST),
    ("staleness", 0.5, Feature.STALENESS),
    ("flips", 0.7, Feature.CAPABILITY),
    ("storms", 0.25, Feature.CAPABILITY),
    ("leader-off", 0.2, Feature.CAPABILITY),
    ("attachments", 0.5, Feature.ATTACH),
    ("sharing", 0.5, Feature.SHARING),
    ("policies", 0.4, Feature.COMMANDS),
    ("seals", 0.7, Feature.SEAL),
    ("merges", 0.3, Feature.SEAL),
    ("recreations", 0.4, Feature.COMMANDS),
    ("columns", 0.4, Feature.COMMANDS),
    ("clears", 0.25, Feature.COMMANDS),
    ("mutations", 0.5, Feature.COMMANDS),
    ("shows", 0.4, Feature.COMMANDS),
    ("overrides", 0.4, Feature.COMMANDS),
)
"""Kinds of operations."""

_USUAL_SECONDS: Final = 576.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """How much a writer and a reader send, before the traits of a run and its clients multiply it.

    ``attempts`` are those of a reader that wants its answer.
    """

    batches: float
    reads: float
    attempts: int


PLAN_VERSION: Final = 2
"""How plans are drawn now."""

TRAFFIC: Final[Mapping[int, Traffic]] = {
    1: Traffic(batches=22, reads=18, attempts=30),
    2: Traffic(batches=16, reads=10, attempts=10),
}
"""By version of plans. Old ones stay: a run is found again by numbers of its plan's operations.

The second finds 8 % more planted defects in a second of processor (all mutants on five seeds).
"""


def draw_traits(seed: int, profile: Profile, *, thorough: bool = False) -> dict[str, float]:
    """The kinds this run has, with a factor from 0.3 to 3 for how much of each.

    ``thorough``: it has every kind that the system can do.
    """
    traits = {}
    for kind, share, feature in _KINDS:
        draw = Draw(seed, f"trait {kind}")
        chosen, factor = draw.chance(share), draw.scale(0.3, 3.0)
        if (chosen or thorough) and (feature is None or feature in profile.features):
            traits[kind] = factor
    return traits


@dataclass(frozen=True, slots=True)
class Frame:
    """What the makers of a plan's clients share. ``window`` is when clients act, in seconds.

    ``first_id`` and ``source_prefix`` as in :func:`.generate.generate_plan`.
    """

    seed: int
    profile: Profile
    homes: Sequence[Home]
    traits: Mapping[str, float]
    window: tuple[float, float]
    load: float
    traffic: Traffic
    first_id: int
    source_prefix: str

    def count(self, kind: str, usual: float) -> int:
        """How many operations of a kind to do, if the run has it: at least one."""
        if kind not in self.traits:
            return 0
        return max(1, round(usual * self.traits[kind] * self.load))

    def pause(self, draw: Draw, low: float, high: float) -> float:
        """Seconds between two things; what is long in a run of ten minutes shrinks with others."""
        share = (self.window[1] - self.window[0]) / _USUAL_SECONDS
        return draw.scale(low, max(2 * low, high * min(1.0, share)))

    def places(self) -> list[tuple[Home, str]]:
        """Every table with its home."""
        return [(home, table) for home in self.homes for table in home.tables]


def sharing(draw: Draw, home: Home) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tables to include (none: all) and to exclude; one that is not there may be named."""
    include = draw.some((*home.tables, "Later"), 0.6)
    exclude = draw.some(home.tables, 0.3)
    return include, exclude
