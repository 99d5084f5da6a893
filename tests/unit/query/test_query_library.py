"""The parts of duckdb-kql this package is written against: a version bump fails here, loudly."""

from __future__ import annotations

import dataclasses
import importlib.metadata

import pytest
from duckdb_kql import ir, lower, schema, translate
from duckdb_kql.translate import functions, naming

from cluster.query import (
    aggregates,
    calls,
    native_calls,
    nodes,
    operators,
    rewritten_calls,
    vocabulary,
)
from cluster.query import functions as own_functions

FIELDS = {
    "BinaryOp": ("op", "left", "right"),
    "Between": ("value", "low", "high", "negated"),
    "ColumnRef": ("name",),
    "CommandSource": ("sql", "columns", "command"),
    "Count": ("name",),
    "DataTable": ("columns", "values"),
    "Distinct": ("expressions",),
    "Extend": ("expressions",),
    "FunctionCall": ("name", "args"),
    "GetSchema": (),
    "HasList": ("value", "items", "require_all", "subquery"),
    "InList": ("value", "items", "negated", "case_insensitive", "subquery"),
    "Join": ("right", "keys", "kind"),
    "JoinKey": ("left", "right"),
    "LetRef": ("name", "value"),
    "Literal": ("value", "kind"),
    "Lookup": ("right", "keys", "kind"),
    "MvExpand": ("targets", "item_index", "limit", "array_expansion"),
    "MvExpandTarget": ("column", "name", "to_type"),
    "NamedExpr": ("expr", "name"),
    "Parameter": ("name", "kind", "slot"),
    "Parse": ("expression", "segments", "kind", "flags", "drop_unmatched", "trailing_star"),
    "ParseSegment": ("literal", "skip", "name", "type"),
    "PathAccess": ("base", "steps"),
    "PathStep": ("name", "index"),
    "PrintSource": ("expressions",),
    "Project": ("expressions",),
    "ProjectAway": ("columns",),
    "ProjectRename": ("renames",),
    "Query": ("source", "operators", "lets", "parameters"),
    "RangeSource": ("name", "start", "stop", "step"),
    "RenderedAggregate": ("sql",),
    "RowContext": ("name",),
    "Sort": ("keys",),
    "SortKey": ("expr", "ascending", "nulls_first"),
    "Summarize": ("aggregates", "by"),
    "TableRef": ("name", "database", "cluster"),
    "Take": ("count",),
    "ToScalar": ("query",),
    "Top": ("count", "keys"),
    "UnaryOp": ("op", "operand"),
    "Union": ("branches", "kind", "with_source", "isfuzzy"),
    "Where": ("predicate",),
    "WildcardTableRef": ("pattern", "database"),
    "Wildcard": (),
}
REFUSED = {"GraphCall", "GraphElement", "GraphMatch", "GraphProperty", "GraphSource"} | {
    "GraphToTable", "GraphVar", "MakeGraph", "MarkComponents", "NodeTable", "Pattern",
    "PatternEdge", "PatternNode",
}  # fmt: skip


def test_the_version_is_the_one_read():
    assert importlib.metadata.version("duckdb-kql") == "1.1.2"


@pytest.mark.parametrize("name", FIELDS)
def test_a_node_has_the_fields_relied_on(name):
    assert tuple(f.name for f in dataclasses.fields(getattr(ir, name))) == FIELDS[name]


def test_there_is_no_node_nobody_has_thought_about():
    nodes = {
        name
        for name, kind in vars(ir).items()
        if isinstance(kind, type) and issubclass(kind, ir.Node) and dataclasses.is_dataclass(kind)
    }
    assert nodes - FIELDS.keys() - REFUSED == set()


def test_every_operator_has_a_handler():
    kinds = {
        kind
        for kind in vars(ir).values()
        if isinstance(kind, type) and issubclass(kind, ir.Operator) and kind is not ir.Operator
    }
    ours = {kind for kind in vars(nodes).values() if isinstance(kind, type)} & {
        kind for kind in operators._HANDLERS if kind.__module__ == nodes.__name__
    }
    assert kinds | ours == set(operators.NAMES) == set(operators._HANDLERS)


def test_the_functions_called_exist():
    for module, names in {
        lower: ["lower", "_lower_expr", "_rule_children", "_collapse", "_cls"],
        schema: ["join_output_columns", "lookup_output_columns", "mv_expand_output_columns",
                 "parse_output_columns", "resolve_let_refs", "resolve_source_let_refs"],
        translate: ["to_sql", "clock", "quote_ident", "render_expr", "summarize_names",
                    "arg_max_names", "print_column_name", "CLOCK_SLOT", "_SPECIAL_FORMS"],
        naming: ["project_names", "extend_names", "distinct_names"],
    }.items():  # fmt: skip
        for name in names:
            assert hasattr(module, name), name


def test_every_function_answered_is_one_whose_arguments_all_count():
    """A template without a place for an argument drops it without a word."""
    aggregates.register()
    dropping = set()
    for registry in (functions.SCALAR_FUNCTIONS, functions.AGGREGATE_FUNCTIONS):
        for name, spec in registry.items():
            if spec.arities and spec.template and name not in translate._SPECIAL_FORMS:
                used = sum(f"{{{index}}}" in spec.template for index in range(max(spec.arities)))
                if used < max(spec.arities):
                    dropping.add(name)
    # extract: refused with four; make_*: fixed; dcount, hll: exact, so accuracy does not matter
    assert dropping == {"extract", "make_list", "make_set", "dcount", "dcountif", "hll"}


def test_every_type_rule_is_about_a_function_that_exists():
    aggregates.register()
    own_functions.register()
    known = (
        functions.SCALAR_FUNCTIONS.keys()
        | functions.AGGREGATE_FUNCTIONS.keys()
        | translate._SPECIAL_FORMS.keys()
    )
    made = calls.NAMES | native_calls.NAMES | rewritten_calls.NAMES
    assert vocabulary.RETURN_TYPES.keys() <= known | made
    assert vocabulary.TYPE_OF_ARGUMENT.keys() <= known
