"""Who may watch: by whom it obeys, and by which process of its node it is."""

from __future__ import annotations

import pytest
from coordinator_story import DATABASE, Story, attached, owns

from cluster.coordinator.registry import Caller, check_watcher
from cluster.errors import ConflictError, EntityNotFoundError, UnavailableError
from cluster.replication.authority import NO_ISSUER, Issuer


def running() -> Story:
    """A leader and a follower of it, of a coordinator in its first signed life."""
    story = attached()
    story.restart()
    story.beat("leader", databases=owns(DATABASE))
    story.beat("follower")
    return story


def test_a_watcher_that_obeys_another_is_told_to_try_again() -> None:
    story = running()
    state, durable = story.state, story.state.durable
    known = Caller("follower", "follower/0", "a", durable.nodes["follower/0"].registration)
    other = known._replace(instance="other")
    check_watcher(state, known, NO_ISSUER, 0)
    check_watcher(state, known, durable.issuer, durable.revision)
    with pytest.raises(UnavailableError, match="another coordinator"):
        check_watcher(state, other, Issuer("c2", 1, "q"), 1)
    with pytest.raises(EntityNotFoundError):
        check_watcher(state, other, durable.issuer, 1)
    with pytest.raises(ConflictError, match="superseded"):
        check_watcher(state, other._replace(registration=1), durable.issuer, 1)


def test_a_process_may_watch_before_its_first_heartbeat_and_the_one_before_until_then() -> None:
    story = running()
    old = Caller(
        "follower", "follower/0", "a", story.state.durable.nodes["follower/0"].registration
    )
    number = story.register("follower", instance="b").registration
    new = Caller("follower", "follower/0", "b", number)
    for caller in old, new:
        check_watcher(story.state, caller, NO_ISSUER, 0)
    story.beat("follower", instance="b")
    check_watcher(story.state, new, NO_ISSUER, 0)
    with pytest.raises(ConflictError, match="superseded"):
        check_watcher(story.state, old, NO_ISSUER, 0)
