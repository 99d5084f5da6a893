"""R2, R7, R8, R9: frames of Follow come in order, go on, and never leave a gap. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster.conformance.checkers.streams import Oddity

if TYPE_CHECKING:
    from cluster.conformance.checkers.findings import Findings
    from cluster.conformance.checkers.index import Index


def _tell(index: Index, found: Findings, *oddities: Oddity) -> None:
    for stream in index.streams:
        for odd in stream.found:
            if odd.oddity in oddities:
                found.add(odd.text, odd.at, *odd.events)


def ordered(index: Index, found: Findings) -> None:
    """R2. Facts: frames of rows."""
    found.checked += sum(stream.frames for stream in index.streams)
    _tell(index, found, Oddity.REPEATED, Oddity.BACKWARDS)


def resumable(index: Index, found: Findings) -> None:
    """R7. Facts: keys whose rows went on from where a follower was."""
    found.checked += sum(stream.resumed for stream in index.streams)
    _tell(index, found, Oddity.RESUME_GAP, Oddity.METADATA_GAP)


def bookmarked(index: Index, found: Findings) -> None:
    """R8. Facts: bookmarks."""
    found.checked += sum(stream.bookmarks for stream in index.streams)
    _tell(index, found, Oddity.AHEAD)


def never_silent(index: Index, found: Findings) -> None:
    """R9. Facts: snapshots, and calls that brought rows."""
    found.checked += sum(stream.snapshots + (stream.frames > 0) for stream in index.streams)
    _tell(index, found, Oddity.GAP, Oddity.RESUME_GAP, Oddity.METADATA_GAP, Oddity.UNRESET)
