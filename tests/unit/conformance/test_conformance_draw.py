"""Draws: the same for the same purpose, whatever else is drawn."""

from __future__ import annotations

import pytest

from cluster.conformance.draw import Draw


def test_a_draw_is_a_function_of_seed_purpose_and_number():
    first, second = Draw(7, "writer"), Draw(7, "writer")
    values = [first.unit() for _ in range(5)]
    Draw(7, "reader").unit()  # somebody else's draw changes nothing
    assert [second.unit() for _ in range(5)] == values
    assert len(set(values)) == 5
    assert Draw(8, "writer").unit() != values[0]
    assert Draw(7, "reader").unit() != values[0]


def test_the_values_are_pinned_so_that_old_seeds_stay_what_they_were():
    draw = Draw(1, "pinned")
    assert [draw.integer(0, 999) for _ in range(6)] == PINNED


PINNED = [450, 916, 116, 952, 33, 700]


def test_bounds_are_kept_and_reached():
    draw = Draw(1, "bounds")
    assert {draw.integer(2, 4) for _ in range(100)} == {2, 3, 4}
    assert {draw.pick("abc") for _ in range(100)} == {"a", "b", "c"}
    assert {draw.weighted((("a", 1.0), ("b", 0.0), ("c", 3.0))) for _ in range(100)} == {"a", "c"}
    assert all(1.0 <= draw.between(1.0, 2.0) <= 2.0 for _ in range(100))
    assert all(0.01 <= draw.scale(0.01, 100.0) <= 100.0 for _ in range(100))
    assert sum(draw.scale(0.01, 100.0) < 1.0 for _ in range(400)) == pytest.approx(200, abs=50)
    assert not any(draw.chance(0.0) for _ in range(50))
    assert all(draw.chance(1.0) for _ in range(50))
    assert draw.some("abc", 1.0) == ("a", "b", "c")
    times = draw.times(50, 10.0, 20.0)
    assert list(times) == sorted(times)
    assert times[0] >= 10.0
    assert times[-1] <= 20.0


def test_a_chance_draws_also_when_it_is_certain():
    first, second = Draw(1, "same"), Draw(1, "same")
    first.chance(0.0)
    second.chance(1.0)
    assert first.unit() == second.unit()


def test_there_is_nothing_to_pick_from_nothing():
    with pytest.raises(IndexError):
        Draw(1, "empty").pick(())
    with pytest.raises(IndexError):
        Draw(1, "empty").weighted(())
