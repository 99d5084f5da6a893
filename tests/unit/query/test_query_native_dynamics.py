"""Functions of arrays, sets, bags and series answer what their documentation says."""

from __future__ import annotations

import pytest

from cluster.errors import LimitExceededError, NotSupportedError, SemanticError

THREE = "dynamic([1,2,3])"
FIVE = "dynamic([1,2,3,4,5])"
BAG = "dynamic({'key1':123,'key2':{'prop1':'abc','prop2':'xyz'},'key3':[100,200]})"
WORDS = "dynamic(['this','is','an','example','an','example'])"

ANSWERS = [
    (f"array_iff(dynamic([true,false,true]), {THREE}, dynamic([4,5,6]))", "[1,5,3]"),
    ("array_iff(dynamic([1,0,50]), 'yes', 'no')", '["yes","no","yes"]'),
    ("array_iff(dynamic(['x', null]), 1, 0)", "[null,null]"),
    ("array_iff(dynamic([true,true]), dynamic([1]), 0)", "[1,null]"),
    ("array_iff(dynamic({'a':1}), 1, 0)", None),
    (f"array_rotate_left({FIVE}, 2)", "[3,4,5,1,2]"),
    (f"array_rotate_left({FIVE}, -2)", "[4,5,1,2,3]"),
    (f"array_rotate_right({FIVE}, 2)", "[4,5,1,2,3]"),
    (f"array_rotate_right({FIVE}, -2)", "[3,4,5,1,2]"),
    (f"array_rotate_left({FIVE}, 12)", "[3,4,5,1,2]"),
    ("array_rotate_left(dynamic([]), 3)", "[]"),
    (f"array_rotate_left({FIVE}, int(null))", None),
    (f"array_shift_left({FIVE}, 2)", "[3,4,5,null,null]"),
    (f"array_shift_left({FIVE}, 2, -1)", "[3,4,5,-1,-1]"),
    (f"array_shift_left({FIVE}, -2, -1)", "[-1,-1,1,2,3]"),
    (f"array_shift_right({FIVE}, 2)", "[null,null,1,2,3]"),
    (f"array_shift_right({FIVE}, 9, 0)", "[0,0,0,0,0]"),
    ("array_shift_left(dynamic(['a','b']), 1)", '["b",""]'),
    (f"array_split({FIVE}, 2)", "[[1,2],[3,4,5]]"),
    (f"array_split({FIVE}, dynamic([1,3]))", "[[1],[2,3],[4,5]]"),
    (f"array_split({FIVE}, -1)", "[[1,2,3,4],[5]]"),
    ("array_index_of(dynamic({'a': 3}), 3)", -1),
    ("array_index_of(dynamic([[3], 'x', 3]), 3)", 2),
    (f"array_index_of({WORDS}, 'an')", 2),
    (f"array_index_of({WORDS}, 'example', 1, 3)", 3),
    (f"array_index_of({WORDS}, 'example', 1, 2)", -1),
    (f"array_index_of({WORDS}, 'an', 1, -1, 2)", 4),
    (f"array_index_of({WORDS}, 'an', -3)", 4),
    (f"array_index_of({WORDS}, 'an', 0, -2)", None),
    ("array_sort_asc(dynamic([10, null, 9, 2.5]))", "[2.5,9,10,null]"),
    ("array_sort_asc(dynamic([null,'b','a']), false)", '[null,"a","b"]'),
    ("array_sort_desc(dynamic([9,10,null]))", "[10,9,null]"),
    ("repeat(1, 3)", "[1,1,1]"),
    ("repeat(1h, 2)", '["01:00:00","01:00:00"]'),
    ("repeat('a', 0)", "[]"),
    ("repeat('a', -1)", None),
    ("set_union(dynamic([1,2,2]), dynamic([3,1]), dynamic(['1']))", '[1,2,3,"1"]'),
    ("set_intersect(dynamic([3,2,1]), dynamic([1,3]), dynamic([3,1,9]))", "[3,1]"),
    ("set_difference(dynamic([1,2,3,2]), dynamic([1]), dynamic([3]))", "[2]"),
    (f"set_difference({THREE}, {THREE})", "[]"),
    ("set_equals(dynamic([1,2]), dynamic([2,1,2]))", True),
    ("set_equals(dynamic([1,2]), dynamic([1]))", False),
    (f"jaccard_index({THREE}, dynamic([1,2,3,4]))", "0.75"),
    (f"bag_remove_keys({BAG}, dynamic(['$.key2.prop1','key3']))",
     '{"key1":123,"key2":{"prop2":"xyz"}}'),
    ("bag_remove_keys(dynamic({'a':1}), dynamic(['b']))", '{"a":1}'),
    ("bag_remove_keys(dynamic([1]), dynamic(['b']))", None),
    ("bag_set_key(dynamic({'key1':1}), 'key3', 3)", '{"key1":1,"key3":3}'),
    ("bag_set_key(dynamic({'key1':1}), '$.key2.prop1', 'abc')",
     '{"key1":1,"key2":{"prop1":"abc"}}'),
    ("bag_set_key(dynamic({}), 't', datetime(2024-01-02))",
     '{"t":"2024-01-02T00:00:00.0000000Z"}'),
    ("bag_set_key(dynamic(null), 'a', 1)", None),
    (f"bag_has_key({BAG}, '$.key2.prop1')", True),
    (f"bag_has_key({BAG}, 'key2')", True),
    (f"bag_has_key({BAG}, '$.key2.prop9')", False),
    ("bag_zip(dynamic(['a','b']), dynamic([1]))", '{"a":1,"b":null}'),
    ("treepath(dynamic({'a':'b','c':123}))", """["['a']","['c']"]"""),
    ("treepath(dynamic({'l':[1,'x',{'x':'y'}]}))", """["['l']","['l'][0]","['l'][0]['x']"]"""),
    ("dynamic_to_json(dynamic({'Y':{},'A14':[15,13],'A1':{'c':1,'b':2}}))",
     '{"A1":{"b":2,"c":1},"A14":[15,13],"Y":{}}'),
    ("series_add(dynamic([1,2,4]), dynamic([4,2]))", "[5,4,null]"),
    ("series_subtract(dynamic([1,'a',4]), 1)", "[0,null,3]"),
    ("series_multiply(2, dynamic([1,2.5]))", "[2,5.0]"),
    ("series_divide(dynamic([1,2,4]), dynamic([4,2,1]))", "[0.25,1.0,4.0]"),
    ("series_pow(dynamic([1,2,3,4]), dynamic([1,2,3,0.5]))", "[1.0,4.0,27.0,2.0]"),
    ("series_equals(dynamic([1,2,4]), dynamic([4,2,1]))", "[false,true,false]"),
    ("series_less(dynamic([1,2,4]), dynamic([4,2,1]))", "[true,false,false]"),
    ("series_abs(dynamic([-6.5,0,8.2]))", "[6.5,0,8.2]"),
    ("series_sign(dynamic([-6,0,8]))", "[-1,0,1]"),
    ("series_floor(dynamic([-1.5,1,2.5]))", "[-2.0,1.0,2.0]"),
    ("series_ceiling(dynamic([-1.5,1,2.5,'x']))", "[-1.0,1.0,3.0,null]"),
    ("series_exp(dynamic([0]))", "[1.0]"),
    ("series_fill_const(dynamic([111,null,36]), 0.0)", "[111,0.0,36]"),
    ("series_fill_const(dynamic([1,-1,3]), 0, -1)", "[1,0,3]"),
    ("series_fill_forward(dynamic([null,36,null]))", "[null,36,36]"),
    ("series_fill_backward(dynamic([null,36,null]))", "[36,36,null]"),
    ("series_fill_linear(dynamic([null,111,null,36,41,null,null,16,null]))",
     "[111,111,73,36,41,32,24,16,16]"),
    ("series_fill_linear(dynamic([null,111.0,null,36.0]), double(null), false)",
     "[null,111.0,73.5,36.0]"),
    ("series_fill_linear(dynamic([null,null]), double(null), true, 3.5)", "[3.5,3.5]"),
    ("series_sum(dynamic([1,2,3,4]))", 10.0),
    ("series_product(dynamic([1,2,3,4]))", 24.0),
    ("series_magnitude(dynamic([3,4]))", 5.0),
    ("series_dot_product(dynamic([1,2,4]), dynamic([4,2,1]))", 12.0),
    ("series_dot_product(dynamic([1,2,4]), 2)", 14.0),
    ("series_dot_product(dynamic([]), 2)", None),
    ("series_pearson_correlation(dynamic([1,2,3]), dynamic([2,4,6]))", 1.0),
    ("series_pearson_correlation(dynamic([1,2,3]), dynamic([2,4]))", None),
    ("round(series_cosine_similarity(dynamic([0.1,0.2,0.1,0.2]), dynamic([1,2,3,4])), 9)",
     0.923760431),
    ("series_stats_dynamic(dynamic([2,4,9]))",
     ('{"min":2.0,"min_idx":0,"max":9.0,"max_idx":2,"avg":5.0,"stdev":3.605551275463989,'
     '"variance":13.0,"sum":15.0,"len":3}')),
    ("series_fir(dynamic([0,0,10,20]), dynamic([1,1]))", "[0.0,0.0,5.0,15.0]"),
    ("series_fir(dynamic([0,2,2]), dynamic([1,-1]), false, false)", "[0.0,2.0,0.0]"),
    ("series_fir(dynamic([0,3,0]), dynamic([1,1,1]), true, true)", "[1.0,1.0,1.0]"),
    ("series_iir(dynamic([1,2,3,4]), dynamic([1]), dynamic([1,-1]))", "[1.0,3.0,6.0,10.0]"),
    ("round(todouble(series_fit_line_dynamic(dynamic([2,5,6,8])).slope), 6)", 1.9),
]  # fmt: skip


async def test_answers_are_the_documented_ones(answer):
    said = [(call, (await answer(f"print x = {call}"))[0][0]) for call, _ in ANSWERS]
    assert said == ANSWERS


async def test_columns_are_packed_by_their_names(answer):
    rows = "datatable(a:string, n:long, e:string)['x', 1, '', 'y', long(null), 'z']"
    assert await answer(f"{rows} | project p = bag_pack_columns(a, n)") == [
        ('{"a":"x","n":1}',), ('{"a":"y","n":null}',),
    ]  # fmt: skip
    assert await answer(f"{rows} | project p = pack_all(true)") == [
        ('{"a":"x","n":1}',), ('{"a":"y","e":"z"}',),
    ]  # fmt: skip


REFUSED = [
    ("series_divide(dynamic([1]), dynamic([0]))", NotSupportedError, "not finite"),
    ("series_sum(dynamic([1,null]))", NotSupportedError, "no numbers"),
    ("array_sort_asc(dynamic([1,'a']))", NotSupportedError, "all numbers, or all strings"),
    ("array_sort_asc(dynamic(['1.00:00:00','10:00:00']))", NotSupportedError, "timespans"),
    ("array_sort_asc(dynamic([1]), dynamic([2]))", NotSupportedError, "several arrays"),
    ("array_split(dynamic([1,2]), dynamic([2,1]))", NotSupportedError, "ascend"),
    ("bag_set_key(dynamic({'a':1}), '$.a[0]', 1)", NotSupportedError, "JSON path"),
    ("repeat(1, 1048577)", NotSupportedError, "more than"),
    ("repeat('abcdefghij', 200000)", LimitExceededError, "longer than"),
    ("repeat(decimal(1), 2)", NotSupportedError, "decimal"),
    ("array_rotate_left('x', 1)", SemanticError, "argument #1 is of the type string"),
    ("array_rotate_left(dynamic([1]), 1.5)", SemanticError, "argument #2 is of the type real"),
    ("array_rotate_left(dynamic([1]))", SemanticError, "SEM0219"),
    ("set_union(dynamic([1]))", SemanticError, "SEM0219"),
    ("dcount_hll(dynamic([1]))", NotSupportedError, "what hll"),
    ("series_stats(dynamic([1]))", NotSupportedError, "'series_stats\\(\\)'"),
]


async def test_what_is_not_certain_is_refused(answer):
    for call, kind, message in REFUSED:
        with pytest.raises(kind, match=message):
            await answer(f"print x = {call}")


async def test_a_function_that_is_missing_says_what_to_write_instead(answer):
    with pytest.raises(NotSupportedError) as refused:
        await answer("print series_stats(dynamic([1]))")
    assert refused.value.remedy == "Use series_stats_dynamic()."


async def test_columns_and_nulls_reach_the_functions(answer):
    assert await answer(
        "T | sort by l asc nulls last | project a = array_rotate_left(j.x, 1), "
        "b = set_has_element(j.x, 2), c = repeat(l, 2), d = bag_has_key(j, 'x')"
    ) == [
        ("[2,1]", True, "[1,1]", True),
        (None, None, "[3,3]", False),
        (None, None, "[null,null]", False),
    ]


async def test_distinct_counts_are_kept_and_merged(answer):
    assert await answer(
        "range x from 1 to 1000 step 1 | summarize h = hll(x % 37), o = hll_if(x, x > 990) by x % 2"
        " | summarize h = hll_merge(h), o = hll_merge(o) | project dcount_hll(h), dcount_hll(o)"
    ) == [(37, 10)]


async def test_nulls_stay_in_a_list_that_is_asked_for_them(answer):
    rows = "range x from 1 to 3 step 1 | extend y = iff(x == 2, long(null), x) | sort by x desc"
    assert await answer(f"{rows} | summarize make_list_with_nulls(y)") == [("[3,null,1]",)]
    assert await answer("T | take 0 | summarize make_list_with_nulls(l)") == [("[]",)]
    with pytest.raises(NotSupportedError, match="timespan"):
        await answer("T | summarize make_list_with_nulls(ts)")


async def test_covariances(answer):
    rows = "datatable(x:real, y:real)[1.0,14.0, 2.0,10.0, 3.0,17.0, 4.0,20.0, 5.0,50.0]"
    assert await answer(f"{rows} | summarize covariance(x, y), covariancep(x, y)") == [(20.5, 16.4)]
    evens = "x % 2 == 0"
    assert await answer(
        f"range x from 1 to 100 step 1 | summarize covarianceif(x, x, {evens}), "
        f"covariancepif(x, x, {evens}), varianceif(x, {evens})"
    ) == [(850.0, 833.0, 850.0)]
    with pytest.raises(NotSupportedError, match="too few rows"):
        await answer(f"{rows} | take 1 | summarize covariance(x, y)")


DEPARTURES = (
    "datatable(p:string, a:string, n:long)['SEA','LH',3, 'SEA','LY',100, 'SEA','UA',3, "
    "'SEA','BA',2, 'SEA','EL',3, 'AMS','EL',1, 'AMS','BA',1] | sort by p desc, n asc"
)


async def test_ranks_of_rows_in_order(answer):
    assert await answer(
        f"{DEPARTURES} | extend d = row_rank_dense(n), m = row_rank_min(n), "
        "e = row_rank_dense(n, p != prev(p)), k = row_rank_min(n, prev(p) != p) "
        "| project p, n, d, m, e, k"
    ) == [
        ("SEA", 2, 1, 1, 1, 1), ("SEA", 3, 2, 2, 2, 2), ("SEA", 3, 2, 2, 2, 2),
        ("SEA", 3, 2, 2, 2, 2), ("SEA", 100, 3, 5, 3, 5), ("AMS", 1, 4, 6, 1, 1),
        ("AMS", 1, 4, 6, 1, 1),
    ]  # fmt: skip
    with pytest.raises(SemanticError, match="serialized"):
        await answer("T | extend row_rank_min(l)")
    with pytest.raises(SemanticError, match="SEM0219"):
        await answer("T | sort by l | extend row_rank_min(l, true, 1)")
