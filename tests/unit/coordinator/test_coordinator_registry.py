"""Nodes: who may register, who is refused a heartbeat, limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from coordinator_story import DATABASE, Story, attached, owns

from cluster.coordinator import events
from cluster.coordinator.events import (
    Attached,
    CapabilitySet,
    Registered,
    Renewed,
)
from cluster.coordinator.registry import CANDIDATES
from cluster.errors import (
    ConflictError,
    EntityNotFoundError,
    InvalidRequestError,
    LimitExceededError,
)
from cluster.limits import LIMITS, Limits

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
    assert story.view("follower").following[0] == before, "nobody has heard the process yet"
    story.beat("leader", instance="b")
    after = story.view("follower").following[0]
    assert after == replace(
        before, epoch=story.state.durable.epoch, leader_address="127.0.0.1:9999"
    )
    assert after.epoch > before.epoch


def test_a_superseded_instance_is_refused_and_an_unknown_node_must_register() -> None:
    story = attached()
    story.register("leader", instance="b")
    assert isinstance(story.beat("leader", instance="a"), Renewed), "until the other is heard"
    assert isinstance(story.beat("leader", instance="b"), Renewed)
    assert isinstance(story.beat("leader", instance="a"), ConflictError)
    assert isinstance(story.beat("leader", number=7), EntityNotFoundError)


def test_a_request_to_register_that_was_late_supersedes_nobody() -> None:
    story = attached()
    story.register("leader", instance="b")
    story.beat("leader", instance="b")
    story.register("leader", instance="a", is_heard=False)
    assert isinstance(story.beat("leader", instance="b"), Renewed)
    assert isinstance(story.beat("leader", instance="a"), ConflictError), "its heartbeat was late"
    assert isinstance(story.beat("leader", instance="b"), Renewed)
    assert story.state.durable.nodes["leader/0"].instance == "b"


def test_a_late_request_does_not_come_between_a_process_and_its_first_heartbeat() -> None:
    story = attached()
    story.register("leader", instance="b")
    story.register("leader", instance="a", is_heard=False)
    assert story.register("leader", instance="b", is_heard=False) == story.register(
        "leader", instance="b"
    ), "asked again it has the same number"
    story.register("leader", instance="ghost", is_heard=False)
    assert isinstance(story.beat("leader", instance="b"), Renewed)
    story.register("leader", instance="c")
    assert isinstance(story.beat("leader", instance="c"), Renewed)
    assert isinstance(story.beat("leader", instance="b"), ConflictError)


def test_a_process_that_was_not_heard_before_a_restart_registers_again() -> None:
    story = attached()
    story.register("leader", instance="b")
    story.restart()
    assert isinstance(story.beat("leader", instance="b"), EntityNotFoundError)
    story.register("leader", instance="b")
    assert isinstance(story.beat("leader", instance="b"), Renewed)
    story.restart()
    assert isinstance(story.beat("leader", instance="a"), ConflictError)


def test_so_many_processes_of_a_node_are_remembered_and_one_that_is_not_registers_again() -> None:
    story = attached()
    names = [f"i{number}" for number in range(CANDIDATES + 1)]
    for name in names:
        story.register("leader", instance=name)
    assert isinstance(story.beat("leader", instance=names[0]), EntityNotFoundError)
    for name in names[1:]:
        assert isinstance(story.beat("leader", instance=name), Renewed)
    assert isinstance(story.beat("leader", instance=names[0]), ConflictError)


def test_a_heartbeat_that_was_late_says_nothing_but_its_lease_counts() -> None:
    story = attached()
    story.beat("leader", databases=owns(DATABASE, tables=("T",)), sequence=50)
    before = story.state.sessions["leader/0"]
    story.wait(1.0)
    answer = story.beat("leader", databases=owns(DATABASE), sequence=49)
    assert answer == Renewed(story.view("leader"), LIMITS.lease_seconds)
    after = story.state.sessions["leader/0"]
    assert after == replace(before, lease_until=before.lease_until + 1.0)
    assert isinstance(story.answers[story.off("leader")], ConflictError), "T is enabled still"


def test_a_late_heartbeat_does_not_take_an_off_back() -> None:
    story = attached()
    story.beat("leader", databases=owns(DATABASE), sequence=50)
    request = story.off("leader")
    story.beat("leader", databases=owns(DATABASE, tables=("T",)), sequence=49)
    assert request not in story.answers
    story.beat("leader", databases=owns(DATABASE), sequence=51)
    assert isinstance(story.answers[request], CapabilitySet)


def test_a_node_that_has_seen_the_future_gets_no_lease_and_is_told_why() -> None:
    story = attached()
    answer = story.beat("leader", revision=99)
    assert answer.lease_seconds == 0
    assert "old copy" in answer.doubt


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
