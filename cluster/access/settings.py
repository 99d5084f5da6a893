"""What a node is told of authentication, as one value. Pure.

The launcher reads it from the ``[auth]`` table of a topology file (see
:mod:`cluster.launcher.topology`) and passes it on; a node's configuration has it under ``auth``.
Secrets are in no ``repr``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cluster.access.principals import application
from cluster.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MODES: Final = ("optional", "required")
DEFAULT_TENANT: Final = "adfs"
"""The one tenant with which every SDK reaches the token endpoint (``wire-contract`` 1.4)."""
PRINCIPAL_KINDS: Final = ("aaduser", "aadgroup", "aadapp", "msauser", "dstsgrp", "dstsapp")
SECRET_CHARACTERS: Final = 4096

_KEYS: Final = (
    "mode", "admins", "viewers", "monitors", "applications", "tokens", "identity_header",
    "identities",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Application:
    """An application that may get tokens with its secret."""

    id: str
    secret: str = field(repr=False)
    tenant: str = DEFAULT_TENANT
    groups: frozenset[str] = frozenset()

    @property
    def principal(self) -> str:
        """Its fully qualified name."""
        return application(self.id, self.tenant)


@dataclass(frozen=True, slots=True)
class StaticToken:
    """A token that is a principal for ever."""

    token: str = field(repr=False)
    principal: str = ""
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """``is_required``: nobody is served who has not said who it is.

    ``admins``, ``viewers`` and ``monitors`` have their role over all databases whatever commands
    say. ``identity_header`` is what asks for tokens of a managed identity; empty: anything does
    where authentication is not required, nothing where it is. ``identities`` are the ids of
    managed identities that may be asked for by id.
    """

    is_required: bool = False
    admins: tuple[str, ...] = ()
    viewers: tuple[str, ...] = ()
    monitors: tuple[str, ...] = ()
    applications: tuple[Application, ...] = ()
    tokens: tuple[StaticToken, ...] = ()
    identity_header: str = field(default="", repr=False)
    identities: tuple[str, ...] = ()

    def application(self, client_id: str) -> Application | None:
        """The application of that id, which compares without regard to case."""
        wanted = client_id.lower()
        return next((item for item in self.applications if item.id.lower() == wanted), None)


def auth_from_values(values: Mapping[str, Any], where: str = "auth") -> AuthSettings:
    """Reads a table. Raises InvalidRequestError naming the key that is wrong, and no secret."""
    _only_known(values, where, _KEYS)
    mode = _text(values, where, "mode", MODES[0])
    if mode not in MODES:
        raise InvalidRequestError(
            f"{where}.mode: must be one of {', '.join(MODES)}, not {mode[:80]!r}"
        )
    applications = tuple(
        _application(item, f"{where}.applications[{number}]")
        for number, item in enumerate(_tables(values, where, "applications"))
    )
    tokens = tuple(
        _token(item, f"{where}.tokens[{number}]")
        for number, item in enumerate(_tables(values, where, "tokens"))
    )
    _once([item.id.lower() for item in applications], f"{where}.applications", "id")
    _once([item.token for item in tokens], f"{where}.tokens", "token")
    return AuthSettings(
        is_required=mode == "required",
        admins=_principals(values, where, "admins"),
        viewers=_principals(values, where, "viewers"),
        monitors=_principals(values, where, "monitors"),
        applications=applications,
        tokens=tokens,
        identity_header=_text(values, where, "identity_header", ""),
        identities=_names(values, where, "identities"),
    )


def auth_to_values(settings: AuthSettings) -> dict[str, Any]:
    """What :func:`auth_from_values` reads as equal settings. It has the secrets."""
    return {
        "mode": MODES[settings.is_required],
        "admins": list(settings.admins),
        "viewers": list(settings.viewers),
        "monitors": list(settings.monitors),
        "applications": [
            {"id": item.id, "secret": item.secret, "tenant": item.tenant,
             "groups": sorted(item.groups)}
            for item in settings.applications
        ],
        "tokens": [
            {"token": item.token, "principal": item.principal, "groups": sorted(item.groups)}
            for item in settings.tokens
        ],
        "identity_header": settings.identity_header,
        "identities": list(settings.identities),
    }  # fmt: skip


def _application(values: Any, where: str) -> Application:
    table = _table(values, where, ("id", "secret", "tenant", "groups"))
    tenant = _text(table, where, "tenant", DEFAULT_TENANT)
    return Application(
        _given(table, where, "id"),
        _given(table, where, "secret"),
        tenant,
        frozenset(_principals(table, where, "groups")),
    )


def _token(values: Any, where: str) -> StaticToken:
    table = _table(values, where, ("token", "principal", "groups"))
    principal = _given(table, where, "principal")
    _check_principal(principal, f"{where}.principal")
    groups = frozenset(_principals(table, where, "groups"))
    return StaticToken(_given(table, where, "token"), principal, groups)


def _table(values: Any, where: str, known: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(values, dict):
        raise InvalidRequestError(f"{where}: must be a table")
    _only_known(values, where, known)
    return values


def _tables(values: Mapping[str, Any], where: str, key: str) -> list[Any]:
    found = values.get(key, [])
    if not isinstance(found, list):
        raise InvalidRequestError(f"{where}.{key}: must be tables, written [[{where}.{key}]]")
    return found


def _text(values: Mapping[str, Any], where: str, key: str, default: str) -> str:
    found = values.get(key, default)
    # What is there instead may be a secret: it is not shown.
    if not isinstance(found, str) or len(found) > SECRET_CHARACTERS or not found.isprintable():
        raise InvalidRequestError(
            f"{where}.{key}: must be printable text of at most {SECRET_CHARACTERS} characters"
        )
    return found


def _given(values: Mapping[str, Any], where: str, key: str) -> str:
    found = _text(values, where, key, "")
    if not found.strip():
        raise InvalidRequestError(f"{where}.{key}: is missing")
    return found


def _names(values: Mapping[str, Any], where: str, key: str) -> tuple[str, ...]:
    found = values.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, str) and item for item in found):
        raise InvalidRequestError(f"{where}.{key}: must be a list of names")
    return tuple(found)


def _principals(values: Mapping[str, Any], where: str, key: str) -> tuple[str, ...]:
    found = _names(values, where, key)
    for item in found:
        _check_principal(item, f"{where}.{key}")
    return found


def _check_principal(name: str, where: str) -> None:
    kind, _, value = name.partition("=")
    if kind.lower() not in PRINCIPAL_KINDS or not value.partition(";")[0].strip():
        kinds = ", ".join(f"{kind}=..." for kind in PRINCIPAL_KINDS)
        raise InvalidRequestError(
            f"{where}: {name[:200]!r} is not the fully qualified name of a principal: "
            f"it is one of {kinds}"
        )


def _once(names: Sequence[str], where: str, key: str) -> None:
    if len(set(names)) < len(names):
        raise InvalidRequestError(f"{where}: one {key} is there twice")


def _only_known(values: Mapping[str, Any], where: str, known: Sequence[str]) -> None:
    for key in values:
        if key not in known:
            raise InvalidRequestError(
                f"{where}.{key}: there is no such key; known are {', '.join(known)}"
            )
