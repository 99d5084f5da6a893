"""``make-series`` from its parse tree. Pure."""

from __future__ import annotations

from typing import Any

from duckdb_kql import ir
from duckdb_kql import lower as lowering
from duckdb_kql.parser import parse

from cluster.errors import NotSupportedError
from cluster.query.nodes import MakeSeries


def _rewritten(node: Any, children: list[Any]) -> list[Any]:
    """``name=f(x)`` at the first place, which the grammar takes for a parameter and a rest."""
    if len(children) < 2 or "Parameter" not in lowering._cls(children[0]):
        return children
    if children[0].getText().partition("=")[0].startswith(("kind", "hint.")):
        return children
    stream = children[0].start.getInputStream()
    text = stream.getText(children[0].start.start, children[1].stop.stop)
    printed = lowering._find_all(parse(f"print {text}").tree, "PrintOperator")
    return [*lowering._rule_children(printed[0]), *children[2:]]


def lower_make_series(node: Any) -> MakeSeries:
    """Aggregates with their defaults, the axis and its bounds, and the groups."""
    aggregates, defaults, by = [], [], ()
    on: Any = None
    bounds: list[Any] = []
    for child in _rewritten(node, lowering._rule_children(node)):
        kind = lowering._cls(child)
        if kind == "MakeSeriesOperatorOnClause":
            on = lowering._lower_named(lowering._rule_children(child)[0])
        elif kind == "MakeSeriesOperatorFromToStepClause":
            words = [c.getText().lower() for c in lowering._children(child)]
            if words[0::2] != ["from", "to", "step"]:
                raise NotSupportedError(
                    "make-series is supported by Remora with from, to and step.",
                    remedy="Write: on t from <start> to <end> step <size>.",
                )
            bounds = [lowering._lower_expr(c) for c in lowering._rule_children(child)]
        elif kind == "MakeSeriesOperatorByClause":
            by = tuple(lowering._lower_named(c) for c in lowering._rule_children(child))
        elif "Parameter" in kind or "InRange" in kind:
            raise NotSupportedError(f"make-series: '{child.getText()}' is not supported by Remora.")
        else:
            parts = lowering._rule_children(child)
            default: Any = ir.Literal(0, "long")
            named = child
            if kind == "MakeSeriesOperatorAggregation":
                if len(parts) > 1:
                    default = lowering._lower_expr(lowering._rule_children(parts[1])[-1])
                named = parts[0]
            aggregates.append(lowering._lower_named(named))
            defaults.append(default)
    return MakeSeries(tuple(aggregates), tuple(defaults), on, *bounds, by)
