"""What a node may still do with what it was told: every doubt resolves to closed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.replication.authority import (
    LEASE_EXPIRED,
    NO_ISSUER,
    NO_VIEW,
    NOT_ATTACHED,
    OWN_CAPABILITY_OFF,
    Authority,
    Capability,
    Decision,
    Grant,
    Issuer,
    NodeView,
    PastLife,
    Standing,
    doubt_about,
    judge,
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
        pytest.param(
            Authority(), 100, Decision(False, 0, NO_VIEW, is_doubt=True), id="nothing heard"
        ),
        pytest.param(
            Authority(view(OPEN)),
            100,
            Decision(False, 7, LEASE_EXPIRED, OPEN, is_doubt=True),
            id="never a lease",
        ),
        pytest.param(held(), 104.999, Decision(True, 7, "", OPEN), id="lease runs"),
        pytest.param(
            held(),
            105.0,
            Decision(False, 7, LEASE_EXPIRED, OPEN, is_doubt=True),
            id="lease ran out",
        ),
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
    assert authority.apply(view(CLOSED, revision=3), 101.0)
    assert not authority.apply(view(OPEN, revision=2), 101.0)
    assert not authority.renew(view(OPEN, revision=2), 200.0, LEASE)
    assert authority.lease_until == 105.0
    assert authority.following("leader", "Db", 101) == Decision(False, 8, "because", CLOSED)


def test_a_view_without_a_heartbeat_never_extends_the_lease() -> None:
    authority = held()
    authority.apply(view(OPEN, revision=9), 101.0)
    assert authority.lease_until == 105.0


def test_answers_to_heartbeats_out_of_order_never_shorten_the_lease() -> None:
    authority = held()
    authority.renew(view(OPEN), 102.0, LEASE)
    authority.renew(view(OPEN), 101.0, LEASE)
    assert authority.lease_until == 107.0


def test_only_news_counts_as_a_change() -> None:
    authority = held()
    assert not authority.apply(view(OPEN), 101.0)
    assert not authority.renew(view(OPEN), 101.0, LEASE)
    assert authority.apply(view(OPEN, revision=2), 101.0)


# Who gives out views.

FIRST = Issuer("c1", 3, "x", began=10)
LATER = replace(FIRST, generation=4, instance="y", began=20)
HEARD = 20  # the revision seen of FIRST


@pytest.mark.parametrize(
    ("heard", "standing"),
    [
        (FIRST, Standing.SAME),
        (LATER, Standing.NEXT),
        (replace(LATER, generation=9), Standing.NEXT),
        (replace(LATER, began=19), Standing.RELAPSED),
        (replace(LATER, past=(PastLife(3, "x", ended=20),)), Standing.NEXT),
        (replace(LATER, began=30, past=(PastLife(3, "x", ended=19),)), Standing.RELAPSED),
        (replace(LATER, began=30, past=(PastLife(3, "z", ended=20),)), Standing.RELAPSED),
        (replace(LATER, generation=9, past=(PastLife(4, "z", ended=20),)), Standing.NEXT),
        (replace(LATER, past=(PastLife(9, "q", 99, adopted=True),)), Standing.RELAPSED),
        (replace(LATER, instance="x", past=()), Standing.NEXT),
        (replace(FIRST, generation=2, instance="w"), Standing.EARLIER),
        (replace(FIRST, instance="z"), Standing.TWIN),
        (Issuer("c2", 9, "q", began=99), Standing.STRANGER),
        (Issuer("c2", 4, "q", began=20, succeeds=("c1",)), Standing.NEXT),
        (Issuer("c2", 4, "q", began=19, succeeds=("c1",)), Standing.RELAPSED),
        (Issuer("c2", 3, "q", began=20, succeeds=("c1",)), Standing.STRANGER),
        (NO_ISSUER, Standing.STRANGER),
    ],
)
def test_whom_a_node_obeys(heard: Issuer, standing: Standing) -> None:
    assert judge(FIRST, HEARD, heard) is standing
    doubted = standing in (Standing.RELAPSED, Standing.TWIN, Standing.STRANGER)
    assert bool(doubt_about(standing, FIRST, heard)) is doubted


def test_a_coordinator_that_was_succeeded_is_an_earlier_life_not_a_stranger() -> None:
    successor = Issuer("c2", 4, "q", began=20, succeeds=("c1",))
    assert judge(successor, 30, FIRST) is Standing.EARLIER
    assert judge(successor, 30, replace(FIRST, generation=4)) is Standing.STRANGER


def test_views_of_before_issuers_are_followed_by_signed_ones() -> None:
    assert judge(NO_ISSUER, 10, FIRST) is Standing.NEXT
    assert judge(NO_ISSUER, 11, FIRST) is Standing.RELAPSED


def signed(issuer: Issuer, revision: int = HEARD, grant: Grant = OPEN) -> NodeView:
    return replace(view(grant, revision), issuer=issuer)


def obeying(issuer: Issuer = FIRST) -> Authority:
    """An authority whose lease runs from 100 to 105."""
    authority = Authority(doubt_seconds=LEASE)
    authority.renew(signed(issuer), 100.0, LEASE, now=100.1)
    assert authority.following("leader", "Db", 101).open
    return authority


@pytest.mark.parametrize("heard", [replace(FIRST, instance="z"), Issuer("c2", 9, "q", 99)])
def test_a_doubt_closes_both_ends_at_once_and_says_why(heard: Issuer) -> None:
    authority = obeying()
    assert authority.apply(signed(heard, 99), 101)
    for decision in (
        authority.following("leader", "Db", 101),
        authority.followed("Db", "follower", 101),
    ):
        assert not decision.open
        assert decision.is_doubt
        assert decision.reason == authority.doubt
    assert "coordinator" in authority.doubt
    assert authority.capability(101) is Capability.UNKNOWN
    assert authority.view == signed(FIRST), "nothing of it is taken"


def test_a_doubt_lasts_a_lease_after_its_last_sign_and_ends_by_itself() -> None:
    authority = obeying()
    twin = signed(replace(FIRST, instance="z"))
    authority.apply(twin, 101)
    assert not authority.renew(signed(FIRST), 102.0, LEASE, now=102.1)
    assert not authority.apply(twin, 104), "no news"
    for at in (103.0, 105.0, 108.8):
        authority.renew(signed(FIRST), at, LEASE, now=at + 0.1)
        assert not authority.following("leader", "Db", at + 0.1).open
    assert authority.renew(signed(FIRST), 108.95, LEASE, now=109.0)
    assert authority.following("leader", "Db", 109).open
    assert authority.doubt == ""


def test_the_next_life_is_obeyed_and_late_words_of_the_one_before_are_not() -> None:
    authority = obeying()
    assert authority.apply(signed(LATER), 101)
    assert not authority.renew(signed(FIRST, 99), 104.0, LEASE, now=104.1)
    assert authority.lease_until == 105.0
    assert authority.following("leader", "Db", 104).open, "no doubt: it was on its way"
    authority.renew(signed(LATER), 104.0, LEASE, now=104.1)
    assert authority.lease_until == 109.0


def test_a_lower_generation_that_knows_of_a_later_one_is_alive_and_so_a_doubt() -> None:
    authority = obeying(LATER)
    assert authority.renew(signed(FIRST, 5), 101.0, 0.0, now=101.1, doubt="an old copy")
    assert not authority.following("leader", "Db", 102).open
    assert authority.doubt == "an old copy"


def test_the_coordinators_own_doubt_takes_the_lease_and_its_view_counts() -> None:
    authority = obeying()
    closed = signed(FIRST, HEARD + 1, CLOSED)
    assert authority.renew(closed, 101.0, 0.0, now=101.1, doubt="a node obeys another")
    assert authority.view == closed
    assert authority.lease_left(101.2) == 0


def test_an_old_copy_never_opens_even_when_its_revision_has_passed_ours() -> None:
    authority = obeying()
    old = replace(LATER, began=12)
    authority.renew(signed(old, HEARD + 50), 101.0, LEASE, now=101.1)
    assert not authority.following("leader", "Db", 102).open
    assert "old copy" in authority.doubt
    adopted = replace(old, generation=5, began=HEARD + 51)
    authority.renew(signed(adopted, HEARD + 51), 110.0, LEASE, now=110.1)
    assert authority.following("leader", "Db", 111).open


def test_the_newest_epoch_of_a_view_is_of_either_end() -> None:
    seen = NodeView(1, Capability.ON, following=(OPEN,), followed=(CLOSED,))
    assert seen.newest_epoch == 8
    assert NodeView(1, Capability.ON).newest_epoch == 0


def test_capability_and_lease_left() -> None:
    authority = Authority()
    assert authority.capability(100) is Capability.UNKNOWN
    assert authority.lease_left(100) == 0
    authority = held(capability=Capability.OFF)
    assert authority.capability(104.999) is Capability.OFF
    assert authority.lease_left(104) == 1
    assert authority.capability(105) is Capability.UNKNOWN
    assert authority.lease_left(106) == 0


def test_the_newest_epoch_is_kept_when_a_view_has_older_ones() -> None:
    """As those of a coordinator that was put in the place of another."""
    authority = held(replace(OPEN, epoch=12))
    assert authority.newest_epoch == 12
    assert authority.apply(view(OPEN, revision=2), 101.0)
    assert authority.newest_epoch == 12
