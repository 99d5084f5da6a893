"""What a follow session may do when: states, inputs, and the table of transitions. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class SessionState(enum.Enum):
    """Where a session is."""

    WAITING = "waiting"  # not connected; the driver calls when it is time
    GREETED = "greeted"  # Hello is sent
    FOLLOWING = "following"  # the leader's first bookmark has come
    STOPPED = "stopped"


class SessionInput(enum.Enum):
    """What can happen to a session."""

    BEGIN = "begin"
    SNAPSHOT = "snapshot"
    DELTA = "delta"
    ROWS = "rows"
    PROGRESS = "progress"
    LEADER_GATE = "leader gate"
    REFUSAL = "refusal"
    APPLIED = "applied"
    DRAINED = "drained"
    GATE_MOVED = "gate moved"
    TICK = "tick"
    LOST = "lost"
    STOP = "stop"


_W, _G, _F, _S = SessionState
_NO: Final = None
"""May not happen: from the leader it is a ProtocolError, from the driver a programming error."""

# One line an input; one column a state: waiting, greeted, following, stopped.
_LINES: Final[Mapping[SessionInput, tuple[SessionState | None, ...]]] = {
    SessionInput.BEGIN: (_G, _NO, _NO, _NO),
    SessionInput.SNAPSHOT: (_NO, _G, _F, _NO),
    SessionInput.DELTA: (_NO, _G, _F, _NO),
    SessionInput.ROWS: (_NO, _NO, _F, _NO),
    SessionInput.PROGRESS: (_NO, _F, _F, _NO),
    SessionInput.LEADER_GATE: (_NO, _G, _F, _NO),
    SessionInput.REFUSAL: (_NO, _G, _F, _NO),
    SessionInput.APPLIED: (_NO, _G, _F, _NO),
    SessionInput.DRAINED: (_W, _G, _F, _S),
    SessionInput.GATE_MOVED: (_W, _G, _F, _S),
    SessionInput.TICK: (_W, _G, _F, _S),
    SessionInput.LOST: (_W, _W, _W, _S),
    SessionInput.STOP: (_S, _S, _S, _S),
}

TABLE: Final[Mapping[SessionState, Mapping[SessionInput, SessionState | None]]] = {
    state: {event: line[column] for event, line in _LINES.items()}
    for column, state in enumerate(SessionState)
}
"""Every state and every input: the state after it, or None if it may not happen."""


def table_as_markdown() -> str:
    """The table for people; a dash may not happen, a dot is no change."""
    lines = [
        "| what happens | " + " | ".join(state.value for state in TABLE) + " |",
        "|---|" + "---|" * len(TABLE),
    ]
    for event in SessionInput:
        words = []
        for state in TABLE:
            after = TABLE[state][event]
            words.append("-" if after is None else "." if after is state else after.value)
        lines.append(f"| {event.value} | " + " | ".join(words) + " |")
    return "\n".join(lines)
