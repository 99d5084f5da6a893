"""One look at a history that all checkers share. Pure.

Pairs calls with outcomes, traces every row to its batch, resolves which leader a follower's
database is of, and says when capabilities and attachments are certain. What few rules need is
worked out when the first of them asks.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cluster.conformance import notes
from cluster.conformance.calls import (
    Answer,
    Attach,
    Command,
    Detach,
    Ingest,
    Ingested,
    SetCapability,
)
from cluster.conformance.calls import (
    Read as ReadCall,
)
from cluster.conformance.checkers.attachments import Attachments
from cluster.conformance.checkers.ordinals import Ordinals, Versions
from cluster.conformance.checkers.periods import (
    NEVER,
    Call,
    Rollback,
    Times,
    Window,
    effect_end,
    settled,
    window_of,
)
from cluster.conformance.checkers.rows import Batch, Read, Table, Wipe
from cluster.conformance.checkers.streams import Stream, streams_of
from cluster.conformance.checkers.troubles import Troubles
from cluster.conformance.values import At  # noqa: TC001 - msgspec reads annotations

if TYPE_CHECKING:
    from cluster.conformance.calls import Invocation
    from cluster.conformance.checkers.parameters import RuleParameters
    from cluster.conformance.history import Event, History
    from cluster.conformance.system import Feature, Profile

_WIPES: Final = frozenset({"drop-table", "clear-table", "drop-database"})


class Index:
    """A history, looked through once. Everything is in the order it happened."""

    def __init__(self, history: History, profile: Profile, parameters: RuleParameters) -> None:
        self.profile = profile
        self.parameters = parameters
        self.calls: list[Call[Invocation]] = []
        self.ingests: list[Call[Ingest]] = []
        self.read_calls: list[Call[ReadCall]] = []
        self.commands: list[Call[Command]] = []
        self.switches: list[Call[SetCapability]] = []
        self.attaching: list[Call[Attach | Detach]] = []
        self.tables: dict[tuple[str, str, str], Table] = {}
        self.rows: dict[int, Batch] = {}
        self.batches: dict[str, Batch] = {}
        self.reads: list[Read] = []
        self._witnesses: list[_Witness] = []
        self._off_windows: dict[int, Window | None] = {}
        self.length = len(history)
        self._pair(history)
        self.times = Times([event.at for event in history.events])
        self.assumption = ""
        self.attachments = Attachments(
            self.attaching,
            profile,
            self.times,
            parameters.late_effect_seconds,
            self.rollbacks,
        )
        self._collect()

    def has(self, feature: Feature) -> bool:
        """Whether the system lets a run do or see it."""
        return feature in self.profile.features

    def noted(self, kind: type) -> list[Event]:
        """The events of one kind of note."""
        return self._notes.get(kind, [])

    # -- building -------------------------------------------------------------------------------

    def _pair(self, history: History) -> None:
        outcomes: dict[int, Event] = {}
        invocations: list[Event] = []
        kinds: dict[type, list[Any]] = {
            Ingest: self.ingests,
            ReadCall: self.read_calls,
            Command: self.commands,
            SetCapability: self.switches,
            Attach: self.attaching,
            Detach: self.attaching,
        }
        by_kind: dict[type, list[Event]] = {}
        for event in history.events:
            kind = type(event.what)
            if kind in kinds:
                invocations.append(event)
            elif event.call:
                outcomes[event.call] = event
            else:
                by_kind.setdefault(kind, []).append(event)
        self._notes = by_kind
        for event in invocations:
            call = _call(event, outcomes.get(event.call))
            self.calls.append(call)
            kinds[type(event.what)].append(call)

    def table(self, cluster: str, database: str, name: str, last: int) -> Table:
        """The leader's table behind a table of a cluster, at an event."""
        leader = self.attachments.leader(cluster, database, last) or cluster
        key = (leader, database, name)
        found = self.tables.get(key)
        if found is None:
            found = self.tables[key] = Table(leader, database, name, self.rows)
        return found

    def _collect(self) -> None:
        for request in self.ingests:
            self._take_ingest(request)
        if self.assumption:
            return
        told = [
            (call, self.table(call.what.cluster, call.what.database, call.what.table, call.last))
            for call in self.read_calls
            if type(call.outcome) is Answer
        ]
        self._witnesses = witnessed = self._witnessed(told)
        self._collect_wipes(witnessed)
        self._bound_batches(witnessed)
        for table in self.tables.values():
            table.freeze()
        for call, table in told:
            what, answer = call.what, call.outcome
            assert isinstance(answer, Answer)
            view = table.view(what.cluster, answer.ids)
            own = table.leader == what.cluster
            self.reads.append(Read(call, what.cluster, table, answer, view, own))

    def _take_ingest(self, call: Call[Ingest]) -> None:
        what = call.what
        table = self.table(what.cluster, what.database, what.table, call.last)
        batch = self.batches.get(what.source)
        if batch is None:
            batch = self.batches[what.source] = table.add(what.source, what.ids)
            for row in what.ids:
                if self.rows.setdefault(row, batch) is not batch:
                    self.assumption = f"row {row} is sent by two sources; see event {call.first}"
        if batch.table is not table or batch.ids != what.ids:
            self.assumption = (
                f"requests of source {what.source} are of different rows or tables; "
                f"see event {call.first}"
            )
        batch.take(call, misdirected=table.leader != what.cluster)

    def _witnessed(self, told: list[tuple[Call[ReadCall], Table]]) -> list[_Witness]:
        """What leaders said of their own positions, in the order the calls ended."""
        found = [
            _Witness(call.last, call.first, table.leader, table.database, call.outcome.position)
            for call, table in told
            if isinstance(call.outcome, Answer)
            and call.outcome.position is not None
            and table.leader == call.what.cluster
        ]
        found += [
            _Witness(call.last, call.first, table.leader, table.database, call.outcome.position)
            for batch in self.batches.values()
            for table in (batch.table,)
            for call in batch.attempts
            if isinstance(call.outcome, Ingested)
            # What is told again may be told as it was.
            and not call.outcome.repeated
            and call.what.cluster == table.leader
        ]
        found.sort(key=lambda witness: witness.last)
        return found

    def _collect_wipes(self, witnessed: list[_Witness]) -> None:
        late = self.parameters.late_effect_seconds
        versions: dict[tuple[str, str], Versions] = {}
        for call in self.commands:
            what = call.what
            if what.verb not in _WIPES or call.refused:
                continue
            whole = what.verb == "drop-database"
            place = (what.cluster, what.database)
            if place not in versions:
                versions[place] = Versions(
                    (w.first, w.last, w.position.version) for w in witnessed if w.of(*place)
                )
            before = None if whole else versions[place].before(call.first)
            after = None if whole or not call.ok else versions[place].after(call.last)
            wipe = Wipe(call, effect_end(call, self.times, late), before, after)
            for table in self.tables.values():
                if (table.leader, table.database) == place and (whole or table.table == what.table):
                    table.wipes.append(wipe)

    def _bound_batches(self, witnessed: list[_Witness]) -> None:
        """Where the rows of each batch can begin at the earliest: what was there before it."""
        known = Ordinals()
        for witness in witnessed:
            known.add(witness.last, witness.position)
        for table in self.tables.values():
            known.find_keys(table)
        for batch in self.batches.values():
            if batch.key is not None:
                batch.begin = known.before(batch.key, batch.possible)

    @cached_property
    def leader_checksums(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Checksum that a leader told of a key at an ordinal, and the event that tells it."""
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for witness in self._witnesses:
            for key, (ordinal, checksum) in witness.position.keys.items():
                found.setdefault((key, ordinal), (checksum, witness.last))
        return found

    # -- what is certain ------------------------------------------------------------------------

    def capability(self, cluster: str, *, on: bool) -> tuple[Window, ...]:
        """When the capability of a cluster is certainly on, or off."""
        found = self._capabilities.get((cluster, on))
        if found is None:
            found = self._capabilities[cluster, on] = settled(
                [c for c in self.switches if c.what.cluster == cluster],
                wanted=lambda call: call.what.on is on,
                opposed=lambda call: call.what.on is not on,
                times=self.times,
                late_seconds=self.parameters.late_effect_seconds,
                initially=(cluster in self.profile.streaming) is on,
                rollbacks=self.rollbacks,
            )
        return found

    @cached_property
    def rollbacks(self) -> tuple[Rollback, ...]:
        """Where the coordinator may have lost changes: it came back with an old state, or there
        were two of it, of which one is gone."""
        found = []
        for span in self.troubles.faults:
            if span.kind == "coordinator-old-state":
                found.append(Rollback(-1, span.last, span.first))
            elif span.kind == "coordinator-twice" and span.last < NEVER:
                found.append(Rollback(span.first, span.last, span.last))
        return tuple(found)

    def stands(self, call: Call[Invocation], number: int) -> bool:
        """At an event the coordinator has certainly not lost the change that a call made."""
        return not any(r.undoes(call) and r.since < number for r in self.rollbacks)

    @cached_property
    def _capabilities(self) -> dict[tuple[str, bool], tuple[Window, ...]]:
        return {}

    @cached_property
    def quiet(self) -> int | None:
        """Number of the event since which nobody writes; None: the run did not come that far."""
        return self._phase("quiet")

    @cached_property
    def end(self) -> int | None:
        """Number of the event that ends the run; None: it was cut off."""
        return self._phase("end")

    def _phase(self, name: str) -> int | None:
        for event in self.noted(notes.Phase):
            if isinstance(event.what, notes.Phase) and event.what.name == name:
                return event.number
        return None

    @cached_property
    def final_reads(self) -> dict[tuple[str, Table], Read]:
        """The last answer of each cluster about each table, after everything came to rest."""
        found: dict[tuple[str, Table], Read] = {}
        if self.quiet is not None and self.end is not None:
            for read in self.reads:
                if read.call.first > self.quiet:
                    found[read.cluster, read.table] = read
        return found

    @cached_property
    def rested_reads(self) -> tuple[Read, ...]:
        """The last answers of each cluster about each table before everything was sealed, and
        after: what is missing among streamed rows may be there again in an extent."""
        quiet = NEVER if self.quiet is None else self.quiet
        seals = (call for call in self.commands if call.what.verb == "seal" and call.first > quiet)
        seal = next((call.first for call in seals), NEVER)
        streamed = {
            (read.cluster, read.table): read
            for read in self.reads
            if self.end is not None and quiet < read.call.first and read.call.last < seal
        }
        both = [*streamed.values(), *self.final_reads.values()]
        return tuple({read.call.number: read for read in both}.values())

    @cached_property
    def final_calls(self) -> dict[tuple[str, str, str], Call[ReadCall]]:
        """The last read of each table on each cluster after everything came to rest."""
        found: dict[tuple[str, str, str], Call[ReadCall]] = {}
        if self.quiet is not None and self.end is not None:
            for call in self.read_calls:
                if call.first > self.quiet:
                    found[call.what.cluster, call.what.database, call.what.table] = call
        return found

    def time_of(self, number: int) -> float:
        """When an event was."""
        return self.times.time(number)

    def may_see_rows(self, cluster: str, table: Table, first: int, last: int) -> bool:
        """Between two events a follower certainly follows a table, and may see its rows."""
        return self.attachments.shares(cluster, table.database, table.table, first, last) and bool(
            window_of(self.capability(cluster, on=True), first, last)
        )

    def eligible(self, read: Read) -> bool:
        """The follower that answered may certainly see streaming rows of the table."""
        return self.may_see_rows(read.cluster, read.table, read.call.first, read.call.last)

    def off_window(self, read: Read) -> Window | None:
        """The time in which the capability of the follower that answered was certainly off."""
        if read.own:
            return None
        number = read.call.number
        if number not in self._off_windows:
            self._off_windows[number] = window_of(
                self.capability(read.cluster, on=False), read.call.first, read.call.last
            )
        return self._off_windows[number]

    @cached_property
    def streams(self) -> tuple[Stream, ...]:
        """The calls of Follow, as far as their frames were seen."""
        return streams_of(self)

    @cached_property
    def troubles(self) -> Troubles:
        """Faults and the lives of processes."""
        return Troubles(self)


def _call(event: Event, end: Event | None) -> Call[Any]:
    return Call(
        number=event.call,
        who=event.who,
        what=event.what,
        outcome=end.what if end is not None else None,  # type: ignore[arg-type]
        first=event.number,
        last=end.number if end is not None else NEVER,
        began=event.at,
        ended=end.at if end is not None else math.inf,
    )


class _Witness(msgspec.Struct, frozen=True, gc=False):
    """A position a leader told, by a call between two events."""

    last: int
    first: int
    leader: str
    database: str
    position: At

    def of(self, leader: str, database: str) -> bool:
        """Whether it is of that database."""
        return (self.leader, self.database) == (leader, database)
