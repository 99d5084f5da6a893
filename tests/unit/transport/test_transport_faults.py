"""The fate of frames: pure, and a matter of seed, link and number alone."""

from __future__ import annotations

import math

import pytest

from cluster.transport.faults import NO_FAULTS, Decision, LinkFaults, decide

LOSSY = LinkFaults(drop_ratio=0.25, reset_ratio=0.1, reorder_ratio=0.5, reorder_seconds=1.0)


def fates(seed, source, target, faults, count=2000):
    return [decide(seed, source, target, number, faults) for number in range(count)]


def test_a_perfect_link_does_nothing():
    for fate in fates(1, "a", "b", NO_FAULTS, 100):
        assert fate == Decision(0.0, dropped=False, reset=False, overtaken=False)


def test_same_seed_same_fate_and_each_link_its_own():
    assert fates(1, "a", "b", LOSSY) == fates(1, "a", "b", LOSSY)
    assert fates(1, "a", "b", LOSSY) != fates(2, "a", "b", LOSSY)
    assert fates(1, "a", "b", LOSSY) != fates(1, "b", "a", LOSSY)


def test_ratios_are_kept():
    some = fates(3, "a", "b", LOSSY)
    assert sum(fate.dropped for fate in some) == pytest.approx(500, rel=0.15)
    assert sum(fate.reset for fate in some) == pytest.approx(200, rel=0.25)
    assert sum(fate.overtaken for fate in some) == pytest.approx(1000, rel=0.1)
    every = LinkFaults(drop_ratio=1, reset_ratio=1, reorder_ratio=1)
    assert all(f.dropped and f.reset and f.overtaken for f in fates(3, "a", "b", every))


def test_more_of_one_fault_does_not_move_another():
    more = LinkFaults(drop_ratio=0.25, reset_ratio=0.9)
    some = LinkFaults(drop_ratio=0.25)
    assert [f.dropped for f in fates(5, "a", "b", more)] == [
        f.dropped for f in fates(5, "a", "b", some)
    ]


def test_delays_are_within_their_bounds():
    faults = LinkFaults(delay_seconds=2.0, jitter_seconds=0.5)
    delays = [fate.delay_seconds for fate in fates(4, "a", "b", faults)]
    assert 2.0 <= min(delays) < 2.01
    assert 2.49 < max(delays) <= 2.5
    held = [fate for fate in fates(4, "a", "b", LOSSY) if fate.overtaken]
    assert max(fate.delay_seconds for fate in held) > 0.99


@pytest.mark.parametrize("name", ["drop_ratio", "reset_ratio", "reorder_ratio"])
def test_ratios_are_checked(name):
    assert LinkFaults(**{name: 0}) == NO_FAULTS
    assert getattr(LinkFaults(**{name: 1}), name) == 1
    for value in (-0.01, 1.01, math.nan):
        with pytest.raises(ValueError, match=name):
            LinkFaults(**{name: value})


@pytest.mark.parametrize("name", ["delay_seconds", "jitter_seconds", "reorder_seconds"])
def test_seconds_are_checked(name):
    for value in (-0.01, math.inf, math.nan):
        with pytest.raises(ValueError, match=name):
            LinkFaults(**{name: value})
