"""Defects of the gate: who may see streaming rows, and who says so (G1 to G6)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import trio

from cluster.commands import streaming_policies
from cluster.coordinator import capability, registry, views
from cluster.coordinator.turn import Turn
from cluster.errors import ReadOnlyError, StreamingPolicyError
from cluster.ingest import driver as ingestion
from cluster.ingest.admission import Target, admit_table
from cluster.node.link import CoordinatorLink
from cluster.replication import leader
from cluster.replication.authority import Authority, Capability, Decision
from cluster.replication.exchange import Send
from cluster.replication.leader import LeaderSession
from cluster.replication.protocol import RowRecords
from cluster.testing.mutants.model import Mutant, all_of, replaced
from follower import gate
from follower.gate import Gate, GateInput, GateState
from follower.store import FollowedCopy
from follower.worker import FollowedDatabase

if TYPE_CHECKING:
    from cluster.catalog.model import RowStoreKey
    from cluster.replication.exchange import Moment, Output
    from cluster.rowstore.model import Rows
    from follower.gate import Word
    from follower.pinned import FollowedPin

_Plant = AbstractContextManager[object]


# -- G1: closed is closed ---------------------------------------------------------------------


def _gate_asked_once() -> _Plant:
    hear, following = Gate.hear, LeaderSession.next

    def hear_first(self: Gate, word: Word, now: float) -> bool:
        if self.state is GateState.OPEN and word.grant is not None:
            rows = replace(word.grant, rows=True)
            word = replace(word, grant=rows, capability=Capability.ON)
        return hear(self, word, now)

    first: WeakKeyDictionary[object, Decision] = WeakKeyDictionary()

    def next_first(self: LeaderSession, moment: Moment) -> Any:
        known = first.setdefault(self, moment.decision)
        if known.open and moment.decision.grant is not None:
            decision = replace(moment.decision, open=True)
            moment = replace(moment, decision=decision)
        return following(self, moment)

    return all_of(replaced(Gate, "hear", hear_first), replaced(LeaderSession, "next", next_first))


def _open_stays_open() -> _Plant:
    table = {state: dict(line) for state, line in gate.TABLE.items()}
    table[GateState.OPEN][GateInput.CAPABILITY_OFF] = GateState.OPEN
    return replaced(gate, "TABLE", table)


def _closed_keeps_rows() -> _Plant:
    pin = FollowedDatabase.pin

    def pinned(self: FollowedDatabase) -> FollowedPin:
        found = pin(self)
        return replace(found, rows=self.copy.rows()) if self.copy.is_open else found

    return replaced(FollowedDatabase, "pin", pinned)


# -- G2: opened again -------------------------------------------------------------------------


def _never_again() -> _Plant:
    table = {state: dict(line) for state, line in gate.TABLE.items()}
    table[GateState.CAPABILITY_OFF][GateInput.ALLOWED] = GateState.CAPABILITY_OFF
    return replaced(gate, "TABLE", table)


@dataclass(slots=True)
class _ClosedTime:
    """When a gate was closed, and the rows that came to the leader meanwhile."""

    since_ns: int
    until_ns: int = 0
    left_out: dict[RowStoreKey, set[int]] = field(default_factory=dict)


def _closed_time_left_out() -> _Plant:
    times: WeakKeyDictionary[FollowedCopy, _ClosedTime] = WeakKeyDictionary()
    hear, take, rows_of = FollowedDatabase.hear, FollowedCopy.apply_rows, FollowedCopy.rows

    def heard(self: Any, word: Word) -> bool:
        was_open = self.gate.open
        moved = hear(self, word)
        if was_open and not self.gate.open:
            times.setdefault(self.copy, _ClosedTime(0)).since_ns = self._clock.now_ns()
        elif not was_open and self.gate.open and self.copy in times:
            times[self.copy].until_ns = self._clock.now_ns()
        return moved

    async def applied(self: FollowedCopy, records: bytes) -> Any:
        headers = await take(self, records)
        time = times.get(self)
        for header in headers:
            if time is not None and time.since_ns < header.ingest_time_ns < time.until_ns:
                ordinals = range(header.first_ordinal, header.end_ordinal)
                time.left_out.setdefault(header.key, set()).update(ordinals)
        return headers

    def shown(self: FollowedCopy) -> dict[RowStoreKey, Rows]:
        left_out = times[self].left_out if self in times else {}
        found = rows_of(self)
        return {key: _without(rows, left_out.get(key, set())) for key, rows in found.items()}

    return all_of(
        replaced(FollowedDatabase, "hear", heard),
        replaced(FollowedCopy, "apply_rows", applied),
        replaced(FollowedCopy, "rows", shown),
    )


def _without(rows: Rows, ordinals: set[int]) -> Rows:
    kept, at = [], rows.first_ordinal
    for batch, version in zip(rows.batches, rows.schema_versions, strict=True):
        if at not in ordinals:
            kept.append((batch, version))
        at += batch.num_rows
    return replace(
        rows,
        batches=tuple(batch for batch, _ in kept),
        schema_versions=tuple(version for _, version in kept),
    )


# -- G3: closing ------------------------------------------------------------------------------


def _off_at_end_of_lease() -> _Plant:
    hear, following = Gate.hear, LeaderSession.next
    since: dict[Gate, float] = {}
    told: WeakKeyDictionary[object, tuple[float, Decision]] = WeakKeyDictionary()

    def hear_late(self: Gate, word: Word, now: float) -> bool:
        closes = word.grant is not None and not word.grant.rows
        if closes and self.open and now < since.setdefault(self, now) + _LATE_SECONDS:
            assert word.grant is not None
            before, self.epoch = self.epoch, max(self.epoch, word.grant.epoch)
            return before != self.epoch
        since.pop(self, None)
        return hear(self, word, now)

    def next_late(self: LeaderSession, moment: Moment) -> Any:
        at = moment.leader_time_ns / 1e9
        decision = moment.decision
        if decision.open or decision.grant is None:
            told[self] = (at, decision)
        elif (known := told.get(self)) is not None and at < known[0] + _LATE_SECONDS:
            granted = replace(decision.grant, rows=True, reason="")
            decision = replace(decision, open=True, reason="", grant=granted)
            moment = replace(moment, decision=decision)
        return following(self, moment)

    return all_of(replaced(Gate, "hear", hear_late), replaced(LeaderSession, "next", next_late))


_LATE_SECONDS: Final = 30.0


def _off_without_waiting() -> _Plant:
    async def hears_nothing(*_: object) -> None:
        await trio.sleep_forever()

    return all_of(
        replaced(Turn, "begin", lambda *_: False),
        replaced(capability, "unsealed", lambda *_: ()),
        # Views that are pushed would mostly be sooner than anybody who asks.
        replaced(CoordinatorLink, "_watch", hears_nothing),
    )


# -- G4: epochs -------------------------------------------------------------------------------


def _any_view_is_newer() -> _Plant:
    hear = Gate.hear

    def hear_any(self: Gate, word: Word, now: float) -> bool:
        if word.grant is not None:
            self.epoch = self._floor = 0
        return hear(self, word, now)

    return all_of(
        replaced(Authority, "is_newer", lambda *_: True), replaced(Gate, "hear", hear_any)
    )


def _epoch_of_the_first_grant() -> _Plant:
    ship = LeaderSession._ship
    first: WeakKeyDictionary[LeaderSession, int] = WeakKeyDictionary()

    def ships(self: LeaderSession, moment: Moment) -> Output | None:
        epoch = first.setdefault(self, moment.decision.epoch)
        output = ship(self, moment)
        if isinstance(output, Send) and isinstance(output.frame, RowRecords):
            return Send(replace(output.frame, epoch=epoch))
        return output

    return replaced(leader, "DUTIES", tuple(ships if d is ship else d for d in leader.DUTIES))


# -- G5: words --------------------------------------------------------------------------------


def _closed_and_no_more() -> _Plant:
    return replaced(Gate, "reason", property(lambda self: "" if self.open else "closed"))


def _reason_lost() -> _Plant:
    return replaced(views, "refusal", lambda *_, **__: "no")


def _refusal_is_internal() -> _Plant:
    return all_of(
        *(
            replaced(error, name, value)
            for error in (ReadOnlyError, StreamingPolicyError)
            for name, value in (("code", "General_InternalServerError"), ("reason", "ERROR"))
        )
    )


# -- G6: the leader's own gates ---------------------------------------------------------------


def _off_with_policies() -> _Plant:
    return all_of(
        replaced(capability, "_forbidden", lambda *_: None),
        replaced(registry, "reopen", lambda *_: None),
    )


def _policy_while_off() -> _Plant:
    return replaced(streaming_policies, "_check_capability", lambda _: None)


def _rows_without_policy() -> _Plant:

    def admitted(database: str, table: str, catalog: Any, *, streaming_enabled: bool) -> Any:
        try:
            return admit_table(database, table, catalog, streaming_enabled=True)
        except StreamingPolicyError:
            tree = catalog.get(database)
            return Target(tree, tree.tables[table])

    return replaced(ingestion, "admit_table", admitted)


MUTANTS: Final = (
    Mutant(
        "gate-asked-once",
        "G1",
        "both ends ask whether rows may pass when a call begins, and not again",
        _gate_asked_once,
        real=True,
    ),
    Mutant(
        "open-gate-stays-open",
        "G1",
        "a slip in the table of the gate: off does not close a gate that is open",
        _open_stays_open,
        real=True,
    ),
    Mutant(
        "closed-keeps-rows",
        "G1",
        "a closed gate lets no new row in, and those that are there stay to be seen",
        _closed_keeps_rows,
        real=True,
    ),
    Mutant(
        "off-for-good",
        "G2",
        "a slip in the table of the gate: what off has closed, on does not open before a restart",
        _never_again,
        real=True,
    ),
    Mutant(
        "closed-time-left-out",
        "G2",
        "rows that came while the gate was closed are taken for rows that may never be shown",
        _closed_time_left_out,
        real=True,
    ),
    Mutant(
        "off-at-end-of-lease",
        "G3",
        "both ends confirm off at once, and act on it when the lease they had would be over",
        _off_at_end_of_lease,
        real=True,
    ),
    Mutant(
        "off-without-waiting",
        "G3",
        "the coordinator answers off when it is written down; nodes hear with their next heartbeat",
        _off_without_waiting,
    ),
    Mutant(
        "any-view-is-newer",
        "G4",
        "whatever view comes last is obeyed, also one that was overtaken; the gate, too, forgets "
        "the epoch it was closed at",
        _any_view_is_newer,
    ),
    Mutant(
        "epoch-of-the-first-grant",
        "G4",
        "rows are sent under the epoch at which the call began, whatever was granted since",
        _epoch_of_the_first_grant,
    ),
    Mutant(
        "closed-and-no-more",
        "G5",
        "the reason of a closed gate is the name of its state",
        _closed_and_no_more,
        real=True,
    ),
    Mutant(
        "grant-without-words",
        "G5",
        "the words of a grant without rows are shortened to a no",
        _reason_lost,
        real=True,
    ),
    Mutant(
        "refusal-is-internal",
        "G5",
        "refusals of policy and of followed databases get the code of whatever is not foreseen",
        _refusal_is_internal,
        real=True,
    ),
    Mutant(
        "off-with-policies",
        "G6",
        "a leader's capability goes off whatever its tables' policies are",
        _off_with_policies,
        real=True,
    ),
    Mutant(
        "policy-while-off",
        "G6",
        "a streaming policy can be enabled while the leader's capability is off",
        _policy_while_off,
        real=True,
    ),
    Mutant(
        "rows-without-policy",
        "G6",
        "the door of streaming ingestion asks for the table and forgets its policy",
        _rows_without_policy,
        real=True,
    ),
)
