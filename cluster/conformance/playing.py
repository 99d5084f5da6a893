"""Carries out the actions of a plan: turns each into calls, with what is known by then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from cluster.conformance import statements
from cluster.conformance.calls import (
    Answer,
    Attach,
    Command,
    Detach,
    Ingest,
    Ingested,
    Outcome,
    Ran,
    Read,
    Refused,
    SetCapability,
    Unknown,
)
from cluster.conformance.plan import (
    BASE_COLUMNS,
    Ask,
    Flip,
    Follow,
    Manage,
    Unfollow,
    Write,
)
from cluster.errors import FieldCountError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cluster.conformance.plan import Action, ClientPlan
    from cluster.conformance.recording import Recorder
    from cluster.conformance.system import Door, System
    from cluster.conformance.values import At

_MERGED_EXTENTS: Final = 4


class Player:
    """Acts for all clients of a run.

    It knows what clients tell each other: the newest position acknowledged for each database, what
    each session saw last, and the columns each table is believed to have. A belief that is wrong
    is corrected when a request is refused for it.
    """

    def __init__(self, system: System, recorder: Recorder, call_seconds: float) -> None:
        self._system = system
        self._recorder = recorder
        self._call_seconds = call_seconds
        self._doors: dict[tuple[str, str], Door] = {}
        self._acknowledged: dict[str, At] = {}
        self._sessions: dict[tuple[str, str], At] = {}
        self._columns: dict[tuple[str, str], tuple[str, ...]] = {}
        self._sent: dict[str, tuple[str, ...]] = {}  # columns of what may be stored, by source

    async def play(self, client: ClientPlan, until: float) -> None:
        """All steps of a client, in order; begins none at or after ``until``."""
        system = self._system
        for step in client.steps:
            if step.at > system.now():
                await system.sleep(step.at - system.now())
            if system.now() >= until:
                return
            await self.act(client.name, step.action, until=until, session=client.session)

    async def act(self, who: str, action: Action, *, until: float, session: str = "") -> Outcome:
        """One action; the outcome of its last call. Retries begin before ``until`` only."""
        if isinstance(action, Write):
            return await self._write(who, action, until)
        if isinstance(action, Ask):
            return await self._ask(who, action, until, session)
        if isinstance(action, Manage):
            return await self._manage(who, action)
        return await self._control(who, action)

    # -- rows -----------------------------------------------------------------------------------

    async def _write(self, who: str, action: Write, until: float) -> Outcome:
        """Sends until it is decided. A retry has the columns of an attempt that may have worked."""
        system, outcome, doubt = self._system, None, False
        columns: tuple[str, ...] = ()
        for attempt in range(action.attempts):
            if outcome is not None:
                if system.now() + action.retry_seconds >= until:
                    break
                await system.sleep(action.retry_seconds)
            if not doubt:
                believed = self._columns.get((action.database, action.table), BASE_COLUMNS)
                columns = self._sent.get(action.source, believed)
            outcomes = await self._send(who, action, columns, twice=action.twice and not attempt)
            outcome = outcomes[0]
            if isinstance(outcome, Ingested):
                self._sent[action.source] = columns
                break
            if not doubt and any(not isinstance(each, Refused) for each in outcomes):
                doubt = True
                self._sent[action.source] = columns
            if isinstance(outcome, Refused) and outcome.permanent:
                if outcome.code != FieldCountError.code or action.flaw or doubt:
                    break
                await self._look_up_columns(who, action)
        return outcome or Unknown(code="NotSent", message="the plan allows no attempt")

    async def _send(
        self, who: str, action: Write, columns: Sequence[str], *, twice: bool
    ) -> list[Outcome]:
        """One attempt, or two of twins at once; the client's own outcome is the first."""
        if not twice:
            return [await self._send_one(who, action, columns)]
        outcomes: dict[str, Outcome] = {}

        async def send(name: str) -> None:
            outcomes[name] = await self._send_one(name, action, columns)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, who)
            nursery.start_soon(send, f"{who}-twin")
        return [outcomes[who], outcomes[f"{who}-twin"]]

    async def _send_one(self, who: str, action: Write, columns: Sequence[str]) -> Outcome:
        what = Ingest(
            cluster=action.cluster,
            database=action.database,
            table=action.table,
            source=action.source,
            ids=action.ids,
            columns=tuple(columns),
            flaw=action.flaw,
        )
        door = self._door(action.cluster, who)

        async def make() -> Outcome:
            return await door.ingest(
                what.database, what.table, what.ids, what.columns, what.source, flaw=what.flaw
            )

        outcome = await self._recorder.call(who, what, make, self._call_seconds)
        if isinstance(outcome, Ingested):
            self._acknowledged[action.database] = outcome.position
        return outcome

    async def _look_up_columns(self, who: str, action: Write) -> None:
        text = statements.show_schema(action.table)
        outcome = await self._command(
            who, Command(cluster=action.cluster, database=action.database, verb="show-schema",
                         text=text, table=action.table)
        )  # fmt: skip
        if isinstance(outcome, Ran) and outcome.rows and "Schema" in outcome.columns:
            schema = outcome.rows[0][outcome.columns.index("Schema")]
            self._columns[action.database, action.table] = statements.columns_of_schema(schema)

    async def _ask(self, who: str, action: Ask, until: float, session: str) -> Outcome:
        """Asks until it is answered, with nothing hidden, or refused for good."""
        outcome = await self._ask_once(who, action, session)
        for _ in range(1, action.attempts):
            answered = isinstance(outcome, Answer) and not outcome.hidden_reason
            if answered or (isinstance(outcome, Refused) and outcome.permanent):
                break
            if self._system.now() + action.retry_seconds >= until:
                break
            await self._system.sleep(action.retry_seconds)
            outcome = await self._ask_once(who, action, session)
        return outcome

    async def _ask_once(self, who: str, action: Ask, session: str) -> Outcome:
        tokens = {
            "acknowledged": self._acknowledged.get(action.database),
            "session": self._sessions.get((session, action.database)),
        }
        return await self.read(
            who,
            action.cluster,
            action.database,
            action.table,
            session=session,
            at_least=tokens.get(action.token),
            max_staleness_seconds=action.max_staleness_seconds,
        )

    async def read(
        self,
        who: str,
        cluster: str,
        database: str,
        table: str,
        *,
        session: str = "",
        at_least: At | None = None,
        max_staleness_seconds: float | None = None,
    ) -> Outcome:
        """Reads a table; an answer's position is the session's newest."""
        what = Read(
            cluster=cluster,
            database=database,
            table=table,
            session=session,
            at_least=at_least,
            max_staleness_seconds=max_staleness_seconds,
        )
        door = self._door(cluster, who)

        async def make() -> Outcome:
            return await door.read(
                database,
                table,
                at_least=at_least,
                max_staleness_seconds=max_staleness_seconds,
            )

        outcome = await self._recorder.call(who, what, make, self._call_seconds)
        if session and isinstance(outcome, Answer) and outcome.position is not None:
            self._sessions[session, database] = outcome.position
        return outcome

    # -- everything else ------------------------------------------------------------------------

    async def _manage(self, who: str, action: Manage) -> Outcome:
        text = action.text
        if action.verb == "merge":
            found = await self._extents(who, action)
            if not isinstance(found, tuple):
                return found
            text = statements.merge(action.table, found)
        what = Command(
            cluster=action.cluster,
            database=action.database,
            verb=action.verb,
            text=text,
            table=action.table,
            argument=action.argument,
        )
        outcome = await self._command(who, what)
        if isinstance(outcome, Ran):
            self._learn(action)
        return outcome

    def _learn(self, action: Manage) -> None:
        """What a command that ran says about a table's columns."""
        place = action.database, action.table
        if action.verb in ("create-table", "drop-table"):
            self._columns[place] = BASE_COLUMNS
        elif action.verb == "add-column":
            known = self._columns.get(place, BASE_COLUMNS)
            if action.argument not in known:
                self._columns[place] = (*known, action.argument)

    async def _extents(self, who: str, action: Manage) -> tuple[str, ...] | Outcome:
        """Ids of extents to merge, or why there is nothing to merge."""
        outcome = await self._command(
            who,
            Command(
                cluster=action.cluster,
                database=action.database,
                verb="show-extents",
                text=statements.show_extents(action.table),
                table=action.table,
            ),
        )
        if not isinstance(outcome, Ran) or "ExtentId" not in outcome.columns:
            return outcome
        column = outcome.columns.index("ExtentId")
        ids = tuple(row[column] for row in outcome.rows[:_MERGED_EXTENTS])
        return ids if len(ids) > 1 else outcome

    async def _command(self, who: str, what: Command) -> Outcome:
        door = self._door(what.cluster, who)

        async def make() -> Outcome:
            return await door.command(what.database, what.text)

        return await self._recorder.call(who, what, make, self._call_seconds)

    async def _control(self, who: str, action: Flip | Follow | Unfollow) -> Outcome:
        control = self._system.control
        what: SetCapability | Attach | Detach
        if isinstance(action, Flip):
            what = SetCapability(cluster=action.cluster, on=action.on)
        elif isinstance(action, Follow):
            what = Attach(
                leader=action.leader,
                database=action.database,
                follower=action.follower,
                include=action.include,
                exclude=action.exclude,
            )
        else:
            what = Detach(
                leader=action.leader,
                database=action.database,
                follower=action.follower,
                side=action.side,
            )

        async def make() -> Outcome:
            if isinstance(action, Flip):
                return await control.set_capability(action.cluster, on=action.on)
            names = action.leader, action.database, action.follower
            if isinstance(action, Follow):
                return await control.attach(*names, include=action.include, exclude=action.exclude)
            return await control.detach(*names, side=action.side)

        # Off and detach may wait until a lease has run out, which no data call does.
        return await self._recorder.call(who, what, make, 3 * self._call_seconds)

    def _door(self, cluster: str, client: str) -> Door:
        """Each client has one connection to each cluster."""
        door = self._doors.get((cluster, client))
        if door is None:
            door = self._doors[cluster, client] = self._system.door(cluster, client)
        return door
