"""Attachment configurations: what they refuse, what follows from them, how they end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from coordinator_story import DATABASE, Story, attached, grants, heard, owns, refused

from cluster.catalog.following import ModificationKind, Sharing
from cluster.coordinator.configuration import (
    Configuration,
    sharing_from_text,
    sharing_to_text,
)
from cluster.coordinator.configuration_status import statuses
from cluster.coordinator.events import Attached, Certainty, Detached
from cluster.coordinator.reports import FollowingReport
from cluster.coordinator.state import longest_lease
from cluster.errors import (
    ConflictError,
    EntityNameError,
    EntityNotFoundError,
    InvalidRequestError,
    LimitExceededError,
    RemoraError,
)
from cluster.limits import LIMITS
from cluster.replication.authority import Origin

LEASE = longest_lease(LIMITS)
ONE_TABLE = Sharing(tables_to_include=("One",))


# One database.


def test_attaching_makes_a_configuration_with_a_name_of_its_own() -> None:
    story = heard("Db")
    answer = story.answers[story.attach("follower", database="DB")]
    assert isinstance(answer, Attached)
    assert answer.status.configuration == Configuration("follower", "leader.Db", "leader", "Db")
    (grant,) = answer.status.attached
    assert answer.grant == grant
    assert (grant.configuration, grant.follower_database) == ("leader.Db", "Db")
    assert story.view("leader").followed == (grant,)


def test_a_grant_carries_what_the_configuration_says() -> None:
    story = heard("Db")
    story.attach(
        "follower",
        name="Mine",
        database_name_override="Copy",
        database_name_prefix="from-",
        sharing=ONE_TABLE,
        principals_kind=ModificationKind.REPLACE,
        origin=Origin.DATA_SHARE,
    )
    for grant in (*story.view("follower").following, *story.view("leader").followed):
        assert grant.configuration == "Mine"
        assert grant.follower_database == "from-Copy"
        assert grant.sharing == ONE_TABLE
        assert grant.principals_kind is ModificationKind.REPLACE
        assert grant.origin is Origin.DATA_SHARE
        assert grant.rows
    assert len(story.view("leader").followed) == 1


@pytest.mark.fidelity("data-share.md", "A database shared in place follows by the same rule")
def test_the_rule_is_the_same_for_a_data_share() -> None:
    story = Story()
    story.register("leader")
    story.register("follower", on=False)
    story.beat("leader", databases=owns(DATABASE))
    story.beat("follower")
    grant = story.answers[story.attach("follower", origin=Origin.DATA_SHARE)].grant
    assert not grant.rows
    assert "streaming ingestion is off" in grant.reason


@pytest.mark.parametrize(
    ("named", "kind", "match"),
    [
        ({"database": "*", "sharing": ONE_TABLE}, InvalidRequestError, "cannot be used with *"),
        ({"database": "*", "database_name_override": "X"}, InvalidRequestError, "override"),
        ({"name": "a/b"}, InvalidRequestError, "without a slash"),
        ({"name": "a" * 1025}, InvalidRequestError, "1 to 1024"),
        ({"database": ""}, InvalidRequestError, "names a database"),
        ({"leader": "follower"}, InvalidRequestError, "cannot follow itself"),
        ({"leader": "nobody"}, EntityNotFoundError, "no cluster 'nobody'"),
        ({"database_name_override": "a/b"}, EntityNameError, "'/'"),
        ({"database_name_prefix": "a:"}, EntityNameError, "':'"),
        ({"database": "*", "database_name_prefix": "a:"}, EntityNameError, "':'"),
        ({"location": "eastus"}, InvalidRequestError, "names region 'eastus'"),
        ({"sharing": Sharing(tables_to_include=("",))}, InvalidRequestError, "0 characters"),
    ],
)
def test_what_a_configuration_cannot_be(
    named: dict[str, object], kind: type[RemoraError], match: str
) -> None:
    refused(heard("Db"), kind, match, **named)


@pytest.mark.parametrize("entries", [LIMITS.sharing_entries - 1, LIMITS.sharing_entries])
def test_a_hundred_entries_of_sharing_over_all_lists(entries: int) -> None:
    story = heard("Db")
    names = tuple(f"T{number}" for number in range(entries - 1))
    sharing = Sharing(tables_to_include=names, functions_to_exclude=("f",))
    assert story.answers[story.attach("follower", sharing=sharing)].grant.sharing == sharing


def test_more_entries_are_refused() -> None:
    names = tuple(f"T{number}" for number in range(LIMITS.sharing_entries))
    sharing = Sharing(tables_to_include=names, functions_to_exclude=("f",))
    refused(heard("Db"), LimitExceededError, "101 entries", sharing=sharing)


@pytest.mark.fidelity("follower.md", "Leader and follower are in one region")
def test_clusters_of_two_regions_do_not_follow_each_other() -> None:
    story = heard("Db")
    story.register("far", location="westus")
    story.beat("far")
    error = story.answers[story.attach("far")]
    assert isinstance(error, ConflictError)
    assert "'far' in region 'westus'" in error.message
    assert "'leader' in region 'local'" in error.message
    story.register("near", location="westus")
    story.beat("near", databases=owns("Db"))
    assert story.answers[story.attach("far", leader="near", location="westus")].grant


def test_a_clusters_region_is_that_of_its_first_registration() -> None:
    story = heard("Db")
    story.register("leader", instance="b", location="westus")
    assert story.state.durable.clusters["leader"].location == "local"


def test_two_configurations_of_one_database_are_refused() -> None:
    story = attached()
    refused(story, ConflictError, "by attachment configuration 'leader.Db'", name="Other")


@pytest.mark.parametrize("which", ["configurations", "attachments"])
def test_so_many_attachments_there_are(which: str) -> None:
    story = heard("A", "B", "C", limits=replace(LIMITS, attachments=2))
    assert isinstance(story.answers[story.attach("follower", database="A")], Attached)
    if which == "attachments":
        answer = story.answers[story.attach("follower", database="*", database_name_prefix="p-")]
        assert [grant.database for grant in answer.status.attached] == ["B"]
        told = {item.database: item.reason for item in answer.status.unattached}
        assert "at most 2 attachments" in told["C"]
        story.detach("follower", database="A")
        story.beat("follower")
        assert grants(story) == {"B": "p-B", "C": "p-C"}
        return
    assert isinstance(story.answers[story.attach("follower", database="B")], Attached)
    refused(story, LimitExceededError, "at most 2", database="C")


# Updating.


def test_sharing_is_changed_in_place_and_waited_for() -> None:
    story = attached()
    before = story.view("follower").following[0]
    request = story.attach("follower", sharing=ONE_TABLE)
    assert request not in story.answers
    grant = story.view("follower").following[0]
    assert grant == replace(before, epoch=grant.epoch, sharing=ONE_TABLE)
    assert grant.epoch > before.epoch
    assert story.view("leader").followed == (grant,)
    story.beat("follower", epoch=before.epoch)  # heard of it, not applied
    assert request not in story.answers
    story.beat("follower")
    answer = story.answers[request]
    assert (answer.grant, answer.certainty) == (grant, Certainty.CONFIRMED)


def test_a_change_of_sharing_is_certain_when_the_database_is_not_named() -> None:
    story = attached()
    request = story.attach("follower", sharing=ONE_TABLE)
    story.beat("follower", following=())
    assert story.answers[request].certainty is Certainty.CONFIRMED


def test_a_change_of_sharing_is_certain_when_the_lease_has_run_out() -> None:
    story = attached()
    request = story.attach("follower", principals_kind=ModificationKind.NONE)
    story.restart()
    assert story.timer is not None
    again = story.attach("follower", principals_kind=ModificationKind.NONE)
    story.beat("leader")
    story.wait(LEASE)
    assert request not in story.answers
    assert story.answers[again].certainty is Certainty.LEASE_EXPIRED


def test_whoever_waits_for_an_older_sharing_waits_for_the_newer() -> None:
    story = attached()
    first = story.attach("follower", sharing=ONE_TABLE)
    second = story.attach("follower", sharing=Sharing())
    story.beat("follower")
    assert story.answers[first].grant == story.answers[second].grant
    assert story.answers[first].grant.sharing.is_everything


def test_what_is_left_open_stays_as_it_is() -> None:
    story = heard("Db")
    story.attach("follower", name="C", database_name_override="Copy", sharing=ONE_TABLE)
    epoch = story.state.durable.epoch
    for named in ({}, {"name": "c"}, {"database_name_override": "Copy"}):
        answer = story.answers[story.attach("follower", **named)]
        assert answer.status.configuration.name == "C"
        assert answer.grant.sharing == ONE_TABLE
    assert story.state.durable.epoch == epoch


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("leader cluster", {"leader": "other"}),
        ("database", {"database": "Second"}),
        ("database", {"database": "*"}),
        ("database name override", {"database_name_override": "Copy"}),
        ("database name prefix", {"database_name_prefix": "p-"}),
        ("origin", {"origin": Origin.DATA_SHARE}),
    ],
)
def test_what_identifies_an_attachment_is_not_changed(what: str, named: dict[str, object]) -> None:
    story = attached()
    story.register("other")
    story.beat("other", databases=owns("Db"))
    story.beat("leader", databases=owns("Db", "Second"))
    refused(story, ConflictError, f"the {what} of", name="LEADER.db", **named)


def test_a_change_of_sharing_that_is_overtaken_by_a_detach_is_superseded() -> None:
    story = attached()
    changed = story.attach("follower", sharing=ONE_TABLE)
    request = story.detach("follower")
    assert isinstance(story.answers[changed], ConflictError)
    story.beat("follower")
    assert story.answers[request] == Detached(Certainty.CONFIRMED)


@pytest.mark.parametrize("what", ["confirmed", "lapsed"])
def test_attaching_less_of_what_is_still_being_detached_is_answered_when_the_rest_is_hidden(
    what: str,
) -> None:
    story = attached()
    shown = story.view("follower").following[0]
    detached = story.detach("follower")
    request = story.attach("follower", sharing=ONE_TABLE)
    assert isinstance(story.answers[detached], ConflictError)
    story.beat("follower", following=[FollowingReport("leader", DATABASE, shown.epoch)])
    assert request not in story.answers, "it shows all tables still"
    if what == "confirmed":
        story.beat("follower")
    else:
        story.wait(longest_lease(LIMITS))
    answer = story.answers[request]
    assert answer.grant == story.view("follower").following[0]
    assert (answer.certainty is Certainty.CONFIRMED) is (what == "confirmed")


# Listing.


def test_configurations_are_listed_for_followers_and_for_leaders() -> None:
    story = heard("A", "B", followers=("f1", "f2"))
    story.register("second")
    story.beat("second", databases=owns("C"))
    story.attach("f1", database="*")
    story.attach("f2", database="A")
    story.attach("f2", database="C", leader="second")

    def listed(**named: str) -> list[tuple[str, str]]:
        found = statuses(story.state, LIMITS, **named)
        return [(s.configuration.follower_cluster, s.configuration.name) for s in found]

    assert listed() == [("f1", "leader.*"), ("f2", "leader.A"), ("f2", "second.C")]
    assert listed(follower="f2") == [("f2", "leader.A"), ("f2", "second.C")]
    assert listed(leader="leader") == [("f1", "leader.*"), ("f2", "leader.A")]
    assert listed(leader="f1") == []


@pytest.mark.parametrize(
    "sharing", [Sharing(), ONE_TABLE, Sharing(functions_to_exclude=("a", "*"))]
)
def test_sharing_is_written_and_read(sharing: Sharing) -> None:
    assert sharing_from_text(sharing_to_text(sharing)) == sharing


@pytest.mark.parametrize("text", ["", "[]", '{"tables": []}', '{"tables_to_include": 1}'])
def test_what_is_not_sharing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|sharing"):
        sharing_from_text(text)
