"""Rows as batches, and sets of batches as bits of integers. Pure.

Every row belongs to the request that sent it, so a set of rows is a set of whole batches plus what
is wrong with it. Bit ``n`` of a mask is the n-th batch of a table, by the line of its first
request; comparing what two reads saw is then one operation on two integers.
"""

from __future__ import annotations

import bisect
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from cluster.conformance.calls import Answer, Command, Ingest, Ingested
from cluster.conformance.calls import Read as ReadCall
from cluster.conformance.checkers.periods import NEVER, Call

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cluster.conformance.values import At


class Batch:
    """The rows of one source id. ``attempts`` are its requests, in order.

    ``possible``: event from which on it may be visible (:data:`NEVER`: it must not be);
    ``acked``: event by which it certainly is; ``last``: event after which no request of it can
    arrive any more. ``key`` is the row store key it is in, if one
    acknowledgement tells; its rows end at or before ordinal ``end`` of it, and begin at or after
    ``begin``.
    """

    __slots__ = (
        "acked", "attempts", "begin", "bit", "columns", "end", "ids", "key", "last",
        "position", "possible", "size", "source", "table",
    )  # fmt: skip

    def __init__(self, table: Table, source: str, ids: tuple[int, ...], bit: int) -> None:
        self.table, self.source, self.ids, self.bit = table, source, ids, bit
        self.size = len(ids)
        self.attempts: list[Call[Ingest]] = []
        self.columns: frozenset[str] = frozenset()
        self.possible = self.acked = NEVER
        self.last = -1
        self.key: int | None = None
        self.begin = 0
        self.end = NEVER
        self.position: At | None = None

    def take(self, call: Call[Ingest], *, misdirected: bool) -> None:
        """One more request; ``misdirected``: to a cluster that may not take it."""
        self.attempts.append(call)
        self.last = NEVER if call.doubtful else max(self.last, call.last)
        if call.refused or misdirected:
            return
        self.columns = self.columns.union(call.what.columns)
        self.possible = min(self.possible, call.first)
        if isinstance(call.outcome, Ingested) and call.last < self.acked:
            self.acked, self.position = call.last, call.outcome.position
            keys = self.position.keys
            if len(keys) == 1:
                ((self.key, (self.end, _)),) = keys.items()

    def __str__(self) -> str:
        rows = f"row {self.ids[0]}" if self.size == 1 else f"rows {self.ids[0]}..{self.ids[-1]}"
        return f"{rows} of source {self.source}"


class View(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A set of rows somebody saw: ``whole`` batches, ``touched`` also those of which some came."""

    whole: int
    touched: int
    partial: tuple[tuple[Batch, int], ...] = ()
    repeated: tuple[int, ...] = ()
    strangers: tuple[int, ...] = ()

    @property
    def clean(self) -> bool:
        """Nothing but whole batches of this table."""
        return not (self.partial or self.repeated or self.strangers)


class Read(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A read that was answered. ``own``: by the cluster the database belongs to."""

    call: Call[ReadCall]
    cluster: str
    table: Table
    answer: Answer
    view: View
    own: bool

    @property
    def hidden(self) -> bool:
        """The answer says that streaming rows are hidden."""
        return bool(self.answer.hidden_reason)

    def __str__(self) -> str:
        return f"a read of {self.table.name} on {self.cluster} at {self.call.ended:.3f} s"


class Wipe(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A command that may take rows away: drop or clear of a table, or drop of its database.

    ``last``: by that event it has taken effect, if ever. ``before``, ``after``: metadata versions
    that are certainly without and with it; None: unknown, or of another database.
    """

    call: Call[Command]
    last: int
    before: tuple[int, int] | None
    after: tuple[int, int] | None

    def may_have(self, read: Read) -> bool:
        """The read may show the table after it."""
        if self.call.first > read.call.last:
            return False
        position = read.answer.position
        return position is None or self.before is None or position.version > self.before

    def certainly_has(self, read: Read) -> bool:
        """The read shows the table after it."""
        if not self.call.ok:
            return False
        if read.own and self.call.last < read.call.first:
            return True
        position = read.answer.position
        return position is not None and self.after is not None and position.version >= self.after


class _Wiped(msgspec.Struct, frozen=True, gc=False):
    """What drops and clears mean for a read; see the methods of :class:`Table`."""

    lost: int
    gone: int
    era: int | None
    first: bool


class Masks:
    """Batches by a growing number: all of those up to a number, or from one on, as a mask."""

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(pairs)
        self._numbers = [number for number, _ in ordered]
        self._upto = [0]
        for _, mask in ordered:
            self._upto.append(self._upto[-1] | mask)

    def below(self, number: int) -> int:
        """Those whose number is smaller."""
        return self._upto[bisect.bisect_left(self._numbers, number)]

    def upto(self, number: int) -> int:
        """Those whose number is not larger."""
        return self._upto[bisect.bisect_right(self._numbers, number)]

    def all(self) -> int:
        """Every one."""
        return self._upto[-1]


class Table:
    """The batches of one table of a leader's database, and what may be said of a set of them."""

    def __init__(self, leader: str, database: str, table: str, rows: dict[int, Batch]) -> None:
        self.leader, self.database, self.table = leader, database, table
        self.name = f"{leader}/{database}.{table}"
        self.batches: list[Batch] = []
        self.wipes: list[Wipe] = []
        self.keys: set[int] = set()
        self._rows = rows
        self._views: dict[tuple[int, ...], View] = {}
        self._newest: dict[str, tuple[tuple[int, ...], View]] = {}
        self._acked = self._possible = Masks(())
        self._ends: dict[int, Masks] = {}
        self._begins: dict[int, Masks] = {}
        self._keyed = 0
        self._several: tuple[Batch, ...] = ()
        self._over = Masks(())
        self._exposed: tuple[tuple[Wipe, int], ...] = ()
        self._begun: list[int] = []
        self._ended: list[int] = []
        self._known: dict[tuple[int, int, tuple[int, int] | None], _Wiped] = {}

    def add(self, source: str, ids: tuple[int, ...]) -> Batch:
        """A new batch."""
        batch = Batch(self, source, ids, 1 << len(self.batches))
        self.batches.append(batch)
        return batch

    def freeze(self) -> None:
        """After all batches and wipes are known."""
        batches = self.batches
        self._acked = Masks((b.acked, b.bit) for b in batches if b.acked < NEVER)
        self._possible = Masks((b.possible, b.bit) for b in batches if b.possible < NEVER)
        keys = {b.key for b in batches if b.key is not None}
        for key in keys:
            of_key = [b for b in batches if b.key == key]
            self._ends[key] = Masks((b.end, b.bit) for b in of_key)
            self._begins[key] = Masks((b.begin, b.bit) for b in of_key)
            self._keyed |= self._begins[key].all()
        self.keys |= keys
        self._several = tuple(b for b in batches if b.position and b.key is None)
        self._over = Masks((b.last, b.bit) for b in batches)
        self._exposed = tuple((wipe, self._possible.below(wipe.last)) for wipe in self.wipes)
        self._begun = sorted(wipe.call.first for wipe in self.wipes)
        self._ended = sorted(wipe.call.last for wipe in self.wipes)

    # -- sets of batches ------------------------------------------------------------------------

    def acked_before(self, number: int) -> int:
        """Those acknowledged before an event."""
        return self._acked.below(number)

    def possible_before(self, number: int) -> int:
        """Those that may be visible at an event."""
        return self._possible.below(number)

    def included(self, position: At) -> int:
        """Those acknowledged that a position includes."""
        found = 0
        for key, (ordinal, _) in position.keys.items():
            masks = self._ends.get(key)
            if masks is not None:
                found |= masks.upto(ordinal)
        for batch in self._several:
            assert batch.position is not None
            if all(position.ordinal(k) >= at[0] for k, at in batch.position.keys.items()):
                found |= batch.bit
        return found

    def in_key(self, key: int) -> int:
        """Those acknowledged in a row store key."""
        return self._ends[key].all()

    def beyond(self, position: At) -> int:
        """Those that certainly begin at or after a position's ordinal of their key."""
        return self._beyond((key, at[0]) for key, at in position.keys.items())

    def beyond_ordinals(self, ordinals: Mapping[int, int]) -> int:
        """Those that certainly begin at or after an ordinal of their key."""
        return self._beyond(ordinals.items())

    def _beyond(self, ordinals: Iterable[tuple[int, int]]) -> int:
        within = 0
        for key, ordinal in ordinals:
            masks = self._begins.get(key)
            if masks is not None:
                within |= masks.below(ordinal)
        return self._keyed & ~within

    def lost(self, read: Read) -> int:
        """Those that a drop or a clear may have taken away from a read."""
        return self._wiped(read).lost if self._exposed else 0

    def gone(self, read: Read) -> int:
        """Those that a drop or a clear has certainly taken away from a read."""
        return self._wiped(read).gone if self._exposed else 0

    def era(self, read: Read) -> int | None:
        """Which drops and clears a read is after, as bits; None if that is not certain of all."""
        return self._wiped(read).era if self._exposed else 0

    def unwiped(self, read: Read) -> bool:
        """The read is certainly before every drop and clear."""
        return not self._exposed or self._wiped(read).first

    def _wiped(self, read: Read) -> _Wiped:
        """Depends on little of the read, so it is worked out once for many."""
        position = read.answer.position
        begun = bisect.bisect_left(self._begun, read.call.last)
        ended = bisect.bisect_left(self._ended, read.call.first) if read.own else -1
        key = (begun, ended, position.version if position else None)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._work_out(read)
        return found

    def _work_out(self, read: Read) -> _Wiped:
        lost = gone = era = 0
        certain = True
        for number, (wipe, exposed) in enumerate(self._exposed):
            if wipe.certainly_has(read):
                gone |= exposed & self._over.below(wipe.call.first)
                era |= 1 << number
            elif wipe.may_have(read):
                certain = False
            if wipe.may_have(read):
                lost |= exposed
        first = not any(wipe.may_have(read) for wipe in self.wipes)
        return _Wiped(lost, gone, era if certain else None, first)

    def exposed_before(self, number: int) -> int:
        """Those that a drop or a clear asked for before an event may take away from somebody."""
        found = 0
        for wipe, exposed in self._exposed:
            if wipe.call.first < number:
                found |= exposed
        return found

    def of(self, mask: int) -> Iterator[Batch]:
        """The batches of a mask, oldest first."""
        while mask:
            low = mask & -mask
            yield self.batches[low.bit_length() - 1]
            mask ^= low

    def tell(self, mask: int) -> str:
        """The batches of a mask in words: the first and how many more."""
        first = next(self.of(mask))
        more = mask.bit_count() - 1
        return f"{first}" + (f" and {more} more batches" if more else "")

    # -- views ----------------------------------------------------------------------------------

    def view(self, cluster: str, ids: tuple[int, ...]) -> View:
        """What the ids are; the same ids give the same view."""
        found = self._views.get(ids)
        if found is None:
            known, before = self._newest.get(cluster, ((), None))
            size = len(known)
            if before is not None and before.clean and size < len(ids) and ids[:size] == known:
                found = self._seen(ids[size:], before.whole)
            if found is None or not found.clean:
                found = self._seen(ids, 0)
            self._views[ids] = found
            self._newest[cluster] = (ids, found)
        return found

    def _seen(self, ids: tuple[int, ...], whole: int) -> View:
        """The view of ``ids`` after the batches of ``whole``."""
        strangers: tuple[int, ...] = ()
        repeated: tuple[int, ...] = ()
        if len(set(ids)) != len(ids):
            repeated = tuple(sorted(i for i, count in Counter(ids).items() if count > 1))
            ids = tuple(dict.fromkeys(ids))
        counts = Counter(map(self._rows.get, ids))
        partial: list[tuple[Batch, int]] = []
        touched = whole
        for batch, count in counts.items():
            if batch is None or batch.table is not self:
                continue
            if touched & batch.bit:
                repeated = (*repeated, *batch.ids)
            touched |= batch.bit
            if count == batch.size:
                whole |= batch.bit
            else:
                partial.append((batch, count))
        if any(batch is None or batch.table is not self for batch in counts):
            rows = self._rows
            strangers = tuple(
                i for i in ids if (found := rows.get(i)) is None or found.table is not self
            )
        return View(whole, touched, tuple(partial), repeated, strangers)
