"""Functions in Python say what is wrong with numbers that nothing can be made of.

Whatever else Python raises reaches the caller as "a value it does not take", which helps nobody.
"""

from __future__ import annotations

import pytest

from cluster.errors import NotSupportedError

LARGE = "dynamic([1e308, -1e308, 1e308, 1e308])"
HUGE = f"parse_json('[1, 2, {'9' * 400}]')"
LONG = f"parse_json('[1, 2, {'9' * 5000}]')"
DEEP = (
    "parse_json(strcat(strrep('[', 1000), strrep('[', 1000), strrep(']', 1000), strrep(']', 1000)))"
)
NOT_FINITE, BEYOND = "not finite", "beyond what a real holds"
NUMBERS = {
    f"series_sum({LARGE})": NOT_FINITE,
    f"series_dot_product({LARGE}, {LARGE})": NOT_FINITE,
    f"series_magnitude({LARGE})": NOT_FINITE,
    f"series_product({LARGE})": NOT_FINITE,
    f"series_pearson_correlation({LARGE}, dynamic([1, 2, 3, 5]))": NOT_FINITE,
    f"series_cosine_similarity({LARGE}, {LARGE})": NOT_FINITE,
    f"series_cosine_similarity({LARGE}, {LARGE}, 5e-324, 5e-324)": "series of zeros",
    "series_cosine_similarity(dynamic([1e-200]), dynamic([1e-200]))": "series of zeros",
    f"series_stats_dynamic({LARGE})": NOT_FINITE,
    f"series_fit_line_dynamic({LARGE})": NOT_FINITE,
    f"series_fir({LARGE}, dynamic([1, 1]), false)": NOT_FINITE,
    "series_fir(dynamic([1, 2]), dynamic([0, 0]))": "weights that add up to zero",
    f"series_iir({LARGE}, dynamic([10]), dynamic([1]))": NOT_FINITE,
    f"series_sum({HUGE})": BEYOND,
    f"series_dot_product({HUGE}, {HUGE})": BEYOND,
    f"series_divide({HUGE}, 2)": BEYOND,
    f"series_add({HUGE}, 0.5)": BEYOND,
    f"series_multiply(0.5, {HUGE})": BEYOND,
    f"series_stats_dynamic({HUGE})": BEYOND,
    f"series_fill_linear(parse_json('[1, null, {'9' * 400}]'))": BEYOND,
    f"array_reverse(series_sign({LONG}))": "a number so long",
    f"array_rotate_left({LONG}, 1)": "a number so long",
    f"array_rotate_left({DEEP}, 1)": "nested so deep",
    f"dynamic_to_json({DEEP})": "nested so deep",
    "format_bytes(real(nan))": "not finite",
    "format_bytes(real(+inf))": "not finite",
    "format_bytes(1e308, 2)": "so large",
    "format_bytes(1e33, 15)": "so large",
}


@pytest.mark.parametrize("call", NUMBERS, ids=lambda call: call[:60])
async def test_numbers_that_nothing_can_be_made_of_are_named(answer, call):
    with pytest.raises(NotSupportedError, match=NUMBERS[call]):
        await answer(f"print x = {call}")
