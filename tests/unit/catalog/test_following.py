"""What a follower has of a leader's tree: the laws of ``effective``."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.catalog.following import (
    EVERYTHING,
    FollowingSettings,
    FollowingView,
    ModificationKind,
    Sharing,
    check_sharing,
    effective,
    matches,
    shared,
)
from cluster.catalog.model import (
    Column,
    Database,
    DroppedTable,
    Function,
    Role,
    RoleAssignment,
    RowStoreKey,
    RowStoreReference,
    ScalarType,
    Table,
    Version,
)
from cluster.errors import InvalidRequestError, LimitExceededError
from cluster.limits import Limits

NONE, UNION, REPLACE = ModificationKind.NONE, ModificationKind.UNION, ModificationKind.REPLACE
HOT_1, HOT_2 = '{"a":1}', '{"a":2}'
NAMES = st.text("ab", min_size=1, max_size=3)
PATTERNS = st.text("ab*", min_size=1, max_size=4)
LISTS = st.lists(PATTERNS, max_size=3).map(tuple)
SHARINGS = st.builds(
    Sharing,
    tables_to_include=LISTS,
    tables_to_exclude=LISTS,
    functions_to_include=LISTS,
    functions_to_exclude=LISTS,
)
PRINCIPALS = st.lists(
    st.builds(RoleAssignment, st.sampled_from(Role), st.sampled_from(["aaduser=a", "aadapp=b"])),
    max_size=4,
    unique_by=lambda item: (item.role, item.principal),
).map(tuple)
CACHING = st.none() | st.sampled_from([HOT_1, HOT_2])
KINDS = st.sampled_from(ModificationKind)


def make_table(name: str, number: int = 1, policies: dict[str, str] | None = None) -> Table:
    """A table of one column."""
    return Table(
        name,
        f"id-{name}",
        (RowStoreReference(0, RowStoreKey(number)),),
        ((Column("a", ScalarType.LONG),),),
        ((0,),),
        policies=policies or {},
    )


@st.composite
def trees(draw: st.DrawFn) -> Database:
    """Trees with tables, functions, dropped tables, caching policies and principals."""
    names = draw(st.lists(NAMES, unique=True, max_size=5))
    tables = {}
    for number, name in enumerate(names):
        caching = draw(CACHING)
        policies = {"merge": "{}"} if caching is None else {"caching": caching}
        tables[name] = make_table(name, number + 1, policies)
    caching = draw(CACHING)
    return Database(
        "D",
        "id",
        Version(1, draw(st.integers(0, 9))),
        tables,
        functions={name: Function(name, "()", "{ T }") for name in draw(st.sets(NAMES))},
        policies={} if caching is None else {"caching": caching},
        dropped_tables=tuple(
            DroppedTable(make_table(name, 100 + place), Version(1, 0), 0)
            for place, name in enumerate(draw(st.lists(NAMES, max_size=2)))
        ),
        principals=draw(PRINCIPALS),
    )


SETTINGS = st.builds(
    FollowingSettings,
    sharing=SHARINGS,
    default_principals_kind=KINDS,
    narrowing=st.just(EVERYTHING) | SHARINGS,
    principals=PRINCIPALS,
    principals_kind=st.none() | KINDS,
    caching=CACHING,
    table_caching=st.dictionaries(NAMES, st.sampled_from([HOT_1, HOT_2]), max_size=3),
    caching_kind=KINDS,
)


@given(trees(), SETTINGS)
def test_what_is_effective_is_effective_again(tree: Database, chosen: FollowingSettings) -> None:
    once = effective(tree, chosen)
    assert effective(once, chosen) == once
    assert once.version == tree.version
    assert once.database_id == tree.database_id


@pytest.mark.fidelity(
    "follower.md",
    "Tables are included and excluded by name",
    differs="Which wins is not documented: exclude does",
)
@given(trees(), SETTINGS)
def test_exclude_wins_and_include_lets_nothing_else_in(
    tree: Database, chosen: FollowingSettings
) -> None:
    shown = effective(tree, chosen)
    for lists in (chosen.sharing, chosen.narrowing):
        for name in (*shown.tables, *(item.table.name for item in shown.dropped_tables)):
            assert not any(matches(pattern, name) for pattern in lists.tables_to_exclude)
            include = lists.tables_to_include
            assert not include or any(matches(pattern, name) for pattern in include)
    for name in set(tree.tables) - set(shown.tables):
        assert not (chosen.sharing.shares_table(name) and chosen.narrowing.shares_table(name))
    for name in tree.functions:
        both = chosen.sharing.shares_function(name) and chosen.narrowing.shares_function(name)
        assert (name in shown.functions) == both


@given(trees(), SETTINGS)
def test_caching_is_the_leaders_the_followers_or_both(
    tree: Database, chosen: FollowingSettings
) -> None:
    shown = effective(tree, chosen)
    pairs = [(tree.policies, shown.policies, chosen.caching)]
    pairs += [
        (tree.tables[name].policies, table.policies, chosen.table_caching.get(name))
        for name, table in shown.tables.items()
    ]
    for leaders, followers, override in pairs:
        expected = {
            NONE: leaders.get("caching"),
            UNION: leaders.get("caching") if override is None else override,
            REPLACE: override,
        }[chosen.caching_kind]
        assert followers.get("caching") == expected
        assert followers.get("merge") == leaders.get("merge")


@given(trees(), SETTINGS)
def test_principals_are_the_leaders_the_followers_or_both(
    tree: Database, chosen: FollowingSettings
) -> None:
    kind = chosen.principals_kind or chosen.default_principals_kind
    found = [(item.role, item.principal) for item in effective(tree, chosen).principals]
    leaders = {(item.role, item.principal) for item in tree.principals}
    own = {(item.role, item.principal) for item in chosen.principals}
    assert len(found) == len(set(found))
    assert set(found) == {NONE: leaders, UNION: leaders | own, REPLACE: own}[kind]


@given(trees(), SHARINGS)
def test_shared_is_effective_without_overrides(tree: Database, sharing: Sharing) -> None:
    found = shared(tree, sharing)
    assert found == effective(tree, FollowingSettings(sharing))
    assert all(found.tables[name] is tree.tables[name] for name in found.tables)
    assert found.policies == tree.policies
    assert found.principals == tree.principals
    assert shared(tree, EVERYTHING) is tree


@settings(max_examples=60)
@given(SETTINGS, st.lists(trees(), min_size=1, max_size=4), st.data())
def test_a_view_of_one_tree_after_another_is_effective_of_each(
    chosen: FollowingSettings, sequence: list[Database], data: st.DataObject
) -> None:
    view = FollowingView(chosen)
    before: Database | None = None
    for tree in sequence:
        touched = None
        if before is not None and data.draw(st.booleans()):
            touched = {*before.tables, *tree.tables}
        assert view.show(tree, touched) == effective(tree, chosen)
        assert view.show(tree) is view.show(tree)
        before = tree


def test_tables_without_override_keep_their_identity() -> None:
    tree = Database("D", "id", tables={name: make_table(name) for name in ("A", "B")})
    view = FollowingView(FollowingSettings(table_caching={"A": HOT_1}))
    first = view.show(tree)
    assert first.tables["B"] is tree.tables["B"]
    newer = replace(tree, tables={**tree.tables, "B": make_table("B", 7)}, version=Version(1, 1))
    second = view.show(newer)
    assert second.tables["A"] is first.tables["A"]
    assert second.tables["B"] is newer.tables["B"]


def test_a_follower_without_settings_shows_the_tree_itself() -> None:
    tree = Database("D", "id", tables={"A": make_table("A")}, policies={"caching": HOT_1})
    assert effective(tree, FollowingSettings()) is tree


@pytest.mark.fidelity("follower.md", "Entries of sharing may have wildcards")
@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("Logs", "Logs", True),
        ("Logs", "logs", False),
        ("Logs*", "Logs", True),
        ("Logs*", "Logs1", True),
        ("*", "anything", True),
        ("*_raw", "a_raw", True),
        ("a*c", "ac", True),
        ("a*c", "abc", True),
        ("a*c", "abcd", False),
        ("ab*ba", "aba", False),  # the two ends may not overlap
        ("*a*b*", "xbxa", False),
        ("*a*b*", "xaxb", True),
        ("a**b", "ab", True),
        ("a.b", "axb", False),  # nothing else has a meaning
        ("[ab]", "a", False),
    ],
)
def test_wildcards(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


@pytest.mark.parametrize("kind", [item.name for item in fields(Sharing)])
@pytest.mark.parametrize("count", [99, 100, 101])
def test_at_most_100_entries(kind: str, count: int) -> None:
    sharing = Sharing(**{kind: tuple(f"T{number}" for number in range(count))})
    if count <= 100:
        check_sharing(sharing, Limits())
        return
    with pytest.raises(LimitExceededError, match="limit is 100"):
        check_sharing(sharing, Limits())


def test_entries_count_over_all_lists() -> None:
    thirteen = tuple(f"T{number}" for number in range(13))
    sharing = Sharing(*(thirteen for _ in fields(Sharing)))  # 8 * 13
    with pytest.raises(LimitExceededError, match="104"):
        check_sharing(sharing, Limits())


@pytest.mark.parametrize("length", [0, 1, 1024, 1025])
def test_an_entry_may_be_a_name(length: int) -> None:
    sharing = Sharing(functions_to_exclude=("f" * length,))
    if 1 <= length <= 1024:
        check_sharing(sharing, Limits())
        return
    with pytest.raises(InvalidRequestError, match=rf"functions_to_exclude.* has {length} char"):
        check_sharing(sharing, Limits())
