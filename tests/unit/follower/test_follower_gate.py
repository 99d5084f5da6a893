"""The gate: every cell of its table, and what classification must never do."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.replication.authority import Capability, Grant
from cluster.replication.protocol import LeaderGate, Refusal
from follower.gate import TABLE, Gate, GateInput, GateState, Word, table_as_markdown

LEASE = 100.0
ON, OFF, UNKNOWN = Capability.ON, Capability.OFF, Capability.UNKNOWN


def word(epoch=5, rows=True, capability=ON, lease_until=LEASE, reason="", doubt=""):
    grant = Grant("leader", "db", "follower", epoch, rows, reason)
    return Word(grant, capability, lease_until, doubt)


def refusal(epoch, message="refused by the leader"):
    return Refusal(message, "leader", "follower", "db", ON, OFF, epoch)


DETACHED = Word(None, ON, LEASE)


def gate_in(state):
    """A gate at epoch 5 (UNKNOWN: 0) brought to a state through its public door."""
    gate = Gate()
    match state:
        case GateState.CAPABILITY_OFF:
            gate.hear(word(capability=OFF), 0)
        case GateState.REFUSED:
            gate.hear(word(rows=False), 0)
        case GateState.LEASE_EXPIRED:
            gate.hear(word(), LEASE)
        case GateState.OVERRULED:
            gate.hear(word(), 0)
            gate.leader_says(LeaderGate(7, False, "newer"))
        case GateState.DOUBTED:
            gate.hear(word(doubt="two of them"), 0)
        case GateState.OPEN:
            gate.hear(word(), 0)
        case GateState.DETACHED:
            gate.hear(DETACHED, 0)
        case GateState.UNKNOWN:
            pass
    assert gate.state is state
    return gate


def hear_stale(gate):
    gate.hear(word(epoch=8, rows=False), 0)
    gate.hear(word(epoch=6), 0)


# Makes exactly this input happen. 7 is the floor of the overruled gate, no less than any epoch.
HAPPENINGS = {
    GateInput.ALLOWED: lambda gate: gate.hear(word(epoch=7), 0),
    GateInput.ALLOWED_WITHOUT_LEASE: lambda gate: gate.hear(word(epoch=7), LEASE),
    GateInput.DOUBTED: lambda gate: gate.hear(word(epoch=7, doubt="two of them"), 0),
    GateInput.ALLOWED_BUT_STALE: hear_stale,
    GateInput.CAPABILITY_OFF: lambda gate: gate.hear(word(capability=OFF), 0),
    GateInput.REFUSED: lambda gate: gate.hear(word(rows=False), 0),
    GateInput.NOT_ATTACHED: lambda gate: gate.hear(DETACHED, 0),
    GateInput.LEASE_RAN_OUT: lambda gate: gate.tick(math.inf),
    GateInput.LEADER_CLOSED_NEWER: lambda gate: gate.leader_says(LeaderGate(9, False, "newer")),
    GateInput.LEADER_CONTRADICTS: lambda gate: gate.leader_refuses(refusal(gate.epoch)),
    GateInput.LEADER_CLOSED: lambda gate: gate.leader_says(LeaderGate(gate.epoch, False, "lease")),
    GateInput.LEADER_OPEN: lambda gate: gate.leader_says(LeaderGate(gate.epoch, True)),
    GateInput.LEADER_STALE: lambda gate: gate.leader_says(LeaderGate(gate.epoch - 1, False)),
    GateInput.DISCONNECTED: lambda gate: gate.disconnected(),
}


# A contradiction is only one if our own newest word allows rows; ALLOWED_BUT_STALE passes REFUSED.
@pytest.mark.parametrize("event", GateInput)
@pytest.mark.parametrize("state", GateState)
def test_every_cell_is_what_the_table_says(state, event):
    gate = gate_in(state)
    HAPPENINGS[event](gate)
    assert gate.state is TABLE[state][event]
    assert bool(gate.reason) == (gate.state is not GateState.OPEN)


def test_the_table_is_complete():
    assert set(TABLE) == set(GateState)
    assert all(set(line) == set(GateInput) for line in TABLE.values())


@pytest.mark.parametrize("event", GateInput)
def test_only_the_coordinator_opens(event):
    opened = {state for state in GateState if TABLE[state][event] is GateState.OPEN}
    if event is GateInput.ALLOWED:
        assert opened == set(GateState) - {GateState.DETACHED}
    else:
        assert opened <= {GateState.OPEN}


def test_detached_is_for_ever():
    assert set(TABLE[GateState.DETACHED].values()) == {GateState.DETACHED}


def test_visible_looks_at_the_clock_even_if_nobody_ticked():
    gate = gate_in(GateState.OPEN)
    assert gate.visible(LEASE - 0.001)
    assert gate.state is GateState.OPEN
    assert not gate.visible(LEASE)


def test_a_lease_that_is_renewed_opens_again():
    gate = gate_in(GateState.OPEN)
    assert gate.tick(LEASE)
    assert not gate.open
    assert gate.hear(word(lease_until=2 * LEASE), LEASE + 1)
    assert gate.visible(LEASE + 1)


def test_stale_open_after_newer_close_is_ignored():
    gate = gate_in(GateState.OPEN)
    assert gate.leader_says(LeaderGate(6, False, "switched off"))
    assert gate.reason == "switched off"
    assert not gate.leader_says(LeaderGate(5, True))
    assert not gate.hear(word(epoch=5), 1)
    assert gate.state is GateState.OVERRULED
    assert gate.reason == "switched off"
    gate.hear(word(epoch=6), 2)
    assert gate.open
    assert gate.reason == ""


def test_it_knows_the_newest_epoch_it_has_heard_of_from_anybody():
    gate = Gate()
    assert gate.newest_epoch == 0
    gate.hear(word(epoch=5), 1)
    assert gate.newest_epoch == 5
    gate.leader_says(LeaderGate(8, False, "in doubt"))
    gate.hear(word(epoch=6), 2)
    assert gate.newest_epoch == 8
    gate.leader_refuses(refusal(9))
    assert gate.newest_epoch == 9


def test_an_epoch_that_was_only_asked_for_was_not_heard_of():
    gate = gate_in(GateState.OPEN)
    gate.leader_refuses(refusal(5, "the leader reads it otherwise"))
    assert gate.newest_epoch == 5


def test_two_readings_of_one_epoch_close_until_a_newer_decision():
    gate = gate_in(GateState.OPEN)
    gate.leader_refuses(refusal(5, "the leader reads it otherwise"))
    assert gate.reason == "the leader reads it otherwise"
    gate.hear(word(epoch=5), 1)
    assert not gate.open
    gate.hear(word(epoch=6), 1)
    assert gate.open


def test_a_refusal_that_agrees_changes_nothing():
    gate = Gate()
    gate.hear(word(rows=False, reason="follower2 has streaming off"), 0)
    assert not gate.leader_refuses(refusal(5))
    assert gate.reason == "follower2 has streaming off"
    gate.hear(word(epoch=6), 0)
    assert gate.open, "it did not raise the floor"


@pytest.mark.parametrize("capability", [OFF, UNKNOWN])
def test_own_capability_closes_whatever_the_grant_says(capability):
    gate = gate_in(GateState.OPEN)
    gate.hear(word(capability=capability), 1)
    assert not gate.visible(1)
    assert gate.reason == "streaming ingestion is off on this cluster"


def test_the_epoch_never_goes_back():
    gate = gate_in(GateState.OPEN)
    gate.hear(word(epoch=4), 0)
    assert gate.epoch == 5
    assert not gate.open


def test_losing_the_leader_hides_nothing():
    gate = gate_in(GateState.OPEN)
    assert not gate.disconnected()
    assert not gate.leader_says(LeaderGate(5, False, "the leader's lease ran out"))
    assert gate.visible(1)


words = st.builds(
    word,
    epoch=st.integers(1, 6),
    rows=st.booleans(),
    capability=st.sampled_from(Capability),
    lease_until=st.integers(0, 20).map(float),
)
news = st.one_of(
    words,
    st.builds(LeaderGate, st.integers(1, 6), st.booleans(), st.just("r")),
    st.builds(refusal, st.integers(1, 6)),
)


@given(st.lists(st.tuples(news, st.integers(0, 20))))
def test_visible_implies_every_condition(happenings):
    gate, last, newest_close = Gate(), None, 0
    for event, now in happenings:
        if isinstance(event, Word):
            gate.hear(event, now)
            last = event
        elif isinstance(event, LeaderGate):
            gate.leader_says(event)
            if not event.open and event.epoch > gate.epoch:
                newest_close = max(newest_close, event.epoch)
        else:
            gate.leader_refuses(event)
            if event.epoch > gate.epoch:
                newest_close = max(newest_close, event.epoch)
        for at in range(21):
            if gate.visible(at):
                assert last is not None
                assert last.capability is ON
                assert last.grant.rows
                assert at < last.lease_until
                assert last.grant.epoch >= newest_close


def test_a_doubt_about_the_coordinator_hides_rows_says_why_and_ends_by_itself():
    gate = gate_in(GateState.OPEN)
    assert gate.hear(word(lease_until=-math.inf, doubt="two of them"), 1)
    assert not gate.visible(1)
    assert gate.reason == "two of them"
    assert not gate.tick(math.inf)
    assert gate.hear(word(), 2)
    assert gate.visible(2)


def test_a_contradiction_heard_during_a_doubt_outlives_it():
    gate = gate_in(GateState.DOUBTED)
    gate.leader_refuses(refusal(5))
    assert gate.state is GateState.DOUBTED
    gate.hear(word(), 2)
    assert gate.state is GateState.OVERRULED
    gate.hear(word(epoch=6), 2)
    assert gate.open


def test_the_document_shows_this_table():
    document = Path(__file__).parents[3] / "follower" / "DESIGN.md"
    assert table_as_markdown() in document.read_text()
