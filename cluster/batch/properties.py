"""Properties of ingestion commands (``includes/ingestion-properties.md``). Pure.

Names are case-insensitive. A property that the command does not take is refused: to ignore it
would be to store data otherwise than asked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cluster.errors import DuplicateMappingError, IngestionPropertyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_OPTIONS: Final = "ValidationOptions"
_IMPLICATIONS: Final = "ValidationImplications"
_OPTION_NAMES: Final = (
    "DoNotValidate",
    "ValidateCsvInputConstantColumns",
    "ValidateCsvInputColumnLevelOnly",
)
_IMPLICATION_NAMES: Final = ("Fail", "BestEffort")

DROP_BY: Final = "drop-by:"
INGEST_BY: Final = "ingest-by:"

NOT_MODELLED: Final = ("zipPattern", "small_dimension_table")
"""Known to Kusto, refused here: each would change what is stored."""


@dataclass(frozen=True, slots=True)
class IngestionProperties:
    """What an ingestion command asks for.

    ``created_us`` is microseconds since 1970 UTC; None: now. ``mapping`` is inline JSON.
    ``ingest_if_not_exists`` are values without the ``ingest-by:`` prefix. ``distributed`` and
    ``persist_details`` are what they are in Kusto; one node distributes to itself, and details are
    kept for every command. ``validation_policy`` is one of those that refuse nothing: data is taken
    as it is (:func:`check_validation_policy`).
    """

    format: str = "csv"
    mapping: str = ""
    mapping_reference: str = ""
    created_us: int | None = None
    tags: tuple[str, ...] = ()
    ingest_if_not_exists: tuple[str, ...] = ()
    ignore_first_record: bool = False
    keep_gzip: bool = False
    extend_schema: bool = False
    recreate_schema: bool = False
    folder: str | None = None
    docstring: str | None = None
    ingestion_time: bool = True
    distributed: bool = False
    persist_details: bool = False
    validation_policy: str = ""


@dataclass(frozen=True, slots=True)
class _Property:
    """``field`` of IngestionProperties, read by ``read(name, value)``, for these commands."""

    name: str
    field: str
    read: Callable[[str, object], Any]
    of_data: bool = True
    of_query: bool = True


def parse_properties(
    given: Iterable[tuple[str, object]], *, from_query: bool = False
) -> IngestionProperties:
    """Reads ``with (name = value, ...)`` of ``.ingest`` or, ``from_query``, of ``.set`` and kin.

    Raises IngestionPropertyError naming the property, DuplicateMappingError.
    """
    values: dict[str, Any] = {}
    for name, value in given:
        found = _BY_NAME.get(name.casefold())
        if found is None:
            raise _unknown(name)
        if not (found.of_query if from_query else found.of_data):
            raise IngestionPropertyError(
                f"Property '{found.name}' is not one of this command.",
                metadata={"property": found.name},
            )
        if found.field in values:
            raise IngestionPropertyError(
                f"Property '{found.name}' is given twice.", metadata={"property": found.name}
            )
        values[found.field] = found.read(found.name, value)
    properties = replace(IngestionProperties(), **values)
    if properties.mapping and properties.mapping_reference:
        raise DuplicateMappingError(
            "Both ingestionMapping and ingestionMappingReference are given."
        )
    return properties


def check_validation_policy(name: str, value: object) -> str:
    """A validation policy as text, if it asks for what is done here: nothing is refused for it.

    Known are the numbers and names of the SDKs: ``ValidationOptions`` 0 DoNotValidate, 1
    ValidateCsvInputConstantColumns, 2 ValidateCsvInputColumnLevelOnly; ``ValidationImplications``
    0 Fail, 1 BestEffort; without either both are 1, the default policy. Raises
    IngestionPropertyError for what is no such policy, and for one that is to fail: refusing rows of
    other numbers of fields is not supported, and to store them would not be what was asked.
    """
    text = _text(name, value)
    try:
        given = {} if not text else json.loads(text)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or not given.keys() <= {_OPTIONS, _IMPLICATIONS}:
        raise _malformed(name, f"a JSON object of {_OPTIONS} and {_IMPLICATIONS}")
    option = _one_of(name, given.get(_OPTIONS, 1), _OPTION_NAMES)
    implication = _one_of(name, given.get(_IMPLICATIONS, 1), _IMPLICATION_NAMES)
    if option and not implication:
        raise IngestionPropertyError(
            f"Property '{name}' asks to fail where {_OPTION_NAMES[option]} fails: this is not "
            "supported by Remora, which takes such rows: fields that are missing are null, those "
            "there are too many of are ignored.",
            remedy="Use BestEffort (1), the default, or check the data before.",
            metadata={"property": name},
        )
    return text


def _one_of(name: str, value: object, names: tuple[str, ...]) -> int:
    if isinstance(value, str) and value in names:
        return names.index(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(names):
        return value
    raise _malformed(name, f"one of {', '.join(names)}, or its number, where it is one of them")


def prefixed(values: Iterable[str]) -> frozenset[str]:
    """The tags that ``ingestIfNotExists`` looks for."""
    return frozenset(INGEST_BY + value for value in values)


def described(properties: IngestionProperties) -> Mapping[str, object]:
    """The properties as ``.show ingestion failures`` and kin print them: those that are set."""
    facts: dict[str, object] = {"Format": properties.format}
    if properties.mapping_reference:
        facts["IngestionMappingReference"] = properties.mapping_reference
    if properties.tags:
        facts["Tags"] = list(properties.tags)
    if properties.ignore_first_record:
        facts["IgnoreFirstRecord"] = True
    return facts


def _unknown(name: str) -> IngestionPropertyError:
    if name.casefold() in {known.casefold() for known in NOT_MODELLED}:
        return IngestionPropertyError(
            f"Property '{name}' is not supported by Remora.",
            remedy="Leave it out.",
            metadata={"property": name},
        )
    known = ", ".join(item.name for item in _PROPERTIES)
    return IngestionPropertyError(
        f"There is no ingestion property '{name[:80]}'; there are {known}.",
        metadata={"property": name[:80]},
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _malformed(name, "a string")
    return value


def _format(name: str, value: object) -> str:
    return _text(name, value).casefold()


def _bool(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).casefold()
    if text not in ("true", "false"):
        raise _malformed(name, "true or false")
    return text == "true"


def _time(name: str, value: object) -> int:
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise _malformed(name, "an ISO 8601 time such as 2026-01-31T12:00:00Z") from None
    if not isinstance(moment, datetime):
        raise _malformed(name, "an ISO 8601 time such as 2026-01-31T12:00:00Z")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round((moment - _EPOCH).total_seconds() * 1_000_000)


def _strings(name: str, value: object) -> tuple[str, ...]:
    try:
        items = json.loads(_text(name, value))
    except (ValueError, RecursionError):
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) and item for item in items):
        raise _malformed(name, """a JSON array of strings such as '["a", "b"]'""")
    return tuple(dict.fromkeys(items))


def _malformed(name: str, wanted: str) -> IngestionPropertyError:
    return IngestionPropertyError(
        f"Property '{name}' must be {wanted}.", metadata={"property": name}
    )


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_PROPERTIES: Final = (
    _Property("format", "format", _format, of_query=False),
    _Property("ingestionMapping", "mapping", _text, of_query=False),
    _Property("ingestionMappingReference", "mapping_reference", _text, of_query=False),
    _Property("creationTime", "created_us", _time),
    _Property("tags", "tags", _strings),
    _Property("ingestIfNotExists", "ingest_if_not_exists", _strings),
    _Property("ignoreFirstRecord", "ignore_first_record", _bool, of_query=False),
    _Property("TreatGzAsUncompressed", "keep_gzip", _bool, of_query=False),
    _Property("extend_schema", "extend_schema", _bool, of_data=False),
    _Property("recreate_schema", "recreate_schema", _bool, of_data=False),
    _Property("folder", "folder", _text, of_data=False),
    _Property("docstring", "docstring", _text, of_data=False),
    _Property("policy_ingestiontime", "ingestion_time", _bool),
    _Property("distributed", "distributed", _bool),
    _Property("persistDetails", "persist_details", _bool),
    _Property("validationPolicy", "validation_policy", check_validation_policy, of_query=False),
)
_BY_NAME: Final = {item.name.casefold(): item for item in _PROPERTIES}
