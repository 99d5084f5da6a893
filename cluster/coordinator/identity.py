"""Whose word it is: lives of a coordinator, and what to do when nodes obey another one. Pure.

A coordinator's data has a random id, and every start of it is a life of its own: generation,
random instance, the revision it began with, and the lives before it
(:class:`cluster.replication.authority.Issuer`). Nodes judge by that whom to obey, and say with each
heartbeat whom they obey. So the coordinator notices the same doubts as they do, by the same
function. While there is one it gives no lease to anybody and decides nothing: whatever it answered
might not be true.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cluster.coordinator.state import Contest, Doubt, longest_lease
from cluster.errors import ConflictError
from cluster.replication.authority import NO_ISSUER, Issuer, PastLife, Standing, doubt_about, judge

if TYPE_CHECKING:
    from cluster.coordinator.events import Heartbeat
    from cluster.coordinator.state import Durable
    from cluster.coordinator.turn import Turn

PAST_LIVES: Final = 32
"""Lives before its own that a coordinator remembers: 1.5 KB of every view. A node that obeys
one from before those was not heard for as many starts; it is judged by its numbers alone."""

_KNOWS_MORE = (
    "node '{node}' has seen decisions ({obeyed}) that the coordinator ({heard}) does not know: it "
    "runs on an old copy of its data, or beside another. Restore the newest data, or run "
    "`remora adopt`"
)


def begin(durable: Durable, *, coordinator: str, instance: str) -> Durable:
    """What is on disk when a life begins. ``coordinator`` is its id if it has none yet."""
    before = durable.issuer
    issuer = Issuer(
        coordinator=before.coordinator or coordinator,
        generation=before.generation + 1,
        instance=instance,
        began=durable.revision,
        succeeds=before.succeeds,
        past=before.past,
    )
    if before.instance:
        ended = PastLife(before.generation, before.instance, durable.revision)
        issuer = _remembering(issuer, ended)
    return replace(durable, issuer=issuer)


def _remembering(issuer: Issuer, life: PastLife) -> Issuer:
    """It has ``life`` in its past too, with what is known of it now."""
    others = (one for one in issuer.past if one.instance != life.instance)
    return replace(issuer, past=(life, *others)[:PAST_LIVES])


def doubt(durable: Durable, node: str, obeys: Issuer, revision: int) -> str:
    """Why a node that obeys ``obeys``, and has seen ``revision``, should not obey us; or empty."""
    if obeys == NO_ISSUER and not revision:
        return ""
    own = durable.issuer
    standing = judge(obeys, revision, own)
    behind = standing is Standing.SAME and revision > durable.revision
    if behind or standing is Standing.EARLIER:
        return _KNOWS_MORE.format(node=node, obeyed=obeys, heard=own)
    words = doubt_about(standing, obeys, own)
    return words and f"{words} (node '{node}')"


def contest(turn: Turn, event: Heartbeat, reason: str) -> None:
    """Nothing is decided and no lease given until the node is heard without a doubt."""
    others = () if turn.contest is None else turn.contest.doubts
    until = turn.now + longest_lease(turn.limits)
    found = Doubt(event.node, event.instance, event.sequence, reason, until)
    turn.contest = Contest((*(doubt for doubt in others if doubt.node != event.node), found))


def settle(turn: Turn, event: Heartbeat) -> None:
    """A process of a node was heard without a doubt.

    One sent before the doubt settles nothing. Another process of the node may go on for a lease
    of the other coordinator.
    """
    for doubt in () if turn.contest is None else turn.contest.doubts:
        is_same = doubt.instance == event.instance
        if doubt.node == event.node and not (is_same and event.sequence <= doubt.sequence):
            session = turn.session(event.node)
            until = max(session.ghosts_until, doubt.until)
            turn.put_session(event.node, replace(session, ghosts_until=until))
            _drop(turn, doubt)


def settle_by_time(turn: Turn) -> None:
    """Forgets nodes not heard for a lease, if an operator has said whose word counts.

    Without such a word nothing is forgotten.
    """
    if turn.contest is not None and turn.adopts:
        for doubt in turn.contest.doubts:
            if doubt.until <= turn.now:
                _drop(turn, doubt)


def _drop(turn: Turn, doubt: Doubt) -> None:
    assert turn.contest is not None
    left = tuple(one for one in turn.contest.doubts if one is not doubt)
    turn.contest = Contest(left) if left else None


def check_uncontested(turn: Turn) -> None:
    """Raises ConflictError while it is in doubt who the coordinator is."""
    if turn.contest is not None:
        reason = turn.contest.reason
        raise ConflictError(
            f"nothing is decided while it is in doubt who the coordinator is: {reason}",
            remedy="Stop the other coordinator, restore the newest data, or run: remora adopt",
        )


def adopt(turn: Turn, obeys: Issuer, revision: int, newest_epoch: int) -> None:
    """Takes the place of whom a node obeys: everything counted goes on above what it has seen.

    Processes may hold leases of the other coordinator, given until now for all we know.
    """
    durable = turn.durable
    turn.raise_counters(newest_epoch, revision)
    turn.new_epoch()
    turn.regrant(turn.durable.attachments.values())
    own = durable.issuer
    others = {*own.succeeds, obeys.coordinator} - {own.coordinator, ""}
    began = turn.durable.revision
    issuer = replace(
        own,
        generation=max(own.generation, obeys.generation) + 1,
        began=began,
        succeeds=tuple(sorted(others)),
    )
    if obeys.instance not in ("", own.instance):
        adopted = PastLife(obeys.generation, obeys.instance, began, adopted=True)
        issuer = _remembering(issuer, adopted)
    turn.durable = replace(turn.durable, issuer=issuer)
    turn.contest = None
    until = turn.now + longest_lease(turn.limits)
    for node in durable.nodes:
        session = turn.session(node)
        turn.put_session(node, replace(session, ghosts_until=max(session.ghosts_until, until)))
    turn.restart_changes()


def outrun(turn: Turn, newest_epoch: int) -> None:
    """Gives every grant a new epoch if a process has heard of a newer one than any given here.

    A coordinator that was put in the place of another adopts the node that comes first; the others
    then obey its next life, although they may have heard of epochs that the first had not. Whoever
    has takes no open below them: nothing would open there any more.
    """
    if newest_epoch > turn.durable.epoch:
        turn.raise_counters(newest_epoch, 0)
        turn.new_epoch()
        turn.regrant(turn.durable.attachments.values())
