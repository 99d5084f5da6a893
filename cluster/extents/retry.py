"""How often and how long after a failed call of a storage root it is tried again (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from cluster.limits import Limits


def retry_delays(limits: Limits, rng: random.Random) -> Iterator[float]:
    """Seconds to wait before each further try: ``limits.storage_attempts - 1`` of them.

    They double from ``storage_retry_first_seconds`` up to ``storage_retry_longest_seconds``. Each
    is between half of that and all of it, by chance, so that nodes which lost the same storage do
    not all come back at once.
    """
    longest = limits.storage_retry_first_seconds
    for _ in range(limits.storage_attempts - 1):
        yield rng.uniform(longest / 2, longest)
        longest = min(longest * 2, limits.storage_retry_longest_seconds)
