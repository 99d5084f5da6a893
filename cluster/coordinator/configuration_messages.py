"""Between the messages of attachment configurations and the coordinator's values. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cluster.catalog.following import ModificationKind
from cluster.coordinator.events import Attach
from cluster.errors import InvalidRequestError
from cluster.replication.authority import Origin
from cluster.rpc.convert import grant_to_message, sharing_from_message, sharing_to_message
from cluster.rpc.v1 import coordinator_pb2

if TYPE_CHECKING:
    from cluster.coordinator.configuration_status import ConfigurationStatus

Word = TypeVar("Word", ModificationKind, Origin)


def configuration_to_message(
    status: ConfigurationStatus,
) -> coordinator_pb2.AttachmentConfigurationStatus:
    """Encodes a configuration and what has become of it."""
    known = status.configuration
    return coordinator_pb2.AttachmentConfigurationStatus(
        configuration=coordinator_pb2.AttachmentConfiguration(
            follower_cluster=known.follower_cluster,
            name=known.name,
            leader_cluster=known.leader_cluster,
            database=known.database,
            database_name_override=known.database_name_override,
            database_name_prefix=known.database_name_prefix,
            sharing=sharing_to_message(known.sharing),
            default_principals_modification_kind=known.principals_kind.value,
            origin=known.origin.value,
        ),
        attached=map(grant_to_message, status.attached),
        unattached=[
            coordinator_pb2.UnattachedDatabase(
                database=item.database,
                follower_database=item.follower_database,
                reason=item.reason,
            )
            for item in status.unattached
        ],
    )


def _word(kind: type[Word], what: str, text: str) -> Word | None:
    if not text:
        return None
    for member in kind:
        if member.value.lower() == text.lower():
            return member
    known = ", ".join(member.value for member in kind)
    raise InvalidRequestError(f"'{text}' is no {what}; known are {known}")


def attach_from_message(request: int, message: coordinator_pb2.AttachRequest) -> Attach:
    """Decodes it; what is not set stays as it is. Raises InvalidRequestError."""
    kind = message.default_principals_modification_kind
    return Attach(
        request,
        message.leader_cluster,
        message.database,
        message.follower_cluster,
        name=message.configuration,
        database_name_override=message.database_name_override or None,
        database_name_prefix=message.database_name_prefix or None,
        sharing=sharing_from_message(message.sharing) if message.HasField("sharing") else None,
        principals_kind=_word(ModificationKind, "principals modification kind", kind),
        origin=_word(Origin, "origin of an attachment", message.origin),
    )


def put_from_message(request: int, message: coordinator_pb2.AttachmentConfiguration) -> Attach:
    """Decodes a whole configuration; what is not set is the default. Raises InvalidRequestError."""
    if not message.name:
        raise InvalidRequestError("the attachment configuration has no name")
    kind = message.default_principals_modification_kind
    return Attach(
        request,
        message.leader_cluster,
        message.database,
        message.follower_cluster,
        name=message.name,
        database_name_override=message.database_name_override,
        database_name_prefix=message.database_name_prefix,
        sharing=sharing_from_message(message.sharing),
        principals_kind=_word(ModificationKind, "principals modification kind", kind)
        or ModificationKind.UNION,
        origin=_word(Origin, "origin of an attachment", message.origin) or Origin.DIRECT,
        location=message.location,
    )
