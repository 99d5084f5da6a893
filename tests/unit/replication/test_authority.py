"""What a node may still do with what it was told: every doubt resolves to closed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.replication.authority import (
    LEASE_EXPIRED,
    NO_VIEW,
    NOT_ATTACHED,
    OWN_CAPABILITY_OFF,
    Authority,
    Capability,
    Decision,
    Grant,
    NodeView,
)

OPEN = Grant("leader", "Db", "follower", epoch=7, rows=True)
CLOSED = replace(OPEN, epoch=8, rows=False, reason="because")
LEASE = 5.0


def view(grant: Grant, revision: int = 1, capability: Capability = Capability.ON) -> NodeView:
    return NodeView(revision, capability, following=(grant,), followed=(grant,))


def held(grant: Grant = OPEN, capability: Capability = Capability.ON) -> Authority:
    """An authority whose lease runs from 100 to 105."""
    authority = Authority()
    assert authority.renew(view(grant, capability=capability), 100.0, LEASE)
    return authority


@pytest.mark.parametrize(
    ("authority", "now", "expected"),
    [
        pytest.param(Authority(), 100, Decision(False, 0, NO_VIEW), id="nothing heard"),
        pytest.param(
            Authority(view(OPEN)), 100, Decision(False, 7, LEASE_EXPIRED, OPEN), id="never a lease"
        ),
        pytest.param(held(), 104.999, Decision(True, 7, "", OPEN), id="lease runs"),
        pytest.param(held(), 105.0, Decision(False, 7, LEASE_EXPIRED, OPEN), id="lease ran out"),
        pytest.param(held(CLOSED), 101, Decision(False, 8, "because", CLOSED), id="no rows"),
    ],
)
def test_both_ends_decide_alike(authority: Authority, now: float, expected: Decision) -> None:
    assert authority.following("leader", "DB", now) == expected
    assert authority.followed("db", "follower", now) == expected


@pytest.mark.parametrize("capability", [Capability.OFF, Capability.UNKNOWN])
def test_a_grant_that_contradicts_the_followers_capability_is_closed(
    capability: Capability,
) -> None:
    authority = held(capability=capability)
    assert authority.following("leader", "Db", 101) == Decision(False, 7, OWN_CAPABILITY_OFF, OPEN)
    # The leader's own capability decides nothing: rows it already has belong to its followers.
    assert authority.followed("Db", "follower", 101).open


@pytest.mark.parametrize(
    ("leader", "database"), [("other", "Db"), ("leader", "Other"), ("LEADER", "Db")]
)
def test_what_is_not_attached_is_closed(leader: str, database: str) -> None:
    assert held().following(leader, database, 101) == Decision(False, 0, NOT_ATTACHED)


def test_a_stale_open_after_a_newer_close_is_ignored() -> None:
    authority = held()
    assert authority.apply(view(CLOSED, revision=3))
    assert not authority.apply(view(OPEN, revision=2))
    assert not authority.renew(view(OPEN, revision=2), 200.0, LEASE)
    assert authority.lease_until == 105.0
    assert authority.following("leader", "Db", 101) == Decision(False, 8, "because", CLOSED)


def test_a_view_without_a_heartbeat_never_extends_the_lease() -> None:
    authority = held()
    authority.apply(view(OPEN, revision=9))
    assert authority.lease_until == 105.0


def test_answers_to_heartbeats_out_of_order_never_shorten_the_lease() -> None:
    authority = held()
    authority.renew(view(OPEN), 102.0, LEASE)
    authority.renew(view(OPEN), 101.0, LEASE)
    assert authority.lease_until == 107.0


def test_only_news_counts_as_a_change() -> None:
    authority = held()
    assert not authority.apply(view(OPEN))
    assert not authority.renew(view(OPEN), 101.0, LEASE)
    assert authority.apply(view(OPEN, revision=2))


def test_capability_and_lease_left() -> None:
    authority = Authority()
    assert authority.capability(100) is Capability.UNKNOWN
    assert authority.lease_left(100) == 0
    authority = held(capability=Capability.OFF)
    assert authority.capability(104.999) is Capability.OFF
    assert authority.lease_left(104) == 1
    assert authority.capability(105) is Capability.UNKNOWN
    assert authority.lease_left(106) == 0
