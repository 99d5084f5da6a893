"""The clock of leases goes on while the machine sleeps, where there is one that does."""

from __future__ import annotations

import time

from cluster.node.clock import SystemClock


def test_on_linux_it_is_the_clock_that_counts_suspended_time(monkeypatch) -> None:
    read = []
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    monkeypatch.setattr(time, "clock_gettime", lambda clock: read.append(clock) or 12.5)
    assert SystemClock().monotonic() == 12.5
    assert read == [7]


def test_elsewhere_it_is_the_monotonic_clock(monkeypatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    monkeypatch.setattr(time, "monotonic", lambda: 3.5)
    assert SystemClock().monotonic() == 3.5


def test_it_never_goes_back() -> None:
    clock = SystemClock()
    seen = [clock.monotonic() for _ in range(1000)]
    assert seen == sorted(seen)
