"""G5, G6: refusals say why, and the leader's own gates refuse. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cluster.conformance.calls import Attach, Changed, Ingested, Refused
from cluster.conformance.checkers.periods import settled, window_of
from cluster.conformance.system import Feature

if TYPE_CHECKING:
    from collections.abc import Callable

    from cluster.conformance.calls import Command, Ingest, Invocation, SetCapability
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.periods import Call, Window

REASON_WORDS: Final = (
    "streaming", "capability", "lease", "coordinator", "attach", "copy", "epoch", "metadata",
    "grant", "leader", "follow",
)  # fmt: skip
"""A reason has at least one of them, or the name of the follower cluster."""

_INTERNAL: Final = ("internal", "unknown")
_NO_REASON: Final = frozenset({"", "INTERNAL", "ERROR", "UNKNOWN"})
"""Beside an internal code. Kusto has no other code for a full disk, so a reason must say it."""


# -- G5 -----------------------------------------------------------------------------------------


def legible(index: Index, found: Findings) -> None:
    """G5. Facts: reasons of hidden rows, of attachments without rows, and of refusals."""
    for read in index.reads:
        reason = read.answer.hidden_reason
        if reason:
            found.checked += 1
            if not _is_legible(index, reason, read.cluster):
                found.call(f"{read} hides rows and says only {reason!r}", read.call)
        elif (window := index.off_window(read)) is not None:
            found.checked += 1
            proof = (window.call.last,) if window.call else ()
            text = f"{read} does not say why no streaming rows are in it"
            found.call(text, read.call, *proof)
    for call in index.calls:
        outcome = call.outcome
        if isinstance(outcome, Refused):
            found.checked += 1
            _refusal(call, outcome, found)
        elif isinstance(call.what, Attach) and isinstance(outcome, Changed) and outcome.epoch:
            _attached_without_rows(index, call, outcome, found)


def _is_legible(index: Index, reason: str, cluster: str) -> bool:
    words = reason.lower()
    if len(words) < index.parameters.shortest_reason_letters:
        return False
    return cluster.lower() in words or any(word in words for word in REASON_WORDS)


def _refusal(call: Call[Invocation], outcome: Refused, found: Findings) -> None:
    code = outcome.code.lower()
    internal = any(word in code for word in _INTERNAL)
    if not code or (internal and outcome.reason.upper() in _NO_REASON):
        found.call(f"a {_kind(call)} was refused with code {outcome.code!r}", call)
    elif not (outcome.reason or outcome.message):
        found.call(f"a {_kind(call)} was refused with {outcome.code} and not a word", call)


def _kind(call: Call[Invocation]) -> str:
    return str(call.what.__struct_config__.tag)


def _attached_without_rows(
    index: Index, call: Call[Any], outcome: Changed, found: Findings
) -> None:
    off = window_of(index.capability(call.what.follower, on=False), call.first, call.last)
    if outcome.rows_granted or off is None:
        return
    found.checked += 1
    if not _is_legible(index, outcome.reason, call.what.follower):
        found.call(
            f"{call.what.follower} was attached to {call.what.database} without rows, and the "
            f"reason is {outcome.reason!r}",
            call,
        )


# -- G6 -----------------------------------------------------------------------------------------


def leader_gates(index: Index, found: Findings) -> None:
    """G6. Facts: requests, policies and changes of capability at leaders whose state is certain."""
    for call in index.ingests:
        what = call.what
        off = window_of(index.capability(what.cluster, on=False), call.first, call.last)
        if off is None or index.batches[what.source].table.leader != what.cluster:
            continue
        found.checked += 1
        if isinstance(call.outcome, Ingested) and not call.outcome.repeated:
            found.call(
                f"{what.cluster} acknowledged source {what.source} while its streaming was off",
                call,
                *((off.call.last,) if off.call else ()),
            )
    if index.has(Feature.COMMANDS):
        _policies(index, found)


def _policies(index: Index, found: Findings) -> None:
    for call in index.commands:
        what = call.what
        if what.verb != "streaming-on":
            continue
        off = window_of(index.capability(what.cluster, on=False), call.first, call.last)
        if off is None:
            continue
        found.checked += 1
        if call.ok:
            found.call(
                f"{what.cluster} enabled the policy of {what.database}.{what.table} while its "
                "streaming was off",
                call,
                *((off.call.last,) if off.call else ()),
            )
    policies = _Policies(index)
    for switch in index.switches:
        if switch.what.on or switch.what.cluster not in index.profile.leaders:
            continue
        name = policies.enabled(switch)
        found.checked += name is not None
        if name and switch.confirmed:
            found.call(f"streaming of {switch.what.cluster} went off while {name} streams", switch)
    for request in index.ingests:
        if policies.disabled(request):
            found.checked += 1
            if isinstance(request.outcome, Ingested) and not request.outcome.repeated:
                place = f"{request.what.database}.{request.what.table}"
                found.call(f"{place} took rows without its policy", request)


class _Policies:
    """When the streaming policy of a table is certainly on, or off, as commands set it.

    A database's policy holds for its tables without one; where one is ever enabled for a whole
    database, nothing is said of its tables being off.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._calls: dict[tuple[str, str, str], list[Call[Command]]] = {}
        self._whole: set[tuple[str, str]] = set()
        drops: dict[tuple[str, str], list[Call[Command]]] = {}
        for call in index.commands:
            what = call.what
            place = (what.cluster, what.database)
            if what.verb == "drop-database":
                drops.setdefault(place, []).append(call)
            elif what.verb in ("streaming-on", "streaming-off", "drop-table", "create-table"):
                if what.table:
                    self._calls.setdefault((*place, what.table), []).append(call)
                elif what.verb == "streaming-on":
                    self._whole.add(place)
        for key, calls in self._calls.items():
            calls += drops.get(key[:2], [])
            calls.sort(key=lambda call: call.first)
        self._on = {key: self._settle(calls, "streaming-on") for key, calls in self._calls.items()}
        self._off = {
            key: self._settle(calls, "streaming-off") for key, calls in self._calls.items()
        }

    def _settle(self, calls: list[Call[Command]], verb: str) -> tuple[Window, ...]:
        is_verb: Callable[[Call[Command]], bool] = lambda call: call.what.verb == verb  # noqa: E731
        return settled(
            calls,
            wanted=is_verb,
            opposed=lambda call: call.what.verb not in (verb, "create-table"),
            times=self._index.times,
            late_seconds=self._index.parameters.late_effect_seconds,
            initially=False,
        )

    def enabled(self, call: Call[SetCapability]) -> str | None:
        """A table of the cluster whose policy is on all through a call."""
        for (cluster, database, table), windows in self._on.items():
            if cluster == call.what.cluster and window_of(windows, call.first, call.last):
                return f"{database}.{table}"
        return None

    def disabled(self, call: Call[Ingest]) -> bool:
        """The policy of the table that a request is for is off all through it."""
        what = call.what
        place = (what.cluster, what.database)
        windows = self._off.get((*place, what.table), ())
        return place not in self._whole and bool(window_of(windows, call.first, call.last))
