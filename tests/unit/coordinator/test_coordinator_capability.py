"""Streaming capability: the whole table, when off is certain, what forbids it."""

from __future__ import annotations

import pytest
from coordinator_story import DATABASE, Story, attached, owns

from cluster.coordinator import capability, events
from cluster.coordinator.events import (
    CapabilitySet,
    Certainty,
)
from cluster.coordinator.reports import DatabaseReport, FollowingReport
from cluster.coordinator.state import AttachmentKey, longest_lease
from cluster.errors import (
    ConflictError,
)
from cluster.limits import LIMITS
from cluster.replication.authority import Capability

LEASE = longest_lease(LIMITS)
KEY = AttachmentKey("leader", DATABASE.lower(), "follower")


# Capability: the whole table.


def in_phase(phase: capability.Phase) -> tuple[Story, list[int]]:
    """A story whose follower cluster is in ``phase``, and the requests that wait there."""
    story = attached()
    if phase is capability.Phase.ON:
        return story, []
    waiting = [story.off("follower")]
    if phase is capability.Phase.DRAINING:
        story.beat("follower", drained=False)
    if phase is capability.Phase.OFF:
        story.beat("follower")
        waiting = []
    return story, waiting


@pytest.mark.parametrize("phase", capability.Phase)
@pytest.mark.parametrize("what", capability.Input)
def test_every_capability_transition(phase: capability.Phase, what: capability.Input) -> None:
    story, waiting = in_phase(phase)
    assert capability.phase(story.state.durable, "follower") is phase
    before = story.state.durable
    request = None
    if what is capability.Input.TURN_ON:
        request = story.on("follower")
    elif what is capability.Input.TURN_OFF:
        request = story.off("follower")
    elif what is capability.Input.TABLES_REPORTED:
        tables = (DatabaseReport("Own", True, ("T",)),)
        story.beat("follower", revision=0, epoch=0, databases=tables)
    elif what is capability.Input.SEALED:
        story.beat("follower", epoch=0 if phase is capability.Phase.CLOSING else None)
    elif phase is capability.Phase.CLOSING:
        story.beat("follower", drained=False)
    else:
        assert (phase, what) not in capability.TABLE  # no gate is waited for
        return
    expected, action = capability.TABLE[phase, what]
    after = story.state.durable
    assert capability.phase(after, "follower") is expected
    granted = after.attachments[KEY].epoch
    new_epoch = action in (
        capability.Action.OPEN,
        capability.Action.CLOSE,
        capability.Action.REOPEN,
        capability.Action.TAKE_BACK,
    )
    assert (after.epoch > before.epoch) is new_epoch
    assert (after.revision > before.revision) is new_epoch
    assert (granted == after.epoch) or not new_epoch
    rows = story.view("follower").following[0].rows
    assert rows is (expected is capability.Phase.ON)
    if action in (capability.Action.CLOSE, capability.Action.JOIN):
        assert request not in story.answers
    elif request is not None:
        assert story.answers[request] == CapabilitySet(granted, Certainty.IMMEDIATE)
    for waiter in waiting:
        if action in (
            capability.Action.JOIN,
            capability.Action.NOTHING,
            capability.Action.DRAIN,
        ):
            assert waiter not in story.answers
        elif action is capability.Action.FINISH:
            assert story.answers[waiter] == CapabilitySet(granted, Certainty.CONFIRMED)
        else:
            assert isinstance(story.answers[waiter], ConflictError)


def test_table_of_capability_names_every_pair_but_those_that_cannot_be() -> None:
    pairs = {(p, i) for p in capability.Phase for i in capability.Input}
    hidden = capability.Input.HIDDEN
    assert pairs - capability.TABLE.keys() == {
        (phase, hidden) for phase in capability.Phase if phase is not capability.Phase.CLOSING
    }


# When off is certain.


def confirmed_by(story: Story, **heartbeat: object) -> bool:
    """Whether this heartbeat of the follower answers an off that waits for it."""
    request = story.off("follower")
    story.beat("follower", **heartbeat)
    return request in story.answers


def test_off_is_confirmed_by_the_epoch_applied_at_every_gate() -> None:
    assert confirmed_by(attached())


@pytest.mark.parametrize(
    "heartbeat",
    [
        pytest.param({"revision": 1}, id="an older view"),
        pytest.param({"epoch": 1}, id="an older epoch at the gate"),
        pytest.param({"following": ()}, id="an attachment not named"),
        pytest.param(
            {
                "following": (
                    FollowingReport("leader", DATABASE, 99),
                    FollowingReport("leader", "Gone", 1),
                )
            },
            id="a detached database still shown at an older epoch",
        ),
    ],
)
def test_off_is_not_confirmed_by(heartbeat: dict[str, object]) -> None:
    assert not confirmed_by(attached(), **heartbeat)


def test_off_waits_for_the_last_lease_and_not_a_moment_less() -> None:
    story = attached()
    request = story.off("follower")
    assert story.timer == story.now + LEASE
    story.wait(LEASE - 1e-6)
    assert request not in story.answers
    story.wait(1e-6)
    epoch = story.view("follower").following[0].epoch
    assert story.answers[request] == CapabilitySet(epoch, Certainty.LEASE_EXPIRED)
    assert story.timer is None


def test_heartbeats_whose_answers_never_arrive_do_not_hold_up_off() -> None:
    """Their answers carry the closed view: a lease they renew is a lease to show nothing."""
    story = attached()
    request = story.off("follower")
    for _ in range(5):
        story.wait(LEASE / 5)
        story.beat("follower", revision=1, epoch=1)
    assert story.answers[request].certainty is Certainty.LEASE_EXPIRED


def test_every_node_of_the_cluster_must_confirm() -> None:
    story = attached()
    story.register("follower", number=1, instance="b")
    story.beat("follower", number=1, instance="b")
    request = story.off("follower")
    story.beat("follower")
    assert request not in story.answers
    story.beat("follower", number=1, instance="b")
    assert story.answers[request].certainty is Certainty.CONFIRMED


def test_a_new_instance_cannot_confirm_for_the_one_before() -> None:
    story = attached()
    story.register("follower", instance="b")
    story.beat("follower", instance="b")
    request = story.off("follower")
    story.beat("follower", instance="b")
    assert request not in story.answers
    story.wait(LEASE)
    assert story.answers[request].certainty is Certainty.LEASE_EXPIRED


def test_an_instance_superseded_while_off_waits_is_waited_for_until_its_lease_ends() -> None:
    story = attached()
    request = story.off("follower")
    story.register("follower", instance="b")
    story.beat("follower", instance="b")
    assert request not in story.answers
    story.wait(LEASE)
    assert story.answers[request].certainty is Certainty.LEASE_EXPIRED


def test_off_of_a_cluster_without_running_leases_is_certain_at_once() -> None:
    story = attached()
    story.wait(LEASE)
    request = story.off("follower")
    assert story.answers[request].certainty is Certainty.IMMEDIATE


def test_after_a_restart_every_lease_is_assumed_to_be_fresh() -> None:
    story = attached()
    story.wait(LEASE * 2)
    story.restart()
    request = story.off("follower")
    story.wait(LEASE - 1e-6)
    assert request not in story.answers
    story.wait(1e-6)
    assert story.answers[request].certainty is Certainty.LEASE_EXPIRED


def test_a_pending_off_survives_a_restart_and_can_be_joined() -> None:
    story = attached()
    story.off("follower")
    story.restart()
    assert capability.phase(story.state.durable, "follower") is capability.Phase.CLOSING
    request = story.off("follower")
    assert request not in story.answers
    story.wait(LEASE)
    assert story.answers[request].certainty is Certainty.LEASE_EXPIRED
    assert capability.phase(story.state.durable, "follower") is capability.Phase.OFF


def test_off_of_a_cluster_nobody_follows_with_grants_has_epoch_zero() -> None:
    story = Story()
    story.register("alone")
    assert story.answers[story.off("alone")] == CapabilitySet(0, Certainty.IMMEDIATE)


def test_an_abandoned_off_goes_on_without_an_answer() -> None:
    story = attached()
    request = story.off("follower")
    story.send(events.Abandon(request))
    story.beat("follower")
    assert request not in story.answers
    assert capability.phase(story.state.durable, "follower") is capability.Phase.OFF


def test_off_answers_everybody_who_waited() -> None:
    story = attached()
    requests = [story.off("follower") for _ in range(3)]
    story.beat("follower")
    assert all(story.answers[request].certainty is Certainty.CONFIRMED for request in requests)


# Streaming tables forbid off.


@pytest.mark.fidelity(
    "ingest-data-streaming.md",
    "Policies are dropped before streaming is turned off",
    differs=(
        "The page does not say what happens otherwise: turning it off is refused and "
        "names the tables"
    ),
)
def test_off_is_refused_naming_the_tables_that_stream() -> None:
    story = attached()
    story.beat("leader", databases=owns(DATABASE, tables=("Two", "One")))
    before = story.state.durable
    error = story.answers[story.off("leader")]
    assert isinstance(error, ConflictError)
    assert "Db.One, Db.Two" in str(error)
    assert story.state.durable == before
    story.beat("leader", databases=owns(DATABASE))
    story.off("leader")
    assert not story.state.durable.clusters["leader"].streaming_ingestion


def test_the_last_report_forbids_off_even_if_node_and_coordinator_died_since() -> None:
    story = attached()
    story.beat("leader", databases=owns(DATABASE, tables=("T",)))
    story.wait(LEASE)
    story.restart()
    assert isinstance(story.answers[story.off("leader")], ConflictError)


def test_a_policy_enabled_while_off_waits_takes_it_back() -> None:
    story = attached()
    request = story.off("leader")
    story.beat("leader", revision=0, databases=owns(DATABASE, tables=("T",)))
    error = story.answers[request]
    assert isinstance(error, ConflictError)
    assert "Db.T" in str(error)
    assert capability.phase(story.state.durable, "leader") is capability.Phase.ON


@pytest.mark.fidelity(
    "ingest-data-streaming.md", "The leader's own switch and the follower's are two"
)
def test_leader_capability_off_leaves_followers_their_rows() -> None:
    story = attached()
    story.off("leader")
    grant = story.view("follower").following[0]
    assert grant.rows
    assert grant.leader_capability is Capability.OFF
    assert grant.epoch == story.state.durable.epoch
