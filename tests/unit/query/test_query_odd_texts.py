"""Queries that generators of nonsense have found: each was an error of the engine's own once."""

from __future__ import annotations

import pytest

from cluster.errors import LimitExceededError, NotSupportedError, SemanticError

ANSWERED = {
    "T | sample 1000000 | count": [(3,)],
    "T | sample 1000001 | count": [(3,)],
    "T | sample 9223372036854775807 | count": [(3,)],
    "T | sample-distinct 9223372036854775807 of s | count": [(3,)],
    "U | union kind=inner withsource=W (T | project b) | count": [(5,)],
    "datatable(a:decimal, b:long)[1.5, 2]": [(1.5, 2)],
}

NO_NAME = "has an empty name"
REFUSED = {
    "U | union kind=inner (T | project b)": (SemanticError, "share no column"),
    "U | union kind=inner (T | extend X = ingestion_time() | project b)": (
        SemanticError,
        "share no column",
    ),
    "T | evaluate bag_unpack(j) : (['']: string)": (SemanticError, NO_NAME),
    "T | parse-kv s as (['']: string) with (pair_delimiter=',', kv_delimiter='=')": (
        SemanticError,
        NO_NAME,
    ),
    "datatable(['']: long)[1]": (SemanticError, NO_NAME),
    "range [''] from 1 to 5 step 1": (SemanticError, NO_NAME),
    "datatable(a: long, A: long)[1, 2]": (NotSupportedError, "differ only in case"),
}


@pytest.mark.parametrize("kql", ANSWERED)
async def test_they_are_answered(answer, kql):
    assert await answer(kql) == ANSWERED[kql]


@pytest.mark.parametrize("kql", REFUSED)
async def test_they_are_refused_by_what_is_wrong_with_them(answer, kql):
    kind, message = REFUSED[kql]
    with pytest.raises(kind, match=message):
        await answer(kql)


LATE = "range i from 1 to 400000 step 1 | project x = "
TOO_LATE = {
    "parse_csv(iff(i == 300000, 'a\"', 'b'))": (NotSupportedError, "parse_csv"),
    "format_bytes(iff(i == 300000, -1, 1024))": (NotSupportedError, "format_bytes"),
    "1000000000000 * iff(i == 300000, 1000000000, 1)": (SemanticError, "does not fit"),
    "range(1, iff(i == 300000, 2000000, 1), 1)": (LimitExceededError, "long"),
}


@pytest.mark.parametrize("call", TOO_LATE)
async def test_what_is_wrong_behind_the_first_rows_is_told_in_the_same_words(answer, call):
    """The answer comes in batches, and errors behind the first come another way."""
    kind, message = TOO_LATE[call]
    with pytest.raises(kind, match=message) as early:
        await answer(LATE.replace("400000", "300000").replace("from 1", "from 300000") + call)
    with pytest.raises(kind) as late:
        await answer(LATE + call)
    assert late.value.message == early.value.message
