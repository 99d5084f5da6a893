"""Who follows a database of this node: asked afresh, and known only while a lease runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio

from cluster.errors import UnavailableError
from cluster.limits import LIMITS
from cluster.node.attachments import NodeAttachments
from cluster.replication.authority import Authority, Capability, Grant, NodeView

LEASE = 5.0


def attachments(authority, now, refresh=trio.lowlevel.checkpoint):
    config = SimpleNamespace(cluster="leader", coordinator="c:1", limits=LIMITS)
    platform = SimpleNamespace(clock=SimpleNamespace(monotonic=lambda: now), transport=None)
    return NodeAttachments(config, platform, authority, refresh)


def view(revision=1):
    followed = (
        Grant("leader", "Db", "west", epoch=2, rows=True),
        Grant("leader", "db", "east", epoch=1, rows=False),
        Grant("leader", "Other", "north", epoch=1, rows=True),
    )
    following = (Grant("far", "Db", "leader", epoch=1, rows=True),)
    if revision > 1:
        followed = followed[1:]
    return NodeView(revision, Capability.OFF, following=following, followed=followed)


async def test_followers_are_named_while_a_lease_runs():
    authority = Authority()
    authority.renew(view(), 100.0, LEASE)
    asked = attachments(authority, 104.9)
    assert await asked.followers_of("DB") == ("east", "west")
    assert await asked.followers_of("Nobodys") == ()


async def test_who_has_detached_meanwhile_is_not_named():
    authority = Authority()
    authority.renew(view(), 100.0, LEASE)

    async def refresh():
        authority.renew(view(2), 104.0, LEASE)

    assert await attachments(authority, 104.9, refresh).followers_of("Db") == ("east",)


@pytest.mark.parametrize("heard", [False, True])
async def test_in_doubt_nobody_knows(heard):
    authority = Authority()
    if heard:
        authority.renew(view(), 100.0, LEASE)
    with pytest.raises(UnavailableError, match="'Db' is followed is not known"):
        await attachments(authority, 105.0).followers_of("Db")


async def test_a_coordinator_that_does_not_answer_for_a_lease_is_a_doubt(autojump_clock):
    authority = Authority()
    authority.renew(view(), 100.0, LEASE)
    with pytest.raises(UnavailableError):
        await attachments(authority, 100.0, trio.sleep_forever).followers_of("Nobodys")
    assert trio.current_time() == LIMITS.lease_seconds
