"""Executors of commands about databases that follow a leader (``cluster-follower.md``).

They change what belongs to the follower and nothing of the leader's: the settings of the following
database, in force when the command returns. Declared choices where no page says: each returns the
row that ``.show follower database`` would; ``LeaderClusterMetadataPath`` is the name of the leader
cluster, and so is the path after ``from``; ``.alter follower database D tables exclude add (...)``
leaves out more of what the attachment shares, it brings in nothing that is not shared;
``.drop follower database`` is a detach, certain when it returns.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog.changes import find_table
from cluster.catalog.following import ModificationKind, Sharing, check_sharing
from cluster.catalog.policy_text import caching_text, shown
from cluster.commands.literals import EPOCH
from cluster.commands.principals import added, dropped, override_text, role_of
from cluster.commands.schema_text import compact
from cluster.errors import ConflictError, InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cluster.catalog.following import FollowingSettings
    from cluster.catalog.model import FollowingSource
    from cluster.commands.context import Context, Executor
    from cluster.commands.doors import FollowingState
    from cluster.commands.results import Row

    Edit = Callable[[Context, FollowingSettings], FollowingSettings]

_US: Final = timedelta(microseconds=1)

_LISTS: Final = {
    frozenset(["tables", "include"]): "tables_to_include",
    frozenset(["tables", "exclude"]): "tables_to_exclude",
    frozenset(["external", "tables", "include"]): "external_tables_to_include",
    frozenset(["external", "tables", "exclude"]): "external_tables_to_exclude",
    frozenset(["materialized-views", "include"]): "materialized_views_to_include",
    frozenset(["materialized-views", "exclude"]): "materialized_views_to_exclude",
}
_LIST_WORDS: Final = frozenset().union(*_LISTS)


# Showing


async def show_one(context: Context) -> list[Row]:
    """``.show follower database D``."""
    return [_row(context, context.values["database"])]


async def show_all(context: Context) -> list[Row]:
    """``.show follower databases [(D, ...)]``: those named, else all that follow."""
    return [_row(context, name) for name in _names(context)]


async def show_states(context: Context) -> list[Row]:
    """``.show follower (database D | databases [(D, ...)]) details``: where each one stands."""
    return [_state_row(context, name) for name in _names(context)]


def _names(context: Context) -> list[str]:
    if "database" in context.values:
        return [context.values["database"]]
    if "databases" in context.values:
        return list(dict.fromkeys(context.values["databases"]))
    trees = context.catalog.databases()
    return [tree.name for tree in trees if context.catalog.is_following(tree.name)]


def _row(context: Context, name: str) -> Row:
    settings = context.catalog.following_settings(name)
    source = context.catalog.following_source(name)
    assert source is not None, "it has settings"
    tables = {
        table: {"CachingPolicyOverride": json.loads(text)}
        for table, text in sorted(settings.table_caching.items())
    }
    return (
        context.catalog.get(name).name,
        source.leader_cluster,
        shown(settings.caching),
        override_text(settings.principals),
        settings.effective_principals_kind.value.title(),
        settings.prefetch_extents,
        compact(tables) if tables else "",
        settings.caching_kind.value.title(),
    )


def _state_row(context: Context, name: str) -> Row:
    settings = context.catalog.following_settings(name)
    state = context.node.services.followers.state(name)
    return (
        context.catalog.get(name).name,
        state.leader_cluster,
        state.leader_database,
        state.configuration,
        state.origin,
        _sharing_text(settings.sharing),
        _sharing_text(settings.narrowing),
        state.epoch,
        state.gate,
        state.reason,
        state.is_connected,
        str(state.version),
        compact(_rows_by_table(context, name, state)),
        state.rows_visible,
        _span(state.lag_seconds),
        _span(state.apply_lag_p50_seconds),
        _span(state.apply_lag_p99_seconds),
        state.trouble,
    )


def _rows_by_table(context: Context, name: str, state: FollowingState) -> dict[str, int]:
    """How many streamed rows of each table have come so far, sealed ones included."""
    return {
        table.name: sum(state.ordinals.get(key, 0) for key in table.keys)
        for _, table in sorted(context.catalog.get(name).tables.items())
    }


def _sharing_text(sharing: Sharing) -> str:
    """As ``tableLevelSharingProperties`` of an attachment: the lists that have entries."""
    return compact({_camel(name): list(names) for name, names in sharing.lists() if names})


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


# Changing


async def change(edit: Edit, context: Context) -> list[Row]:
    """Changes the settings of a following database; returns them."""
    name: str = context.values["database"]
    _check_leader(context, name)
    await context.catalog.set_following(name, partial(edit, context))
    return [_row(context, name)]


async def drop(context: Context) -> list[Row]:
    """``.drop follower (database D | databases (D, ...)) from 'p'``: detaches, one by one."""
    names = _names(context)
    dropped: list[Row] = []
    sources = [_check_leader(context, name) for name in names]
    for name, source in zip(names, sources, strict=True):
        dropped.append((context.catalog.get(name).name, source.leader_cluster))
        await context.node.services.attachments.detach(
            source.leader_cluster, source.leader_database
        )
    return dropped


def _check_leader(context: Context, name: str) -> FollowingSource:
    """What the database follows, which is what ``from`` says, if the command says it."""
    source = context.catalog.following_source(name)
    path = context.values.get("path")
    if source is None:
        raise ConflictError(
            f"Database '{name}' does not follow a leader.", metadata={"database": name}
        )
    if path is not None and path.lower() != source.leader_cluster.lower():
        raise ConflictError(
            f"Database '{name}' follows cluster '{source.leader_cluster}', not '{path}'.",
            metadata={"database": name, "leader_cluster": source.leader_cluster},
        )
    return source


def _alter_caching(context: Context, now: FollowingSettings) -> FollowingSettings:
    return replace(now, caching=_caching(context))


def _delete_caching(context: Context, now: FollowingSettings) -> FollowingSettings:
    del context
    return replace(now, caching=None)


def _alter_table_caching(context: Context, now: FollowingSettings) -> FollowingSettings:
    database = context.catalog.get(context.values["database"])
    given = {find_table(database, name).name: _caching(context) for name in _tables(context)}
    return replace(now, table_caching={**now.table_caching, **given})


def _delete_table_caching(context: Context, now: FollowingSettings) -> FollowingSettings:
    database = context.catalog.get(context.values["database"])
    left = dict(now.table_caching)
    for name in _tables(context):
        # Also of a table that is gone: what is set can be removed.
        if left.pop(name, None) is None:
            find_table(database, name)
    return replace(now, table_caching=left)


def _add_principals(context: Context, now: FollowingSettings) -> FollowingSettings:
    values = context.values
    principals = added(
        now.principals,
        role_of(context),
        values["principals"],
        values.get("notes", ""),
        context.catalog.new_id,
    )
    return replace(now, principals=principals)


def _drop_principals(context: Context, now: FollowingSettings) -> FollowingSettings:
    left = dropped(now.principals, role_of(context), context.values["principals"])
    return replace(now, principals=left)


def _alter_principals_kind(context: Context, now: FollowingSettings) -> FollowingSettings:
    return replace(now, principals_kind=_kind(context))


def _alter_caching_kind(context: Context, now: FollowingSettings) -> FollowingSettings:
    return replace(now, caching_kind=_kind(context))


def _alter_prefetch(context: Context, now: FollowingSettings) -> FollowingSettings:
    return replace(now, prefetch_extents="true" in context.words)


def _alter_sharing(context: Context, now: FollowingSettings) -> FollowingSettings:
    name = _LISTS[context.words & _LIST_WORDS]
    present: tuple[str, ...] = getattr(now.narrowing, name)
    given: tuple[str, ...] = context.values["patterns"]
    if "add" in context.words:
        after = tuple(dict.fromkeys((*present, *given)))
    else:
        missing = [entry for entry in given if entry not in present]
        if missing:
            raise InvalidRequestError(
                f"'{missing[0]}' is not in the list.", metadata={"entry": missing[0]}
            )
        after = tuple(entry for entry in present if entry not in given)
    changed: dict[str, Any] = {name: after}
    narrowing = replace(now.narrowing, **changed)
    check_sharing(narrowing, context.node.services.limits)
    return replace(now, narrowing=narrowing)


def _tables(context: Context) -> tuple[str, ...]:
    values = context.values
    return (values["table"],) if "table" in values else values["tables"]


def _kind(context: Context) -> ModificationKind:
    (kind,) = (kind for kind in ModificationKind if kind.value in context.words)
    return kind


def _caching(context: Context) -> str:
    values = context.values
    hot = values.get("hot")
    return caching_text(
        values.get("hotdata", hot) // _US,
        values.get("hotindex", hot) // _US,
        [((a - EPOCH) // _US, (b - EPOCH) // _US) for a, b in values.get("windows", ())],
    )


_EDITS: Final[Mapping[str, Edit]] = {
    "alter follower database policy caching": _alter_caching,
    "delete follower database policy caching": _delete_caching,
    "alter follower database table policy caching": _alter_table_caching,
    "delete follower database table policy caching": _delete_table_caching,
    "add follower database principals": _add_principals,
    "drop follower database principals": _drop_principals,
    "alter follower database principals-modification-kind": _alter_principals_kind,
    "alter follower database caching-policies-modification-kind": _alter_caching_kind,
    "alter follower database prefetch-extents": _alter_prefetch,
    "alter follower database sharing": _alter_sharing,
}

EXECUTORS: Final[Mapping[str, Executor]] = {
    "show follower database": show_one,
    "show follower databases": show_all,
    "show follower database details": show_states,
    "show follower databases details": show_states,
    "drop follower database": drop,
    **{name: partial(change, edit) for name, edit in _EDITS.items()},
}
