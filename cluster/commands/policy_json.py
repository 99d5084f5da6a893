"""The streaming ingestion policy as JSON text (``streamingingestion-policy.md``). Pure.

``IsEnabled`` is mandatory in ``.alter`` and has no default; ``HintAllocatedRate`` is a number of
GB/hour or null. Declared choices where Microsoft is silent: a property of another name, a repeated
one, or a value of another type is refused, so that a typing error never sets a policy by accident.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cluster.catalog.model import StreamingIngestionPolicy
from cluster.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICY_NAME: Final = "StreamingIngestionPolicy"
_ENABLED: Final = "IsEnabled"
_RATE: Final = "HintAllocatedRate"


def policy_text(policy: StreamingIngestionPolicy | None) -> str:
    """What ``.show`` prints: ``null`` if there is none."""
    if policy is None:
        return "null"
    return json.dumps({_ENABLED: policy.is_enabled, _RATE: policy.hint_allocated_rate})


def replaced(text: str) -> StreamingIngestionPolicy:
    """The policy set by ``.alter '<json>'``. Raises InvalidRequestError."""
    properties = _properties(text)
    if _ENABLED not in properties:
        raise _missing()
    return StreamingIngestionPolicy(properties[_ENABLED], properties.get(_RATE))


def merged(present: StreamingIngestionPolicy | None, text: str) -> StreamingIngestionPolicy:
    """The policy after ``.alter-merge '<json>'``: only the given properties change.

    Without a policy to merge into, ``IsEnabled`` must be given, for it has no default.
    Raises InvalidRequestError.
    """
    properties = _properties(text)
    if present is None:
        if _ENABLED not in properties:
            raise _missing()
        present = StreamingIngestionPolicy(properties[_ENABLED])
    return replace(
        present,
        is_enabled=properties.get(_ENABLED, present.is_enabled),
        hint_allocated_rate=properties.get(_RATE, present.hint_allocated_rate),
    )


def switched(
    present: StreamingIngestionPolicy | None, *, enabled: bool
) -> StreamingIngestionPolicy:
    """The policy after ``enable`` or ``disable``: other properties stay, or take defaults."""
    if present is None:
        return StreamingIngestionPolicy(enabled)
    return replace(present, is_enabled=enabled)


def _missing() -> InvalidRequestError:
    return InvalidRequestError(
        f"{POLICY_NAME} is not valid: the mandatory property '{_ENABLED}' is missing; "
        "it has no default and must be true or false.",
        metadata={"property": _ENABLED},
    )


def _properties(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except RecursionError:
        raise _invalid("it is nested too deeply") from None
    except ValueError as error:
        raise _invalid(f"it is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _invalid("it must be one JSON object")
    for name, given in value.items():
        if name == _ENABLED:
            if not isinstance(given, bool):
                raise _invalid(f"'{_ENABLED}' must be true or false")
        elif name == _RATE:
            value[name] = _rate(given)
        else:
            shown = ascii(name) if len(name) <= 64 else f"{name[:64]!a}..."
            raise _invalid(f"{shown} is not a property of it; '{_ENABLED}' and '{_RATE}' are")
    return value


def _rate(given: object) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise _invalid(f"'{_RATE}' must be a number of GB/hour or null")
    try:
        rate = float(given)
    except OverflowError:
        rate = math.inf
    if not math.isfinite(rate) or rate < 0:
        raise _invalid(f"'{_RATE}' must be a finite number of GB/hour, zero or more")
    return rate


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a property is given twice")
    return fields


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is not a number")


def _invalid(problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"{POLICY_NAME} is not valid: {problem}.")
