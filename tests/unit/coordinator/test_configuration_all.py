"""Configurations of all databases, and what nodes report later: attached, held up, ended."""

from __future__ import annotations

from dataclasses import replace

import pytest
from coordinator_story import Story, attached, grants, heard, owns, reasons, refused

from cluster.catalog.following import Sharing
from cluster.coordinator import events
from cluster.coordinator.events import Certainty, Detached
from cluster.coordinator.reports import FollowingReport
from cluster.coordinator.state import Contest, Doubt, longest_lease
from cluster.errors import (
    ConflictError,
    EntityNotFoundError,
    UnavailableError,
)
from cluster.limits import LIMITS

LEASE = longest_lease(LIMITS)
ONE_TABLE = Sharing(tables_to_include=("One",))


# All databases.


@pytest.mark.fidelity("follower.md", "All databases of a leader are followed by one configuration")
def test_a_star_follows_every_database_also_later_ones() -> None:
    story = heard("A", "B")
    answer = story.answers[story.attach("follower", database="*", database_name_prefix="x.")]
    assert answer.grant is None
    assert answer.status.configuration.name == "leader.*"
    assert [grant.follower_database for grant in answer.status.attached] == ["x.A", "x.B"]
    assert answer.status.unattached == ()
    story.beat("leader", databases=owns("A", "B", "later"))
    assert grants(story) == {"A": "x.A", "B": "x.B", "later": "x.later"}
    assert len({grant.epoch for grant in story.view("follower").following}) == 2


def test_a_star_of_a_leader_that_is_not_heard_yet_begins_when_it_is() -> None:
    story = Story()
    story.register("leader")
    story.register("follower")
    story.beat("follower")
    answer = story.answers[story.attach("follower", database="*")]
    (unattached,) = answer.status.unattached
    assert "has not reported" in unattached.reason
    story.beat("leader", databases=owns("A"))
    assert grants(story) == {"A": "A"}


@pytest.mark.fidelity("follower.md", "A local database wins over a followed one of its name")
def test_a_local_database_beats_a_followed_one_until_it_is_gone() -> None:
    story = heard("A", "B")
    story.beat("follower", databases=owns("b"))
    answer = story.answers[story.attach("follower", database="*")]
    (unattached,) = answer.status.unattached
    assert (unattached.database, unattached.follower_database) == ("B", "B")
    assert unattached.reason == "cluster 'follower' has a database 'B' of its own"
    assert grants(story) == {"A": "A"}
    refused(story, ConflictError, "of its own", database="B", name="single")
    story.beat("follower", databases=())
    assert grants(story) == {"A": "A", "B": "B"}
    assert reasons(story, "leader.*") == {}


@pytest.mark.fidelity(
    "follower.md",
    "A name of two leaders is followed from one of them",
    differs="The first that was attached, not an arbitrary one",
)
def test_one_name_of_two_leaders_is_followed_from_one_of_them() -> None:
    story = heard("A", "Same")
    story.register("second")
    story.beat("second", databases=owns("B", "same"))
    story.attach("follower", database="*")
    story.attach("follower", database="*", leader="second")
    assert grants(story) == {"A": "A", "Same": "Same", "B": "B"}
    assert reasons(story, "second.*") == {
        "same": "cluster 'follower' already follows a database 'same', from cluster 'leader'"
    }
    story.beat("follower")
    request = story.delete("follower", "leader.*")
    assert "still being detached" in reasons(story, "second.*")["same"]
    assert grants(story) == {"B": "B"}
    story.beat("follower")
    assert story.answers[request] == Detached(Certainty.CONFIRMED)
    assert grants(story) == {"B": "B", "same": "same"}


def test_a_database_with_a_configuration_of_its_own_is_left_to_it() -> None:
    story = heard("A", "B")
    story.attach("follower", database="A", database_name_override="Mine")
    story.attach("follower", database="*")
    assert grants(story) == {"A": "Mine", "B": "B"}
    assert "by attachment configuration 'leader.A'" in reasons(story, "leader.*")["A"]
    story.detach("follower", database="A")
    story.beat("follower")
    assert grants(story) == {"A": "A", "B": "B"}


def test_one_database_of_a_star_is_not_detached_by_itself() -> None:
    story = heard("A", "B")
    story.attach("follower", database="*")
    error = story.answers[story.detach("follower", database="A")]
    assert isinstance(error, ConflictError)
    assert error.remedy == "Delete the configuration: detach leader/*."
    assert grants(story) == {"A": "A", "B": "B"}


@pytest.mark.parametrize("how", ["star", "name", "leader"])
def test_a_star_ends_with_all_its_databases(how: str) -> None:
    story = heard("A", "B")
    story.attach("follower", database="*")
    story.beat("follower")
    shown = story.view("follower").following

    def ask() -> int:
        if how == "star":
            return story.detach("follower", database="*")
        return story.delete("follower", "LEADER.*", leader="leader" if how == "leader" else "")

    request = ask()
    assert grants(story) == {}
    story.beat("leader")
    assert grants(story) == {}  # nothing is found again
    reports = [FollowingReport(g.leader_cluster, g.database, g.epoch) for g in shown]
    story.beat("follower", following=reports[1:])
    again = ask()  # joins
    assert request not in story.answers
    assert again not in story.answers
    story.beat("follower", following=[])
    assert story.answers[request] == story.answers[again] == Detached(Certainty.CONFIRMED)
    assert isinstance(story.answers[ask()], EntityNotFoundError)


def test_a_delete_is_as_certain_as_the_least_certain_of_its_databases() -> None:
    story = heard("A", "B")
    story.attach("follower", database="*")
    story.beat("follower")
    (a, b) = story.view("follower").following
    request = story.delete("follower", "leader.*")
    # A is gone; B is never confirmed.
    story.beat("follower", following=[FollowingReport("leader", b.database, b.epoch)])
    assert request not in story.answers
    story.wait(LEASE)
    assert story.answers[request] == Detached(Certainty.LEASE_EXPIRED)
    assert a.database == "A"


def test_a_delete_of_what_shows_nothing_is_immediate() -> None:
    story = heard("A")
    story.beat("follower", databases=owns("A"))
    story.attach("follower", database="*")
    assert story.answers[story.delete("follower", "leader.*")] == Detached(Certainty.IMMEDIATE)


def test_only_its_leader_detaches_a_configuration() -> None:
    story = attached()
    story.register("other")
    answer = story.answers[story.delete("follower", "leader.Db", leader="other")]
    assert isinstance(answer, EntityNotFoundError)
    assert grants(story) == {"Db": "Db"}


def test_an_abandoned_delete_goes_on() -> None:
    story = heard("A", "B")
    story.attach("follower", database="*")
    story.beat("follower")
    request = story.delete("follower", "leader.*")
    story.send(events.Abandon(request))
    story.beat("follower", following=[])
    assert request not in story.answers
    assert not story.state.durable.changes


# What nodes report later.


@pytest.mark.parametrize("database", ["Db", "*"])
def test_a_database_the_leader_lost_is_not_followed_until_it_is_there_again(database: str) -> None:
    story = heard("Db")
    story.attach("follower", database=database)
    story.beat("follower")
    before = story.view("leader").revision - 1
    story.beat("leader", databases=(), revision=before)  # built before it was attached
    assert grants(story) == {"Db": "Db"}
    story.beat("leader", databases=())
    assert grants(story) == {}
    if database == "Db":
        assert reasons(story, "leader.Db") == {"Db": "cluster 'leader' has no database 'Db'"}
    story.beat("leader", databases=owns("Db"))
    assert grants(story) == {}  # still being detached
    story.beat("follower")
    assert grants(story) == {"Db": "Db"}


def test_a_late_report_says_nothing_new() -> None:
    story = heard("Db")
    old = story.view("leader").revision
    story.attach("follower", database="*")
    story.beat("leader", databases=owns("Db", "New"))
    story.beat("leader", databases=owns("Db"), revision=old)
    assert grants(story) == {"Db": "Db", "New": "New"}
    assert reasons(story, "leader.*") == {}


def test_a_local_database_made_meanwhile_ends_the_attachment() -> None:
    """The follower's node made it before it heard of the attachment: its own comes first."""
    story = heard("Db")
    old = story.view("follower").revision
    story.attach("follower")
    story.beat("follower", databases=owns("db"), revision=old)
    assert grants(story) == {"Db": "Db"}
    answer = story.beat("follower", databases=owns("db"))
    assert grants(story) == {}
    assert answer.view.following == ()  # no lease under the view before
    assert "still being detached" not in reasons(story, "leader.Db")["Db"]
    story.beat("follower")
    assert reasons(story, "leader.Db")["Db"] == "cluster 'follower' has a database 'Db' of its own"
    story.beat("follower", databases=())
    assert grants(story) == {"Db": "Db"}


def test_another_name_waits_until_the_copy_of_before_is_gone() -> None:
    story = attached()
    story.detach("follower")
    answer = story.answers[story.attach("follower", database_name_override="Copy")]
    assert isinstance(answer, UnavailableError)
    story.beat("follower")
    assert story.answers[story.attach("follower", database_name_override="Copy")].grant


def test_a_restart_changes_nothing_until_nodes_are_heard() -> None:
    story = heard("A", "B")
    story.attach("follower", database="*")
    story.beat("follower")
    before = story.state.durable
    story.restart()
    assert replace(story.state.durable, issuer=before.issuer) == before
    assert reasons(story, "leader.*") == {
        "*": "cluster 'leader' has not reported its databases since the coordinator started"
    }
    story.beat("leader", databases=owns("A", "B", "C"))
    assert "C" not in grants(story)  # nobody knows what the follower has
    story.beat("follower")
    assert grants(story) == {"A": "A", "B": "B", "C": "C"}


def test_while_it_is_in_doubt_who_decides_nothing_is_attached() -> None:
    story = heard("A")
    story.attach("follower", database="*")
    doubt = Doubt("follower/0", "another process", 1, "another coordinator", story.now + 5.0)
    story.state = replace(story.state, contest=Contest((doubt,)))
    story.beat("leader", databases=owns("A", "B"))
    assert grants(story) == {"A": "A"}
    story.beat("follower")
    assert grants(story) == {"A": "A", "B": "B"}


def test_a_database_that_another_node_of_the_leader_has_is_there() -> None:
    story = heard("Db")
    story.register("leader", number=1)
    story.beat("leader", number=1, databases=())
    story.attach("follower")
    story.beat("leader", number=1, databases=())
    assert grants(story) == {"Db": "Db"}
    story.beat("leader", databases=())
    assert grants(story) == {}


def test_what_became_certain_by_a_lease_stays_so_when_the_rest_is_confirmed() -> None:
    story = heard("A", "B")
    story.attach("follower", database="*")
    story.beat("follower")
    story.wait(1.0)
    story.beat("follower", databases=owns("A"))  # A is in the way: it ends, and this may show it
    request = story.delete("follower", "leader.*")
    story.wait(LEASE - 1.0)  # A's last lease is over, B's is not
    assert len(story.state.durable.changes) == 1
    story.beat("follower", following=[])
    assert story.answers[request] == Detached(Certainty.LEASE_EXPIRED)
