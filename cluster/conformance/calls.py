"""What clients ask for, and how it ended. Pure; part of a history."""

from __future__ import annotations

from typing import Final

import msgspec

from cluster.conformance.values import At, Value

# -- invocations --------------------------------------------------------------------------------


class Ingest(Value, frozen=True, kw_only=True, tag="ingest"):
    """A streaming request of rows with these ids; ``source`` is its source id.

    A retry is another call with the same ``source``. ``columns`` are the columns it fills.
    ``flaw`` says what is wrong with a request that must be refused: one of :data:`FLAWS`.
    """

    cluster: str
    database: str
    table: str
    source: str
    ids: tuple[int, ...]
    columns: tuple[str, ...] = ()
    flaw: str = ""


FLAWS: Final = ("malformed", "fields", "oversize", "gzip")
"""What can be wrong with a request: a value that is none of its type in the last row, a last row
with a field too few, more bytes than are taken, or an archive that ends too early."""


class Read(Value, frozen=True, kw_only=True, tag="read"):
    """A query of all rows of a table. ``session`` names a reader that remembers what it saw."""

    cluster: str
    database: str
    table: str
    session: str = ""
    at_least: At | None = None
    max_staleness_seconds: float | None = None


class SetCapability(Value, frozen=True, kw_only=True, tag="set-capability"):
    """The streaming capability of a cluster, on or off."""

    cluster: str
    on: bool


class Attach(Value, frozen=True, kw_only=True, tag="attach"):
    """A follower cluster shall follow a database; ``include`` and ``exclude`` share tables."""

    leader: str
    database: str
    follower: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Detach(Value, frozen=True, kw_only=True, tag="detach"):
    """And shall not any more. ``side`` says who asked: ``leader`` or ``follower``."""

    leader: str
    database: str
    follower: str
    side: str = "follower"


class Command(Value, frozen=True, kw_only=True, tag="command"):
    """A management command.

    ``verb`` says what it does for checkers: ``create-database``, ``drop-database``,
    ``create-table``, ``drop-table``, ``clear-table``, ``add-column``, ``streaming-on``,
    ``streaming-off``, ``seal``, ``merge``, ``mutate`` (any change, sent to a database that is
    followed there), ``principals`` (of a leader), ``override`` (of a follower), ``show-follower``,
    ``show-principals``, ``show-schema``, ``show-extents``. ``argument`` is the verb's: the column
    added, for example.
    """

    cluster: str
    database: str
    verb: str
    text: str
    table: str = ""
    argument: str = ""


Invocation = Ingest | Read | SetCapability | Attach | Detach | Command
"""What a client asks for."""


# -- outcomes -----------------------------------------------------------------------------------


class Ingested(Value, frozen=True, kw_only=True, tag="ingested"):
    """ok: durable and visible at the leader; ``position`` includes the rows.

    ``repeated``: known by its source id already, the first outcome is told again.
    """

    position: At
    repeated: bool = False


class Answer(Value, frozen=True, kw_only=True, tag="answer"):
    """ok: the ids of all rows seen, in the order they came, with what was said beside them.

    ``filled`` maps a column added later to the ids of rows in which it is not null.
    ``hidden_reason``: a follower hides streaming rows, and why. ``staleness_seconds``: how far
    behind the leader it may be at most; None where that is not told.
    """

    ids: tuple[int, ...]
    position: At | None = None
    columns: tuple[str, ...] = ()
    filled: dict[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    hidden_reason: str = ""
    staleness_seconds: float | None = None


class Changed(Value, frozen=True, kw_only=True, tag="changed"):
    """ok: a capability or an attachment is changed. ``certainty`` as in ``coordinator.proto``."""

    epoch: int = 0
    certainty: str = ""
    rows_granted: bool = False
    reason: str = ""


class Ran(Value, frozen=True, kw_only=True, tag="ran"):
    """ok: a command ran; its result as rows of text."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


class Refused(Value, frozen=True, kw_only=True, tag="refused"):
    """fail: it did not happen and never will."""

    code: str
    reason: str = ""
    message: str = ""
    permanent: bool = True


class Unknown(Value, frozen=True, kw_only=True, tag="unknown"):
    """info: it may have happened, or may still."""

    code: str
    message: str = ""


Outcome = Ingested | Answer | Changed | Ran | Refused | Unknown
"""How a call ended."""
