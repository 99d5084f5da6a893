"""The coordinator's rules, told as stories without I/O."""

from __future__ import annotations

from dataclasses import replace

import pytest
from coordinator_story import DATABASE, Story, attached, owns

from cluster.coordinator import attachment, capability, events
from cluster.coordinator.events import (
    Attached,
    CapabilitySet,
    Certainty,
    Detached,
    Registered,
    Renewed,
)
from cluster.coordinator.reports import DatabaseReport, FollowingReport
from cluster.coordinator.state import AttachmentKey, longest_lease
from cluster.errors import (
    ConflictError,
    DatabaseNotFoundError,
    EntityNotFoundError,
    InvalidRequestError,
    LimitExceededError,
    NotSupportedError,
    UnavailableError,
)
from cluster.limits import LIMITS, Limits
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
    elif phase is capability.Phase.CLOSING:
        story.beat("follower")
    else:
        assert (phase, what) not in capability.TABLE  # nothing waits, nothing can become certain
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
        if action is capability.Action.JOIN:
            assert waiter not in story.answers
        elif action is capability.Action.FINISH:
            assert story.answers[waiter] == CapabilitySet(granted, Certainty.CONFIRMED)
        else:
            assert isinstance(story.answers[waiter], ConflictError)


def test_table_of_capability_names_every_pair_but_those_that_cannot_be() -> None:
    pairs = {(p, i) for p in capability.Phase for i in capability.Input}
    certain = capability.Input.CERTAIN
    assert pairs - capability.TABLE.keys() == {
        (capability.Phase.ON, certain),
        (capability.Phase.OFF, certain),
    }


# Attachment: the whole table.


def attachment_in(phase: attachment.Phase) -> tuple[Story, list[int]]:
    story = attached()
    if phase is attachment.Phase.ATTACHED:
        return story, []
    waiting = [story.detach("follower")]
    if phase is attachment.Phase.NONE:
        story.beat("follower")
        waiting = []
    return story, waiting


@pytest.mark.parametrize("phase", attachment.Phase)
@pytest.mark.parametrize("what", attachment.Input)
def test_every_attachment_transition(phase: attachment.Phase, what: attachment.Input) -> None:
    story, waiting = attachment_in(phase)
    assert attachment.phase(story.state.durable, KEY) is phase
    before = story.state.durable
    request = None
    if what is attachment.Input.ATTACH:
        request = story.attach("follower")
    elif what is attachment.Input.DETACH:
        request = story.detach("follower")
    elif phase is attachment.Phase.DETACHING:
        story.beat("follower")
    else:
        assert (phase, what) not in attachment.TABLE
        return
    expected, action = attachment.TABLE[phase, what]
    after = story.state.durable
    assert attachment.phase(after, KEY) is expected
    assert bool(story.view("follower").following) is (expected is attachment.Phase.ATTACHED)
    assert bool(story.view("leader").followed) is (expected is attachment.Phase.ATTACHED)
    new_epoch = action in (
        attachment.Action.GRANT,
        attachment.Action.REVOKE,
        attachment.Action.REGRANT,
    )
    assert (after.epoch > before.epoch) is new_epoch
    answer = story.answers.get(request or 0)
    if action in (attachment.Action.REVOKE, attachment.Action.JOIN):
        assert answer is None
    elif action is attachment.Action.REFUSE:
        assert isinstance(answer, EntityNotFoundError)
    elif request is not None:
        assert answer == Attached(story.view("follower").following[0])
    for waiter in waiting:
        if action is attachment.Action.JOIN:
            assert waiter not in story.answers
        elif action is attachment.Action.FINISH:
            assert story.answers[waiter] == Detached(Certainty.CONFIRMED)
        else:
            assert isinstance(story.answers[waiter], ConflictError)


def test_table_of_attachment_names_every_pair_but_those_that_cannot_be() -> None:
    pairs = {(p, i) for p in attachment.Phase for i in attachment.Input}
    certain = attachment.Input.CERTAIN
    assert pairs - attachment.TABLE.keys() == {
        (attachment.Phase.NONE, certain),
        (attachment.Phase.ATTACHED, certain),
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


def test_leader_capability_off_leaves_followers_their_rows() -> None:
    story = attached()
    story.off("leader")
    grant = story.view("follower").following[0]
    assert grant.rows
    assert grant.leader_capability is Capability.OFF
    assert grant.epoch == story.state.durable.epoch


# Attach.


def test_attach_is_idempotent_and_keeps_the_epoch_and_the_leaders_spelling() -> None:
    story = attached()
    first = story.view("follower").following[0]
    again = story.answers[story.attach("follower", database=DATABASE.upper())]
    assert again == Attached(first)
    assert first.database == DATABASE


def test_a_follower_that_is_off_is_attached_without_rows_and_told_why() -> None:
    story = Story()
    story.register("leader")
    story.register("follower2", on=False)
    story.beat("leader", databases=owns(DATABASE))
    story.beat("follower2")
    grant = story.answers[story.attach("follower2")].grant
    assert not grant.rows
    assert grant.reason == (
        "streaming ingestion is off on follower cluster 'follower2'; leader database 'Db' is "
        "followed without streaming rows (sealed data only). "
        "Turn it on with: remora capability follower2 on"
    )


def test_a_strict_follower_that_is_off_is_told_that_nothing_is_followed() -> None:
    story = Story()
    story.register("leader")
    story.register("f", on=False, strict=True)
    story.beat("leader", databases=owns(DATABASE))
    story.beat("f")
    grant = story.answers[story.attach("f")].grant
    assert grant.strict
    assert "not followed at all" in grant.reason


def test_attach_refusals_name_what_is_wrong() -> None:
    story = attached()
    story.register("other")
    story.beat("other", databases=owns(DATABASE, "Third"))
    cases: list[tuple[tuple[str, str, str], type[Exception]]] = [
        (("nobody", "leader", DATABASE), EntityNotFoundError),
        (("follower", "nobody", DATABASE), EntityNotFoundError),
        (("leader", "leader", DATABASE), InvalidRequestError),
        (("other", "leader", DATABASE), ConflictError),  # has its own
        (("follower", "other", DATABASE), ConflictError),  # follows another of that name
    ]
    for (follower, leader, database), kind in cases:
        answer = story.answers[story.attach(follower, leader, database)]
        assert type(answer) is kind, (follower, leader, database)


def test_attach_of_an_unknown_database_asks_the_leader_once_more() -> None:
    story = attached()
    before = story.view("leader").revision
    request = story.attach("follower", database="New")
    assert request not in story.answers
    assert story.view("leader").revision > before  # published: the leader reports at once
    story.beat("leader", revision=before, databases=owns(DATABASE))  # was on its way
    assert request not in story.answers
    story.beat("leader", databases=owns(DATABASE, "new"))
    assert story.answers[request].grant.database == "new"


def test_attach_of_a_database_that_does_not_exist_is_refused_after_a_fresh_report() -> None:
    story = attached()
    request = story.attach("follower", database="Nope")
    story.beat("leader", databases=owns(DATABASE))
    assert isinstance(story.answers[request], DatabaseNotFoundError)


def test_attach_does_not_wait_for_a_leader_that_is_gone() -> None:
    story = attached()
    request = story.attach("follower", database="Nope")
    story.wait(LEASE)
    assert isinstance(story.answers[request], DatabaseNotFoundError)
    at_once = story.attach("follower", database="Nope")
    assert isinstance(story.answers[at_once], DatabaseNotFoundError)


def test_attach_after_a_restart_waits_for_the_leaders_first_report() -> None:
    story = attached()
    story.detach("follower")
    story.beat("follower")
    story.restart()
    story.beat("follower")
    request = story.attach("follower")
    assert request not in story.answers
    story.beat("leader", databases=owns(DATABASE))
    assert isinstance(story.answers[request], Attached)


def test_attach_is_unavailable_while_a_cluster_has_never_been_heard() -> None:
    story = Story()
    story.register("leader")
    story.register("follower")
    assert isinstance(story.answers[story.attach("follower")], UnavailableError)
    story.beat("leader", databases=owns(DATABASE))
    assert isinstance(story.answers[story.attach("follower")], UnavailableError)
    story.beat("follower")
    assert isinstance(story.answers[story.attach("follower")], Attached)


def test_an_abandoned_attach_that_waits_is_forgotten() -> None:
    story = attached()
    request = story.attach("follower", database="New")
    story.send(events.Abandon(request))
    assert not story.state.inquiries
    assert story.timer is None


def test_a_followed_database_cannot_be_followed_from_its_follower() -> None:
    story = attached()
    story.register("third")
    story.beat("third")
    request = story.attach("third", leader="follower")
    story.beat("follower")
    error = story.answers[request]
    assert isinstance(error, NotSupportedError)
    assert "leader" in error.remedy


# Detach.


def test_detach_is_confirmed_only_when_the_database_is_not_named_any_more() -> None:
    story = attached()
    shown = story.view("follower").following[0]
    request = story.detach("follower")
    story.beat("follower", following=[FollowingReport("leader", DATABASE, shown.epoch)])
    assert request not in story.answers
    story.beat("follower")
    assert story.answers[request] == Detached(Certainty.CONFIRMED)


def test_another_leaders_database_of_the_name_waits_for_the_detach() -> None:
    story = attached()
    story.register("other")
    story.beat("other", databases=owns(DATABASE))
    story.detach("follower")
    assert isinstance(story.answers[story.attach("follower", leader="other")], UnavailableError)
    story.beat("follower")
    assert isinstance(story.answers[story.attach("follower", leader="other")], Attached)


def test_off_is_not_certain_while_a_detach_is_not() -> None:
    """The detached database has no grant any more, but its rows may still be visible."""
    story = attached()
    old = story.view("follower").following[0]
    story.detach("follower")
    request = story.off("follower")
    story.beat("follower", following=[FollowingReport("leader", DATABASE, old.epoch)])
    assert request not in story.answers
    story.beat("follower")
    assert story.answers[request].certainty is Certainty.CONFIRMED


# Nodes.


def test_register_is_idempotent() -> None:
    story = attached()
    before = story.state
    story.register("leader", grpc_address="127.0.0.1:5000", on=False, strict=True)
    assert story.state == before


def test_a_new_leader_address_is_a_new_epoch() -> None:
    story = attached()
    before = story.view("follower").following[0]
    story.register("leader", instance="b", grpc_address="127.0.0.1:9999")
    after = story.view("follower").following[0]
    assert after == replace(
        before, epoch=story.state.durable.epoch, leader_address="127.0.0.1:9999"
    )
    assert after.epoch > before.epoch


def test_a_superseded_instance_is_refused_and_an_unknown_node_must_register() -> None:
    story = attached()
    story.register("leader", instance="b")
    assert isinstance(story.beat("leader", instance="a"), ConflictError)
    assert isinstance(story.beat("leader", instance="b"), Renewed)
    assert isinstance(story.beat("leader", number=7), EntityNotFoundError)


def test_a_node_that_has_seen_the_future_is_refused() -> None:
    story = attached()
    assert isinstance(story.beat("leader", revision=99), ConflictError)


def test_renewal_gives_the_lease_and_the_newest_view() -> None:
    story = attached()
    answer = story.beat("follower")
    assert answer == Renewed(story.view("follower"), LIMITS.lease_seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cluster": ""},
        {"cluster": "a/b"},
        {"cluster": "a\nb"},
        {"node": ""},
        {"instance": ""},
        {"grpc_address": "nowhere"},
        {"grpc_address": "host:port"},
        {"grpc_address": ":1"},
        {"cluster": "c" * (LIMITS.entity_name_characters + 1)},
    ],
)
def test_register_refuses_what_is_no_name_or_address(wrong: dict[str, str]) -> None:
    story = Story()
    good = {"cluster": "c", "node": "c/0", "instance": "i", "grpc_address": "127.0.0.1:1"}
    answer = story.get(events.RegisterNode, **(good | wrong))
    assert isinstance(answer, InvalidRequestError)
    assert not story.state.durable.nodes


def test_a_node_cannot_move_to_another_cluster() -> None:
    story = Story()
    story.register("one")
    answer = story.get(events.RegisterNode, "two", "one/0", "b", "127.0.0.1:1")
    assert isinstance(answer, ConflictError)
    assert "two" not in story.state.durable.clusters


def test_limits_hold_at_their_edge() -> None:
    story = Story(limits=Limits(clusters=3, nodes=4, attachments=1))
    for cluster in ("leader", "f1", "f2"):
        assert isinstance(story.register(cluster), Registered)
    assert isinstance(story.register("f3"), LimitExceededError)
    assert isinstance(story.register("f1", number=1), Registered)
    assert isinstance(story.register("f1", number=2), LimitExceededError)
    assert isinstance(story.register("f1", instance="b"), Registered)
    story.beat("leader", databases=owns("A", "B"))
    story.beat("f1", instance="b")
    story.beat("f1", number=1)
    story.beat("f2")
    assert isinstance(story.answers[story.attach("f1", database="A")], Attached)
    assert isinstance(story.answers[story.attach("f2", database="A")], LimitExceededError)


def test_a_refused_request_changes_nothing() -> None:
    story = attached()
    before = story.state
    story.attach("nobody")
    story.detach("nobody")
    story.off("nobody")
    assert story.state == before
    assert all(isinstance(story.answers[n], EntityNotFoundError) for n in list(story.answers)[-3:])
