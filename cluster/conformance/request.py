"""What is asked of one run, and what it gives back. Pure.

Campaigns, shrinking and replays know a run only as a function, :class:`RunSeed`. Requests are
values that travel between processes, and everything a run does follows from its request: two
simulated runs of equal requests have byte-identical histories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from cluster.conformance.traits import PLAN_VERSION

if TYPE_CHECKING:
    from cluster.conformance.checkers.parameters import RuleParameters
    from cluster.conformance.faults import Schedule
    from cluster.conformance.history import History
    from cluster.conformance.system import Profile
    from cluster.conformance.verdict import Verdict

Ranges = tuple[tuple[int, int], ...]
"""Half-open ranges ``first .. end - 1``, ascending, not touching each other."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One cluster of somebody's: a URL with scheme ``grpc``, ``http`` or ``https`` (Kusto REST).

    ``streaming``: its streaming ingestion is on. ``token_variable`` names the environment variable
    that holds a bearer token; empty sends none.
    """

    cluster: str
    url: str
    streaming: bool = True
    token_variable: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """The endpoints that a black-box run drives, and what their owner claims of them.

    ``database`` exists at every leader and is followed by every follower, under the same name;
    tables made in it begin with ``table_prefix``. ``features`` are names of
    :class:`~cluster.conformance.system.Feature` members that hold beyond those a door of that
    scheme always has. ``commands`` maps what an operator does outside Kusto's query language
    (``capability-on``, ``capability-off``, ``attach``, ``detach``) to a shell command that does it,
    within ``command_seconds``.

    ``liveness_seconds``: within how long followers catch up; ``visible_seconds``: within how long a
    leader shows what it acknowledged. None for either is what its scheme is known for.
    ``unsealed_seconds``: no row is sealed so soon after it was sent; 0: nobody knows.
    ``confirmed``: its owner agrees to a run though it is not on this machine. ``keep``: tables are
    left for people to look at.
    """

    leaders: tuple[Endpoint, ...]
    followers: tuple[Endpoint, ...]
    database: str
    table_prefix: str = "Conform"
    coordinator_url: str = ""
    features: frozenset[str] = frozenset()
    strict: frozenset[str] = frozenset()
    commands: tuple[tuple[str, str], ...] = ()
    command_seconds: float = 600.0
    liveness_seconds: float | None = None
    visible_seconds: float | None = None
    unsealed_seconds: float = 0.0
    confirmed: bool = False
    keep: bool = False


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run. Seconds are the system's: virtual in the simulation.

    ``schedule`` None draws the faults from the seed, with ``intensity`` times the usual number of
    them. ``skipped`` are numbers of the plan's operations that are left out (clients then go on
    with their next): the plan itself, ids and all, stays the seed's. None for a duration is the
    system's own. ``plan_version`` says how the plan is drawn (:data:`.traits.TRAFFIC`).

    ``mutant`` names a defect planted into the code under test. Whoever calls a :class:`RunSeed`
    has planted it already (:mod:`cluster.conformance.mutation`); a run carries the name only.
    """

    seed: int
    schedule: Schedule | None = None
    mutant: str = ""
    system: str = "sim"
    intensity: float = 1.0
    skipped: Ranges = ()
    safety_seconds: float | None = None
    liveness_seconds: float | None = None
    target: Target | None = None
    plan_version: int = PLAN_VERSION


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run gave.

    ``schedule`` are the faults as they were asked for, drawn or given. ``operations`` counts the
    plan's, skipped ones too. ``error`` is empty, or the traceback of what broke the run: the code
    under test crashed, or the run itself did; ``history`` and ``verdicts`` go up to there.
    ``profile`` and ``parameters`` are what the rules judged it by: stored histories are judged
    again by them.
    """

    seed: int
    history: History
    schedule: Schedule
    verdicts: tuple[Verdict, ...]
    virtual_seconds: float
    real_seconds: float
    error: str = ""
    operations: int = 0
    profile: Profile | None = None
    parameters: RuleParameters | None = None


class RunSeed(Protocol):
    """Runs one request to its end, in this thread. Makes its own event loop."""

    def __call__(self, request: RunRequest) -> RunResult:
        """Never raises for what the code under test does: see ``RunResult.error``."""
