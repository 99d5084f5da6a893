"""What of a leader's tree a follower has, and how it appears there. Pure.

Two things change a tree on its way to those who read it on a follower:

- *Sharing* (``tableLevelSharingProperties`` of the attachment): which tables and functions are
  followed at all. Leader and follower both apply it, so what is not shared never travels.
- *Overrides*, which belong to the follower (``cluster-follower.md``): caching policies and
  principals, combined with the leader's as a :class:`ModificationKind` says.

:func:`effective` applies both, :func:`shared` the first alone. Both are functions of their
arguments; :class:`FollowingView` gives the same, at the cost of what changed.

Declared choices where no page says: what an exclude list names is excluded, whatever includes it;
names compare case-sensitively, as entity names do; lists of entities this service does not have
(external tables, materialized views) are kept, counted and shown, and select nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Final

from cluster.catalog.naming import check_text
from cluster.errors import InvalidRequestError, LimitExceededError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from cluster.catalog.model import Database, DroppedTable, Function, RoleAssignment, Table
    from cluster.limits import Limits

CACHING: Final = "caching"
WILDCARD: Final = "*"


class ModificationKind(enum.Enum):
    """How a follower's overrides combine with what the leader has."""

    NONE = "none"
    UNION = "union"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Sharing:
    """``tableLevelSharingProperties``: names, or patterns in which ``*`` is any text.

    An entity is shared if no exclude list has it, and its include list has it or is empty.
    """

    tables_to_include: tuple[str, ...] = ()
    tables_to_exclude: tuple[str, ...] = ()
    external_tables_to_include: tuple[str, ...] = ()
    external_tables_to_exclude: tuple[str, ...] = ()
    materialized_views_to_include: tuple[str, ...] = ()
    materialized_views_to_exclude: tuple[str, ...] = ()
    functions_to_include: tuple[str, ...] = ()
    functions_to_exclude: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Nothing is left out."""
        return self == EVERYTHING

    @property
    def entries(self) -> int:
        """Entries over all lists, which ``limits.sharing_entries`` bounds."""
        return sum(len(names) for _, names in self.lists())

    def lists(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Each list with its name, in order."""
        for item in fields(self):
            yield item.name, getattr(self, item.name)

    def shares_table(self, name: str) -> bool:
        """Whether the table is followed. For many names, :func:`shared` costs less."""
        return name in _Names(self.tables_to_include, self.tables_to_exclude)

    def shares_function(self, name: str) -> bool:
        """Whether the function is followed."""
        return name in _Names(self.functions_to_include, self.functions_to_exclude)


EVERYTHING: Final = Sharing()
"""The sharing of an attachment that names nothing: all is followed."""


def check_sharing(sharing: Sharing, limits: Limits) -> None:
    """Refuses lists that Kusto refuses: too many entries, or one that can be no name.

    Raises LimitExceededError, InvalidRequestError.
    """
    maximum = limits.sharing_entries
    if sharing.entries > maximum:
        raise LimitExceededError(
            f"Table-level sharing has {sharing.entries} entries over all its lists, the limit is "
            f"{maximum}.",
            remedy="Use wildcards (Logs*), or name what is left out instead of what is shared.",
            metadata={"limit": "sharing_entries", "maximum": str(maximum)},
        )
    for kind, names in sharing.lists():
        for name in names:
            if not 0 < len(name) <= limits.entity_name_characters:
                raise InvalidRequestError(
                    f"An entry of '{kind}' has {len(name)} characters; it has 1 to "
                    f"{limits.entity_name_characters}."
                )
            check_text(f"An entry of '{kind}'", name)


def matches(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern in which ``*`` stands for any text. Takes linear time."""
    first, *middle = pattern.split(WILDCARD)
    if not middle:
        return name == pattern
    last = middle.pop()
    if len(name) < len(first) + len(last):
        return False
    if not (name.startswith(first) and name.endswith(last)):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


class _Patterns:
    """Many patterns at once: exact names and those of one ``*`` at an end take no loop."""

    __slots__ = ("_exact", "_heads", "_others", "_tails")

    def __init__(self, patterns: Iterable[str]) -> None:
        exact, heads, tails, others = [], [], [], []
        for pattern in patterns:
            stars = pattern.count(WILDCARD)
            if not stars:
                exact.append(pattern)
            elif stars == 1 and pattern.endswith(WILDCARD):
                heads.append(pattern[:-1])
            elif stars == 1 and pattern.startswith(WILDCARD):
                tails.append(pattern[1:])
            else:
                others.append(pattern)
        self._exact, self._others = frozenset(exact), tuple(others)
        self._heads, self._tails = tuple(heads), tuple(tails)

    def __contains__(self, name: str) -> bool:
        return (
            name in self._exact
            or name.startswith(self._heads)
            or name.endswith(self._tails)
            or any(matches(pattern, name) for pattern in self._others)
        )


class _Names:
    """The names that an include and an exclude list leave."""

    __slots__ = ("_excluded", "_included", "everything")

    def __init__(self, include: Collection[str], exclude: Collection[str]) -> None:
        self.everything = not (include or exclude)
        self._included = _Patterns(include or (WILDCARD,))
        self._excluded = _Patterns(exclude)

    def __contains__(self, name: str) -> bool:
        return name not in self._excluded and name in self._included


@dataclass(frozen=True, slots=True)
class FollowingSettings:
    """What a following database has besides the leader's tree.

    ``sharing`` and ``default_principals_kind`` are the attachment's, as the coordinator says; all
    else is set by commands on the follower and outlives every change of the leader's tree.
    ``narrowing`` leaves out more of what is shared. ``principals_kind`` None: the default one.
    ``caching`` and ``table_caching`` are canonical JSON of caching policies. ``prefetch_extents``:
    new extents are fetched before queries see them.
    """

    sharing: Sharing = EVERYTHING
    default_principals_kind: ModificationKind = ModificationKind.UNION
    narrowing: Sharing = EVERYTHING
    principals: tuple[RoleAssignment, ...] = ()
    principals_kind: ModificationKind | None = None
    caching: str | None = None
    table_caching: Mapping[str, str] = field(default_factory=dict)
    caching_kind: ModificationKind = ModificationKind.UNION
    prefetch_extents: bool = False

    @property
    def effective_principals_kind(self) -> ModificationKind:
        """The kind in force."""
        return self.principals_kind or self.default_principals_kind

    @property
    def has_overrides(self) -> bool:
        """Anything was set on the follower."""
        return self != FollowingSettings(self.sharing, self.default_principals_kind)


def shared(tree: Database, sharing: Sharing) -> Database:
    """The part of a leader's tree that is followed; the tree itself if that is all of it.

    Dropped tables go by the name they had. Tables that are left keep their identity (``is``).
    """
    return tree if sharing.is_everything else effective(tree, FollowingSettings(sharing))


def effective(tree: Database, settings: FollowingSettings) -> Database:
    """The leader's tree as a follower with these settings shows it, of the same version.

    Laws: nothing that is excluded is in it; applied to its own result it changes nothing;
    ``none`` is what the leader has, ``replace`` nothing of it, ``union`` both, the follower's
    over the leader's. A table without an override of its own keeps its identity (``is``).
    """
    return FollowingView(settings).show(tree)


class FollowingView:
    """:func:`effective` of one tree after another, at the cost of what changes between them."""

    __slots__ = ("_functions", "_result", "_selection", "_settings", "_tree")

    def __init__(self, settings: FollowingSettings) -> None:
        self._settings = settings
        self._selection = (
            _Names(settings.sharing.tables_to_include, settings.sharing.tables_to_exclude),
            _Names(settings.narrowing.tables_to_include, settings.narrowing.tables_to_exclude),
        )
        self._functions = (
            _Names(settings.sharing.functions_to_include, settings.sharing.functions_to_exclude),
            _Names(
                settings.narrowing.functions_to_include, settings.narrowing.functions_to_exclude
            ),
        )
        self._tree: Database | None = None
        self._result: Database | None = None

    @property
    def settings(self) -> FollowingSettings:
        """What it shows by."""
        return self._settings

    def show(self, tree: Database, touched: Collection[str] | None = None) -> Database:
        """The effective tree. ``touched``: names that hold all tables that differ from those of
        the tree shown before; None: not known."""
        if tree is self._tree:
            assert self._result is not None
            return self._result
        shown = replace(
            tree,
            tables=self._tables(tree, touched),
            functions=self._shown_functions(tree),
            dropped_tables=self._dropped(tree),
            policies=self._policies(tree.policies, self._settings.caching),
            principals=self._principals(tree.principals),
        )
        result = tree if _same_parts(shown, tree) else shown
        self._tree, self._result = tree, result
        return result

    def _tables(self, tree: Database, touched: Collection[str] | None) -> Mapping[str, Table]:
        if self._keeps_tables:
            return tree.tables
        if self._tree is None or self._result is None:
            return {
                name: self._table(table) for name, table in tree.tables.items() if self._has(name)
            }
        if tree.tables is self._tree.tables:
            return self._result.tables
        if touched is None:
            touched = _differences(self._tree.tables, tree.tables)
        tables = dict(self._result.tables)
        for name in touched:
            table = tree.tables.get(name)
            if table is None or not self._has(name):
                tables.pop(name, None)
            elif table is not self._tree.tables.get(name):
                tables[name] = self._table(table)
        return tables

    @property
    def _keeps_tables(self) -> bool:
        settings = self._settings
        return all(names.everything for names in self._selection) and (
            settings.caching_kind is ModificationKind.NONE
            or (settings.caching_kind is ModificationKind.UNION and not settings.table_caching)
        )

    def _has(self, name: str) -> bool:
        return all(name in names for names in self._selection)

    def _table(self, table: Table) -> Table:
        policies = self._policies(table.policies, self._settings.table_caching.get(table.name))
        return table if policies is table.policies else replace(table, policies=policies)

    def _policies(self, leaders: Mapping[str, str], override: str | None) -> Mapping[str, str]:
        kind, present = self._settings.caching_kind, leaders.get(CACHING)
        if kind is ModificationKind.NONE or (kind is ModificationKind.UNION and override is None):
            override = present
        if override == present:
            return leaders
        others = {name: text for name, text in leaders.items() if name != CACHING}
        return others if override is None else {**others, CACHING: override}

    def _shown_functions(self, tree: Database) -> Mapping[str, Function]:
        if all(names.everything for names in self._functions):
            return tree.functions
        if self._tree is not None and tree.functions is self._tree.functions:
            assert self._result is not None
            return self._result.functions
        return {
            name: function
            for name, function in tree.functions.items()
            if all(name in names for names in self._functions)
        }

    def _dropped(self, tree: Database) -> tuple[DroppedTable, ...]:
        if all(names.everything for names in self._selection):
            return tree.dropped_tables
        return tuple(item for item in tree.dropped_tables if self._has(item.table.name))

    def _principals(self, leaders: tuple[RoleAssignment, ...]) -> tuple[RoleAssignment, ...]:
        settings = self._settings
        kind = settings.effective_principals_kind
        if kind is ModificationKind.NONE:
            return leaders
        if kind is ModificationKind.REPLACE:
            return settings.principals
        own = {(item.role, item.principal.lower()) for item in settings.principals}
        others = tuple(item for item in leaders if (item.role, item.principal.lower()) not in own)
        return others + settings.principals


def _same_parts(one: Database, other: Database) -> bool:
    """Two trees that differ in no part by identity, or by value where that is small."""
    return (
        one.tables is other.tables
        and one.functions is other.functions
        and one.policies is other.policies
        and one.dropped_tables == other.dropped_tables
        and one.principals == other.principals
    )


def _differences(before: Mapping[str, Table], after: Mapping[str, Table]) -> set[str]:
    changed = {name for name, table in after.items() if before.get(name) is not table}
    changed.update(name for name in before if name not in after)
    return changed
