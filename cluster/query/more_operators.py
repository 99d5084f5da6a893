"""Operators in modules of their own, by the names of their parse trees and by their nodes. Pure."""

from __future__ import annotations

from typing import Any, Final

from cluster.query import hitters, key_values, partitions, plugins, series
from cluster.query import nodes as own

LOWERED: Final[dict[str, Any]] = {
    "EvaluateOperator": plugins.lower_evaluate,
    "ParseKvOperator": key_values.lower_parse_kv,
    "MakeSeriesOperator": series.lower_make_series,
    "PartitionOperator": partitions.lower_partition,
    "TopHittersOperator": hitters.lower_top_hitters,
    "TopNestedOperator": hitters.lower_top_nested,
    "TopNestedOperatorPart": hitters.lower_top_nested,  # one level
}
"""What makes a node of a parse tree."""

HANDLERS: Final[dict[type, Any]] = {
    own.Evaluate: plugins.evaluate,
    own.ParseKv: key_values.parse_kv,
    own.Partition: partitions.partition,
    own.TopHitters: hitters.top_hitters,
    own.TopNested: hitters.top_nested,
}
"""What resolves a node."""

NAMES: Final[dict[type, str]] = {
    own.Evaluate: "evaluate",
    own.ParseKv: "parse-kv",
    own.Partition: "partition",
    own.TopHitters: "top-hitters",
    own.TopNested: "top-nested",
}
