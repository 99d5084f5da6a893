"""Defects of attachments: detaching, sharing, overrides (A1, A2, A3)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog import following
from cluster.catalog.following import EVERYTHING, FollowingView, ModificationKind
from cluster.catalog.registry import Registry
from cluster.replication import leader
from cluster.replication.sharing import SharedTree
from cluster.testing.mutants.model import Mutant, all_of, replaced
from follower.driver import FollowerManager
from follower.gate import Gate

if TYPE_CHECKING:
    from cluster.catalog.model import RoleAssignment
    from follower.gate import Word

_Plant = AbstractContextManager[object]


# -- A1: detached -----------------------------------------------------------------------------


def _copy_stays() -> _Plant:
    async def removed(self: Any, attachment: Any, followed: Any) -> None:
        del attachment
        await followed.ended.wait()
        self._on_gate()

    return replaced(FollowerManager, "_remove", removed)


def _detached_shows() -> _Plant:
    hear = Gate.hear

    def heard(self: Gate, word: Word, now: float) -> bool:
        return word.grant is not None and hear(self, word, now)

    async def removed(self: Any, attachment: Any, followed: Any) -> None:
        await followed.ended.wait()
        self._conflicts[attachment] = "it is being removed"

    return all_of(replaced(Gate, "hear", heard), replaced(FollowerManager, "_remove", removed))


# -- A2: shared -------------------------------------------------------------------------------


def _filter_at_attach_only() -> _Plant:
    has = FollowingView._has

    def shown(self: Any, name: str) -> bool:
        return self._tree is not None or has(self, name)

    return replaced(FollowingView, "_has", shown)


def _include_wins() -> _Plant:
    def contains(self: Any, name: str) -> bool:
        listed = name in self._included
        return listed and (self.includes or name not in self._excluded)

    init = following._Names.__init__

    def made(self: Any, include: Any, exclude: Any) -> None:
        init(self, include, exclude)
        self.includes = bool(include)

    names = type("_Names", (following._Names,), {"__init__": made, "__contains__": contains})
    return replaced(following, "_Names", names)


def _leader_sends_everything() -> _Plant:
    return replaced(leader, "SharedTree", lambda _: SharedTree(EVERYTHING))


# -- A3: overridden ---------------------------------------------------------------------------


def _principals(swap: dict[ModificationKind, ModificationKind]) -> _Plant:
    principals = FollowingView._principals

    def shown(self: Any, leaders: tuple[RoleAssignment, ...]) -> tuple[RoleAssignment, ...]:
        before = self._settings
        kind = before.effective_principals_kind
        self._settings = replace(before, principals_kind=swap.get(kind, kind))
        try:
            return principals(self, leaders)
        finally:
            self._settings = before

    return replaced(FollowingView, "_principals", shown)


def _union_replaces() -> _Plant:
    return _principals({ModificationKind.UNION: ModificationKind.REPLACE})


def _none_unites() -> _Plant:
    return _principals({ModificationKind.NONE: ModificationKind.UNION})


def _settings_lost_with_snapshot() -> _Plant:
    put = Registry.put

    def forgets(self: Any, database: Any, source: Any, settings: Any, **rest: Any) -> None:
        if source is not None:
            settings = following.FollowingSettings(
                settings.sharing, settings.default_principals_kind
            )
        put(self, database, source, settings, **rest)

    return replaced(Registry, "put", forgets)


MUTANTS: Final = (
    Mutant(
        "copy-stays",
        "A1",
        "a detach ends the stream and leaves the database where it is",
        _copy_stays,
        real=True,
    ),
    Mutant(
        "detached-shows",
        "A1",
        "a gate without an attachment stays as it was",
        _detached_shows,
        real=True,
    ),
    Mutant(
        "filter-at-attach-only",
        "A2",
        "tables are filtered when a database is attached; those made or changed later slip in",
        _filter_at_attach_only,
        real=True,
    ),
    Mutant(
        "include-wins",
        "A2",
        "what is named in both lists is shared",
        _include_wins,
        real=True,
    ),
    Mutant(
        "leader-sends-everything",
        "A2",
        "the leader leaves it to its follower to pick what is shared",
        _leader_sends_everything,
    ),
    Mutant(
        "union-replaces",
        "A3",
        "kinds mixed up: a union leaves the follower's principals only",
        _union_replaces,
        real=True,
    ),
    Mutant(
        "none-unites",
        "A3",
        "a follower's principals are in force although the kind is none",
        _none_unites,
        real=True,
    ),
    Mutant(
        "overrides-lost",
        "A3",
        "what was set on the follower is forgotten when a tree is stored whole, or read at a start",
        _settings_lost_with_snapshot,
    ),
)
