"""Where we differ from Kusto's binder, query by query, and why."""

from __future__ import annotations

from typing import Final

_ORDER: Final = "the service refuses it; the binder does not look whether rows are serialized"
_EMULATOR: Final = "named as the official emulator names it, against which the library was measured"

DIFFERENCES: Final[dict[str, str]] = {
    "T | join (U | project l, y = z) on $right.l == $left.l | project y": (
        "the two sides of the condition may change places here, as with the service"
    ),
    "U | extend row_number()": _ORDER,
    "T | extend row_number()": _ORDER,
    "U | sort by l | summarize count() by z | extend row_number()": _ORDER,
    "print d = dynamic([3,1,2]), k = 5 | mv-apply e = d to typeof(long) on "
    "(order by e | extend prev(e))": "rows of mv-apply are in no order here: refused",
    "T | make-series count() on l from l to 5 step 1": "bounds are constants; refused sooner",
    "U | as X | as X": "one name for two things: refused sooner",
    "T | project abs(l), abs(r), abs(i), ceiling(r), floor(r, 1.0), round(r), round(r, 1), "
    "sqrt(r), log(r), log10(r), log2(r), exp(r), exp2(r), exp10(r), pow(r, 2), sign(r)": _EMULATOR,
    'T | project pack_array(l, r), bag_pack("a", l), pack("a", l), array_concat(j.x, j.x), '
    "array_slice(j.x, 0, 1), array_sort_asc(j.x), array_sort_desc(j.x), array_reverse(j.x), "
    "array_sum(j.x), array_index_of(j.x, 1), zip(j.x, j.x), set_has_element(j.x, 1), "
    "set_union(j.x, j.x), set_intersect(j.x, j.x)": _EMULATOR,
    "T | project unixtime_seconds_todatetime(l), unixtime_milliseconds_todatetime(l), "
    "unixtime_microseconds_todatetime(l), unixtime_nanoseconds_todatetime(l), now(), ago(1h), "
    'strcat_delim(",", s, s), strcat_array(j.x, ","), pack_all(), column_ifexists("l", 0)': (
        "column_ifexists() without a name of its own is Column1 here"
    ),
    "T | summarize covariance(l, r), covariancep(l, r), covarianceif(l, r, b), "
    "covariancepif(l, r, b) by s": "named as the documentation's answers are, covariance_x_y",
    "union kind=inner T, U": "the columns in all tables (union-operator.md); the binder has all",
    "T | getschema": "ColumnOrdinal is System.Int32, an int, with the service",
    "T | extend x = t + t": "the sum of two points in time: refused sooner",
    "T | where b = true": "a name for the condition, always true: refused as the slip it is",
}

REFUSED: Final[dict[str, str]] = {
    "U | sort by l | where row_number(1, l > 1) > 1": "restarts in extend and serialize only",
    "T | parse-kv s as (a:long)": "what is a key without delimiters is not documented",
    "T | evaluate narrow()": "how it writes nulls and points in time is not documented",
    "T | evaluate autocluster()": "no plugin here",
    "T | partition by s (sort by l | extend row_number())": "rows within are in no order here",
    "T | consume | count": "a result without columns; write count",
    "T | where * !has 'x'": "no rule is documented for values that are no strings",
    "T | summarize (a, b) = arg_max(l, s)": "several names for percentiles() only",
    "T | project hash(s, 10)": "what becomes of a hash below zero is not documented",
    "T | project series_stats(j)": "several columns of one function",
    "T | summarize tdigest(l)": "what an exact one is like is not documented",
    "T | summarize percentilew(l, i, 50)": "DuckDB has no weighted percentile",
    "print hash(1)": "only strings and datetimes are documented",
    "print 1tick": "results keep microseconds",
    "T | summarize arg_max(l, s, x = r) by b": "the translator takes named arguments by position",
}
