"""Policies as commands give and show them: JSON text. Pure.

What is stored is canonical: every property, in the order Kusto shows them, no spaces. A typing
error never sets a policy by accident: unknown and repeated properties and values out of range are
refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cluster.catalog import policy_fields as f
from cluster.catalog.policy_kinds import HOT_WINDOWS, POLICY_KINDS, Form, PolicyKind, Scope
from cluster.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence


def kind_of(name: str) -> PolicyKind:
    """The kind of that name, as in commands. Raises InvalidRequestError."""
    kind = POLICY_KINDS.get(name)
    if kind is None:
        raise InvalidRequestError(f"'{name}' is not a kind of policy.")
    return kind


def altered(name: str, text: str) -> str:
    """The stored text of ``.alter ... policy NAME '<text>'``: defaults fill what is not given.

    A flag also takes the words ``true`` and ``false``. Raises InvalidRequestError.
    """
    kind = kind_of(name)
    try:
        return _stored(kind, _whole(kind, f.parse_json(text)))
    except ValueError as error:
        raise _invalid(kind, error) from None


def merged(name: str, present: str | None, text: str) -> str:
    """The stored text of ``.alter-merge``: only the given properties change.

    A list is appended to, without looking for doubles. Raises InvalidRequestError.
    """
    kind = kind_of(name)
    try:
        given = f.parse_json(text)
        if present is None:
            return _stored(kind, _whole(kind, given))
        before = f.parse_json(present)
        if kind.form is Form.LIST:
            return _stored(kind, [*before, *_whole(kind, given)])
        if kind.form is Form.RAW:
            return _stored(kind, {**before, **_whole(kind, given)})
        changed = {**before, **f.read_given(kind.properties, given)}
        return _stored(kind, _whole(kind, changed))
    except ValueError as error:
        raise _invalid(kind, error) from None


def shown(text: str | None) -> str:
    """What ``.show`` prints: the stored text, ``null`` if there is none."""
    return "null" if text is None else text


def caching_text(
    data_hot_us: int, index_hot_us: int, windows: Sequence[tuple[int, int]] = ()
) -> str:
    """The JSON of ``.alter ... policy caching hot = ..., hot_window = a .. b``.

    Raises InvalidRequestError (a window that does not end after it starts, a span below zero).
    """
    value: dict[str, Any] = {
        "DataHotSpan": {"Value": f.timespan_text(data_hot_us)},
        "IndexHotSpan": {"Value": f.timespan_text(index_hot_us)},
    }
    if windows:
        value[HOT_WINDOWS] = [
            {"MinValue": f.datetime_text(first), "MaxValue": f.datetime_text(end)}
            for first, end in windows
        ]
    return altered("caching", f.canonical(value))


def cluster_kind(name: str) -> str:
    """The key of a policy of the cluster in the ``policies`` of ``NetDefaultDB``."""
    return f"cluster {name}"


def check_scope(name: str, scope: Scope) -> None:
    """Refuses a kind that cannot be set there. Raises InvalidRequestError."""
    kind = kind_of(name)
    if scope not in kind.scopes:
        words = ", ".join(item.value.lower() for item in kind.scopes)
        raise InvalidRequestError(
            f"Policy '{name}' cannot be set on a {scope.value.lower()}, only on: {words}."
        )


def _whole(kind: PolicyKind, value: Any) -> Any:
    """The canonical value, defaults filled. Raises ValueError."""
    if kind.form is Form.RAW:
        if not isinstance(value, dict):
            raise ValueError("it must be one JSON object")
        return value
    if kind.form is Form.LIST:
        return f.read_list(f.read_object(kind.properties))(value)
    if kind.form is Form.FLAG and isinstance(value, bool):
        value = {"IsEnabled": value}
    return f.read_object(kind.properties)(value)


def _stored(kind: PolicyKind, value: Any) -> str:
    if kind.name == "caching" and not value[HOT_WINDOWS]:
        # Kusto shows no HotWindows where there is none.
        value = {name: item for name, item in value.items() if name != HOT_WINDOWS}
    return f.canonical(value)


def _invalid(kind: PolicyKind, problem: ValueError) -> InvalidRequestError:
    return InvalidRequestError(
        f"Error during execution of a policy operation: {kind.policy_name} is not valid: {problem}."
    )
