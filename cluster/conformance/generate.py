"""Plans from seeds. Pure.

Swarm testing: each run draws which kinds of operations it has and how much of each, so that runs
differ in kind and not only in order; a run without a single flip finds what flips would hide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.conformance import statements
from cluster.conformance.draw import Draw
from cluster.conformance.generate_admin import administrators
from cluster.conformance.generate_clients import CLOSING_IDS, readers, writers
from cluster.conformance.plan import Action, End, Follow, Home, Manage, Plan, Write
from cluster.conformance.schedule import FaultMenu, generate_schedule
from cluster.conformance.system import Feature
from cluster.conformance.traits import PLAN_VERSION, TRAFFIC, Frame, draw_traits, sharing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.conformance.system import Profile

__all__ = ["CLIENTS", "FaultMenu", "generate_plan", "generate_schedule"]

WRITERS: Final = ("writer1", "writer2", "writer3")
READERS: Final = ("reader1", "reader2", "reader3", "reader4", "reader5")
ADMINISTRATORS: Final = ("admin1", "admin2")
CLIENTS: Final = WRITERS + READERS + ADMINISTRATORS
"""Names of all clients a plan can have; a writer's twin has its name with ``-twin``."""


def generate_plan(
    seed: int,
    profile: Profile,
    *,
    homes: Sequence[Home] = (),
    safety_seconds: float = 600.0,
    liveness_seconds: float = 400.0,
    call_seconds: float = 30.0,
    load: float = 1.0,
    first_id: int = 0,
    source_prefix: str = "",
    thorough: bool = False,
    version: int = PLAN_VERSION,
) -> Plan:
    """What clients do in the run of this seed, as far as the profile's features allow.

    ``homes`` are databases and tables that exist already; without them the plan makes its own,
    which needs ``Feature.COMMANDS`` (ValueError without). ``load`` multiplies how much is done.
    ``first_id`` and ``source_prefix`` keep runs apart that use the same tables. ``thorough``: the
    run has every kind of operation, for campaigns of few runs. ``version`` is one of ``TRAFFIC``.
    """
    if not homes and Feature.COMMANDS not in profile.features:
        raise ValueError("a system without commands needs databases and tables that exist")
    traits = draw_traits(seed, profile, thorough=thorough)
    found = tuple(homes) or _homes(seed, profile)
    start, end = safety_seconds * 0.01, safety_seconds * 0.97
    attachments = _attachments(seed, profile, found, traits, "setup")
    window = (start, end)
    traffic = TRAFFIC[version]
    frame = Frame(seed, profile, found, traits, window, load, traffic, first_id, source_prefix)
    clients = [
        *writers(frame, WRITERS),
        *readers(frame, READERS),
        *administrators(frame, ADMINISTRATORS),
    ]
    return Plan(
        seed=seed,
        homes=found,
        clients=tuple(client for client in clients if client.steps),
        end=_end(seed, profile, found, traits),
        setup=(*(() if homes else _create(found)), *attachments),
        closing=_closing(frame),
        safety_seconds=safety_seconds,
        liveness_seconds=liveness_seconds,
        call_seconds=call_seconds,
        traits=traits,
    )


def _homes(seed: int, profile: Profile) -> tuple[Home, ...]:
    draw = Draw(seed, "homes")
    homes: list[Home] = []
    for leader in profile.leaders:
        for _ in range(draw.weighted(((1, 0.75), (2, 0.25)))):
            tables = tuple(f"T{n}" for n in range(1, draw.integer(1, 3) + 1))
            homes.append(Home(leader=leader, database=f"D{len(homes) + 1}", tables=tables))
    return tuple(homes)


def _create(homes: Sequence[Home]) -> tuple[Action, ...]:
    actions: list[Action] = []
    for home in homes:
        where = {"cluster": home.leader, "database": home.database}
        text = statements.create_database(home.database)
        actions.append(Manage(**where, verb="create-database", text=text))
        for table in home.tables:
            text = statements.create_table(table)
            actions.append(Manage(**where, verb="create-table", text=text, table=table))
            text = statements.streaming_policy(table, on=True)
            actions.append(Manage(**where, verb="streaming-on", text=text, table=table))
    return tuple(actions)


def _attachments(
    seed: int, profile: Profile, homes: Sequence[Home], traits: Mapping[str, float], when: str
) -> tuple[Follow, ...]:
    """The first follower follows everything; the others most of it, some only parts of it."""
    if Feature.ATTACH not in profile.features:
        return ()
    draw = Draw(seed, f"attachments {when}")
    attachments = []
    for number, follower in enumerate(profile.followers):
        for home in homes:
            follows, partly = draw.chance(0.85) or number == 0, draw.chance(0.3)
            include, exclude = sharing(draw, home) if partly and "sharing" in traits else ((), ())
            if follows:
                attachments.append(
                    Follow(
                        leader=home.leader,
                        database=home.database,
                        follower=follower,
                        include=include,
                        exclude=exclude,
                    )
                )
    return tuple(attachments)


def _end(seed: int, profile: Profile, homes: Sequence[Home], traits: Mapping[str, float]) -> End:
    draw = Draw(seed, "end")
    capability = {}
    if Feature.CAPABILITY in profile.features:
        capability = dict.fromkeys(profile.leaders, True)
        for number, follower in enumerate(profile.followers):
            capability[follower] = draw.chance(0.75) or number == 0
    return End(capability=capability, attachments=_attachments(seed, profile, homes, traits, "end"))


def _closing(frame: Frame) -> tuple[Write, ...]:
    first = frame.first_id + CLOSING_IDS + 1
    return tuple(
        Write(
            cluster=home.leader,
            database=home.database,
            table=table,
            source=f"{frame.source_prefix}closing-{number}",
            ids=(first + 2 * number, first + 2 * number + 1),
            attempts=10 if Feature.SOURCE_IDS in frame.profile.features else 1,
        )
        for number, (home, table) in enumerate(frame.places())
    )
