"""The settings of a following database as canonical JSON, both ways. Pure, strict like the codec.

Table-level sharing is an object of its lists, those that are empty left out, so an attachment that
shares everything is ``{}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.catalog import codec_values as v
from cluster.catalog.codec_json import Fields, boolean, dump, load, text_of
from cluster.catalog.following import EVERYTHING, FollowingSettings, ModificationKind, Sharing
from cluster.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS: Final = {kind.value: kind for kind in ModificationKind}


def encode_settings(settings: FollowingSettings) -> bytes:
    """All settings; every field present."""
    kind = settings.principals_kind
    return dump(
        {
            "caching": settings.caching,
            "caching_kind": settings.caching_kind.value,
            "default_principals_kind": settings.default_principals_kind.value,
            "narrowing": write_sharing(settings.narrowing),
            "prefetch_extents": settings.prefetch_extents,
            "principals": v.write_principals(settings.principals),
            "principals_kind": None if kind is None else kind.value,
            "sharing": write_sharing(settings.sharing),
            "table_caching": dict(settings.table_caching),
        }
    )


def decode_settings(data: bytes) -> FollowingSettings:
    """Reads :func:`encode_settings`. Raises ProtocolError."""
    reader = Fields(load(data), "following database")
    kind = reader.take("principals_kind")
    settings = FollowingSettings(
        sharing=read_sharing(reader.take("sharing")),
        default_principals_kind=_read_kind(reader.take("default_principals_kind")),
        narrowing=read_sharing(reader.take("narrowing")),
        principals=v.read_principals(reader.take("principals")),
        principals_kind=None if kind is None else _read_kind(kind),
        caching=_read_optional(reader.take("caching")),
        table_caching=_read_table_caching(reader.take("table_caching")),
        caching_kind=_read_kind(reader.take("caching_kind")),
        prefetch_extents=boolean(reader.take("prefetch_extents"), "prefetch flag"),
    )
    reader.end()
    return settings


def write_sharing(sharing: Sharing) -> dict[str, list[str]]:
    """The lists that are not empty, by their names."""
    return {name: list(entries) for name, entries in sharing.lists() if entries}


def read_sharing(value: object) -> Sharing:
    """Reads :func:`write_sharing`. Raises ProtocolError."""
    reader = Fields(value, "sharing")
    lists = {name: v.read_texts(reader.take(name, [])) for name, _ in EVERYTHING.lists()}
    reader.end()
    return Sharing(**lists)


def _read_kind(value: object) -> ModificationKind:
    found = _KINDS.get(text_of(value, "modification kind"))
    if found is None:
        raise ProtocolError(f"{value!r} is not a modification kind.")
    return found


def _read_optional(value: object) -> str | None:
    return None if value is None else text_of(value, "caching policy")


def _read_table_caching(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ProtocolError("Caching policies of tables are not an object.")
    return {
        text_of(name, "table name"): text_of(text, "caching policy") for name, text in value.items()
    }
