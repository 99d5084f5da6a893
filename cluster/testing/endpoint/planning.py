"""The plan of a run from outside: what is drawn, without what is not ours to do, and an examiner.

A campaign in the simulation has thousands of seeds, so that a seed need not show everything. From
outside one run has to do: the examiner does once whatever a rule needs to have something to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from cluster.conformance import statements
from cluster.conformance.calls import FLAWS
from cluster.conformance.generate import generate_plan
from cluster.conformance.plan import (
    Action,
    Ask,
    ClientPlan,
    End,
    Flip,
    Follow,
    Home,
    Manage,
    Plan,
    Step,
    Unfollow,
    Write,
)
from cluster.conformance.system import Feature
from cluster.testing.endpoint.claims import is_rest, profile_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.conformance.request import Target
    from cluster.testing.endpoint.claims import Times

EXAMINER: Final = "examiner"
_FIRST_ID: Final = 850_000
_USUAL_SECONDS: Final = 600.0
_OWN_VERBS: Final = frozenset(
    {
        *("create-table", "drop-table", "clear-table", "add-column", "streaming-on"),
        *("streaming-off", "merge", "mutate"),
    }
)
"""Commands that touch no more than the table they name."""

_HARMLESS_VERBS: Final = frozenset({"seal", "show-follower"})
"""Commands that may name a database: they take nothing away and change no setting."""

_TWINS: Final = 3
_CHEAP_MUTATIONS: Final = frozenset({"create-table", "clear-table", "docstring"})


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one run, all with its ``prefix``; ``examined`` is the examiner's own.

    ``trial`` is there only until everything is ready.
    """

    prefix: str
    drawn: tuple[str, ...]
    examined: str
    trial: str

    @classmethod
    def of(cls, target: Target, run: str) -> Tables:
        """``run`` tells runs apart that use a database at once: letters and digits."""
        prefix = f"{target.table_prefix}_{run}_"
        return cls(prefix, (f"{prefix}T1", f"{prefix}T2"), f"{prefix}X", f"{prefix}Trial")

    @property
    def all(self) -> tuple[str, ...]:
        """Those that are judged."""
        return (*self.drawn, self.examined)


def plan_of(seed: int, target: Target, tables: Tables, times: Times) -> Plan:
    """What clients do. Everything is put back in the end: capabilities, attachments."""
    profile = profile_of(target)
    leader = target.leaders[0].cluster
    drawn = generate_plan(
        seed,
        profile,
        homes=(Home(leader=leader, database=target.database, tables=tables.drawn),),
        safety_seconds=times.safety,
        liveness_seconds=times.liveness,
        call_seconds=times.call,
        load=min(1.0, max(0.2, times.safety / _USUAL_SECONDS)),
        source_prefix=tables.prefix,
    )
    home = Home(leader=leader, database=target.database, tables=tables.all)
    attachments = tuple(
        Follow(leader=leader, database=target.database, follower=follower)
        for follower in profile.followers
    )
    has_attach = Feature.ATTACH in profile.features
    clients = [_allowed(client, target, tables, times) for client in drawn.clients]
    examiner = Examiner(target, tables, home)
    begin = times.safety * 0.02
    steps = tuple(Step(at=begin, action=action) for action in examiner.actions())
    clients.append(ClientPlan(name=EXAMINER, session=EXAMINER, steps=steps))
    return msgspec.structs.replace(
        drawn,
        homes=(home,),
        clients=tuple(client for client in clients if client.steps),
        setup=(*_created(home), *(attachments if has_attach else ())),
        closing=(*drawn.closing, examiner.write(rows=2)),
        end=End(
            capability={f: f in profile.streaming for f in profile.followers}
            if Feature.CAPABILITY in profile.features
            else {},
            attachments=attachments if has_attach else (),
        ),
    )


def _created(home: Home) -> Iterator[Manage]:
    """Tables that may be there already are not an error: waiting for them made them."""
    for table in home.tables:
        for verb, text in (
            ("create-table", create_or_merge(table)),
            ("streaming-on", statements.streaming_policy(table, on=True)),
        ):
            yield Manage(
                cluster=home.leader, database=home.database, verb=verb, text=text, table=table
            )


def create_or_merge(table: str) -> str:
    """Makes a table; nothing if it is there."""
    return statements.create_table(table).replace(".create table", ".create-merge table", 1)


def _allowed(client: ClientPlan, target: Target, tables: Tables, times: Times) -> ClientPlan:
    steps = tuple(step for step in client.steps if _is_allowed(step, target, tables, times.safety))
    return msgspec.structs.replace(client, steps=steps)


def _is_allowed(step: Step, target: Target, tables: Tables, safety_seconds: float) -> bool:
    """Not: what concerns others' tables, what an operator does in minutes, and flawed rows where
    they are not refused (Azure takes a word for a number as null)."""
    action, operated = step.action, dict(target.commands)
    if isinstance(action, Write):
        return not (action.flaw and any(is_rest(endpoint) for endpoint in target.leaders))
    if isinstance(action, Flip):
        # A leader's own capability is others' business; the examiner's turn is not disturbed.
        is_follower = any(endpoint.cluster == action.cluster for endpoint in target.followers)
        free = target.coordinator_url and "capability-on" not in operated
        return bool(is_follower and free and step.at > safety_seconds / 2)
    if isinstance(action, Follow | Unfollow):
        return "attach" not in operated and step.at > safety_seconds / 2
    if isinstance(action, Manage):
        own = action.table.startswith(tables.prefix) and action.verb in _OWN_VERBS
        return own or action.verb in _HARMLESS_VERBS
    return True


class Examiner:
    """Does once, in order, what each rule that applies needs."""

    def __init__(self, target: Target, tables: Tables, home: Home) -> None:
        self._target, self._tables, self._home = target, tables, home
        self._features = profile_of(target).features
        self._rest = any(is_rest(endpoint) for endpoint in (*target.leaders, *target.followers))
        self._written = 0

    def write(self, rows: int = 3, cluster: str = "") -> Write:
        """Rows for the examiner's own table."""
        first = _FIRST_ID + 10 * self._written
        self._written += 1
        return Write(
            cluster=cluster or self._home.leader,
            database=self._home.database,
            table=self._tables.examined,
            source=f"{self._tables.prefix}{EXAMINER}-{self._written}",
            ids=tuple(range(first, first + rows)),
            attempts=5 if Feature.SOURCE_IDS in self._features and not cluster else 1,
        )

    def actions(self) -> Iterator[Action]:
        """Everything, the shortest first: what does not fit the time is left out."""
        followers = [endpoint.cluster for endpoint in self._target.followers]
        yield self.write()
        yield from self._flaws_and_twins()
        for follower in followers:
            yield from self._reads(follower)
            yield from self._changes(follower)
        if Feature.COMMANDS in self._features:
            yield self._policy(on=False)
            yield self.write()
            yield self._policy(on=True)
        if Feature.CAPABILITY in self._features:
            for follower in followers:
                yield from self._gate(follower)
        if Feature.ATTACH in self._features:
            for follower in followers:
                yield from self._attachment(follower)

    def _flaws_and_twins(self) -> Iterator[Action]:
        """Requests that must be refused as a whole, and some that come twice at once."""
        leader = self._home.leader
        if not self._rest:
            for flaw in FLAWS:
                yield msgspec.structs.replace(self.write(), flaw=flaw, attempts=1)
                yield self._ask(leader)
        if Feature.SOURCE_IDS in self._features:
            for _ in range(_TWINS):
                yield msgspec.structs.replace(self.write(), twice=True)
            yield self._ask(leader)

    def _reads(self, follower: str) -> Iterator[Action]:
        if Feature.AT_LEAST in self._features:
            yield self._ask(follower, token="acknowledged")  # noqa: S106 - no password
        if Feature.STALENESS in self._features:
            yield self._ask(follower, max_staleness_seconds=30.0)
        yield self._ask(self._home.leader)
        yield self._ask(follower)

    def _changes(self, follower: str) -> Iterator[Action]:
        """What a followed database refuses."""
        yield self.write(rows=1, cluster=follower)
        for what, text in statements.mutations(self._tables.examined):
            if not self._rest or what in _CHEAP_MUTATIONS:
                yield self._manage(follower, "mutate", text, what)
        if Feature.COMMANDS in self._features:
            yield self._manage(
                follower, "show-follower", statements.show_follower(self._home.database)
            )

    def _gate(self, follower: str) -> Iterator[Action]:
        """Rows from before, from while it is closed, and from after."""
        yield Flip(cluster=follower, on=True)
        yield self.write()
        yield Flip(cluster=follower, on=False)
        yield self._ask(follower)
        yield self.write()
        yield self._ask(follower)
        yield Flip(cluster=follower, on=True)
        if Feature.AT_LEAST in self._features:  # what was closed is still on its way
            yield self._ask(follower, token="acknowledged")  # noqa: S106 - no password
        yield self.write()
        yield self._ask(follower)

    def _attachment(self, follower: str) -> Iterator[Action]:
        home = self._home
        everything = Follow(leader=home.leader, database=home.database, follower=follower)
        yield Unfollow(leader=home.leader, database=home.database, follower=follower)
        yield self._ask(follower)
        yield self.write()
        if Feature.SHARING in self._features:
            yield msgspec.structs.replace(everything, include=(self._tables.examined,))
            yield self._ask(follower)
            yield self._ask(follower, table=self._tables.drawn[0])
        yield everything
        yield self._ask(follower)

    def _ask(
        self,
        cluster: str,
        *,
        table: str = "",
        token: str = "",
        max_staleness_seconds: float | None = None,
    ) -> Ask:
        return Ask(
            cluster=cluster,
            database=self._home.database,
            table=table or self._tables.examined,
            token=token,
            max_staleness_seconds=max_staleness_seconds,
        )

    def _policy(self, *, on: bool) -> Manage:
        text = statements.streaming_policy(self._tables.examined, on=on)
        return self._manage(self._home.leader, "streaming-on" if on else "streaming-off", text)

    def _manage(self, cluster: str, verb: str, text: str, argument: str = "") -> Manage:
        return Manage(
            cluster=cluster,
            database=self._home.database,
            verb=verb,
            text=text,
            table="" if verb == "show-follower" else self._tables.examined,
            argument=argument,
        )
