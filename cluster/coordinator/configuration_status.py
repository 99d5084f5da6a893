"""What has become of a configuration, and what stands in its way. Pure functions of the state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cluster.catalog.naming import check_entity_name, fold_database_name
from cluster.coordinator.state import AttachmentKey, ChangeKind
from cluster.coordinator.views import grant
from cluster.errors import ConflictError, EntityNameError, LimitExceededError, UnavailableError

if TYPE_CHECKING:
    from cluster.coordinator.configuration import Configuration
    from cluster.coordinator.state import State
    from cluster.errors import RemoraError
    from cluster.limits import Limits
    from cluster.replication.authority import Grant


@dataclass(frozen=True, slots=True)
class Unattached:
    """A database of a configuration that is not attached now, and why, for people."""

    database: str
    follower_database: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConfigurationStatus:
    """A configuration and what has become of each database it follows, by name on the leader."""

    configuration: Configuration
    attached: tuple[Grant, ...]
    unattached: tuple[Unattached, ...]

    @property
    def grant(self) -> Grant | None:
        """The grant of a configuration of one database, if that is attached."""
        return None if self.configuration.is_of_all else next(iter(self.attached), None)


def is_heard(state: State, cluster: str) -> bool:
    """Every node of the cluster has reported since the coordinator started."""
    nodes = state.durable.cluster_nodes(cluster)
    return all(state.sessions[node.node].report is not None for node in nodes)


def reported(state: State, cluster: str) -> dict[str, str]:
    """The databases a cluster owns, as last reported: folded name to name."""
    found = {}
    for node in state.durable.cluster_nodes(cluster):
        report = state.sessions[node.node].report
        for database in report.databases if report else ():
            found[fold_database_name(database.name)] = database.name
    return found


def not_heard(cluster: str, limits: Limits) -> UnavailableError:
    """Nobody knows what databases a cluster has."""
    return UnavailableError(
        f"cluster '{cluster}' has not reported its databases since the coordinator started",
        retry_after_seconds=limits.heartbeat_seconds,
    )


def obstacle(
    state: State,
    configuration: Configuration,
    database: str,
    limits: Limits,
    *,
    again: bool = False,
) -> RemoraError | None:
    """Why a database cannot be attached now, as the refusal of who asks for it.

    ``again``: a detach of the same attachment that is not certain yet is no reason.
    """
    follower, name = configuration.follower_cluster, configuration.follower_name(database)
    key = AttachmentKey(configuration.leader_cluster, fold_database_name(database), follower)
    try:
        check_entity_name("Database", name, limits)
    except EntityNameError as error:
        return error
    if not is_heard(state, follower):
        return not_heard(follower, limits)
    if fold_database_name(name) in reported(state, follower):
        return ConflictError(
            f"cluster '{follower}' has a database '{name}' of its own",
            remedy="Drop it on the follower, or attach under another name.",
        )
    return (
        _taken(state, key, name)
        or _still_detaching(state, key, name, limits, again=again)
        or _no_room(state, limits)
    )


def _taken(state: State, key: AttachmentKey, name: str) -> RemoraError | None:
    for attachment in state.durable.followed_by(key.follower_cluster):
        if attachment.key == key:
            return ConflictError(
                f"cluster '{key.follower_cluster}' already follows database "
                f"'{attachment.database}' of cluster '{key.leader_cluster}', by attachment "
                f"configuration '{attachment.configuration}'",
                remedy="Delete that configuration first.",
            )
        if fold_database_name(attachment.follower_database) == fold_database_name(name):
            return ConflictError(
                f"cluster '{key.follower_cluster}' already follows a database '{name}', from "
                f"cluster '{attachment.leader_cluster}'",
                remedy="Detach that one first, or attach under another name.",
            )
    return None


def _still_detaching(
    state: State, key: AttachmentKey, name: str, limits: Limits, *, again: bool
) -> RemoraError | None:
    for change in state.durable.changes.values():
        if change.kind is not ChangeKind.DETACH or change.cluster != key.follower_cluster:
            continue
        there = (change.leader_cluster, change.key.database)
        is_same = there == (key.leader_cluster, key.database)
        is_same_name = fold_database_name(change.follower_database) == fold_database_name(name)
        # Under another name it is another copy: the one before must be gone first.
        if (is_same or is_same_name) and not (is_same and is_same_name and again):
            return UnavailableError(
                f"database '{change.database}' of cluster '{change.leader_cluster}' is still being "
                f"detached from '{key.follower_cluster}'",
                retry_after_seconds=limits.heartbeat_seconds,
            )
    return None


def _no_room(state: State, limits: Limits) -> RemoraError | None:
    if len(state.durable.attachments) < limits.attachments:
        return None
    return LimitExceededError(
        f"a setup has at most {limits.attachments} attachments",
        metadata={"limit": "attachments", "value": str(limits.attachments)},
    )


def describe(state: State, configuration: Configuration, limits: Limits) -> ConfigurationStatus:
    """A configuration and what has become of it."""
    durable, leader = state.durable, configuration.leader_cluster
    mine = {
        key.database: attachment
        for key, attachment in sorted(durable.attachments.items())
        if attachment.configuration_key == configuration.key
    }
    names = reported(state, leader)
    if not configuration.is_of_all:
        names = {fold_database_name(configuration.database): configuration.database}
    unattached = [
        Unattached(
            name, configuration.follower_name(name), _why(state, configuration, name, limits)
        )
        for folded, name in sorted(names.items())
        if folded not in mine
    ]
    if configuration.is_of_all and not is_heard(state, leader):
        reason = not_heard(leader, limits).message
        unattached.append(Unattached(configuration.database, "", reason))
    return ConfigurationStatus(
        configuration,
        tuple(grant(durable, attachment) for attachment in mine.values()),
        tuple(unattached),
    )


def _why(state: State, configuration: Configuration, database: str, limits: Limits) -> str:
    leader = configuration.leader_cluster
    if fold_database_name(database) not in reported(state, leader):
        if not is_heard(state, leader):
            return not_heard(leader, limits).message
        return f"cluster '{leader}' has no database '{database}'"
    found = obstacle(state, configuration, database, limits)
    return "it is about to be attached" if found is None else found.message


def statuses(
    state: State, limits: Limits, *, follower: str = "", leader: str = ""
) -> tuple[ConfigurationStatus, ...]:
    """Every configuration, or those of a follower or of a leader; by follower and name."""
    return tuple(
        describe(state, configuration, limits)
        for _, configuration in sorted(state.durable.configurations.items())
        if (not follower or configuration.follower_cluster == follower)
        and (not leader or configuration.leader_cluster == leader)
    )
