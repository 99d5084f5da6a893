"""Names of scalar types: Kusto's, their aliases, and the CLR's. Pure.

From the scalar data type pages; the CLR names of bool and decimal are those the SDKs use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cluster.catalog.model import ScalarType

if TYPE_CHECKING:
    from collections.abc import Mapping

CLR_NAMES: Final[Mapping[ScalarType, str]] = {
    ScalarType.BOOL: "System.SByte",
    ScalarType.DATETIME: "System.DateTime",
    ScalarType.DECIMAL: "System.Data.SqlTypes.SqlDecimal",
    ScalarType.DYNAMIC: "System.Object",
    ScalarType.GUID: "System.Guid",
    ScalarType.INT: "System.Int32",
    ScalarType.LONG: "System.Int64",
    ScalarType.REAL: "System.Double",
    ScalarType.STRING: "System.String",
    ScalarType.TIMESPAN: "System.TimeSpan",
}

_ALIASES: Final[Mapping[str, ScalarType]] = {
    **{scalar.value: scalar for scalar in ScalarType},
    "boolean": ScalarType.BOOL,
    "date": ScalarType.DATETIME,
    "uuid": ScalarType.GUID,
    "uniqueid": ScalarType.GUID,
    "int32": ScalarType.INT,
    "int64": ScalarType.LONG,
    "double": ScalarType.REAL,
    "time": ScalarType.TIMESPAN,
}

_AFTER_SYSTEM: Final[Mapping[str, ScalarType]] = {
    **_ALIASES,
    **{name.removeprefix("System.").lower(): scalar for scalar, name in CLR_NAMES.items()},
    "single": ScalarType.REAL,
}


def scalar_type(name: str) -> ScalarType | None:
    """The type of that name; None if there is none.

    Kusto's names and aliases are lower case. After ``System.`` any case is taken: documents write
    both ``System.DateTime`` and ``System.int``.
    """
    system, dot, rest = name.partition(".")
    if dot and system == "System":
        return _AFTER_SYSTEM.get(rest.lower())
    return _ALIASES.get(name)
