"""What the query engine tells, as history keeps it."""

from __future__ import annotations

from cluster.history.log import History
from cluster.limits import LIMITS
from cluster.node.reporting import HistoryReports
from cluster.query.records import QueryRecord, QueryState
from cluster.request import NODE_REQUEST


class StillClock:
    """Always the same moment."""

    def now_ns(self) -> int:
        return 1

    def monotonic(self) -> float:
        return 0.0


def test_queries_are_kept_without_their_secrets() -> None:
    history = History(StillClock(), LIMITS)
    reports = HistoryReports.of(history, lambda: "id")
    text = "externaldata(x:int)[h@'https://host/c;key'] | where a == 'shown'"
    record = QueryRecord(1, text, "D", 1, NODE_REQUEST)
    reports.query(record)
    (running,) = history.running()
    reports.query(record.ended(2, QueryState.COMPLETED, ""))
    (ended,) = history.executed()
    reports.query(QueryRecord(2, "print 'https://h/c?sig=secret'", "D", 1, NODE_REQUEST))
    assert history.running()[0].text == "print ******"
    shown = "externaldata(x:int)[******] | where a == 'shown'"
    assert (running.text, ended.text) == (shown, shown)
