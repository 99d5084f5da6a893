"""What people ask of attachments: attach, update, detach, delete. Pure transitions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from cluster.catalog.naming import fold_database_name
from cluster.coordinator.attachment import Input, Phase, answer, pending, phase, step
from cluster.coordinator.configuration import (
    ALL_DATABASES,
    Configuration,
    ConfigurationKey,
    check_configuration,
    check_update,
    default_name,
    updated,
)
from cluster.coordinator.configuration_status import is_heard, not_heard, obstacle, reported
from cluster.coordinator.events import Certainty, Detached
from cluster.coordinator.state import AttachmentKey, ChangeKind
from cluster.errors import (
    ConflictError,
    DatabaseNotFoundError,
    EntityNotFoundError,
    InvalidRequestError,
    LimitExceededError,
    NotSupportedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.coordinator.events import Attach, DeleteConfiguration, Detach
    from cluster.coordinator.turn import Turn
    from cluster.errors import RemoraError

Value = TypeVar("Value")


def attach(turn: Turn, event: Attach) -> None:
    """Creates a configuration or updates it, and attaches what can be attached."""
    for cluster in (event.leader_cluster, event.follower_cluster):
        if cluster not in turn.durable.clusters:
            raise EntityNotFoundError(f"there is no cluster '{cluster}'")
    present = _present(turn, event)
    wanted = _wanted(event, present)
    check_configuration(wanted, turn.limits)
    _check_region(turn, event)
    if present is None:
        _create(turn, event, wanted)
    else:
        check_update(present, wanted)
        _update(turn, event, present, updated(present, wanted))


def _present(turn: Turn, event: Attach) -> Configuration | None:
    """The configuration the request names; without a name, the one of this very database."""
    known = turn.durable.configurations
    if event.name:
        return known.get(ConfigurationKey(event.follower_cluster, event.name.lower()))
    name = default_name(event.leader_cluster, event.database)
    usual = known.get(ConfigurationKey(event.follower_cluster, name.lower()))
    return usual or next(
        iter(_of_database(turn, event.leader_cluster, event.database, event.follower_cluster)), None
    )


def _of_database(
    turn: Turn, leader: str, database: str, follower: str
) -> tuple[Configuration, ...]:
    """The configurations that name exactly this database, or all of them, of a leader."""
    return tuple(
        configuration
        for _, configuration in sorted(turn.durable.configurations.items())
        if configuration.follower_cluster == follower
        and configuration.leader_cluster == leader
        and fold_database_name(configuration.database) == fold_database_name(database)
    )


def _wanted(event: Attach, present: Configuration | None) -> Configuration:
    """What the request asks for: what it leaves open stays as it is, or is the default."""
    base = present or Configuration(
        event.follower_cluster,
        event.name or default_name(event.leader_cluster, event.database),
        event.leader_cluster,
        event.database,
    )
    return replace(
        base,
        leader_cluster=event.leader_cluster,
        database=event.database,
        database_name_override=_given(event.database_name_override, base.database_name_override),
        database_name_prefix=_given(event.database_name_prefix, base.database_name_prefix),
        sharing=_given(event.sharing, base.sharing),
        principals_kind=_given(event.principals_kind, base.principals_kind),
        origin=_given(event.origin, base.origin),
    )


def _given(value: Value | None, otherwise: Value) -> Value:
    return otherwise if value is None else value


def _check_region(turn: Turn, event: Attach) -> None:
    leader = turn.durable.clusters[event.leader_cluster]
    follower = turn.durable.clusters[event.follower_cluster]
    if event.location not in ("", follower.location):
        raise InvalidRequestError(
            f"the attachment names region '{event.location}', its follower cluster "
            f"'{follower.name}' is in '{follower.location}'"
        )
    if leader.location != follower.location:
        raise ConflictError(
            f"cluster '{follower.name}' in region '{follower.location}' cannot follow cluster "
            f"'{leader.name}' in region '{leader.location}': both must be in the same region",
            remedy="Attach to a cluster of the leader's region.",
            metadata={"leader_location": leader.location, "follower_location": follower.location},
        )


def _create(turn: Turn, event: Attach, wanted: Configuration) -> None:
    if not wanted.is_of_all:
        found = reported(turn.state, wanted.leader_cluster).get(fold_database_name(wanted.database))
        if found is None:
            if turn.inquire(event):
                return
            raise _not_found(turn, event)
        name = event.name or default_name(event.leader_cluster, found)
        wanted = replace(wanted, database=found, name=name)
        problem = obstacle(turn.state, wanted, found, turn.limits, again=True)
        if problem is not None:
            raise problem
    if len(turn.durable.configurations) >= turn.limits.attachments:
        raise LimitExceededError(
            f"a setup has at most {turn.limits.attachments} attachment configurations",
            metadata={"limit": "attachments", "value": str(turn.limits.attachments)},
        )
    turn.put_configuration(wanted)
    if wanted.is_of_all:
        _attach_all(turn, wanted)
    else:
        step(turn, wanted, wanted.database, Input.ATTACH, event.request)
    if not turn.waits(event.request):
        answer(turn, event.request, wanted.key)


def _attach_all(turn: Turn, configuration: Configuration) -> None:
    """What is in the way of some of them is told in the answer, and looked at again later."""
    names = reported(turn.state, configuration.leader_cluster)
    for _, database in sorted(names.items()):
        if obstacle(turn.state, configuration, database, turn.limits, again=True) is None:
            step(turn, configuration, database, Input.ATTACH)


def _not_found(turn: Turn, event: Attach) -> RemoraError:
    leader = event.leader_cluster
    if not is_heard(turn.state, leader):
        return not_heard(leader, turn.limits)
    for attachment in turn.durable.followed_by(leader):
        if fold_database_name(attachment.follower_database) == fold_database_name(event.database):
            return NotSupportedError(
                f"cluster '{leader}' itself follows database '{attachment.database}' from "
                f"'{attachment.leader_cluster}'",
                remedy=f"Attach it from cluster '{attachment.leader_cluster}'.",
            )
    return DatabaseNotFoundError(f"cluster '{leader}' has no database '{event.database}'")


def _update(turn: Turn, event: Attach, present: Configuration, wanted: Configuration) -> None:
    """A restriction is asked of every process, also if it is so in the data, as off is."""
    restricts = event.sharing is not None and not event.sharing.is_everything
    if wanted != present:
        turn.put_configuration(wanted)
    what = Input.SETTINGS if wanted != present or restricts else Input.ATTACH
    for attachment in _attachments(turn, present.key):
        step(turn, wanted, attachment, what, event.request)
    if not turn.waits(event.request):
        answer(turn, event.request, wanted.key)


def _attachments(turn: Turn, key: ConfigurationKey) -> tuple[str, ...]:
    """Names on the leader of the databases that a configuration has attached."""
    return tuple(
        attachment.database
        for _, attachment in sorted(turn.durable.attachments.items())
        if attachment.configuration_key == key
    )


# Detaching.


def detach(turn: Turn, event: Detach) -> None:
    """Detaches one database, or with ``*`` all; answered when no node can show it any more."""
    leader, follower = event.leader_cluster, event.follower_cluster
    found = _of_database(turn, leader, event.database, follower)
    if found:
        _delete(turn, event.request, found)
        return
    key = AttachmentKey(leader, fold_database_name(event.database), follower)
    attachment = turn.durable.attachments.get(key)
    if attachment is not None:
        raise ConflictError(
            f"cluster '{follower}' follows database '{attachment.database}' of cluster '{leader}' "
            f"by attachment configuration '{attachment.configuration}', which follows every "
            "database of that cluster",
            remedy=f"Delete the configuration: detach {leader}/{ALL_DATABASES}.",
            metadata={"configuration": attachment.configuration},
        )
    if event.database == ALL_DATABASES:
        name = default_name(leader, event.database)
        if _join_deleted(turn, ConfigurationKey(follower, name.lower()), event.request):
            return
    elif phase(turn.durable, key) is Phase.DETACHING:
        turn.join(pending(ChangeKind.DETACH, key), event.request)
        return
    what = "all databases" if event.database == ALL_DATABASES else f"database '{event.database}'"
    raise EntityNotFoundError(f"cluster '{follower}' does not follow {what} of cluster '{leader}'")


def delete(turn: Turn, event: DeleteConfiguration) -> None:
    """Detaches everything of a configuration; answered when no node can show any of it."""
    key = ConfigurationKey(event.follower_cluster, event.name.lower())
    configuration = turn.durable.configurations.get(key)
    if configuration is not None and event.leader_cluster in ("", configuration.leader_cluster):
        _delete(turn, event.request, (configuration,))
    elif configuration is not None or not _join_deleted(turn, key, event.request):
        of_leader = f" of cluster '{event.leader_cluster}'" if event.leader_cluster else ""
        raise EntityNotFoundError(
            f"cluster '{event.follower_cluster}' has no attachment configuration "
            f"'{event.name}'{of_leader}"
        )


def _delete(turn: Turn, request: int, configurations: Iterable[Configuration]) -> None:
    for configuration in configurations:
        turn.drop_configuration(configuration.key)
        _join_deleted(turn, configuration.key, request)
        for database in _attachments(turn, configuration.key):
            step(turn, configuration, database, Input.DETACH, request)
    if not turn.waits(request):
        turn.reply(request, Detached(Certainty.IMMEDIATE))


def _join_deleted(turn: Turn, key: ConfigurationKey, request: int) -> bool:
    """Waits for what a configuration has detached already. False: there is nothing."""
    found = False
    for change, _ in turn.waiting():
        if change.kind is ChangeKind.DETACH and change.configuration_key == key:
            turn.join(change.key, request)
            found = True
    return found
