"""Between generated messages and the values of the core."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from cluster.catalog.following import ModificationKind, Sharing
from cluster.catalog.model import RowStoreKey, Version
from cluster.replication.authority import Capability, Grant, Issuer, NodeView, Origin, PastLife
from cluster.replication.position import KeyPosition, Position
from cluster.rpc.v1 import coordinator_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cluster.errors import RemoraError


def version_to_message(version: Version) -> types_pb2.MetadataVersion:
    """Encodes a version."""
    return types_pb2.MetadataVersion(major=version.major, minor=version.minor)


def version_from_message(message: types_pb2.MetadataVersion) -> Version:
    """Decodes a version."""
    return Version(message.major, message.minor)


def position_to_message(position: Position) -> types_pb2.Position:
    """Encodes a position."""
    return types_pb2.Position(
        version=version_to_message(position.version),
        keys=[
            types_pb2.KeyPosition(key=key, ordinal=at.ordinal, checksum=at.checksum)
            for key, at in position.keys.items()
        ],
    )


def position_from_message(message: types_pb2.Position) -> Position:
    """Decodes a position. A key named twice keeps its last entry."""
    keys = {RowStoreKey(k.key): KeyPosition(k.ordinal, k.checksum) for k in message.keys}
    return Position(version_from_message(message.version), keys)


def failure_to_message(error: RemoraError) -> types_pb2.Failure:
    """Encodes an error that refuses a piece of a larger request."""
    return types_pb2.Failure(
        status=error.status.value,
        code=error.code,
        reason=error.reason,
        message=error.message,
        remedy=error.remedy,
        permanent=error.permanent,
        metadata=error.metadata,
    )


def grant_to_message(grant: Grant) -> coordinator_pb2.Grant:
    """Encodes a grant."""
    return coordinator_pb2.Grant(
        leader_cluster=grant.leader_cluster,
        database=grant.database,
        follower_cluster=grant.follower_cluster,
        epoch=grant.epoch,
        rows=grant.rows,
        reason=grant.reason,
        follower_database=grant.follower_database,
        leader_address=grant.leader_address,
        leader_capability=grant.leader_capability.value,
        follower_capability=grant.follower_capability.value,
        strict=grant.strict,
        configuration=grant.configuration,
        sharing=sharing_to_message(grant.sharing),
        principals_modification_kind=grant.principals_kind.value,
        origin=grant.origin.value,
    )


def sharing_to_message(sharing: Sharing) -> types_pb2.TableLevelSharing:
    """Encodes table-level sharing."""
    return types_pb2.TableLevelSharing(**dict(sharing.lists()))


def sharing_from_message(message: types_pb2.TableLevelSharing) -> Sharing:
    """Decodes it; a message that is not set shares everything."""
    lists = {field.name: tuple(getattr(message, field.name)) for field in fields(Sharing)}
    return Sharing(**lists)


def _principals_kind(text: str) -> ModificationKind:
    # Without a word it is the default; a word from a newer coordinator adds nobody.
    try:
        return ModificationKind(text or ModificationKind.UNION.value)
    except ValueError:
        return ModificationKind.NONE


def _origin(text: str) -> Origin:
    # It decides nothing: an unknown one is shown as an attachment like any other.
    try:
        return Origin(text)
    except ValueError:
        return Origin.DIRECT


def _capability(text: str) -> Capability:
    # A word from a newer coordinator is a doubt, and every doubt resolves to closed.
    try:
        return Capability(text)
    except ValueError:
        return Capability.UNKNOWN


def grant_from_message(message: coordinator_pb2.Grant) -> Grant:
    """Decodes a grant."""
    return Grant(
        leader_cluster=message.leader_cluster,
        database=message.database,
        follower_cluster=message.follower_cluster,
        epoch=message.epoch,
        rows=message.rows,
        reason=message.reason,
        follower_database=message.follower_database,
        leader_address=message.leader_address,
        leader_capability=_capability(message.leader_capability),
        follower_capability=_capability(message.follower_capability),
        strict=message.strict,
        configuration=message.configuration,
        sharing=sharing_from_message(message.sharing),
        principals_kind=_principals_kind(message.principals_modification_kind),
        origin=_origin(message.origin),
    )


def view_to_message(view: NodeView) -> coordinator_pb2.NodeView:
    """Encodes a node's view."""
    return coordinator_pb2.NodeView(
        revision=view.revision,
        streaming_ingestion=view.capability is Capability.ON,
        following=map(grant_to_message, view.following),
        followed=map(grant_to_message, view.followed),
        issuer=issuer_to_message(view.issuer),
    )


def view_from_message(message: coordinator_pb2.NodeView) -> NodeView:
    """Decodes a node's view."""
    return NodeView(
        revision=message.revision,
        capability=Capability.ON if message.streaming_ingestion else Capability.OFF,
        following=_grants(message.following),
        followed=_grants(message.followed),
        issuer=issuer_from_message(message.issuer),
    )


def issuer_to_message(issuer: Issuer) -> coordinator_pb2.Issuer:
    """Encodes who gives out views."""
    return coordinator_pb2.Issuer(
        coordinator=issuer.coordinator,
        generation=issuer.generation,
        instance=issuer.instance,
        began=issuer.began,
        succeeds=issuer.succeeds,
        past=(coordinator_pb2.PastLife(**life._asdict()) for life in issuer.past),
    )


def issuer_from_message(message: coordinator_pb2.Issuer) -> Issuer:
    """Decodes it; one that is not set is nobody's."""
    return Issuer(
        message.coordinator,
        message.generation,
        message.instance,
        message.began,
        tuple(message.succeeds),
        tuple(
            PastLife(life.generation, life.instance, life.ended, life.adopted)
            for life in message.past
        ),
    )


def _grants(messages: Iterable[coordinator_pb2.Grant]) -> tuple[Grant, ...]:
    return tuple(map(grant_from_message, messages))
