"""Who follows a database of this node: known only while a lease runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cluster.errors import UnavailableError
from cluster.limits import LIMITS
from cluster.node.attachments import NodeAttachments
from cluster.replication.authority import Authority, Capability, Grant, NodeView

LEASE = 5.0


def attachments(authority, now):
    config = SimpleNamespace(cluster="leader", coordinator="c:1", limits=LIMITS)
    platform = SimpleNamespace(clock=SimpleNamespace(monotonic=lambda: now), transport=None)
    return NodeAttachments(config, platform, authority)


def view():
    followed = (
        Grant("leader", "Db", "west", epoch=2, rows=True),
        Grant("leader", "db", "east", epoch=1, rows=False),
        Grant("leader", "Other", "north", epoch=1, rows=True),
    )
    following = (Grant("far", "Db", "leader", epoch=1, rows=True),)
    return NodeView(1, Capability.OFF, following=following, followed=followed)


def test_followers_are_named_while_a_lease_runs():
    authority = Authority()
    authority.renew(view(), 100.0, LEASE)
    asked = attachments(authority, 104.9)
    assert asked.followers_of("DB") == ("east", "west")
    assert asked.followers_of("Nobodys") == ()


@pytest.mark.parametrize("heard", [False, True])
def test_in_doubt_nobody_knows(heard):
    authority = Authority()
    if heard:
        authority.renew(view(), 100.0, LEASE)
    with pytest.raises(UnavailableError, match="'Db' is followed is not known"):
        attachments(authority, 105.0).followers_of("Db")
