"""Ingestion mappings: from their JSON to what each column is made of, and back to text. Pure.

``mappings.md`` and the page of each kind. A mapping is a JSON array of objects; keys may be in any
case, and what belongs into ``Properties`` may also stand beside ``column`` (the legacy flat form,
which is also the form ``.show`` prints a csv mapping in)::

    [{"Column": "a", "Datatype": "int", "Properties": {"Ordinal": "0"}}]
    [{"column": "a", "path": "$['a']", "datatype": "", "transform": null}]
    [{"Name": "a", "DataType": "int", "CsvDataType": null, "Ordinal": 0, "ConstValue": null}]
"""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cluster.commands.scalar_names import scalar_type
from cluster.errors import MappingInconsistentError, MappingNotValidError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cluster.catalog.model import Column, ScalarType

Path = tuple[str | int, ...]
"""Steps into a document: a name enters an object, a number an array. Empty: the whole document."""


class MappingKind(enum.Enum):
    """Kinds of mappings. The value is the word of commands, in lower case."""

    CSV = "csv"
    JSON = "json"
    AVRO = "avro"
    PARQUET = "parquet"
    ORC = "orc"
    W3CLOGFILE = "w3clogfile"


class Transform(enum.Enum):
    """Transformations. The value is Kusto's name; any case is taken."""

    SOURCE_LOCATION = "SourceLocation"
    SOURCE_LINE_NUMBER = "SourceLineNumber"
    UNIX_SECONDS = "DateTimeFromUnixSeconds"
    UNIX_MILLISECONDS = "DateTimeFromUnixMilliseconds"
    UNIX_MICROSECONDS = "DateTimeFromUnixMicroseconds"
    UNIX_NANOSECONDS = "DateTimeFromUnixNanoseconds"
    BAG_ARRAY_TO_DICTIONARY = "PropertyBagArrayToDictionary"
    DROP_MAPPED_FIELDS = "DropMappedFields"
    BYTES_AS_BASE64 = "BytesAsBase64"


OF_THE_SOURCE: Final = frozenset({Transform.SOURCE_LOCATION, Transform.SOURCE_LINE_NUMBER})
"""What needs no field of the record."""

_EVERYWHERE: Final = OF_THE_SOURCE
_UNIX: Final = frozenset(
    {
        Transform.UNIX_SECONDS,
        Transform.UNIX_MILLISECONDS,
        Transform.UNIX_MICROSECONDS,
        Transform.UNIX_NANOSECONDS,
    }
)
_TREES: Final = frozenset({Transform.BAG_ARRAY_TO_DICTIONARY, Transform.DROP_MAPPED_FIELDS})
_TRANSFORMS: Final[Mapping[MappingKind, frozenset[Transform]]] = {
    MappingKind.CSV: _EVERYWHERE | _UNIX,
    MappingKind.JSON: _EVERYWHERE | _UNIX | _TREES,
    MappingKind.AVRO: _EVERYWHERE | _UNIX | _TREES | {Transform.BYTES_AS_BASE64},
    MappingKind.PARQUET: _EVERYWHERE | _UNIX | _TREES,
    MappingKind.ORC: _EVERYWHERE | _UNIX | _TREES,
    MappingKind.W3CLOGFILE: _EVERYWHERE,
}
_TRANSFORM_NAMES: Final = {transform.value.lower(): transform for transform in Transform}

_STEP: Final = re.compile(
    r"""\.(?P<name>[^.\['"\s*@?()]+)
    |\[\s*(?:'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<index>[0-9]{1,9}))\s*\]
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ORDINAL_MAX: Final = 99_999
_ELEMENT_KEYS: Final = frozenset(
    {
        "column", "name", "columnname", "datatype", "csldatatype", "csvdatatype", "properties",
        "ordinal", "path", "field", "constvalue", "transform", "options",
    }
)  # fmt: skip
_PROPERTY_KEYS: Final = frozenset({"ordinal", "path", "field", "constvalue", "transform"})
_ALLOWED: Final[Mapping[MappingKind, frozenset[str]]] = {
    MappingKind.CSV: frozenset({"ordinal", "constvalue", "transform"}),
    MappingKind.JSON: frozenset({"path", "constvalue", "transform"}),
    MappingKind.AVRO: frozenset({"path", "field", "constvalue", "transform"}),
    MappingKind.PARQUET: frozenset({"path", "field", "constvalue", "transform"}),
    MappingKind.ORC: frozenset({"path", "field", "constvalue", "transform"}),
    MappingKind.W3CLOGFILE: frozenset({"field", "constvalue", "transform"}),
}


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """What one column is made of: exactly one of a field, a constant and a property of the source.

    ``ordinal`` counts fields from 0 (csv), ``path`` leads into a document (all other kinds).
    ``constant`` is text, read as a field's text would be. A ``transform`` of OF_THE_SOURCE stands
    alone; the others change what the field holds. ``datatype`` is what the mapping says of the
    column's type, if anything.
    """

    column: str
    datatype: ScalarType | None = None
    ordinal: int | None = None
    path: Path | None = None
    constant: str | None = None
    transform: Transform | None = None


@dataclass(frozen=True, slots=True)
class IngestionPlan:
    """A mapping, understood. A column of the table that is not in it is null."""

    kind: MappingKind
    columns: tuple[ColumnMapping, ...]

    @property
    def text(self) -> str:
        """The mapping as ``.show ... mappings`` prints it, and as the catalog keeps it."""
        shown = [_display(self.kind, item) for item in self.columns]
        return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


def parse_mapping(kind: MappingKind | str, text: str) -> IngestionPlan:
    """Reads the JSON of a mapping, in any of its forms. Raises MappingNotValidError."""
    kind = MappingKind(kind.lower()) if isinstance(kind, str) else kind
    try:
        elements = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MappingNotValidError(f"the mapping is not JSON: {error}") from None
    if not isinstance(elements, list) or not elements:
        raise MappingNotValidError("a mapping is a JSON array with at least one object")
    columns = tuple(_read_element(kind, number, item) for number, item in enumerate(elements, 1))
    names = [item.column for item in columns]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise MappingNotValidError(f"the mapping has column '{twice}' twice")
    return IngestionPlan(kind, columns)


def check_schema(plan: IngestionPlan, columns: Sequence[Column], mapping: str = "") -> None:
    """Raises MappingInconsistentError unless every column mapped is one of the table's."""
    known = {column.name: column.type for column in columns}
    named = f"mapping '{mapping}'" if mapping else "the mapping"
    for item in plan.columns:
        kind = known.get(item.column)
        if kind is None:
            raise MappingInconsistentError(
                f"{named} has column '{item.column}', which the table does not have",
                metadata={"column": item.column, "mapping": mapping},
            )
        if item.datatype is not None and item.datatype is not kind:
            raise MappingInconsistentError(
                f"{named} says that column '{item.column}' is {item.datatype.value}, "
                f"in the table it is {kind.value}",
                metadata={"column": item.column, "mapping": mapping},
            )


def identity_plan(kind: MappingKind, columns: Sequence[Column]) -> IngestionPlan:
    """By position for csv, by exact, case-sensitive name for the others."""
    if kind is MappingKind.CSV:
        return IngestionPlan(
            kind, tuple(ColumnMapping(c.name, ordinal=i) for i, c in enumerate(columns))
        )
    return IngestionPlan(kind, tuple(ColumnMapping(c.name, path=(c.name,)) for c in columns))


def parse_path(text: str) -> Path:
    """Steps of ``$``, ``$.a.b``, ``$['a']["b"]``, ``$.a[3]``. Raises ValueError for all else."""
    if not text.startswith("$"):
        raise ValueError("a path starts with $")
    steps: list[str | int] = []
    at = 1
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise ValueError(
                f"path {text!r} is not understood from {text[at:]!r}: only names and array "
                "positions are"
            )
        at = match.end()
        if match["index"] is not None:
            steps.append(int(match["index"]))
        elif match["name"] is not None:
            steps.append(match["name"])
        else:
            quoted = match["single"] if match["single"] is not None else match["double"]
            steps.append(_ESCAPED.sub(r"\1", quoted))
    return tuple(steps)


def path_text(path: Path) -> str:
    """The path as JSONPath."""
    parts = ["$"]
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_NAME.fullmatch(step):
            parts.append(f".{step}")
        else:
            escaped = step.replace("\\", "\\\\").replace("'", "\\'")
            parts.append(f"['{escaped}']")
    return "".join(parts)


def _read_element(kind: MappingKind, number: int, item: object) -> ColumnMapping:
    if not isinstance(item, dict):
        raise MappingNotValidError(f"element {number} of the mapping is not a JSON object")
    fields = _lowered(number, item, _ELEMENT_KEYS)
    inner = fields.pop("properties", None)
    if inner is not None:
        if not isinstance(inner, dict):
            raise MappingNotValidError(f"element {number}: Properties is not a JSON object")
        fields.update(_lowered(number, inner, _PROPERTY_KEYS))
    column = fields.get("column", fields.get("name", fields.get("columnname")))
    if not isinstance(column, str) or not column:
        raise MappingNotValidError(f"element {number} of the mapping names no column")
    where = f"element {number}, column '{column}'"
    for name in sorted(_PROPERTY_KEYS - _ALLOWED[kind]):
        if fields.get(name) not in {None, ""}:
            raise MappingNotValidError(f"{where}: a {kind.value} mapping has no property {name}")
    datatype = fields.get("datatype", fields.get("csldatatype"))
    transform = _read_transform(kind, where, fields.get("transform"))
    constant, path = _read_constant(where, fields), None
    if kind is not MappingKind.CSV:
        path, constant = _read_path(where, fields, constant)
    found = ColumnMapping(
        column,
        _read_datatype(where, datatype),
        _read_ordinal(where, fields.get("ordinal")),
        path,
        constant,
        transform,
    )
    return _checked(where, found)


def _lowered(number: int, item: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """The object with keys in lower case. What is null says nothing."""
    fields: dict[str, Any] = {}
    for name, value in item.items():
        key = name.lower()
        if value is None:
            continue
        if key not in known:
            raise MappingNotValidError(f"element {number} of the mapping has no key '{name}'")
        if key in fields:
            raise MappingNotValidError(f"element {number} of the mapping has '{name}' twice")
        fields[key] = value
    return fields


def _read_datatype(where: str, value: object) -> ScalarType | None:
    if value is None or value == "":
        return None
    found = scalar_type(value) or scalar_type(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise MappingNotValidError(f"{where}: {value!r} is not a type")
    return found


def _read_transform(kind: MappingKind, where: str, value: object) -> Transform | None:
    if value is None or value == "" or (isinstance(value, str) and value.lower() == "none"):
        return None
    found = _TRANSFORM_NAMES.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise MappingNotValidError(f"{where}: {value!r} is not a transformation")
    if found not in _TRANSFORMS[kind]:
        raise MappingNotValidError(f"{where}: a {kind.value} mapping has no {found.value}")
    return found


def _read_ordinal(where: str, value: object) -> int | None:
    if value is None or value == "":
        return None
    is_number = isinstance(value, int) and not isinstance(value, bool)
    text = str(value).strip()
    if not (is_number or isinstance(value, str)) or not (text.isascii() and text.isdigit()):
        raise MappingNotValidError(f"{where}: ordinal {value!r} is not a whole number from 0")
    if len(text) > len(str(_ORDINAL_MAX)):
        raise MappingNotValidError(f"{where}: ordinal {text[:20]} is over {_ORDINAL_MAX}")
    return int(text)


def _read_constant(where: str, fields: Mapping[str, Any]) -> str | None:
    value = fields.get("constvalue")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise MappingNotValidError(f"{where}: ConstValue is not a single value")


def _read_path(
    where: str, fields: Mapping[str, Any], constant: str | None
) -> tuple[Path | None, str | None]:
    """The path of Path or Field, and the constant, which a Path without $ is too."""
    path, name = fields.get("path") or None, fields.get("field") or None
    if path is not None and name is not None:
        raise MappingNotValidError(f"{where}: give Field or Path, not both")
    if name is not None:
        if not isinstance(name, str):
            raise MappingNotValidError(f"{where}: Field is not a name")
        return (name,), constant
    if path is None:
        return None, constant
    if not isinstance(path, str):
        raise MappingNotValidError(f"{where}: Path is not text")
    if not path.startswith("$"):
        if constant is not None:
            raise MappingNotValidError(f"{where}: give one constant, not two")
        return None, path
    try:
        return parse_path(path), constant
    except ValueError as error:
        raise MappingNotValidError(f"{where}: {error}") from None


def _checked(where: str, item: ColumnMapping) -> ColumnMapping:
    has_field = item.ordinal is not None or item.path is not None
    if item.transform in OF_THE_SOURCE:
        if item.constant:
            raise MappingNotValidError(f"{where}: {item.transform.value} takes no ConstValue")
        # Samples of json mappings give the transformation a path that means nothing.
        return ColumnMapping(item.column, item.datatype, transform=item.transform)
    if item.constant is not None:
        if has_field:
            raise MappingNotValidError(f"{where}: give a field or ConstValue, not both")
        if item.transform is not None:
            raise MappingNotValidError(f"{where}: a constant is not transformed")
        return item
    if not has_field:
        if item.transform is Transform.DROP_MAPPED_FIELDS:
            return ColumnMapping(item.column, item.datatype, path=(), transform=item.transform)
        raise MappingNotValidError(f"{where}: it says of no field, constant or source")
    return item


def _display(kind: MappingKind, item: ColumnMapping) -> dict[str, object]:
    """The two forms of ``.show``: flat for csv, with Properties for the others."""
    if kind is not MappingKind.CSV:
        return _tree_display(kind, item)
    shown: dict[str, object] = {
        "Name": item.column,
        "DataType": "" if item.datatype is None else item.datatype.value,
        "CsvDataType": None,
        "Ordinal": item.ordinal,
        "ConstValue": item.constant,
    }
    if item.transform is not None:
        shown["Transform"] = item.transform.value
    return shown


def _tree_display(kind: MappingKind, item: ColumnMapping) -> dict[str, object]:
    properties: dict[str, object] = {}
    if item.path is not None and kind is MappingKind.W3CLOGFILE:
        properties["Field"] = item.path[0]
    elif item.path is not None:
        properties["Path"] = path_text(item.path)
    if item.constant is not None:
        properties["ConstValue"] = item.constant
    if item.transform is not None:
        properties["Transform"] = item.transform.value
    return {
        "Properties": properties,
        "column": item.column,
        "datatype": "" if item.datatype is None else item.datatype.value,
    }
