"""The rules a replicated system keeps, each with its guarantee and its checker. Pure.

After the invariants that etcd, Jepsen and TigerBeetle check of theirs: R1-R15 of replication,
G1-G6 of the gate (the rule of this project), A1-A3 of attachments, C1 of the coordinator, L1 of
liveness. S1 is judged over a campaign: :func:`judge_campaign`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cluster.conformance.checkers import (
    atomicity,
    attachment,
    coordinator,
    durability,
    gate,
    liveness,
    order,
    overrides,
    positions,
    prefix,
    readonly,
    refusals,
    schema,
    seal,
    sessions,
    staleness,
)
from cluster.conformance.checkers.findings import Findings
from cluster.conformance.checkers.index import Index
from cluster.conformance.checkers.parameters import RuleParameters
from cluster.conformance.checkers.sometimes import SOMETIMES, judge_campaign, reached, sometimes
from cluster.conformance.system import Feature
from cluster.conformance.verdict import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.conformance.history import History
    from cluster.conformance.system import Profile

__all__ = [
    "RULES",
    "SOMETIMES",
    "Rule",
    "RuleParameters",
    "check_all",
    "judge_campaign",
    "reached",
    "sometimes",
]


@dataclass(frozen=True, slots=True)
class Rule:
    """``guarantee`` is one sentence for the user; every violation's message begins with it.

    ``needs``: without these features the rule is not applicable to a system. ``why`` says what a
    history lacks that has nothing to check.
    """

    id: str
    title: str
    guarantee: str
    needs: frozenset[Feature]
    check: Callable[[Index, Findings], None]
    why: str

    def judge(self, index: Index) -> Verdict:
        """The verdict on the run of an index."""
        if not self.needs <= index.profile.features:
            missing = sorted(feature.value for feature in self.needs - index.profile.features)
            return Verdict(
                rule=self.id,
                judgement=Judgement.NOT_APPLICABLE,
                why=f"the system does not offer: {', '.join(missing)}",
            )
        if index.assumption:
            return Verdict(
                rule=self.id,
                judgement=Judgement.UNKNOWN,
                why=f"the history is not one to judge: {index.assumption}",
            )
        findings = Findings(self.id, self.guarantee)
        self.check(index, findings)
        return findings.verdict(self.why)


_F = Feature


def _rule(
    identity: str,
    guarantee: str,
    check: Callable[[Index, Findings], None],
    why: str,
    *needs: Feature,
) -> Rule:
    title = guarantee.partition(":")[0]
    return Rule(identity, title, guarantee, frozenset(needs), check, why)


RULES: Final[tuple[Rule, ...]] = (
    _rule(
        "R1",
        "Prefix: what a follower shows of a table is a prefix of the leader's log, the same rows "
        "and the same checksum at the same position.",
        prefix.prefix,
        "no answer told its position",
        _F.POSITIONS,
    ),
    _rule(
        "R2",
        "Ordered: positions delivered on a stream only increase; nothing is delivered again.",
        order.ordered,
        "no rows were delivered",
        _F.FRAMES,
    ),
    _rule(
        "R3",
        "Unique: a row appears once, however often its request is repeated or a stream resumed.",
        atomicity.once,
        "no answer had rows",
    ),
    _rule(
        "R4",
        "Atomic: of one request's rows all are visible or none, on leader and follower.",
        atomicity.atomic,
        "no answer had rows of a request with more than one",
    ),
    _rule(
        "R5",
        "Durable: every acknowledged row is on the leader from then on, whatever crashes, and in "
        "the end on every follower that may see it.",
        durability.durable,
        "nothing was read after an acknowledgement",
    ),
    _rule(
        "R6",
        "Real: only rows that were sent are ever seen, after they were sent, and none of a refused "
        "request.",
        durability.real,
        "no answer had rows",
    ),
    _rule(
        "R7",
        "Resumable: a stream goes on exactly where the follower is, with no gap and nothing twice.",
        order.resumable,
        "no stream resumed from rows the follower had",
        _F.FRAMES,
    ),
    _rule(
        "R8",
        "Bookmarkable: a bookmark means that everything up to its position was delivered before.",
        order.bookmarked,
        "no bookmark arrived",
        _F.FRAMES,
    ),
    _rule(
        "R9",
        "Never silent: a follower that cannot be continued from its position gets a snapshot, "
        "never a stream with a hole.",
        order.never_silent,
        "no snapshot and no rows were delivered",
        _F.FRAMES,
    ),
    _rule(
        "R10",
        "Monotonic: what a session has seen on a cluster it sees there again, also after restarts.",
        sessions.monotonic,
        "no session read a table twice on a cluster",
        _F.POSITIONS,
    ),
    _rule(
        "R11",
        "Read your writes: a read that asks for a position waits for it or fails; it is never "
        "answered from before.",
        positions.at_least,
        "no read that asked for a position was answered",
        _F.AT_LEAST,
        _F.POSITIONS,
    ),
    _rule(
        "R12",
        "Bounded staleness: the staleness told is never smaller than the true one, and a read that "
        "allows less is refused.",
        staleness.bounded,
        "no answer told its staleness",
        _F.STALENESS,
    ),
    _rule(
        "R13",
        "Read-only: a followed database refuses every change at its follower, and keeps no trace "
        "of it.",
        readonly.read_only,
        "nobody tried to change a followed database",
    ),
    _rule(
        "R14",
        "Schema first: a row is never visible before the columns it was sent with, and no column "
        "vanishes.",
        schema.schema_first,
        "no answer told its columns",
    ),
    _rule(
        "R15",
        "Sealing changes nothing: each row is there once before, while and after it goes into an "
        "extent, and extents are the same everywhere.",
        seal.sealed_once,
        "no extents were shown, and nothing was read after a seal",
        _F.SEAL,
    ),
    _rule(
        "G1",
        "Gate: while a follower's streaming capability is off or unknown it shows and receives no "
        "streaming row; sealed data still follow.",
        gate.closed,
        "nothing was read on a follower while its capability was certainly off",
        _F.CAPABILITY,
    ),
    _rule(
        "G2",
        "Reopened gate: turning the capability on brings everything of the closed time, exactly "
        "once, in order, without a restart.",
        gate.reopened,
        "no follower that may see rows in the end had been closed while rows were written",
        _F.CAPABILITY,
    ),
    _rule(
        "G3",
        "Closing gate: once off is acknowledged no further streaming row becomes visible, and "
        "never half a request.",
        gate.no_half,
        "nothing was read on a follower after its capability was turned off",
        _F.CAPABILITY,
    ),
    _rule(
        "G4",
        "Epochs: a stale open after a newer close is ignored; where coordinator, leader and "
        "follower disagree, the gate is closed.",
        gate.epochs,
        "no frame of rows, no gate report, and no answer while a capability was off",
        _F.CAPABILITY,
        _F.HIDDEN_REASON,
    ),
    _rule(
        "G5",
        "Legible: a refusal and hidden rows have a reason that people understand, and a code that "
        "is not internal.",
        refusals.legible,
        "nothing was refused or hidden",
        _F.HIDDEN_REASON,
    ),
    _rule(
        "G6",
        "Leader's gates: a leader whose capability is off takes no rows and no streaming policy, "
        "and does not go off while a table streams.",
        refusals.leader_gates,
        "no leader's capability or table's policy was certain when somebody used it",
        _F.CAPABILITY,
        _F.COMMANDS,
    ),
    _rule(
        "A1",
        "Attachment: a detached database is gone from the follower with its streams, and attaching "
        "again gives a complete copy.",
        attachment.attached,
        "nothing was detached, or nobody looked after it",
        _F.ATTACH,
    ),
    _rule(
        "A2",
        "Sharing: tables that are not shared are never seen or sent, and those that are always, "
        "also if they are made later.",
        attachment.filtered,
        "no database was shared in part, or nobody read of it",
        _F.SHARING,
    ),
    _rule(
        "A3",
        "Overrides: principals and caching on a follower are none, union or replace of the "
        "leader's, as it was told.",
        overrides.overrides,
        "nobody looked at what a follower overrides",
        _F.COMMANDS,
    ),
    _rule(
        "C1",
        "Coordinator lost: what runs goes on until its lease ends and then closes, nothing new is "
        "granted, and everything resumes by itself.",
        coordinator.coordinator_lost,
        "the coordinator was never gone, or nobody looked",
        _F.FAULTS,
    ),
    _rule(
        "L1",
        "Liveness: when faults are over every follower that may has exactly the leader's rows, and "
        "nothing grows without bound meanwhile.",
        liveness.converges,
        "the run did not come to its end, or nobody read of leader and follower then",
    ),
)
"""In the order of the catalogue."""


def check_all(
    history: History, profile: Profile, parameters: RuleParameters | None = None
) -> tuple[Verdict, ...]:
    """Judges a run by every rule, in the order of :data:`RULES`.

    A rule that needs more than the system offers is NOT_APPLICABLE; a history in which nothing
    could be checked by a rule gives UNKNOWN, and says why.
    """
    index = Index(history, profile, RuleParameters() if parameters is None else parameters)
    return tuple(rule.judge(index) for rule in RULES)
