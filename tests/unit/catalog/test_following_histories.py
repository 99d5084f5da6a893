"""Random histories of a leader: what is served is ``effective`` of the newest tree, always."""

from __future__ import annotations

from catalog_changes import LIMITS, fitting_transactions
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.catalog.changes import apply
from cluster.catalog.following import (
    FollowingSettings,
    ModificationKind,
    Sharing,
    effective,
    shared,
)
from cluster.catalog.journal import Delta, advance
from cluster.catalog.model import Database, FollowingSource
from cluster.catalog.registry import Registry
from cluster.errors import RequestError

PATTERNS = st.lists(st.sampled_from(["T", "t", "U*", "*e*", "V", "*"]), max_size=2).map(tuple)
SHARINGS = st.builds(Sharing, tables_to_include=PATTERNS, tables_to_exclude=PATTERNS)
SETTINGS = st.builds(
    FollowingSettings,
    sharing=SHARINGS,
    narrowing=SHARINGS,
    table_caching=st.dictionaries(st.sampled_from(["T", "U"]), st.just("{}")),
    caching_kind=st.sampled_from(ModificationKind),
)


def check(registry, chosen, limit):
    entry, followed = registry.following("F")
    tree = shared(entry.database, chosen.sharing)
    assert followed.shared == tree
    assert entry.shown == shared(effective(tree, chosen), limit)
    found = {key: table for table in entry.shown.tables.values() for key in table.keys}
    assert dict(registry.tables_by_key()) == found


@settings(max_examples=40, deadline=None)
@given(fitting_transactions(), SETTINGS, st.data())
def test_what_is_served_is_effective_after_every_delta(history, chosen, data):
    leader = Database("F", "guid")
    registry, limit = Registry(LIMITS), Sharing()
    registry.put(leader, FollowingSource("leader", "D"), chosen, snapshot_bytes=1)
    for transaction in history:
        try:
            after = apply(leader, transaction, LIMITS)
        except RequestError:
            continue
        delta = Delta(leader.version, after.version, tuple(transaction))
        entry, followed = registry.following("F")
        what = data.draw(st.sampled_from(["delta", "delta", "snapshot", "settings", "limit"]))
        if what == "settings":
            chosen = data.draw(SETTINGS)
            registry.set_following(entry, chosen)
        elif what == "limit":
            limit = data.draw(SHARINGS)
            registry.limit_sharing(entry, followed, limit)
        if limit == chosen.sharing:
            limit = Sharing()
        check(registry, chosen, limit)
        entry, _ = registry.following("F")
        if what == "snapshot":
            source = FollowingSource("leader", "D")
            registry.put(after, source, chosen, snapshot_bytes=1)
        else:
            registry.advance(entry, advance(entry.database, delta), delta, 1)
        leader = after
        check(registry, chosen, limit)
