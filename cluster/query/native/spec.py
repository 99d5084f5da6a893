"""What a function computed in Python takes and gives, and how a row's values reach it. Pure."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cluster.query.translation import REFUSED_VALUE, TOO_LONG

if TYPE_CHECKING:
    from collections.abc import Callable

STRING: Final = "s"
TEXT: Final = "t"
SCALAR_TEXT: Final = "v"
DYNAMIC: Final = "d"
ANY: Final = "a"
WHOLE: Final = "l"
NUMBER: Final = "r"
FLAG: Final = "b"
GUID: Final = "g"
REPEATED: Final = "+"

ACCEPTED: Final = {
    STRING: frozenset(["string"]),
    TEXT: frozenset(["string", "dynamic"]),
    DYNAMIC: frozenset(["dynamic"]),
    WHOLE: frozenset(["int", "long"]),
    NUMBER: frozenset(["int", "long", "real"]),
    FLAG: frozenset(["bool"]),
    GUID: frozenset(["guid"]),
}
"""Kusto types each letter takes; ``v`` and ``a`` take every scalar."""

_READ: Final[dict[str, Callable[[str], Any]]] = {
    DYNAMIC: json.loads,
    ANY: json.loads,
    WHOLE: int,
    NUMBER: float,
    FLAG: "true".__eq__,
    GUID: uuid.UUID,
}
"""How a value is read from its text; all others are texts."""

_LARGEST: Final = 2**63

MOST_STEPS: Final = 2**22
"""Of the work for one row: below a second or two, within which no query can be stopped."""

MOST_MADE_BYTES: Final = 16 * 2**20
"""Of a value before it is measured: far above what it may have, far below what hurts."""


@dataclass(frozen=True, slots=True)
class Native:
    """A function of KQL computed in Python.

    ``takes`` has a letter a parameter: ``s`` a string, ``t`` a string or dynamic, ``v`` the text
    of any scalar (all three never null: ``''``), ``d`` a dynamic as Python has JSON, ``a`` any
    value so, ``l`` a whole number, ``r`` a number, ``b`` a bool, ``g`` a guid. A ``+`` at the end:
    the last is a list of all that are left. Parameters that are not given are None. ``function``
    gives a value of the Kusto type ``gives``, or None for null.
    """

    name: str
    function: Callable[..., Any]
    takes: str
    gives: str
    least: int
    """Fewest arguments."""

    @property
    def letters(self) -> str:
        """One letter for each argument of the SQL function."""
        return self.takes.removesuffix(REPEATED)

    @property
    def is_repeated(self) -> bool:
        """True if the last parameter takes all arguments that are left."""
        return self.takes.endswith(REPEATED)

    def over_texts(self, string_bytes: int) -> Callable[..., str | None]:
        """The function over texts of its arguments, giving the text of its result.

        It raises ValueError with :data:`TOO_LONG` for a string or dynamic that is longer than
        ``string_bytes``.
        """
        function = self.function
        reads = [_READ.get(letter) for letter in self.letters]
        if self.is_repeated:
            reads[-1] = json.loads

        def call(*texts: str | None) -> str | None:
            try:
                result = function(*map(_value, texts, reads))
                if result is None:
                    return None
                is_text = isinstance(result, str) and self.gives == "string"
                text = result if is_text else encoded(result)
            except RecursionError as error:
                raise refused("a dynamic value nested so deep") from error
            if len(text) > string_bytes:
                raise ValueError(TOO_LONG)
            return text

        return call


def _value(text: str | None, read: Callable[[str], Any] | None) -> Any:
    if read is None or text is None:
        return text
    try:
        return read(text)
    except ValueError as error:  # Python reads no more than 4,300 digits
        raise refused("a dynamic value with a number so long") from error


def encoded(value: Any) -> str:
    """JSON as Kusto spells it: compact, every character itself. Raises for what JSON has not."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise refused("a dynamic value of an infinite number, or of none") from error


def refused(what: str) -> ValueError:
    """An error that reaches the caller as "not supported by Remora", with ``what``."""
    return ValueError(f"{REFUSED_VALUE}{what}")


def require_steps(count: int, what: str) -> None:
    """Refuses work that grows with the product of two lengths."""
    if count > MOST_STEPS:
        raise refused(f"{what} of values so long")


def require_room(value: Any, count: int) -> None:
    """Raises ValueError with :data:`TOO_LONG` if ``count`` times ``value`` cannot be an answer."""
    if count > 0 and isinstance(value, str | list | dict):
        size = len(value) if isinstance(value, str) else len(encoded(value))
        if size * count > MOST_MADE_BYTES:
            raise ValueError(TOO_LONG)


def key(value: Any) -> str:
    """What two values of dynamics have in common if Kusto calls them equal."""
    return json.dumps(value, sort_keys=True)


def is_number(value: Any) -> bool:
    """True for numbers; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """True for what a long holds."""
    return isinstance(value, int) and not isinstance(value, bool) and -_LARGEST <= value < _LARGEST
