"""Which of a table's row stores the next group of requests goes to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cluster.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cluster.catalog.model import RowStoreReference


class StoreLoad(NamedTuple):
    """How busy a row store is. ``waiting_bytes``: staged and not durable yet."""

    takes_rows: bool
    is_filling: bool
    is_idle: bool
    waiting_bytes: int


def choose_store(loads: Collection[tuple[int, StoreLoad]], spread_bytes: int) -> int:
    """The row store, among some in order of preference, whose next write costs the least.

    One whose group is filling, since a record more costs it no sync; else one that is writing,
    since its next group comes anyway; else the first idle one. One with more than
    ``spread_bytes`` waiting is passed over as long as there is another; then the one with the
    fewest. One that takes no rows only if none does: staging there says why.
    """
    usable = [item for item in loads if item[1].takes_rows] or list(loads)
    light = [item for item in usable if item[1].waiting_bytes <= spread_bytes]
    if not light:
        return min(usable, key=lambda item: item[1].waiting_bytes)[0]
    for store, load in light:
        if load.is_filling:
            return store
    for store, load in light:
        if not load.is_idle:
            return store
    return light[0][0]


def enabled_of(references: Sequence[RowStoreReference]) -> dict[int, RowStoreReference]:
    """The enabled references by row store, the first of each, in order.

    Raises :class:`ConflictError` if there is none.
    """
    found: dict[int, RowStoreReference] = {}
    for reference in references:
        if reference.is_enabled:
            found.setdefault(reference.row_store, reference)
    if not found:
        raise ConflictError(
            "no row store takes rows of the table",
            remedy="Enable its streaming ingestion policy; that assigns row stores.",
        )
    return found
