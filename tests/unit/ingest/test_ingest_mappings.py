"""Mappings: their forms, their paths, what is refused, and what ``.show`` prints."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.catalog.model import Column, ScalarType
from cluster.errors import MappingInconsistentError, MappingNotValidError
from cluster.ingest.mappings import (
    ColumnMapping,
    IngestionPlan,
    MappingKind,
    Transform,
    check_schema,
    identity_plan,
    parse_mapping,
    parse_path,
    path_text,
)

PEOPLE = (Column("name", ScalarType.STRING), Column("age", ScalarType.INT))


def one(kind: str, element: dict[str, Any]) -> ColumnMapping:
    """The only element of a mapping."""
    return parse_mapping(kind, json.dumps([element])).columns[0]


@pytest.mark.fidelity(
    "csv-mapping.md", "CSV elements have Ordinal or ConstValue, in old and new spelling"
)
@pytest.mark.parametrize(
    "element",
    [
        {"Column": "a", "Datatype": "int", "Properties": {"Ordinal": "3"}},
        {"column": "a", "DataType": "int", "properties": {"ordinal": 3}},
        {
            "COLUMN": "a",
            "datatype": "System.Int32",
            "Properties": {"ORDINAL": 3, "Transform": None},
        },
        {"Name": "a", "DataType": "int", "CsvDataType": None, "Ordinal": 3, "ConstValue": None},
        {"name": "a", "cslDataType": "int", "Ordinal": "3"},
    ],
)
def test_forms_of_a_csv_element(element: dict[str, Any]) -> None:
    assert one("csv", element) == ColumnMapping("a", ScalarType.INT, ordinal=3)


@pytest.mark.fidelity("json-mapping.md", "JSON elements have Path, in old and new spelling")
@pytest.mark.parametrize(
    ("kind", "element"),
    [
        ("json", {"column": "a", "Properties": {"Path": "$.x.y"}}),
        ("JSON", {"column": "a", "path": "$['x'][\"y\"]", "datatype": "", "transform": None}),
        ("avro", {"Column": "a", "Properties": {"Path": "$.x['y']", "Transform": ""}}),
    ],
)
def test_forms_of_a_json_element(kind: str, element: dict[str, Any]) -> None:
    assert one(kind, element) == ColumnMapping("a", path=("x", "y"))


@pytest.mark.parametrize(
    ("kind", "element", "expected"),
    [
        ("parquet", {"Field": "X y"}, {"path": ("X y",)}),
        ("w3clogfile", {"Field": "cs-uri"}, {"path": ("cs-uri",)}),
        ("json", {"Path": "$"}, {"path": ()}),
        ("json", {"Path": "fixed"}, {"constant": "fixed"}),
        ("json", {"ConstValue": 5}, {"constant": "5"}),
        ("csv", {"ConstValue": ""}, {"constant": ""}),
        ("csv", {"Transform": "sourcelocation"}, {"transform": Transform.SOURCE_LOCATION}),
        ("json", {"Path": "$", "Transform": "SourceLineNumber"},
         {"transform": Transform.SOURCE_LINE_NUMBER}),
        ("json", {"Path": "$", "Transform": "DropMappedFields"},
         {"path": (), "transform": Transform.DROP_MAPPED_FIELDS}),
        ("orc", {"Field": "t", "Transform": "DateTimeFromUnixNanoseconds"},
         {"path": ("t",), "transform": Transform.UNIX_NANOSECONDS}),
        ("avro", {"Field": "b", "Transform": "BytesAsBase64"},
         {"path": ("b",), "transform": Transform.BYTES_AS_BASE64}),
    ],
)  # fmt: skip
def test_properties(kind: str, element: dict[str, Any], expected: dict[str, Any]) -> None:
    assert one(kind, {"Column": "a", "Properties": element}) == ColumnMapping("a", **expected)


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("csv", "[", "not JSON"),
        ("csv", "{}", "JSON array"),
        ("csv", "[]", "JSON array"),
        ("csv", "[1]", "element 1"),
        ("csv", '[{"Ordinal": 1}]', "names no column"),
        ("csv", '[{"column": "a"}]', "column 'a'"),
        ("csv", '[{"column": "a", "Properties": 5}]', "Properties"),
        ("csv", '[{"column": "a", "Ordinal": -1}]', "ordinal"),
        ("csv", '[{"column": "a", "Ordinal": "x"}]', "ordinal"),
        ("csv", '[{"column": "a", "Ordinal": true}]', "ordinal"),
        ("csv", '[{"column": "a", "Ordinal": 100000}]', "over 99999"),
        ("csv", '[{"column": "a", "Ordinal": 1, "ConstValue": "x"}]', "not both"),
        ("csv", '[{"column": "a", "ConstValue": [1]}]', "single value"),
        ("csv", '[{"column": "a", "Path": "$.x"}]', "no property path"),
        ("csv", '[{"column": "a", "Ordinal": 0}, {"column": "a", "Ordinal": 1}]', "'a' twice"),
        ("csv", '[{"column": "a", "Column": "a", "Ordinal": 0}]', "'Column' twice"),
        ("csv", '[{"column": "a", "Ordinal": 0, "Colour": 1}]', "no key 'Colour'"),
        ("csv", '[{"column": "a", "datatype": "text", "Ordinal": 0}]', "'text' is not a type"),
        ("csv", '[{"column": "a", "Ordinal": 0, "Transform": "Upper"}]', "not a transformation"),
        ("csv", '[{"column": "a", "Ordinal": 0, "Transform": "BytesAsBase64"}]', "csv mapping"),
        ("json", '[{"column": "a", "Ordinal": 0}]', "no property ordinal"),
        ("json", '[{"column": "a", "Field": "x"}]', "no property field"),
        ("json", '[{"column": "a", "Path": "$.*"}]', "not understood"),
        ("json", '[{"column": "a", "Path": "$..x"}]', "not understood"),
        ("json", '[{"column": "a", "Path": "$.x[1:2]"}]', "not understood"),
        ("json", '[{"column": "a", "Path": "$.x[-1]"}]', "not understood"),
        ("json", '[{"column": "a", "Path": "@.x"}, {"column": "a", "Path": "$.x"}]', "twice"),
        ("avro", '[{"column": "a", "Field": "x", "Path": "$.x"}]', "not both"),
        ("w3clogfile", '[{"column": "a", "Field": "x", "Transform": "DropMappedFields"}]', "no"),
    ],
)
def test_refused(kind: str, text: str, words: str) -> None:
    with pytest.raises(MappingNotValidError, match=words) as caught:
        parse_mapping(kind, text)
    assert caught.value.code == "BadRequest_InvalidMapping"


NAMES = st.text(min_size=1, max_size=8) | st.sampled_from(["a.b", "it's", "a\\", '"', "]", "$"])


@given(st.lists(NAMES | st.integers(0, 999_999_999), max_size=5))
def test_a_path_is_read_as_it_is_written(steps: list[str | int]) -> None:
    path = tuple(steps)
    assert parse_path(path_text(path)) == path


def test_what_show_prints_of_csv() -> None:
    text = '[{"Column": "rownumber", "DataType": "int", "Properties": {"Ordinal": "0"}}]'
    shown = parse_mapping("csv", text).text
    assert json.loads(shown) == [
        {"Name": "rownumber", "DataType": "int", "CsvDataType": None, "Ordinal": 0,
         "ConstValue": None}
    ]  # fmt: skip


def test_what_show_prints_of_json() -> None:
    text = """[{"column": "rownumber", "Properties": {"Path": "$['rownumber']"}, "datatype": "int"},
               {"column": "rest", "path": "$.a[0]['b c']"}]"""
    assert json.loads(parse_mapping("json", text).text) == [
        {"Properties": {"Path": "$.rownumber"}, "column": "rownumber", "datatype": "int"},
        {"Properties": {"Path": "$.a[0]['b c']"}, "column": "rest", "datatype": ""},
    ]


@pytest.mark.parametrize("kind", list(MappingKind))
def test_what_is_shown_reads_as_the_same_mapping(kind: MappingKind) -> None:
    field: dict[str, Any] = {"ordinal": 2} if kind is MappingKind.CSV else {"path": ("x",)}
    plan = IngestionPlan(
        kind,
        (
            ColumnMapping("a", ScalarType.LONG, **field),
            ColumnMapping("b", constant="it's"),
            ColumnMapping("c", transform=Transform.SOURCE_LINE_NUMBER),
        ),
    )
    assert parse_mapping(kind, plan.text) == plan


def test_the_table_must_have_the_columns_with_their_types() -> None:
    check_schema(parse_mapping("csv", '[{"column": "age", "Ordinal": 0}]'), PEOPLE)
    unknown = parse_mapping("csv", '[{"column": "Age", "Ordinal": 0}]')
    with pytest.raises(MappingInconsistentError, match="mapping 'M' has column 'Age'"):
        check_schema(unknown, PEOPLE, "M")
    retyped = parse_mapping("csv", '[{"column": "age", "datatype": "long", "Ordinal": 0}]')
    with pytest.raises(MappingInconsistentError, match="is long, in the table it is int"):
        check_schema(retyped, PEOPLE)


@pytest.mark.fidelity("mappings.md", "Without a mapping fields go by position, or by exact name")
def test_identity_is_by_position_or_by_name() -> None:
    assert [item.ordinal for item in identity_plan(MappingKind.CSV, PEOPLE).columns] == [0, 1]
    assert [item.path for item in identity_plan(MappingKind.JSON, PEOPLE).columns] == [
        ("name",),
        ("age",),
    ]
