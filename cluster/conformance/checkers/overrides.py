"""A3: what a follower overrides is what it was told, with the documented effect. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cluster.conformance.calls import Command, Detach, Ran
from cluster.conformance.checkers.periods import Call, settled, window_of

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index

_PRINCIPALS: Final = "AuthorizedPrincipalsOverride"
_PRINCIPALS_KIND: Final = "AuthorizedPrincipalsModificationKind"
_CACHING: Final = "CachingPolicyOverride"
_CACHING_KIND: Final = "CachingPoliciesModificationKind"
_PREFETCH: Final = "IsAutoPrefetchEnabled"
_EMPTY_DISK: Final = frozenset({"replace"})
"""Overrides are kept where they were set, and nowhere else."""
_KINDS: Final = frozenset({"none", "union", "replace"})
_ROLES: Final = "(?:admins|users|viewers|unrestrictedviewers|monitors)"
_FROM: Final = r"(?:\s+from\s+\S+)?"
_SET: Final = tuple(
    (re.compile(rf"^\s*\.{pattern}", re.IGNORECASE), column, value)
    for pattern, column, value in (
        (rf"alter follower database (\S+){_FROM} principals-modification-kind\s*=\s*(\w+)",
         _PRINCIPALS_KIND, ""),
        (rf"alter follower database (\S+){_FROM} caching-policies-modification-kind\s*=\s*(\w+)",
         _CACHING_KIND, ""),
        (rf"alter follower database (\S+){_FROM} prefetch-extents\s*=\s*(\w+)", _PREFETCH, ""),
        (rf"alter follower database (\S+){_FROM} policy caching hot\s*=\s*(\S+)", _CACHING, ""),
        (r"delete follower database (\S+) policy caching()", _CACHING, "null"),
    )
)  # fmt: skip
_ADD: Final = re.compile(
    rf"^\s*\.add follower database (\S+){_FROM} {_ROLES}{_FROM} (.*)", re.IGNORECASE
)
_DROP: Final = re.compile(
    rf"^\s*\.drop follower database (\S+) {_ROLES}{_FROM} (.*)", re.IGNORECASE
)
_ADD_AT_LEADER: Final = re.compile(rf"^\s*\.add database (\S+) {_ROLES} (.*)", re.IGNORECASE)
_DROP_AT_LEADER: Final = re.compile(rf"^\s*\.drop database (\S+) {_ROLES} (.*)", re.IGNORECASE)
_SHOW_PRINCIPALS: Final = re.compile(r"^\s*\.show database (\S+) principals\s*$", re.IGNORECASE)
_QUOTED: Final = re.compile(r"""['"]([^'"]+)['"]""")


class _Change(msgspec.Struct, frozen=True):
    """A command that gives ``facet`` of a database on a cluster a value."""

    call: Call[Command]
    cluster: str
    database: str
    facet: tuple[str, str]
    value: str


def overrides(index: Index, found: Findings) -> None:
    """A3. Facts: what ``.show follower database`` and ``.show database principals`` told."""
    changes = [change for call in index.commands for change in _changes(call)]
    state = _State(index, changes)
    for call in index.commands:
        what, outcome = call.what, call.outcome
        if not isinstance(outcome, Ran):
            continue
        if what.verb == "show-follower":
            for row in outcome.rows:
                found.checked += 1
                told = dict(zip(outcome.columns, row, strict=False))
                _follower_row(state, call, told, found)
        elif match := _SHOW_PRINCIPALS.match(what.text):
            _effective(index, state, call, match[1], outcome, found)


def _changes(call: Call[Command]) -> list[_Change]:
    what = call.what
    for pattern, column, value in _SET:
        if match := pattern.match(what.text):
            return [
                _Change(call, what.cluster, match[1], (column, ""), (value or match[2]).lower())
            ]
    found = []
    for pattern, column, value in (
        (_ADD, _PRINCIPALS, "there"),
        (_DROP, _PRINCIPALS, "gone"),
        (_ADD_AT_LEADER, "principals", "there"),
        (_DROP_AT_LEADER, "principals", "gone"),
    ):
        if match := pattern.match(what.text):
            for principal in _QUOTED.findall(match[2]):
                facet = (column, principal)
                found.append(_Change(call, what.cluster, match[1], facet, value))
    return found


class _State:
    """Values that facets certainly have at some time."""

    def __init__(self, index: Index, changes: list[_Change]) -> None:
        self._index = index
        self._changes = changes

    def certain(
        self, cluster: str, database: str, call: Call[Command]
    ) -> dict[tuple[str, str], str]:
        """Every facet of a database on a cluster whose value is certain all through a call."""
        found: dict[tuple[str, str], str] = {}
        mine = [c for c in self._changes if (c.cluster, c.database) == (cluster, database)]
        # Attached again it begins anew; attaching what is attached changes no override.
        attachments = self._index.attachments.calls(cluster, database)
        detaches = [other for other in attachments if isinstance(other.what, Detach)]
        for facet in dict.fromkeys(change.facet for change in mine):
            of_facet = {c.call.number: c.value for c in mine if c.facet == facet}
            calls: list[Call[Any]] = [c.call for c in mine if c.facet == facet]
            calls = sorted([*calls, *detaches], key=lambda c: c.first)
            for value in dict.fromkeys(of_facet.values()):
                windows = settled(
                    calls,
                    wanted=lambda c, v=value, o=of_facet: o.get(c.number) == v,  # type: ignore[misc]
                    opposed=lambda c, v=value, o=of_facet: o.get(c.number) != v,  # type: ignore[misc]
                    times=self._index.times,
                    late_seconds=self._index.parameters.late_effect_seconds,
                    initially=False,
                )
                window = window_of(windows, call.first, call.last)
                if window and not self._may_be_lost(cluster, window.first, call.last):
                    found[facet] = value
        return found

    def _may_be_lost(self, cluster: str, first: int, last: int) -> bool:
        """Its disk was replaced, or a coordinator forgot the attachment it belongs to."""
        return self._index.troubles.disturbed(cluster, _EMPTY_DISK, first, last) or any(
            first < rollback.last and rollback.since < last for rollback in self._index.rollbacks
        )


def _follower_row(
    state: _State, call: Call[Command], told: dict[str, str], found: Findings
) -> None:
    cluster, database = call.what.cluster, told.get("DatabaseName", call.what.database)
    where = f".show follower database on {cluster} at {call.ended:.3f} s"
    for column in (_PRINCIPALS_KIND, _CACHING_KIND):
        if told.get(column, "none").lower() not in _KINDS:
            found.call(f"{where} tells {column} {told[column]!r}", call)
    for (column, principal), value in state.certain(cluster, database, call).items():
        if column not in told:
            continue
        if not _agrees(column, principal, value, told[column]):
            what = f"{principal} {value}" if principal else value
            found.call(f"{where} tells {column} {told[column]!r}, where {what} was set", call)


def _agrees(column: str, principal: str, value: str, told: str) -> bool:
    if column == _PRINCIPALS:
        return (principal in told) is (value == "there")
    if column == _CACHING:
        if value == "null":
            return told.lower() in ("", "null")
        days = re.fullmatch(r"(\d+)d", value)
        return told.lower() not in ("", "null") and (
            days is None or f"{int(days[1])}.00:00:00" in told or days[1] == "0"
        )
    if column == _PREFETCH:
        return (told.lower() in ("true", "1")) is (value == "true")
    return told.lower() == value


def _effective(
    index: Index, state: _State, call: Call[Command], database: str, outcome: Ran, found: Findings
) -> None:
    """Who may do something on a follower: none, union or replace of leader's and own."""
    cluster = call.what.cluster
    leader = index.attachments.leader(cluster, database, call.last)
    if leader is None:
        return
    own = state.certain(cluster, database, call)
    kind = own.get((_PRINCIPALS_KIND, ""))
    if kind not in _KINDS:
        return
    text = "\n".join("\t".join(row) for row in outcome.rows)
    theirs = state.certain(leader, database, call)
    added = {name for (facet, name), value in own.items() if facet == _PRINCIPALS
             and value == "there"}  # fmt: skip
    at_rest = index.quiet is not None and call.first > index.quiet
    for name in sorted(added):
        found.checked += 1
        if (name in text) is (kind == "none") and ("principals", name) not in theirs:
            found.call(_wrong(cluster, kind, name, name in text, "the follower"), call)
    for (facet, name), value in theirs.items():
        if facet != "principals" or value != "there" or name in added:
            continue
        found.checked += 1
        if kind == "replace" and name in text:
            found.call(_wrong(cluster, kind, name, True, "the leader"), call)
        elif kind != "replace" and name not in text and at_rest:
            found.call(_wrong(cluster, kind, name, False, "the leader"), call)


def _wrong(cluster: str, kind: str, name: str, there: bool, side: str) -> str:
    which = "is" if there else "is not"
    return f"{name} of {side} {which} a principal on {cluster}, where the kind is {kind}"
