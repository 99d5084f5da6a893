"""How far cursors go: never beyond a time whose rows may still appear."""

from __future__ import annotations

import pytest

from cluster.errors import ConflictError, StorageUnavailableError, UnavailableError
from cluster.rowstore.times import IngestionTimes


class Still:
    def now_ns(self):
        return 5_000

    def monotonic(self):
        return 0.0


@pytest.mark.fidelity("databasecursor.md", "No row is missed between two cursors")
def test_times_are_unique_and_cursors_wait_for_what_is_pending():
    times = IngestionTimes(Still())
    with times.stamp() as first:
        second = times.mint()
        assert (first, second) == (5, 6)
        assert times.cursor_us() == 4
    assert times.cursor_us() == 5
    times.settle((second,))
    assert times.cursor_us() == 6


@pytest.mark.parametrize("error", [ConflictError, StorageUnavailableError, KeyboardInterrupt])
def test_what_was_given_up_holds_nobody(error):
    times = IngestionTimes(Still())
    with pytest.raises(error), times.stamp():
        raise error("refused")
    assert times.cursor_us() == 5


def test_cursors_do_not_pass_rows_that_a_restart_may_find():
    times = IngestionTimes(Still())
    with pytest.raises(UnavailableError), times.stamp():
        raise UnavailableError("the catalog could not write")
    with times.stamp():
        pass
    assert times.cursor_us() == 4
