"""A profile file: somebody's endpoints, and what may be claimed of them. Pure.

The file::

    database = "conform"              # at every leader, and followed by every follower
    table_prefix = "Conform"          # default; tables that are made begin with it
    coordinator = "grpc://..."        # only Remora has one
    features = ["SEAL", "ATTACH"]     # beyond what an endpoint of its scheme always has
    strict = ["adxfollow"]            # followers that refuse an attachment as a whole
    confirmed = true                  # it may be done, though the clusters are not on this machine
    liveness_seconds = 300            # within so long a follower catches up
    visible_seconds = 10              # within so long a leader shows what it acknowledged
    unsealed_seconds = 60             # no row is sealed so soon; needed to judge hidden rows by it
    command_seconds = 1800            # within so long a command below ends

    [[leader]]
    name = "adxlead"
    url = "https://adxlead.westeurope.kusto.windows.net"
    streaming = true                  # default; whether streaming ingestion is on
    token_variable = "KUSTO_TOKEN"    # environment variable with a bearer token

    [[follower]]                      # the same keys
    name = "adxfollow"
    url = "https://adxfollow.westeurope.kusto.windows.net"

    [commands]                        # what an operator does by other means than Kusto's commands
    capability-on = "..."             # also: capability-off, attach, detach

Commands are told what to do by REMORA_CLUSTER (the name above), REMORA_LEADER, REMORA_DATABASE and
REMORA_ACTION, and end when it is certain.

Every mistake is a :class:`TargetError` that names the key.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from cluster.conformance.request import Endpoint, Target
from cluster.conformance.system import Feature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMES: Final = ("grpc", "http", "https")
COMMANDS: Final = ("attach", "capability-off", "capability-on", "detach")

_KEYS: Final = (
    *("database", "table_prefix", "coordinator", "features", "strict"),
    *("leader", "follower", "commands"),
    *("confirmed", "liveness_seconds", "visible_seconds", "unsealed_seconds", "command_seconds"),
)
_ENDPOINT_KEYS: Final = ("name", "url", "streaming", "token_variable")
_LONGEST_SECONDS: Final = 86_400.0
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


class TargetError(ValueError):
    """The endpoints are not described well enough; the message names the key."""


def parse_target(text: str) -> Target:
    """Reads a profile file."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TargetError(str(error)) from error
    _only(values, _KEYS, "")
    command_seconds = _seconds(values, "command_seconds")
    target = Target(
        leaders=_endpoints(values, "leader"),
        followers=_endpoints(values, "follower"),
        database=_name(values.get("database"), "database"),
        table_prefix=_name(values.get("table_prefix", "Conform"), "table_prefix"),
        coordinator_url=_url(values["coordinator"], "coordinator", ("grpc",))
        if "coordinator" in values
        else "",
        features=frozenset(_names(values, "features", tuple(Feature.__members__))),
        strict=frozenset(_names(values, "strict", None)),
        commands=_commands(values),
        command_seconds=600.0 if command_seconds is None else command_seconds,
        liveness_seconds=_seconds(values, "liveness_seconds"),
        visible_seconds=_seconds(values, "visible_seconds"),
        unsealed_seconds=_seconds(values, "unsealed_seconds") or 0.0,
        confirmed=_flag(values, "confirmed"),
    )
    return _checked(target)


def plain_target(
    leader: str, followers: Sequence[str], database: str, coordinator: str = ""
) -> Target:
    """One leader and its followers, without a file. Followers are named by their number.

    With a coordinator each is called what the coordinator calls it: see the system that is run.
    """
    if not leader or not followers or not database:
        raise TargetError(
            "say --leader URL, --follower URL and --database DB, or --profile FILE for all of it"
        )
    return _checked(
        Target(
            leaders=(Endpoint("leader", _url(leader, "--leader")),),
            followers=tuple(
                Endpoint(f"follower{number}", _url(url, "--follower"))
                for number, url in enumerate(followers, 1)
            ),
            database=_name(database, "--database"),
            coordinator_url=_url(coordinator, "--coordinator", ("grpc",)) if coordinator else "",
        )
    )


def _checked(target: Target) -> Target:
    names = [endpoint.cluster for endpoint in (*target.leaders, *target.followers)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise TargetError(f"two endpoints have the name {twice[0]!r}")
    if not target.command_seconds:
        raise TargetError("command_seconds: must be more than 0: no command ends at once")
    if unknown := sorted(target.strict - set(names)):
        raise TargetError(f"strict names {unknown[0]!r}, which is no endpoint")
    return target


def _only(values: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise TargetError(f"{where}{key}: no such key; there are: {', '.join(known)}")


def _endpoints(values: Mapping[str, Any], role: str) -> tuple[Endpoint, ...]:
    entries = values.get(role)
    if not isinstance(entries, list) or not entries:
        raise TargetError(f"{role}: at least one [[{role}]] is needed")
    return tuple(_endpoint(entry, f"{role}[{index}].") for index, entry in enumerate(entries))


def _endpoint(entry: Any, where: str) -> Endpoint:
    if not isinstance(entry, dict):
        raise TargetError(f"{where[:-1]}: not a table")
    _only(entry, _ENDPOINT_KEYS, where)
    streaming = entry.get("streaming", True)
    if not isinstance(streaming, bool):
        raise TargetError(f"{where}streaming: must be true or false")
    variable = entry.get("token_variable", "")
    if not isinstance(variable, str):
        raise TargetError(f"{where}token_variable: must be the name of a variable")
    return Endpoint(
        cluster=_name(entry.get("name"), f"{where}name"),
        url=_url(entry.get("url"), f"{where}url"),
        streaming=streaming,
        token_variable=variable,
    )


def _url(value: Any, where: str, schemes: Sequence[str] = SCHEMES) -> str:
    if not isinstance(value, str):
        raise TargetError(f"{where}: must be a URL")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise TargetError(f"{where}: {value!r} is no URL: {error}") from error
    if parts.scheme not in schemes or not host:
        raise TargetError(f"{where}: {value!r} is no URL with scheme {' or '.join(schemes)}")
    if parts.scheme == "grpc" and port is None:
        raise TargetError(f"{where}: {value!r} has no port")
    if parts.username or parts.password:
        raise TargetError(f"{where}: a URL holds no secrets; use token_variable")
    return value.rstrip("/")


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise TargetError(
            f"{where}: must be a name of up to 63 letters, digits, _ and -, beginning with a letter"
        )
    return value


def _names(values: Mapping[str, Any], key: str, known: Sequence[str] | None) -> list[str]:
    names = values.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TargetError(f"{key}: must be a list of names")
    for name in names:
        if known is not None and name not in known:
            raise TargetError(f"{key}: no {name!r}; there are: {', '.join(known)}")
    return names


def _seconds(values: Mapping[str, Any], key: str) -> float | None:
    if key not in values:
        return None
    value = values[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _LONGEST_SECONDS:
        raise TargetError(f"{key}: must be seconds from 0 to {_LONGEST_SECONDS:g}")
    return float(value)


def _flag(values: Mapping[str, Any], key: str) -> bool:
    value = values.get(key, False)
    if not isinstance(value, bool):
        raise TargetError(f"{key}: must be true or false")
    return value


def _commands(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    commands = values.get("commands", {})
    if not isinstance(commands, dict):
        raise TargetError("commands: not a table")
    _only(commands, COMMANDS, "commands.")
    for key, command in commands.items():
        if not isinstance(command, str) or not command.strip():
            raise TargetError(f"commands.{key}: must be a shell command")
    return tuple(sorted(commands.items()))
