"""What administrators of a plan do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.conformance import statements
from cluster.conformance.draw import Draw
from cluster.conformance.generate_clients import ADMINISTRATORS_IDS
from cluster.conformance.plan import (
    Ask,
    ClientPlan,
    Flip,
    Follow,
    Manage,
    Step,
    Unfollow,
    Write,
)
from cluster.conformance.system import Feature
from cluster.conformance.traits import sharing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cluster.conformance.plan import Action, Home
    from cluster.conformance.traits import Frame

Timed = tuple[float, "Action"]
"""When, what."""


def administrators(frame: Frame, names: Sequence[str]) -> Iterator[ClientPlan]:
    """Episodes of every kind the run has, dealt out to administrators who act at the same time."""
    steps: dict[str, list[Step]] = {name: [] for name in names}
    for kind, (usual, episode) in _EPISODES.items():
        for number in range(frame.count(kind, usual)):
            draw = Draw(frame.seed, f"{kind} {number}")
            name, at = draw.pick(names), draw.between(*frame.window)
            steps[name].extend(
                Step(at=t, action=action) for t, action in episode(frame, draw, at, number)
            )
    end = frame.window[1]
    for name in names:
        mine = sorted((step for step in steps[name] if step.at < end), key=lambda step: step.at)
        yield ClientPlan(name=name, steps=tuple(mine))


def _flip(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    """Off for a while, or the other way round where it may be on or off already."""
    follower = draw.pick(frame.profile.followers)
    yield at, Flip(cluster=follower, on=draw.chance(0.3))
    yield at, _look(frame, draw, follower)
    yield at + frame.pause(draw, 0.5, 90.0), Flip(cluster=follower, on=True)


def _look(frame: Frame, draw: Draw, follower: str) -> Ask:
    """By whoever changed something, as soon as it is done: nobody can be sooner."""
    home, table = draw.pick(frame.places())
    return Ask(cluster=follower, database=home.database, table=table)


def _storm(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    follower = draw.pick(frame.profile.followers)
    on = draw.chance(0.5)
    for _ in range(draw.integer(4, 14)):
        yield at, Flip(cluster=follower, on=on)
        if draw.chance(0.3):
            yield at, _look(frame, draw, follower)
        on = not on if draw.chance(0.8) else on
        at += frame.pause(draw, 0.02, 4.0)


def _leader_off(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    """Refused while a table streams; then the policies go, and it is off for a while."""
    home = draw.pick(frame.homes)
    seconds = frame.pause(draw, 2.0, 40.0)
    yield at, Flip(cluster=home.leader, on=False)
    places = [(other, table) for other in frame.homes if other.leader == home.leader
              for table in other.tables]  # fmt: skip
    if Feature.COMMANDS in frame.profile.features:
        for other, table in places:
            yield at + 0.1, _policy(other, table, on=False)
        yield at + 0.2, Flip(cluster=home.leader, on=False)
        yield (
            at + 0.2,
            Write(
                cluster=home.leader,
                database=home.database,
                table=draw.pick(home.tables),
                source=f"{frame.source_prefix}off-{number}",
                ids=(frame.first_id + ADMINISTRATORS_IDS + number,),
            ),
        )
        yield at + 0.2, _policy(*draw.pick(places), on=True)
    yield at + seconds, Flip(cluster=home.leader, on=True)
    if Feature.COMMANDS in frame.profile.features:
        for other, table in places:
            yield at + seconds + 0.1, _policy(other, table, on=True)


def _attachment(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    """Detached and attached again; sometimes attached again while it is, with other tables."""
    home, follower = draw.pick(frame.homes), draw.pick(frame.profile.followers)
    include, exclude = sharing(draw, home) if draw.chance(0.5) else ((), ())
    if "sharing" not in frame.traits:
        include, exclude = (), ()
    side = draw.pick(("leader", "follower"))
    names = {"leader": home.leader, "database": home.database, "follower": follower}
    if draw.chance(0.7):
        yield at, Unfollow(**names, side=side)
        yield at, Ask(cluster=follower, database=home.database, table=draw.pick(home.tables))
    yield at + frame.pause(draw, 0.1, 40.0), Follow(**names, include=include, exclude=exclude)


def _policy(home: Home, table: str, *, on: bool) -> Manage:
    return Manage(
        cluster=home.leader,
        database=home.database,
        verb="streaming-on" if on else "streaming-off",
        text=statements.streaming_policy(table, on=on),
        table=table,
    )


def _policies(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    home, table = draw.pick(frame.places())
    yield at, _policy(home, table, on=False)
    yield at + frame.pause(draw, 0.5, 60.0), _policy(home, table, on=True)


def _manage(home: Home, verb: str, text: str, table: str = "", argument: str = "") -> Manage:
    return Manage(
        cluster=home.leader,
        database=home.database,
        verb=verb,
        text=text,
        table=table,
        argument=argument,
    )


def _seal(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    home, table = draw.pick(frame.places())
    if draw.chance(0.3):
        yield at, _manage(home, "seal", statements.seal_database(home.database))
    else:
        yield at, _manage(home, "seal", statements.seal_table(table), table)


def _merge(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    """Rows sealed twice before, or there would hardly be anything to merge."""
    home, table = draw.pick(frame.places())
    for part in (1, 2):
        yield (
            at,
            Write(
                cluster=home.leader,
                database=home.database,
                table=table,
                source=f"{frame.source_prefix}merge-{number}-{part}",
                ids=(frame.first_id + ADMINISTRATORS_IDS + 1000 * part + number,),
            ),
        )
        yield at, _manage(home, "seal", statements.seal_table(table), table)
    yield at, _manage(home, "merge", "", table)


def _recreation(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    """Dropped, and there again with the same name, with no pause or a long one."""
    home, table = draw.pick(frame.places())
    yield at, _manage(home, "drop-table", statements.drop_table(table), table)
    at += frame.pause(draw, 0.01, 30.0)
    yield at, _manage(home, "create-table", statements.create_table(table), table)
    yield at + frame.pause(draw, 0.01, 2.0), _policy(home, table, on=True)


def _column(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    home, table = draw.pick(frame.places())
    column = f"C{draw.integer(1, 4)}"
    yield at, _manage(home, "add-column", statements.add_column(table, column), table, column)


def _clear(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    home, table = draw.pick(frame.places())
    yield at, _manage(home, "clear-table", statements.clear_table(table), table)


def _mutation(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    home, table = draw.pick(frame.places())
    what, text = draw.pick(statements.mutations(table))
    yield (
        at,
        Manage(
            cluster=draw.pick(frame.profile.followers),
            database=home.database,
            verb="mutate",
            text=text,
            table=table,
            argument=what,
        ),
    )


def _override(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    """Principals of leader and follower, the kind that joins them, and what else is overridden."""
    home, follower = draw.pick(frame.homes), draw.pick(frame.profile.followers)
    name = home.database
    own, theirs = (f"aaduser={side}{number}@remora" for side in ("own", "theirs"))
    kind = draw.pick(("none", "union", "replace"))
    there = {"cluster": follower, "database": name}
    yield at, _manage(home, "principals", statements.add_principal(name, theirs))
    for text in (
        statements.principals_kind(name, kind),
        statements.add_override(name, own),
        draw.pick(statements.other_overrides(name, draw.integer(1, 30))),
    ):
        yield at, Manage(**there, verb="override", text=text)
    yield at, Manage(**there, verb="show-follower", text=statements.show_follower(name))
    yield at, Manage(**there, verb="show-principals", text=statements.show_principals(name))
    if draw.chance(0.3):
        at += frame.pause(draw, 0.1, 60.0)
        yield at, _manage(home, "principals", statements.drop_principal(name, theirs))
        yield at, Manage(**there, verb="override", text=statements.drop_override(name, own))
        yield at, Manage(**there, verb="show-principals", text=statements.show_principals(name))


def _show(frame: Frame, draw: Draw, at: float, number: int) -> Iterator[Timed]:
    home = draw.pick(frame.homes)
    yield (
        at,
        Manage(
            cluster=draw.pick(frame.profile.followers),
            database=home.database,
            verb="show-follower",
            text=statements.show_follower(home.database),
        ),
    )


_EPISODES: Final[
    Mapping[str, tuple[float, Callable[[Frame, Draw, float, int], Iterator[Timed]]]]
] = {
    "flips": (5, _flip),
    "storms": (1, _storm),
    "leader-off": (1, _leader_off),
    "attachments": (2, _attachment),
    "policies": (2, _policies),
    "seals": (5, _seal),
    "merges": (2, _merge),
    "recreations": (2, _recreation),
    "columns": (2, _column),
    "clears": (1, _clear),
    "mutations": (4, _mutation),
    "shows": (3, _show),
    "overrides": (2, _override),
}
"""How many episodes of each kind a run has usually, and what one is."""
