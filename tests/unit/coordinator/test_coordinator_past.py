"""Coordinators on copies of one data folder: each has a past of its own, and counts for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from coordinator_story import DATABASE, Story, attached, owns

from cluster.catalog.following import EVERYTHING, Sharing
from cluster.coordinator.capability import Phase, phase
from cluster.coordinator.events import Renewed
from cluster.coordinator.identity import PAST_LIVES, begin
from cluster.coordinator.registry import Caller, check_watcher
from cluster.coordinator.state import Durable, longest_lease
from cluster.errors import EntityNotFoundError, UnavailableError
from cluster.replication.authority import Issuer

if TYPE_CHECKING:
    from cluster.replication.authority import NodeView


def test_the_newest_past_lives_are_remembered() -> None:
    durable = Durable(revision=3)
    for start in range(1, PAST_LIVES + 3):
        durable = begin(durable, coordinator="c", instance=str(start))
        remembered = [life.generation for life in durable.issuer.past]
        assert remembered == list(range(start - 1, max(0, start - 1 - PAST_LIVES), -1))
    of_before = Issuer("c", 1, "1")
    assert durable.issuer.knows(of_before) == 3, "forgotten: judged by its numbers"
    assert durable.issuer.descends_from(of_before)
    for other in Issuer("c", PAST_LIVES, "copy"), Issuer("c2", 1, "1 of c2"):
        assert not durable.issuer.descends_from(other)
    assert durable.issuer.knows(Issuer("c", PAST_LIVES, "copy")) == -1


def running() -> Story:
    """A leader and a follower of it, of a coordinator in its first signed life."""
    story = attached()
    story.restart()
    story.beat("leader", databases=owns(DATABASE))
    story.beat("follower")
    return story


def settled() -> Story:
    """A lease later: nobody of an earlier life can hold one."""
    story = running()
    story.wait(longest_lease(story.limits))
    story.beat("leader", databases=owns(DATABASE))
    story.beat("follower")
    return story


def twin_of(story: Story, copy: Durable, name: str = "copy") -> Story:
    """Another coordinator that runs at the same time, on a copy of the data."""
    other = Story()
    other.now = story.now
    other.restart(copy, instance=name)
    return other


def in_doubt(story: Story, process: str, number: int, seen: NodeView) -> None:
    """A process of the follower with this number, which obeys ``seen``, gets nothing."""
    caller = Caller("follower", "follower/0", process, number)
    with pytest.raises(UnavailableError, match="beside another"):
        check_watcher(story.state, caller, seen.issuer, seen.revision)
    answer = story.beat("follower", instance=process, obeys=seen.issuer, revision=seen.revision)
    assert isinstance(answer, Renewed), "superseded would end the process"
    assert answer.lease_seconds == 0
    assert answer.doubt


def test_a_process_that_registered_with_a_copy_is_in_doubt_not_superseded() -> None:
    """The other has started oftener, and its revisions are greater: it knows nothing of that."""
    story = running()
    other = twin_of(story, story.state.durable)
    registered = other.register("follower", instance="b")
    story.register("follower", instance="before b")
    for _ in range(3):
        story.register("leader", instance="later")
        story.register("leader", instance="later still")
        story.beat("follower", instance="before b")
        story.restart()
    story.register("follower", instance="before b, started again")
    story.register("follower", instance="the last before b")
    story.beat("follower", instance="the last before b")
    own = story.state.durable
    assert own.nodes["follower/0"].registration > registered.registration
    assert own.issuer.generation > registered.view.issuer.generation
    assert own.issuer.began > registered.view.revision
    in_doubt(story, "b", registered.registration, registered.view)


def test_a_life_of_the_past_went_on_after_the_data_were_copied() -> None:
    """What the copy counted in lives of its own says nothing of how far the common one went."""
    story = running()
    other = twin_of(story, story.state.durable)
    story.off("follower")
    seen = story.view("follower")
    for _ in range(9):
        other.register("leader", instance="one")
        other.register("leader", instance="another")
    other.restart(instance="copy, started again")
    assert other.state.durable.issuer.began > seen.revision
    in_doubt(other, "a", 1, seen)


def test_adopting_a_life_makes_it_known_but_its_numbers_stay_its_own() -> None:
    story = running()
    other = twin_of(story, story.state.durable)
    story.register("follower", instance="p")
    story.beat("follower", instance="p")
    registered = other.register("follower", instance="b")
    story.restart(adopts=True)
    story.register("follower", instance="q")
    story.beat("follower", instance="q")
    assert story.state.durable.nodes["follower/0"].registration > registered.registration
    seen = {"obeys": registered.view.issuer, "revision": registered.view.revision}
    story.beat("leader", **seen)
    story.register("leader", instance="later")
    story.restart()
    story.beat("leader")
    assert isinstance(story.beat("follower", instance="b", **seen), EntityNotFoundError)
    assert story.state.contest is None
    further = seen | {"revision": story.state.durable.revision}
    assert story.beat("leader", **further).doubt, "the other has gone on"


@pytest.mark.parametrize("is_asked_of_the_copy", [True, False])
def test_off_that_is_so_in_the_data_is_not_answered_while_another_has_turned_it_on(
    is_asked_of_the_copy: bool,
) -> None:
    """Neither has heard of the other: whose node it is shows with its next heartbeat."""
    story = settled()
    story.off("follower")
    story.beat("follower")
    assert phase(story.state.durable, "follower") is Phase.OFF
    other = twin_of(story, story.state.durable)
    asked, other = (other, story) if is_asked_of_the_copy else (story, other)
    other.on("follower")
    seen = other.view("follower")
    assert seen.following[0].rows
    request = asked.off("follower")
    assert request not in asked.answers
    answer = asked.beat("follower", obeys=seen.issuer, revision=seen.revision)
    assert isinstance(answer, Renewed)
    assert answer.lease_seconds == 0
    assert request not in asked.answers


def test_sharing_that_is_so_in_the_data_is_not_answered_while_another_shares_more() -> None:
    story = settled()
    some = Sharing(tables_to_include=("T",))
    story.attach("follower", sharing=some)
    story.beat("follower")
    other = twin_of(story, story.state.durable)
    other.attach("follower", sharing=EVERYTHING)
    seen = other.view("follower")
    request = story.attach("follower", sharing=some)
    story.beat("follower", obeys=seen.issuer, revision=seen.revision)
    assert request not in story.answers
