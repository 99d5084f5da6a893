"""What is written plainly because types are known answers as the general form does."""

from __future__ import annotations

import datetime as dt
import math

import pytest

from cluster.errors import NotSupportedError
from cluster.query.binding import QuerySnapshot, given_table

HOUR = dt.timedelta(hours=1)


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.fixture
def ask(answer, make):
    columns, batch = make
    all_columns = columns(
        n="long", i="int", r="real", s="string", t="datetime", d="timespan", b="bool", m="decimal"
    )
    rows = [
        (1, -7, math.nan, "a'b", at("1969-12-31T22:30:00"), -HOUR * 1.5, True, 1),
        (2, 7, -0.5, "B", at("2024-01-10T00:00:00"), HOUR * 2.5, False, 2),
        (-13, 0, math.inf, "", at("2024-01-10T23:59:59.999999"), HOUR * 0, None, None),
        (None, None, None, "b", None, None, None, None),
        (2**53 + 1, 2**31 - 1, 5.0, "ß", at("2024-01-11T00:00:00"), HOUR * 24, True, 5),
    ]
    snapshot = QuerySnapshot(
        "Home", {"T": given_table("T", all_columns, (batch(all_columns, *rows),))}
    )

    async def run(kql):
        return await answer(kql, snapshot)

    return run


PREDICATES = [
    "n > 1", "n >= 2", "n < 0", "n == 1", "n in (1, 2, 99)", "1 < n", "n == 9007199254740993",
    "n > 1.5", "n == 2.0", "i < 0", "i == 2147483647", "i > 3000000000", "n > 9223372036854775807",
    "s == 'B'", "s != 'B'", "s == ''", "s in ('B', '')", "s == \"a'b\"", "'B' == s",
    "t >= datetime(2024-01-10) and t < datetime(2024-01-11)",
    "t between (datetime(2024-01-10) .. 1d)",
    "t between (datetime(2024-01-10) .. datetime(2024-01-10 23:59:59.999999))",
    "t < datetime(1970-01-01)", "t < datetime(2024-01-10T23:59:59.999999Z)",
    "t > ago(1d)", "t < now()", "b == true", "m == 2", "m > 1.5", "d > 1h",
    "n > 1 or s == ''", "(n > 1 and s != 'B') or isnull(n)", "not(s == 'B')", "r < 5", "r == 5",
]  # fmt: skip


@pytest.mark.parametrize("predicate", PREDICATES)
async def test_a_condition_behind_a_table_selects_what_it_does_elsewhere(ask, predicate):
    """Behind ``take`` nothing is written plainly, and no filter prunes."""
    keep = "| project n, i, s, t | sort by s asc"
    assert await ask(f"T | where {predicate} {keep}") == await ask(
        f"T | take 1000 | where {predicate} {keep}"
    )


@pytest.mark.parametrize(
    ("predicate", "count"),
    [("r > 1.0", 2), ("r >= -0.5", 3), ("1 < r", 2), ("r < 1", 1), ("r > 1000", 1)],
)
async def test_nothing_compares_with_what_is_not_a_number(ask, predicate, count):
    assert await ask(f"T | where {predicate} | summarize n = count() | project n") == [(count,)]


async def test_points_in_time_are_binned_exactly(ask):
    rows = await ask(
        "T | where isnotnull(t) | sort by t asc"
        "| project h = bin(t, 1h), d = bin(t, 1d), m = bin(t, 7m), u = bin(t, 2microsecond)"
    )
    epoch = dt.datetime(1970, 1, 1)
    moments = [
        at("1969-12-31T22:30:00"), at("2024-01-10"), at("2024-01-10T23:59:59.999999"),
        at("2024-01-11"),
    ]  # fmt: skip
    widths = [HOUR, HOUR * 24, HOUR / 60 * 7, dt.timedelta(microseconds=2)]
    assert rows == [tuple(epoch + (m - epoch) // w * w for w in widths) for m in moments]


async def test_timespans_are_binned_as_timespans(ask):
    rows = await ask("T | where isnotnull(d) | sort by d asc | project x = bin(d, 1h)")
    assert rows == [(-HOUR * 2,), (HOUR * 0,), (HOUR * 2,), (HOUR * 24,)]
    assert await ask("T | where n == 2 | project x = bin(t - datetime(2024-01-09), 1h)") == [
        (HOUR * 24,)
    ]
    with pytest.raises(NotSupportedError, match="timespan"):
        await ask("T | project bin(d, d)")


async def test_numbers_are_binned_downwards(ask):
    rows = await ask("T | where isnotnull(n) | sort by n asc | project bin(n, 5), bin(i, 5)")
    assert rows == [(-15, 0), (0, -10), (0, 5), (2**53 + 1 - (2**53 + 1) % 5, 2147483645)]
    rows = await ask("T | where n in (2, -13) | sort by n asc | project bin(r, 0.2), floor(r, 1)")
    assert rows[0] == (math.inf, math.inf)
    assert rows[1][0] == pytest.approx(-0.6)
    assert rows[1][1] == -1.0
    assert await ask("T | where s == 'b' | project bin(n, 5), bin(r, 1.0), bin(t, 1h)") == [
        (None, None, None)
    ]
