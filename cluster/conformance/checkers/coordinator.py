"""C1: without a coordinator what runs ends with its lease, and comes back by itself. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.conformance.calls import Attach, SetCapability
from cluster.conformance.system import Feature

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.troubles import Span

_COORDINATOR: Final = "coordinator"
_DRIFT: Final = frozenset({"clock-drift"})
_TWICE: Final = frozenset({"coordinator-twice"})


def coordinator_lost(index: Index, found: Findings) -> None:
    """C1. Facts: answers of followers, and changes, while the coordinator was gone for longer than
    a lease, and last answers after it was gone at all."""
    gone = _absences(index)
    for span in gone:
        _nothing_new(index, span, found)
        if not index.troubles.disturbed(_COORDINATOR, _TWICE, span.first, span.last):
            _closed(index, span, found)
    if gone:
        _comes_back(index, gone[-1], found)


def _absences(index: Index) -> list[Span]:
    """When the coordinator did not run, or was stopped."""
    troubles = index.troubles
    spans = [span for span in troubles.downs if span.target.partition("/")[0] == _COORDINATOR]
    spans += [
        span
        for span in troubles.faults
        if span.kind == "pause" and span.target.partition("/")[0] == _COORDINATOR
    ]
    return sorted(spans, key=lambda span: span.first)


def _nothing_new(index: Index, span: Span, found: Findings) -> None:
    if span.kind == "pause":
        return
    back = span.ended - index.parameters.start_slack_seconds
    for call in index.calls:
        if not isinstance(call.what, SetCapability | Attach):
            continue
        if span.first < call.first and call.ended < back:
            found.checked += 1
            if call.ok and not index.troubles.disturbed(
                _COORDINATOR, _TWICE, span.first, span.last
            ):
                found.call(
                    f"a change was granted at {call.ended:.3f} s, while there was no coordinator",
                    call,
                    span.first,
                )


def _closed(index: Index, span: Span, found: Findings) -> None:
    over = index.times.number_at(span.began + index.parameters.lease_over_seconds)
    back = span.ended - index.parameters.start_slack_seconds
    if over >= span.last:
        return
    told = index.has(Feature.HIDDEN_REASON)
    for read in index.reads:
        if read.own or read.call.first < over or read.call.ended > back:
            continue
        if index.troubles.disturbed(read.cluster, _DRIFT, span.first, read.call.last):
            continue
        found.checked += 1
        new = read.view.touched & ~read.table.possible_before(over)
        if told and not read.hidden:
            found.call(
                f"{read} shows streaming rows, with the coordinator gone since {span.began:.3f} s "
                f"and every lease over",
                read.call,
                span.first,
            )
        elif new and not told:
            found.call(
                f"{read} shows {read.table.tell(new)}, sent after every lease was over, with the "
                f"coordinator gone since {span.began:.3f} s",
                read.call,
                span.first,
            )


def _comes_back(index: Index, last: Span, found: Findings) -> None:
    for read in index.final_reads.values():
        if read.own or read.call.first < last.last or not index.eligible(read):
            continue
        found.checked += 1
        if read.hidden:
            found.call(
                f"{read} still hides rows ({read.answer.hidden_reason}), with the coordinator back "
                f"since {last.ended:.3f} s",
                read.call,
                last.last,
            )
