"""R10: who has seen something on a cluster sees it there again. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index
    from cluster.conformance.checkers.rows import Read

_COPY_LOST: Final = frozenset({"replace", "power", "bit-flip"})
"""Faults that may take a follower's copy of the rows away; it is filled again."""


def monotonic(index: Index, found: Findings) -> None:
    """R10. Facts: answers to a session that had one before, of the same table and cluster.

    Rows hidden by a closed gate are not held against a follower: hidden answers are compared with
    hidden ones, and open ones with all. Of metadata nothing is hidden: its version never goes back.
    A copy that is explicitly begun anew may go back once.
    """
    memory: dict[tuple[str, str, object], dict[bool, Read]] = {}
    for read in index.reads:
        what = read.call.what
        if not what.session:
            continue
        known = memory.setdefault((what.session, read.cluster, read.table), {})
        for hidden in (True, False):
            before = known.get(hidden)
            if before is None or before.call.last > read.call.first:
                continue
            found.checked += 1
            went_back = _is_older if read.hidden and not hidden else _went_back
            if went_back(before, read) and not excused(index, before, read):
                _tell(before, read, found)
        known[read.hidden] = read


def _is_older(before: Read, read: Read) -> bool:
    """The metadata of an answer is older, of the same database."""
    old, new = before.answer.position, read.answer.position
    if old is None or new is None or not read.table.unwiped(read):
        return False
    return new.version < old.version


def _went_back(before: Read, read: Read) -> bool:
    gone = before.view.touched & ~read.view.touched
    if gone and gone & ~read.table.lost(read):
        return True
    old, new = before.answer.position, read.answer.position
    if old is None or new is None or not read.table.unwiped(read):
        return False
    return _is_older(before, read) or any(
        new.ordinal(key) < old.ordinal(key) for key in read.table.keys
    )


def excused(index: Index, before: Read, read: Read) -> bool:
    """The copy was, or may have been, begun anew between two reads."""
    if read.own:
        return False
    first, last, cluster = before.call.first, read.call.last, read.cluster
    troubles = index.troubles
    if troubles.lost_disk(cluster, first, last) or troubles.disturbed(
        cluster, _COPY_LOST, first, last
    ):
        return True
    # A flipped bit shows when the copy is opened again.
    if troubles.disturbed(cluster, frozenset({"bit-flip"}), -1, last) and troubles.restarted(
        cluster, first, last
    ):
        return True
    if any(
        call.first < last and call.last > first and not call.refused
        for call in index.attachments.calls(cluster, read.table.database)
    ):
        return True
    return any(
        first < number < last
        for stream in index.streams
        if (stream.follower, stream.database) == (cluster, read.table.database)
        for number in stream.resets
    )


def _tell(before: Read, read: Read, found: Findings) -> None:
    gone = before.view.touched & ~read.view.touched & ~read.table.lost(read)
    shows_less = gone and read.hidden <= before.hidden
    text = (
        f"does not show {read.table.tell(gone)} any more"
        if shows_less
        else "is of an older position"
    )
    found.call(
        f"{read} {text}, after the same session had it at {before.call.ended:.3f} s",
        read.call,
        before.call.last,
    )
