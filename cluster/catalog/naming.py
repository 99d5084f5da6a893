"""Rules of Kusto entity names (``schema-entities/entity-names.md``). Pure functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cluster.errors import EntityNameError, InvalidRequestError

if TYPE_CHECKING:
    from cluster.limits import Limits

_BARE_NAME: Final = re.compile(r"[^\W\d]\w*")
_PUNCTUATION: Final = frozenset("_ .-")
_RESERVED: Final = "__"


def check_entity_name(kind: str, name: str, limits: Limits) -> None:
    """Refuses a name that Kusto refuses.

    A name has 1 to ``limits.entity_name_characters`` letters, digits, underscores, spaces, dots
    and dashes. ``$`` belongs to names the service makes itself; names that start or end with two
    underscores are reserved. ``kind`` (``Table``, ``Column``, ``Database``) is for the message.

    Raises EntityNameError.
    """
    problem = _problem(name, limits.entity_name_characters)
    if problem is None:
        return
    shown = name if len(name) <= 64 else f"{name[:64]}..."
    raise EntityNameError(
        f"{kind} name '{shown}' is not valid: {problem}.",
        metadata={"kind": kind, "name": shown},
    )


def _problem(name: str, maximum: int) -> str | None:
    if not name:
        return "it is empty"
    if len(name) > maximum:
        return f"it has {len(name)} characters, the limit is {maximum}"
    for character in name:
        if not character.isalnum() and character not in _PUNCTUATION:
            return f"it contains {character!r}"
    if name.startswith(_RESERVED) or name.endswith(_RESERVED):
        return "names that start or end with two underscores are reserved"
    return None


def fold_database_name(name: str) -> str:
    """The form in which database names are compared: they alone are case-insensitive."""
    return name.lower()


def quote_name(name: str) -> str:
    """The name as it is written in a command: bare if possible, else ``['my name']``."""
    return name if _BARE_NAME.fullmatch(name) else f"['{name}']"


def check_text(kind: str, text: str) -> None:
    """Refuses text that has no UTF-8 form (a lone surrogate). Raises InvalidRequestError."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"{kind} is not valid Unicode: a lone surrogate at character {error.start}."
        ) from None
