"""Histories written by hand, one line an event, for tests of checkers.

A second passes with every event. Times and positions that matter are said, the rest is usual: one
leader, ``follower1`` with streaming on and ``follower2`` with it off, database ``D``, table ``T``
with one row store key. ``upto=3`` is a position that includes the first three rows of the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.conformance import notes
from cluster.conformance.calls import (
    Answer,
    Attach,
    Changed,
    Command,
    Detach,
    Ingest,
    Ingested,
    Invocation,
    Outcome,
    Ran,
    Read,
    Refused,
    SetCapability,
    Unknown,
)
from cluster.conformance.history import History
from cluster.conformance.rules import RuleParameters, check_all
from cluster.conformance.system import Feature, Profile
from cluster.conformance.values import At
from cluster.conformance.verdict import Judgement

if TYPE_CHECKING:
    from cluster.conformance.notes import Note
    from cluster.conformance.verdict import Verdict, Violation

PROFILE = Profile(
    leaders=("leader",),
    followers=("follower1", "follower2"),
    streaming=frozenset({"leader", "follower1"}),
    features=frozenset(Feature),
)

KEY = 7
"""The row store key of ``T``."""

HIDDEN = "streaming ingestion is off on this cluster"
BASE = ("Id", "Source", "At", "Payload")


def checksum(ordinal: int) -> int:
    """What the leader's rolling checksum is there."""
    return ordinal * 1000


def at(upto: int = 0, *, version: int = 1, key: int = KEY, check: int | None = None) -> At:
    """A position that includes the first ``upto`` rows of a key."""
    keys = {key: (upto, checksum(upto) if check is None else check)} if upto else {}
    return At(version=(1, version), keys=keys)


class Story:
    """A history in the making. ``now`` may be set."""

    def __init__(self, profile: Profile = PROFILE) -> None:
        self.history = History()
        self.profile = profile
        self.now = 0.0
        self._calls = 0

    # -- events ---------------------------------------------------------------------------------

    def begin(self, what: Invocation, who: str = "client") -> int:
        """Somebody calls."""
        self._calls += 1
        self._add(who, what, self._calls)
        return self._calls

    def finish(self, call: int, outcome: Outcome) -> None:
        """And it ends."""
        self._add("client", outcome, call)

    def call(self, what: Invocation, outcome: Outcome | None) -> Story:
        """Both; None: it never ends."""
        number = self.begin(what)
        if outcome is not None:
            self.finish(number, outcome)
        return self

    def note(self, *what: Note) -> Story:
        """What the system notes."""
        for one in what:
            self._add("system", one, 0)
        return self

    def wait(self, seconds: float) -> Story:
        """Nothing happens."""
        self.now += seconds
        return self

    def _add(self, who: str, what: Any, call: int) -> None:
        self.history.add(self.now, who, what, call)
        self.now += 1.0

    # -- rows -----------------------------------------------------------------------------------

    def request(
        self, source: str, *ids: int, table: str = "T", cluster: str = "leader", **more: Any
    ) -> Ingest:
        """A streaming request."""
        return Ingest(cluster=cluster, database="D", table=table, source=source, ids=ids, **more)

    def wrote(
        self,
        source: str,
        *ids: int,
        upto: int,
        key: int = KEY,
        version: int = 1,
        repeated: bool = False,
        **more: Any,
    ) -> Story:
        """Acknowledged at a position that includes the key's first ``upto`` rows."""
        position = at(upto, key=key, version=version)
        outcome = Ingested(position=position, repeated=repeated)
        return self.call(self.request(source, *ids, **more), outcome)

    def lost(self, source: str, *ids: int, **more: Any) -> Story:
        """Nobody knows whether it is stored."""
        return self.call(self.request(source, *ids, **more), Unknown(code="Timeout"))

    def refused(self, source: str, *ids: int, **more: Any) -> Story:
        """It is not."""
        outcome = Refused(code="General_BadRequest", reason="BAD_REQUEST", message="no")
        return self.call(self.request(source, *ids, **more), outcome)

    def question(
        self,
        cluster: str,
        *,
        table: str = "T",
        session: str = "",
        at_least: At | None = None,
        max_staleness_seconds: float | None = None,
    ) -> Read:
        """A read."""
        return Read(
            cluster=cluster,
            database="D",
            table=table,
            session=session,
            at_least=at_least,
            max_staleness_seconds=max_staleness_seconds,
        )

    def read(
        self,
        cluster: str,
        *ids: int,
        upto: int | None = None,
        position: At | None = None,
        version: int = 1,
        hidden: str = "",
        columns: tuple[str, ...] = (),
        filled: dict[str, tuple[int, ...]] | None = None,
        staleness: float | None = None,
        key: int = KEY,
        **question: Any,
    ) -> Story:
        """A read and its answer."""
        if upto is not None:
            position = at(upto, version=version, key=key)
        answer = Answer(
            ids=ids,
            position=position,
            columns=columns,
            filled=filled or {},
            hidden_reason=hidden,
            staleness_seconds=staleness,
        )
        return self.call(self.question(cluster, **question), answer)

    def no_answer(self, cluster: str, *, reason: str = "DATABASE_NOT_FOUND", **more: Any) -> Story:
        """A read that is refused."""
        outcome = Refused(code="BadRequest_DatabaseNotExist", reason=reason, message="no database")
        return self.call(self.question(cluster, **more), outcome)

    # -- control --------------------------------------------------------------------------------

    def switch(self, cluster: str, *, on: bool, epoch: int = 0, how: str = "confirmed") -> Story:
        """A capability is set."""
        outcome = Changed(epoch=epoch, certainty=how)
        return self.call(SetCapability(cluster=cluster, on=on), outcome)

    def off(self, cluster: str, **more: Any) -> Story:
        """Streaming is turned off."""
        return self.switch(cluster, on=False, **more)

    def on(self, cluster: str, **more: Any) -> Story:
        """Streaming is turned on."""
        return self.switch(cluster, on=True, **more)

    def attach(
        self,
        follower: str = "follower1",
        *,
        include: tuple[str, ...] = (),
        exclude: tuple[str, ...] = (),
        outcome: Outcome | None = None,
    ) -> Story:
        """A follower attaches ``D``."""
        what = Attach(
            leader="leader", database="D", follower=follower, include=include, exclude=exclude
        )
        return self.call(what, outcome or Changed(epoch=1, rows_granted=True))

    def detach(self, follower: str = "follower1", how: str = "confirmed") -> Story:
        """And detaches it."""
        what = Detach(leader="leader", database="D", follower=follower)
        return self.call(what, Changed(epoch=2, certainty=how))

    def command(
        self,
        verb: str,
        *,
        text: str = "",
        table: str = "T",
        argument: str = "",
        cluster: str = "leader",
        outcome: Outcome | None = None,
    ) -> Story:
        """A management command."""
        what = Command(
            cluster=cluster,
            database="D",
            verb=verb,
            text=text or f".{verb} {table}",
            table=table,
            argument=argument,
        )
        return self.call(what, outcome or Ran())

    def phase(self, name: str) -> Story:
        """A phase begins."""
        return self.note(notes.Phase(name=name))

    # -- follow ---------------------------------------------------------------------------------

    def opened(self, upto: int | None = None, *, session: int = 1, **more: Any) -> Story:
        """``follower1`` says Hello."""
        position = None if upto is None else at(upto, **more)
        return self.note(
            notes.FollowOpened(
                session=session,
                leader="leader",
                follower="follower1",
                database="D",
                position=position,
            )
        )

    def metadata(
        self,
        version: int = 1,
        first: int | None = None,
        *,
        session: int = 1,
        reset: bool = False,
        floor: int = 0,
    ) -> Story:
        """A snapshot, or a delta from ``first``."""
        return self.note(
            notes.MetadataDelivered(
                session=session,
                version=(1, version),
                first=None if first is None else (1, first),
                reset_rows=reset,
                floors={KEY: (floor, checksum(floor))} if floor else {},
            )
        )

    def gate(
        self,
        upto: int = 0,
        *,
        session: int = 1,
        sequence: int = 1,
        epoch: int = 1,
        is_open: bool = True,
    ) -> Story:
        """The follower tells its end of the gate."""
        return self.note(
            notes.GateReported(
                session=session, sequence=sequence, epoch=epoch, open=is_open, position=at(upto)
            )
        )

    def delivered(
        self,
        first: int,
        end: int,
        *,
        session: int = 1,
        sequence: int = 1,
        epoch: int = 1,
        check: int | None = None,
        key: int = KEY,
    ) -> Story:
        """Rows arrive."""
        return self.note(
            notes.Delivered(
                session=session,
                key=key,
                first=first,
                end=end,
                checksum=checksum(end) if check is None else check,
                epoch=epoch,
                sequence=sequence,
            )
        )

    def bookmarked(self, upto: int, *, sequence: int = 1, version: int = 1) -> Story:
        """A bookmark arrives."""
        return self.note(
            notes.Bookmarked(session=1, position=at(upto, version=version), sequence=sequence)
        )

    def acknowledged(self, upto: int, *, version: int = 1) -> Story:
        """The follower has stored what came."""
        position = at(upto, version=version)
        return self.note(notes.Acknowledged(session=1, position=position))

    # -- verdicts -------------------------------------------------------------------------------

    def verdicts(self, parameters: RuleParameters | None = None) -> dict[str, Verdict]:
        """By rule. The history goes through its lines first: so it is what a file would give."""
        history = History.parse(self.history.lines())
        assert history.digest() == self.history.digest()
        return {v.rule: v for v in check_all(history, self.profile, parameters)}

    def broken(self) -> set[str]:
        """The rules that are."""
        found = self.verdicts()
        return {rule for rule, v in found.items() if v.judgement is Judgement.FAIL}

    def passes(self, *rules: str) -> bool:
        """Nothing is broken, and each of these rules rests on facts."""
        found = self.verdicts()
        told = {rule: v.violations[0].message for rule, v in found.items() if v.violations}
        assert not told, told
        return all(found[rule].judgement is Judgement.PASS for rule in rules)

    def violation(self, rule: str) -> Violation:
        """The first violation of a rule, which must be broken."""
        found = self.verdicts()[rule]
        assert found.judgement is Judgement.FAIL, found
        return found.violations[0]
