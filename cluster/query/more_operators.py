"""Operators in modules of their own, by the names of their parse trees and by their nodes. Pure."""

from __future__ import annotations

from typing import Any, Final

from cluster.query import key_values, plugins, series
from cluster.query import nodes as own

LOWERED: Final[dict[str, Any]] = {
    "EvaluateOperator": plugins.lower_evaluate,
    "ParseKvOperator": key_values.lower_parse_kv,
    "MakeSeriesOperator": series.lower_make_series,
}
"""What makes a node of a parse tree."""

HANDLERS: Final[dict[type, Any]] = {
    own.Evaluate: plugins.evaluate,
    own.ParseKv: key_values.parse_kv,
}
"""What resolves a node."""

NAMES: Final[dict[type, str]] = {
    own.Evaluate: "evaluate",
    own.ParseKv: "parse-kv",
}
