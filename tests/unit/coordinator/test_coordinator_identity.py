"""Lives of a coordinator: what nodes know of it, old copies, two at once, adopting."""

from __future__ import annotations

from dataclasses import replace

import pytest
from coordinator_story import DATABASE, Story, attached, owns

from cluster.coordinator import events
from cluster.coordinator.events import CapabilitySet, Certainty, Renewed
from cluster.coordinator.identity import begin
from cluster.coordinator.registry import Caller, check_watcher
from cluster.coordinator.state import Durable, longest_lease
from cluster.errors import ConflictError, EntityNotFoundError
from cluster.limits import LIMITS
from cluster.replication.authority import Issuer, PastLife

LEASE = longest_lease(LIMITS)


def running() -> Story:
    """A leader and a follower of it, of a coordinator in its first signed life."""
    story = attached()
    story.restart()
    story.beat("leader", databases=owns(DATABASE))
    story.beat("follower")
    return story


def test_each_start_is_a_life_of_its_own_with_one_id() -> None:
    first = begin(Durable(revision=7), coordinator="c", instance="x")
    assert first.issuer == Issuer("c", 1, "x", began=7)
    second = begin(replace(first, revision=9), coordinator="other", instance="y")
    assert second.issuer == Issuer("c", 2, "y", began=9, past=(PastLife(1, "x", ended=9),))


def test_views_are_signed_and_a_restart_changes_nothing_else_of_them() -> None:
    story = running()
    before = story.view("follower")
    assert before.issuer == story.state.durable.issuer
    story.restart()
    after = story.view("follower")
    assert after.issuer.generation == before.issuer.generation + 1
    assert replace(after, issuer=before.issuer) == before


def test_a_node_of_the_life_before_is_renewed() -> None:
    story = running()
    obeyed = story.state.durable.issuer
    story.restart()
    assert story.beat("follower", obeys=obeyed).lease_seconds == LIMITS.lease_seconds
    story.wait(LEASE)  # processes of before the start, whoever they were
    story.beat("follower", obeys=obeyed)
    request = story.off("follower")
    story.beat("follower")
    assert story.answers[request].certainty is Certainty.CONFIRMED


TWIN = "another process of the same start"


def strangers(story: Story) -> dict[str, tuple[Issuer, int]]:
    """What a node may obey that is not the coordinator's past: issuer and revision seen."""
    own, revision = story.state.durable.issuer, story.state.durable.revision
    return {
        "another coordinator": (Issuer("c2", 1, "q"), 1),
        TWIN: (replace(own, instance="copy"), revision),
        "a later start": (replace(own, generation=own.generation + 1, instance="q"), revision),
        "this start, further on": (own, revision + 1),
        "an earlier start, further on": (
            replace(own, generation=own.generation - 1, instance="p"),
            own.began + 1,
        ),
    }


KINDS = tuple(strangers(running()))


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_that_obeys_what_is_not_our_past_gets_no_lease(kind: str) -> None:
    story = running()
    obeys, revision = strangers(story)[kind]
    answer = story.beat("follower", obeys=obeys, revision=revision)
    assert isinstance(answer, Renewed)
    assert answer.lease_seconds == 0
    assert "follower/0" in answer.doubt
    assert "adopt" in answer.doubt


@pytest.mark.parametrize("kind", KINDS)
def test_while_in_doubt_nothing_is_decided_and_nobody_gets_a_lease(kind: str) -> None:
    story = running()
    obeys, revision = strangers(story)[kind]
    story.beat("follower", obeys=obeys, revision=revision)
    before = story.state.durable
    for request in story.off("follower"), story.on("follower"), story.detach("follower"):
        error = story.answers[request]
        assert isinstance(error, ConflictError)
        assert "follower/0" in str(error)
    assert story.state.durable == before
    other = story.beat("leader", databases=owns(DATABASE))
    assert other.lease_seconds == 0
    assert other.doubt
    assert story.timer is None, "silence settles nothing: the other may be renewing its lease"
    story.wait(100 * LEASE)
    assert story.beat("leader", databases=owns(DATABASE)).doubt
    assert isinstance(story.answers[story.off("follower")], ConflictError)
    story.beat("follower")
    assert story.beat("leader", databases=owns(DATABASE)).lease_seconds == LIMITS.lease_seconds
    assert isinstance(story.answers[story.on("follower")], CapabilitySet)


def test_a_heartbeat_sent_before_the_doubt_settles_nothing() -> None:
    story = running()
    obeys, revision = strangers(story)[TWIN]
    story.beat("follower", obeys=obeys, revision=revision)
    (doubt,) = story.state.contest.doubts
    story.beat("follower", sequence=doubt.sequence)
    assert story.state.contest is not None
    story.beat("follower", sequence=doubt.sequence + 1)
    assert story.state.contest is None


def test_the_next_process_of_a_node_settles_the_doubt_and_the_one_before_is_waited_for() -> None:
    story = running()
    obeys, revision = strangers(story)[TWIN]
    story.wait(LEASE)
    story.beat("follower", obeys=obeys, revision=revision)
    story.register("follower", instance="b")
    story.beat("follower", instance="b")
    assert story.state.contest is None
    request = story.off("follower")
    story.beat("follower", instance="b")
    assert request not in story.answers, "the process before may have a lease of the other"
    story.wait(LEASE)
    assert story.answers[request].certainty is Certainty.LEASE_EXPIRED


def test_a_node_that_is_gone_is_forgotten_when_an_operator_says_whose_word_counts() -> None:
    story = running()
    obeys, revision = strangers(story)[TWIN]
    story.beat("follower", obeys=obeys, revision=revision)
    story.get(events.Adopt)
    assert story.timer == story.now + LEASE
    story.wait(LEASE - 0.001)
    assert story.state.contest is not None
    story.wait(0.001)
    assert story.state.contest is None


def test_a_pending_off_never_becomes_certain_while_in_doubt() -> None:
    story = running()
    story.wait(LEASE)
    story.beat("leader", databases=owns(DATABASE))
    story.beat("follower")
    request = story.off("follower")
    obeys, revision = strangers(story)[TWIN]
    for _ in range(4):
        story.beat("follower", obeys=obeys, revision=revision)
        story.wait(LEASE - 0.5)
    assert request not in story.answers, "its lease is over for us; another may have renewed it"
    story.wait(0.5)
    assert request not in story.answers
    story.beat("follower")
    assert story.answers[request].certainty is Certainty.CONFIRMED


def test_a_process_unknown_to_an_old_copy_is_told_of_the_doubt_not_superseded() -> None:
    story = running()
    copy = story.state.durable
    story.register("follower", instance="newer")
    story.on("follower")
    newest = story.state.durable
    story.restart(copy)
    answer = story.beat("follower", instance="newer", obeys=newest.issuer, revision=newest.revision)
    assert isinstance(answer, Renewed), "superseded would end the process"
    assert answer.doubt
    answer = story.beat("follower", instance="newer", revision=0)
    assert isinstance(answer, EntityNotFoundError), "its number is greater than any of the copy"


def restored(*, adopts: bool) -> tuple[Story, Durable]:
    """A story restarted on a copy of before its follower was turned off; what was newest."""
    story = running()
    story.wait(LEASE)
    for name in "leader", "follower":
        story.beat(name, databases=owns(DATABASE) if name == "leader" else ())
    copy = story.state.durable
    request = story.off("follower")
    story.beat("follower")
    assert story.answers[request].certainty is Certainty.CONFIRMED
    newest = story.state.durable
    story.restart(copy, adopts=adopts)
    return story, newest


def test_an_old_copy_that_gives_rows_again_is_found_out_by_the_first_node_that_knows_more() -> None:
    story, newest = restored(adopts=False)
    assert story.view("follower").following[0].rows
    answer = story.beat("follower", obeys=newest.issuer, revision=newest.revision)
    assert answer.lease_seconds == 0
    assert "old copy" in answer.doubt


def test_adopting_goes_on_above_everything_reported() -> None:
    story, newest = restored(adopts=True)
    answer = story.beat(
        "follower", obeys=newest.issuer, revision=newest.revision, newest_epoch=newest.epoch + 3
    )
    durable = story.state.durable
    assert answer.doubt == ""
    assert answer.lease_seconds == LIMITS.lease_seconds
    assert durable.revision > newest.revision
    assert durable.issuer.began == durable.revision
    assert durable.issuer.generation > newest.issuer.generation
    assert all(grant.epoch > newest.epoch + 3 for grant in answer.view.following)
    assert durable.epoch > newest.epoch + 3


def test_what_was_acknowledged_before_adopting_waits_for_leases_of_whoever_was_adopted() -> None:
    story, newest = restored(adopts=True)
    story.wait(LEASE)  # leases of before this start are over
    story.beat("follower", obeys=newest.issuer, revision=newest.revision)
    request = story.off("follower")
    story.beat("follower")
    assert request not in story.answers, "an unknown process may hold a lease of the other"
    story.wait(LEASE)
    assert story.answers[request].certainty is Certainty.LEASE_EXPIRED


def test_off_that_is_so_in_an_old_copy_is_asked_of_every_process_after_adopting() -> None:
    """The other may have turned it on since, and given leases."""
    story = running()
    story.wait(LEASE)
    done = story.off("follower")
    story.beat("follower")
    story.wait(LEASE)
    assert done in story.answers
    copy = story.state.durable  # off
    story.on("follower")
    newest = story.state.durable
    story.restart(copy, adopts=True)
    request = story.off("follower")
    assert request not in story.answers
    story.beat("follower", obeys=newest.issuer, revision=newest.revision, epoch=newest.epoch)
    assert request not in story.answers
    story.beat("follower")
    story.wait(LEASE)
    assert story.answers[request].certainty is Certainty.LEASE_EXPIRED


def test_off_that_is_so_is_asked_of_every_process() -> None:
    story = running()
    story.wait(LEASE)
    story.off("follower")
    story.beat("follower")
    story.wait(LEASE)
    story.beat("follower")
    request = story.off("follower")
    assert request not in story.answers
    story.beat("follower")
    assert story.answers[request].certainty is Certainty.CONFIRMED


def test_a_pending_change_of_an_old_copy_is_confirmed_anew_after_adopting() -> None:
    story = running()
    story.wait(LEASE)
    story.beat("follower")
    story.off("follower")
    copy = story.state.durable  # closing
    story.beat("follower")
    story.on("follower")
    newest = story.state.durable
    story.restart(copy, adopts=True)
    story.wait(0.1)
    (pending,) = story.state.durable.changes.values()
    assert pending.revision < newest.revision
    story.beat(
        "follower",
        obeys=newest.issuer,
        revision=newest.revision,
        epoch=newest.epoch,
        newest_epoch=newest.epoch,
    )
    (pending,) = story.state.durable.changes.values()
    assert pending.revision > newest.revision
    assert pending.epoch > newest.epoch


def test_an_operator_may_say_it_while_the_coordinator_runs() -> None:
    story, newest = restored(adopts=False)
    story.beat("follower", obeys=newest.issuer, revision=newest.revision)
    answer = story.get(events.Adopt)
    assert "old copy" in answer.doubt
    assert isinstance(story.answers[story.off("follower")], ConflictError), "not yet"
    answer = story.beat("follower", obeys=newest.issuer, revision=newest.revision)
    assert answer.doubt == ""
    assert story.state.contest is None
    assert story.get(events.Adopt).doubt == ""


def test_a_process_the_copy_does_not_know_registers_though_another_node_was_adopted_first() -> None:
    """It is newer than the copy: telling it that it is superseded would end it for good."""
    story = running()
    copy = story.state.durable
    story.register("follower", instance="b")
    story.beat("follower", instance="b")
    newest = story.state.durable
    story.restart(copy, adopts=True)
    story.beat("leader", obeys=newest.issuer, revision=newest.revision)
    known = {"obeys": newest.issuer, "revision": newest.revision}
    assert isinstance(story.beat("follower", instance="b", **known), EntityNotFoundError)
    caller = Caller("follower", "follower/0", "b", 1)
    with pytest.raises(EntityNotFoundError):
        check_watcher(story.state, caller, newest.issuer, newest.revision)
    story.register("follower", instance="b")
    assert isinstance(story.beat("follower", instance="b"), Renewed)
    assert isinstance(story.beat("follower", instance="a"), ConflictError), "of this life"


def test_adopting_after_everything_was_lost() -> None:
    story = running()
    newest = story.state.durable
    lost = Story()
    lost.now = story.now
    lost.restart(Durable(), adopts=True)
    lost.state = replace(
        lost.state,
        durable=replace(
            lost.state.durable, issuer=replace(lost.state.durable.issuer, coordinator="c2")
        ),
    )
    answer = lost.beat("follower", obeys=newest.issuer, revision=newest.revision)
    assert isinstance(answer, EntityNotFoundError), "it registers again"
    assert lost.state.durable.issuer.succeeds == ("c1",)
    assert lost.state.durable.revision > newest.revision
    lost.register("follower", on=True)
    assert lost.beat("follower", obeys=newest.issuer, revision=newest.revision).doubt == ""
    request = lost.off("follower")
    lost.beat("follower")
    assert request not in lost.answers, "it may hold a lease of the one that was lost"
    lost.wait(LEASE)
    assert lost.answers[request].certainty is Certainty.LEASE_EXPIRED


def test_nodes_of_two_coordinators_can_both_be_adopted() -> None:
    story = running()
    story.restart(adopts=True)
    for other in "c2", "c3":
        story.beat("follower", obeys=Issuer(other, 50, "q"), revision=500)
    issuer = story.state.durable.issuer
    assert issuer.succeeds == ("c2", "c3")
    for other in "c2", "c3":
        assert story.beat("follower", obeys=Issuer(other, 50, "q"), revision=500).doubt == ""
    assert story.state.durable.issuer == issuer


@pytest.mark.parametrize("adopts", [True, False])
def test_epochs_go_on_above_whatever_a_process_has_heard_of(adopts: bool) -> None:
    """Also of a branch with fewer revisions than ours: nobody's life looks like a relapse then.

    Whoever heard of an epoch takes no open below it, so nothing would ever open there again.
    """
    story = running()
    story.restart(adopts=adopts)
    durable = story.state.durable
    assert story.beat("follower").view.following[0].epoch == durable.epoch
    seen = durable.epoch + 6
    answer = story.beat("leader", databases=owns(DATABASE), newest_epoch=seen)
    assert answer.doubt == ""
    assert answer.view.followed[0].epoch > seen
    assert story.view("follower").following[0].epoch > seen
    assert story.state.durable.issuer == durable.issuer
    again = story.state.durable
    story.beat("leader", databases=owns(DATABASE), newest_epoch=again.epoch)
    assert story.state.durable == again, "once"


def test_an_abandoned_request_and_time_are_handled_while_in_doubt() -> None:
    story = running()
    request = story.off("follower")
    obeys, revision = strangers(story)[TWIN]
    story.beat("follower", obeys=obeys, revision=revision)
    story.send(events.Abandon(request))
    story.wait(LEASE)
    assert story.state.durable.changes
    story.beat("follower")
    assert request not in story.answers
    assert not story.state.durable.changes
