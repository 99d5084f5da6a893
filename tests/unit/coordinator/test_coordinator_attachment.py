"""Attachments: the whole table, what attach asks and refuses, when detach is certain."""

from __future__ import annotations

import pytest
from coordinator_story import DATABASE, Story, attached, owns

from cluster.catalog.following import Sharing
from cluster.coordinator import attachment, events
from cluster.coordinator.configuration import Configuration
from cluster.coordinator.events import (
    Attached,
    Certainty,
    Detached,
)
from cluster.coordinator.reports import FollowingReport
from cluster.coordinator.state import AttachmentKey, longest_lease
from cluster.coordinator.turn import Turn
from cluster.coordinator.views import view
from cluster.errors import (
    ConflictError,
    DatabaseNotFoundError,
    EntityNotFoundError,
    InvalidRequestError,
    NotSupportedError,
    UnavailableError,
)
from cluster.limits import LIMITS

LEASE = longest_lease(LIMITS)
KEY = AttachmentKey("leader", DATABASE.lower(), "follower")


# Attachment: the whole table.


ONE_TABLE = Sharing(tables_to_include=("One",))
CONFIGURATION = Configuration("follower", "leader.Db", "leader", DATABASE)


def attachment_in(phase: attachment.Phase) -> tuple[Story, list[int]]:
    """A story in which the attachment stands there, and the requests that wait for it."""
    story = attached()
    if phase is attachment.Phase.ATTACHED:
        return story, []
    if phase is attachment.Phase.RESHARING:
        return story, [story.attach("follower", sharing=ONE_TABLE)]
    waiting = [story.detach("follower")]
    if phase is attachment.Phase.NONE:
        story.beat("follower")
        waiting = []
    return story, waiting


@pytest.mark.parametrize("phase", attachment.Phase)
@pytest.mark.parametrize("what", attachment.Input)
def test_every_attachment_transition(phase: attachment.Phase, what: attachment.Input) -> None:
    story, waiting = attachment_in(phase)
    before = story.state.durable
    assert attachment.phase(before, KEY) is phase
    if what is attachment.Input.CERTAIN:
        if (phase, what) in attachment.TABLE:
            story.beat("follower")
            expected, _ = attachment.TABLE[phase, what]
            assert attachment.phase(story.state.durable, KEY) is expected
            (waiter,) = waiting
            assert story.answers[waiter].certainty is Certainty.CONFIRMED
        return
    turn = Turn(story.state, story.now, LIMITS)
    turn.put_configuration(before.configurations.get(CONFIGURATION.key, CONFIGURATION))
    action = attachment.step(turn, CONFIGURATION, DATABASE, what, 99)
    expected, wanted = attachment.TABLE[phase, what]
    assert action is wanted
    after = turn.durable
    assert attachment.phase(after, KEY) is expected
    is_attached = expected in (attachment.Phase.ATTACHED, attachment.Phase.RESHARING)
    for cluster, side in (("follower", "following"), ("leader", "followed")):
        assert bool(getattr(view(after, cluster), side)) is is_attached
    quiet = (attachment.Action.NOTHING, attachment.Action.JOIN, attachment.Action.REFUSE)
    assert (after.epoch > before.epoch) is (action not in quiet)
    told = {reply.request: reply.outcome for reply in turn.replies}
    superseding = (attachment.Action.REGRANT, attachment.Action.REVOKE_RESHARED)
    assert list(told) == (waiting if action in superseding else [])
    assert all(isinstance(outcome, ConflictError) for outcome in told.values())
    patient = (attachment.Action.JOIN, attachment.Action.RESHARE, attachment.Action.REVOKE)
    assert turn.waits(99) is (action in (*patient, *superseding))
    assert all(turn.waits(waiter) is (action not in superseding) for waiter in waiting)


def test_table_of_attachment_names_every_pair_but_those_that_cannot_be() -> None:
    pairs = {(p, i) for p in attachment.Phase for i in attachment.Input}
    certain = attachment.Input.CERTAIN
    assert pairs - attachment.TABLE.keys() == {
        (attachment.Phase.NONE, certain),
        (attachment.Phase.ATTACHED, certain),
    }


# Attach.


def test_attach_is_idempotent_and_keeps_the_epoch_and_the_leaders_spelling() -> None:
    story = attached()
    first = story.view("follower").following[0]
    again = story.answers[story.attach("follower", database=DATABASE.upper())]
    assert again.grant == first
    assert first.database == DATABASE


@pytest.mark.fidelity(
    "follower.md",
    "Streaming must be on at the follower to follow streamed rows",
    differs=(
        "What is shown otherwise is not documented: extents are, streamed rows are not, "
        "and the gate says why"
    ),
)
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


@pytest.mark.fidelity(
    "follower.md",
    "Streaming must be on at the follower to follow a leader that streams",
    differs="Followed with strict, nothing comes at all",
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
