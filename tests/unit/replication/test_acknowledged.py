"""What followers may still read files of, connected or away."""

from __future__ import annotations

from cluster.catalog.model import Version
from cluster.replication.acknowledged import UNKNOWN, AcknowledgedVersions

ONE, TWO = ("one", "one/0", "db"), ("two", "two/0", "db")
OTHER = ("one", "one/0", "other")
ATTACHED = {"one", "two"}


def test_one_that_is_away_counts_with_what_it_said_last():
    versions = AcknowledgedVersions(10.0)
    versions.leave(ONE, Version(1, 3), 100.0)
    versions.leave(OTHER, Version(1, 9), 100.0)
    found = versions.of("db", {TWO: Version(1, 5)}, ATTACHED, 101.0)
    assert sorted(found) == [Version(1, 3), Version(1, 5)]


def test_one_that_is_back_and_silent_counts_as_before_until_it_speaks():
    versions = AcknowledgedVersions(10.0)
    versions.leave(ONE, Version(1, 3), 100.0)
    assert versions.of("db", {ONE: None}, {"one"}, 101.0) == (Version(1, 3),)
    assert versions.of("db", {ONE: Version(1, 4)}, {"one"}, 101.0) == (Version(1, 4),)
    versions.leave(ONE, None, 102.0)
    assert versions.of("db", {}, {"one"}, 103.0) == (Version(1, 3),), "it said nothing new"


def test_one_that_is_detached_is_forgotten():
    versions = AcknowledgedVersions(10.0)
    versions.leave(ONE, Version(1, 3), 100.0)
    assert versions.of("db", {}, (), 101.0) == ()
    assert versions.of("db", {}, {"one"}, 101.0) == (UNKNOWN,), "attached anew: all is open"


def test_what_is_remembered_is_remembered_for_a_while():
    versions = AcknowledgedVersions(10.0)
    versions.leave(ONE, Version(1, 3), 100.0)
    assert versions.of("db", {}, {"one"}, 109.9) == (Version(1, 3),)
    assert versions.of("db", {}, {"one"}, 110.0) == (UNKNOWN,)


def test_without_the_coordinator_anybody_may_follow():
    versions = AcknowledgedVersions(10.0)
    assert versions.of("db", {ONE: Version(1, 4)}, None, 0.0) == (Version(1, 4), UNKNOWN)
    assert Version() > UNKNOWN
