"""Policies, mappings, functions and names of a database."""

from __future__ import annotations

import pytest

from cluster.catalog.changes import (
    CreateTable,
    SetFunction,
    SetMapping,
    SetPolicy,
    SetPrettyName,
    apply,
)
from cluster.catalog.codec import decode_database, encode_database
from cluster.catalog.model import (
    Column,
    Database,
    Function,
    IngestionMapping,
    RowStoreKey,
    ScalarType,
)
from cluster.errors import (
    EntityNameError,
    EntityNotFoundError,
    InvalidRequestError,
    MappingNotFoundError,
    TableNotFoundError,
)
from cluster.limits import LIMITS

TREE = apply(
    Database("D", "guid"),
    [CreateTable("T", "id", RowStoreKey(1), (Column("a", ScalarType.LONG),))],
    LIMITS,
)
MAPPING = IngestionMapping("m", "csv", "[]", 5)
FUNCTION = Function("F", "(a:long)", "{ T | take a }", "folder", "what it does")


def run(*changes, tree=TREE):
    return apply(tree, changes, LIMITS)


@pytest.mark.parametrize("table", ["", "T"])
def test_policies_are_set_replaced_and_removed(table):
    def policies(tree):
        return tree.tables[table].policies if table else tree.policies

    tree = run(SetPolicy(table, "merge", "{}"), SetPolicy(table, "caching", "{}"))
    tree = run(SetPolicy(table, "merge", '{"a":1}'), tree=tree)
    assert policies(tree) == {"merge": '{"a":1}', "caching": "{}"}
    assert decode_database(encode_database(tree)) == tree
    tree = run(SetPolicy(table, "merge", None), SetPolicy(table, "update", None), tree=tree)
    assert policies(tree) == {"caching": "{}"}


@pytest.mark.fidelity(
    "streaming-ingestion-policy.md",
    "A table's streaming policy wins over its database's, in both directions",
)
def test_a_tables_policy_is_in_force_before_the_databases():
    tree = run(SetPolicy("", "merge", "{}"), SetPolicy("T", "caching", "{}"))
    assert tree.effective_policy(tree.tables["T"], "merge") == "{}"
    tree = run(SetPolicy("T", "merge", "[]"), tree=tree)
    assert tree.effective_policy(tree.tables["T"], "merge") == "[]"


@pytest.mark.parametrize("table", ["", "T"])
def test_mappings_are_told_apart_by_kind_and_name(table):
    def mappings(tree):
        return tree.tables[table].mappings if table else tree.mappings

    other = IngestionMapping("m", "json", "[]", 6)
    newer = IngestionMapping("m", "csv", "[1]", 7)
    tree = run(SetMapping(table, "csv", "m", MAPPING), SetMapping(table, "json", "m", other))
    tree = run(SetMapping(table, "csv", "m", newer), tree=tree)
    assert mappings(tree) == {("csv", "m"): newer, ("json", "m"): other}
    assert decode_database(encode_database(tree)) == tree
    assert mappings(run(SetMapping(table, "csv", "m", None), tree=tree)) == {("json", "m"): other}


def test_functions_and_the_pretty_name():
    tree = run(SetFunction("F", FUNCTION), SetPrettyName("Größe"))
    assert (tree.functions, tree.pretty_name) == ({"F": FUNCTION}, "Größe")
    assert decode_database(encode_database(tree)) == tree
    tree = run(SetFunction("F", None), SetPrettyName(""), tree=tree)
    assert (tree.functions, tree.pretty_name) == ({}, "")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (SetPolicy("U", "merge", "{}"), TableNotFoundError),
        (SetPolicy("T", "merge", "{"), InvalidRequestError),
        (SetPolicy("T", "merge", "[" * 99999), InvalidRequestError),
        (SetPolicy("T", "merge", '"\ud800"'), InvalidRequestError),
        (SetPolicy("T", "", "{}"), InvalidRequestError),
        (SetPolicy("T", "\ud800", "{}"), InvalidRequestError),
        (SetPolicy("T", "streamingingestion", "{}"), InvalidRequestError),
        (SetMapping("U", "csv", "m", MAPPING), TableNotFoundError),
        (SetMapping("T", "json", "m", MAPPING), InvalidRequestError),
        (SetMapping("T", "csv", "n", MAPPING), InvalidRequestError),
        (SetMapping("T", "protobuf", "m", MAPPING), InvalidRequestError),
        (SetMapping("T", "csv", "m", IngestionMapping("m", "csv", "[", 5)), InvalidRequestError),
        (SetMapping("T", "csv", "", IngestionMapping("", "csv", "[]", 5)), InvalidRequestError),
        (SetMapping("T", "csv", "m", None), MappingNotFoundError),
        (SetFunction("G", FUNCTION), InvalidRequestError),
        (SetFunction("G", None), EntityNotFoundError),
        (SetFunction("a/b", Function("a/b", "()", "{}")), EntityNameError),
        (SetFunction("F", Function("F", "()", "\ud800")), InvalidRequestError),
        (SetPrettyName("\ud800"), InvalidRequestError),
    ],
)
def test_refused(change, error):
    with pytest.raises(error):
        run(change)
