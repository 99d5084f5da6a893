"""After the faults: everything is put in its final state, catches up, and is read once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from cluster.conformance import statements
from cluster.conformance.calls import Answer, Outcome, Refused, Unknown
from cluster.conformance.plan import Flip, Follow, Manage, Unfollow, Write
from cluster.conformance.system import Feature
from cluster.errors import EntityExistsError, EntityNotFoundError

if TYPE_CHECKING:
    from cluster.conformance.plan import Action, Home, Plan
    from cluster.conformance.playing import Player
    from cluster.conformance.system import Profile, System
    from cluster.conformance.values import At

WHO: Final = "observer"
"""Who asks in this phase."""

_RETRY_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 10.0
_READ_ATTEMPTS: Final = 3
_SEAL_SECONDS: Final = 90.0
_PATIENCE_SECONDS: Final = 60.0
"""For what is refused: a node may not know yet of a capability that was turned on a moment ago."""

_DECIDED: Final = frozenset({EntityExistsError.code, EntityNotFoundError.code})
"""Refusals that will not change: it is so already."""


def is_certain(outcome: Outcome) -> bool:
    """Whether asking the same again makes no sense: it worked, or is refused for good."""
    if isinstance(outcome, Unknown):
        return False
    return not isinstance(outcome, Refused) or outcome.permanent


def worked(outcome: Outcome) -> bool:
    """Whether it is so now; what exists already need not be made, nor what is gone be removed."""
    if isinstance(outcome, Refused):
        return outcome.code in _DECIDED
    return not isinstance(outcome, Unknown)


class Settler:
    """Ends a run. Everything is bounded by the plan's times; what does not succeed is left so."""

    def __init__(self, system: System, player: Player, plan: Plan) -> None:
        self._system, self._player, self._plan = system, player, plan
        self._profile: Profile = system.profile
        self._until = 0.0

    async def insist(self, action: Action, until: float, *, who: str = WHO) -> Outcome:
        """An action again and again until it works, or the time is over.

        What is refused for good is tried for a minute, because the reason may be about to go.
        Rows that may be stored are not sent again, but for the attempts of their own action.
        """
        pause, now = _RETRY_SECONDS, self._system.now
        patient_until = min(until, now() + _PATIENCE_SECONDS)
        while True:
            outcome = await self._player.act(who, action, until=until)
            doubted = isinstance(action, Write) and isinstance(outcome, Unknown)
            last = patient_until if is_certain(outcome) else until
            if worked(outcome) or doubted or now() + pause >= last:
                return outcome
            await self._system.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    # -- liveness -------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Puts everything in its final state and waits until all who can have caught up."""
        self._until = self._system.now() + self._plan.liveness_seconds
        for cluster, on in self._plan.end.capability.items():
            await self.insist(Flip(cluster=cluster, on=on), self._until)
        if Feature.ATTACH in self._profile.features:
            await self._attach()
        if self._plan.setup and Feature.COMMANDS in self._profile.features:
            for home in self._plan.homes:
                await self._restore(home)
        for write in self._plan.closing:
            await self.insist(write, self._until)
        async with trio.open_nursery() as nursery:
            for follower in self._profile.followers:
                for home in self._plan.homes:
                    if self._follows(follower, home) and self._is_on(follower):
                        nursery.start_soon(self._catch_up, follower, home)

    async def _attach(self) -> None:
        wanted = {(item.follower, item.database): item for item in self._plan.end.attachments}
        for follower in self._profile.followers:
            for home in self._plan.homes:
                item = wanted.get((follower, home.database))
                gone = Unfollow(leader=home.leader, database=home.database, follower=follower)
                if item is None:
                    await self.insist(gone, self._until)
                elif not worked(await self.insist(item, self._until)):
                    await self.insist(gone, self._until)
                    await self.insist(item, self._until)

    async def _restore(self, home: Home) -> None:
        """Tables that a run left dropped, or without their policy."""
        for table in home.tables:
            for verb, text in (
                ("create-table", statements.create_table(table)),
                ("streaming-on", statements.streaming_policy(table, on=True)),
            ):
                action = Manage(
                    cluster=home.leader, database=home.database, verb=verb, text=text, table=table
                )
                await self.insist(action, self._until)

    async def _catch_up(self, follower: str, home: Home) -> None:
        """Until every shared table of a database is the same there; or the time is over."""
        who = f"{WHO}-{follower}-{home.database}"
        for table in self._shared(follower, home):
            pause = _RETRY_SECONDS
            while self._system.now() + pause < self._until:
                ours = await self._player.read(who, home.leader, home.database, table)
                theirs = await self._read(who, follower, home, table, _position(ours))
                if _same(ours, theirs):
                    break
                await self._system.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    # -- quiet ----------------------------------------------------------------------------------

    async def look(self) -> None:
        """Reads everything everywhere; then once more with everything sealed."""
        await self._read_everything(sealed=False)
        if Feature.SEAL not in self._profile.features:
            return
        until = self._system.now() + _SEAL_SECONDS
        for home in self._plan.homes:
            action = Manage(
                cluster=home.leader,
                database=home.database,
                verb="seal",
                text=statements.seal_database(home.database),
            )
            await self.insist(action, until)
        await self._read_everything(sealed=True)
        if "overrides" in self._plan.traits:
            await self._show_followers()

    async def _read_everything(self, *, sealed: bool) -> None:
        for home in self._plan.homes:
            answers = {
                table: await self._read(WHO, home.leader, home, table, None)
                for table in home.tables
            }
            for follower in self._profile.followers:
                for table in home.tables:
                    await self._compare(follower, home, table, answers[table], sealed=sealed)

    async def _show_followers(self) -> None:
        """What followers override, and what comes of it."""
        for home in self._plan.homes:
            for follower in self._profile.followers:
                if not self._follows(follower, home):
                    continue
                for verb, text in (
                    ("show-follower", statements.show_follower(home.database)),
                    ("show-principals", statements.show_principals(home.database)),
                ):
                    where = {"cluster": follower, "database": home.database}
                    await self._player.act(
                        WHO, Manage(**where, verb=verb, text=text), until=self._until
                    )

    async def _compare(
        self, follower: str, home: Home, table: str, ours: Outcome, *, sealed: bool
    ) -> None:
        """Reads a table on a follower. Without streaming rows the sealed ones take a moment."""
        eligible = self._follows(follower, home) and self._is_on(follower)
        at_least = _position(ours) if eligible else None
        theirs = await self._read(WHO, follower, home, table, at_least)
        until = self._system.now() + _SEAL_SECONDS
        pause = _RETRY_SECONDS
        while (
            sealed
            and self._follows(follower, home)
            and table in self._shared(follower, home)
            and not eligible
            and follower not in self._profile.strict  # which is refused altogether
            and not _same(ours, theirs)
            and self._system.now() + pause < until
        ):
            await self._system.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            theirs = await self._read(WHO, follower, home, table, None)

    async def _read(
        self, who: str, cluster: str, home: Home, table: str, at_least: At | None
    ) -> Outcome:
        """A read that is asked again when it got no answer: it is what the run is judged by.

        Without the token then, so that what is there is seen also where it is not everything.
        """
        token = at_least if Feature.AT_LEAST in self._profile.features else None
        session = f"{who}@{cluster}"
        outcome: Outcome = Unknown(code="NotSent")
        for _ in range(_READ_ATTEMPTS):
            outcome = await self._player.read(
                who, cluster, home.database, table, session=session, at_least=token
            )
            if is_certain(outcome):
                break
            token = None
            await self._system.sleep(_RETRY_SECONDS)
        return outcome

    # -- what is known --------------------------------------------------------------------------

    def _is_on(self, follower: str) -> bool:
        """Whether the follower's capability is on in the end."""
        known = self._plan.end.capability
        return known.get(follower, follower in self._profile.streaming)

    def _attachment(self, follower: str, home: Home) -> Follow | None:
        if Feature.ATTACH not in self._profile.features:
            return Follow(leader=home.leader, database=home.database, follower=follower)
        for item in self._plan.end.attachments:
            if (item.follower, item.database) == (follower, home.database):
                return item
        return None

    def _follows(self, follower: str, home: Home) -> bool:
        return self._attachment(follower, home) is not None

    def _shared(self, follower: str, home: Home) -> tuple[str, ...]:
        item = self._attachment(follower, home)
        return tuple(table for table in home.tables if item is not None and item.shares(table))


def _position(outcome: Outcome) -> At | None:
    return outcome.position if isinstance(outcome, Answer) else None


def _same(ours: Outcome, theirs: Outcome) -> bool:
    """Two answers with the same rows, in whatever order."""
    return (
        isinstance(ours, Answer)
        and isinstance(theirs, Answer)
        and sorted(ours.ids) == sorted(theirs.ids)
    )
