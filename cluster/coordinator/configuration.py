"""Attachment configurations as values: who follows what of whom, under which name. Pure.

``attachedDatabaseConfigurations`` of Azure Resource Manager. One is of one database, or of every
database of the leader (:data:`ALL_DATABASES`), also those made later. What follows from it, an
attachment a database, is in :mod:`cluster.coordinator.attachment`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from cluster.catalog.following import EVERYTHING, ModificationKind, Sharing, check_sharing
from cluster.catalog.naming import check_entity_name, fold_database_name
from cluster.errors import ConflictError, InvalidRequestError
from cluster.replication.authority import Origin

if TYPE_CHECKING:
    from cluster.limits import Limits

ALL_DATABASES: Final = "*"
"""Names every database a leader has and will have."""

DEFAULT_LOCATION: Final = "local"
"""The region of a cluster that names none."""


class ConfigurationKey(NamedTuple):
    """Identity of a configuration. ``name`` is lower-case: names of resources ignore case."""

    follower_cluster: str
    name: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """One configuration. ``database`` is :data:`ALL_DATABASES`, or spelled as on the leader."""

    follower_cluster: str
    name: str
    leader_cluster: str
    database: str
    database_name_override: str = ""
    database_name_prefix: str = ""
    sharing: Sharing = EVERYTHING
    principals_kind: ModificationKind = ModificationKind.UNION
    origin: Origin = Origin.DIRECT

    @property
    def key(self) -> ConfigurationKey:
        """Identity."""
        return ConfigurationKey(self.follower_cluster, self.name.lower())

    @property
    def is_of_all(self) -> bool:
        """It follows every database of the leader."""
        return self.database == ALL_DATABASES

    def covers(self, database: str) -> bool:
        """Whether it follows a database of the leader."""
        return self.is_of_all or fold_database_name(database) == fold_database_name(self.database)

    def follower_name(self, database: str) -> str:
        """What a database of the leader is called on the follower."""
        return self.database_name_prefix + (self.database_name_override or database)


def sharing_to_text(sharing: Sharing) -> str:
    """Table-level sharing as JSON: the lists that are not empty."""
    return json.dumps({name: names for name, names in sharing.lists() if names})


def sharing_from_text(text: str) -> Sharing:
    """Reads what :func:`sharing_to_text` wrote. Raises ValueError."""
    try:
        return Sharing(**{name: tuple(names) for name, names in json.loads(text).items()})
    except (AttributeError, TypeError) as error:
        raise ValueError(f"not table-level sharing: {error}") from error


def default_name(leader_cluster: str, database: str) -> str:
    """The name of a configuration that was given none. No cluster name contains a dot."""
    return f"{leader_cluster}.{database}"


def check_configuration(configuration: Configuration, limits: Limits) -> None:
    """Refuses what is wrong whatever else there is.

    Raises InvalidRequestError, LimitExceededError, EntityNameError.
    """
    name, longest = configuration.name, limits.entity_name_characters
    if not name or len(name) > longest or not name.isprintable() or "/" in name:
        raise InvalidRequestError(
            f"an attachment configuration's name is 1 to {longest} printable characters without a "
            "slash"
        )
    if configuration.leader_cluster == configuration.follower_cluster:
        raise InvalidRequestError(f"cluster '{configuration.leader_cluster}' cannot follow itself")
    if not configuration.database:
        raise InvalidRequestError(
            "an attachment configuration names a database, or * for all databases of the leader"
        )
    if configuration.is_of_all and configuration.database_name_override:
        raise InvalidRequestError(
            "a database name override is of one database; it cannot be used with *",
            remedy="Use a database name prefix, or attach one database.",
        )
    if configuration.is_of_all and not configuration.sharing.is_everything:
        raise InvalidRequestError(
            "table-level sharing is of one database; it cannot be used with *",
            remedy="Attach each database whose tables are to be chosen by itself.",
        )
    check_sharing(configuration.sharing, limits)
    shown = configuration.follower_name("" if configuration.is_of_all else configuration.database)
    if shown:
        check_entity_name("Database", shown, limits)


def check_update(before: Configuration, after: Configuration) -> None:
    """Refuses a change of what identifies an attachment. Raises ConflictError naming it.

    Another leader, database or name on the follower is another attachment, with another copy.
    """
    for what, old, new in (
        ("leader cluster", before.leader_cluster, after.leader_cluster),
        ("database", fold_database_name(before.database), fold_database_name(after.database)),
        ("database name override", before.database_name_override, after.database_name_override),
        ("database name prefix", before.database_name_prefix, after.database_name_prefix),
        ("origin", before.origin.value, after.origin.value),
    ):
        if old != new:
            raise ConflictError(
                f"the {what} of attachment configuration '{before.name}' of cluster "
                f"'{before.follower_cluster}' cannot be changed from '{old}' to '{new}'",
                remedy="Delete the configuration and create it again, or use another name.",
                metadata={"configuration": before.name, "property": what},
            )


def updated(before: Configuration, after: Configuration) -> Configuration:
    """What is changed in place; the names stay spelled as they were."""
    return replace(before, sharing=after.sharing, principals_kind=after.principals_kind)
