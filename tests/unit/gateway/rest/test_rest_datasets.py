"""Datasets as the SDKs read them, and as text where the order of names counts."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from azure.kusto.data._models import WellKnownDataSet
from azure.kusto.data.exceptions import KustoMultiApiError
from azure.kusto.data.response import (
    KustoResponseDataSetV1,
    KustoResponseDataSetV2,
    KustoStreamingResponseDataSet,
)
from azure.kusto.data.streaming_response import JsonTokenReader, StreamingDataSetEnumerator
from rest_values import ACTIVITY, FAILURE, dataset_of, result_of

from cluster.gateway.rest.dataset_v1 import encode_command_v1, encode_v1
from cluster.gateway.rest.dataset_v2 import Encoding, ErrorPlacement, Form, encode_v2

ONE = result_of(A=("int", [1, 2]))
OTHER = result_of(B=("string", ["x"]))
NOTHING = result_of(A=("int", []))
GO = Encoding(Form.FRAGMENTED, newlines=True, error_placement=ErrorPlacement.END_OF_TABLE)
FORMS = [Encoding(form) for form in Form]


def frames_of(*results, encoding=None, failure=None):
    dataset = dataset_of(*results, failure=failure)
    return json.loads(encode_v2(dataset, encoding or Encoding()))


# -- version 2 --------------------------------------------------------------------------------


@pytest.mark.fidelity(
    "rest/response-v2.md", "An answer is a header, properties, results, completion and an end frame"
)
def test_a_plain_dataset_is_whole_tables():
    header, properties, table, completion, end = frames_of(ONE)
    assert header == {"FrameType": "DataSetHeader", "IsProgressive": False, "Version": "v2.0"}
    assert properties["TableKind"] == "QueryProperties"
    assert [row[:2] for row in properties["Rows"]] == [[1, "Visualization"]]
    assert json.loads(properties["Rows"][0][2])["Ymin"] == "NaN"
    assert table == {
        "FrameType": "DataTable",
        "TableId": 1,
        "TableKind": "PrimaryResult",
        "TableName": "PrimaryResult",
        "Columns": [{"ColumnName": "A", "ColumnType": "int"}],
        "Rows": [[1], [2]],
    }
    assert completion["TableId"] == 2
    assert completion["Rows"][0] == [
        "2023-11-14T22:13:20.1234567Z", "KPC.execute;7", ACTIVITY, ACTIVITY, ACTIVITY,
        4, "Info", 0, "S_OK (0)", 4, "QueryInfo",
        '{"Count":1,"Text":"Query completed successfully"}',
    ]  # fmt: skip
    assert end == {"FrameType": "DataSetCompletion", "HasErrors": False, "Cancelled": False}


@pytest.mark.parametrize("encoding", FORMS)
def test_frame_type_is_the_first_name_of_every_frame(encoding):
    for frame in frames_of(ONE, OTHER, encoding=encoding, failure=FAILURE):
        assert next(iter(frame)) == "FrameType"


def test_statistics_are_those_of_the_request():
    (*_, completion, _) = frames_of(ONE, OTHER)
    told = completion["Rows"][1]
    assert told[5:11] == [6, "Stats", 0, "S_OK (0)", 0, "QueryResourceConsumption"]
    payload = json.loads(told[11])
    assert payload["ExecutionTime"] == 0.25
    assert payload["dataset_statistics"] == [
        {"table_row_count": 2, "table_size": ONE.table.nbytes},
        {"table_row_count": 1, "table_size": OTHER.table.nbytes},
    ]


def test_a_fragmented_dataset_is_line_by_line_what_the_go_client_reads():
    lines = encode_v2(dataset_of(ONE), GO).decode().split("\n")
    assert lines[0] == (
        '[{"FrameType":"DataSetHeader","IsProgressive":false,"Version":"v2.0",'
        '"IsFragmented":true,"ErrorReportingPlacement":"EndOfTable"}'
    )
    assert lines[1].startswith(
        ',{"FrameType":"DataTable","TableId":0,"TableKind":"QueryProperties",'
        '"TableName":"@ExtendedProperties","Columns":['
    )
    assert "\n".join(lines[2:5]) == (
        ',{"FrameType":"TableHeader","TableId":1,"TableKind":"PrimaryResult",'
        '"TableName":"PrimaryResult","Columns":[{"ColumnName":"A","ColumnType":"int"}]}\n'
        ',{"FrameType":"TableFragment","TableFragmentType":"DataAppend","TableId":1,'
        '"Rows":[[1],[2]]}\n'
        ',{"FrameType":"TableCompletion","TableId":1,"RowCount":2}'
    )
    assert lines[5].startswith(
        ',{"FrameType":"DataTable","TableId":2,"TableKind":"QueryCompletionInformation",'
        '"TableName":"QueryCompletionInformation","Columns":['
    )
    assert lines[6:] == [
        ',{"FrameType":"DataSetCompletion","HasErrors":false,"Cancelled":false}',
        "]",
    ]


def test_no_value_breaks_a_line():
    """The Go client takes a line for a frame."""
    odd = result_of(s=("string", ["a\nb\rc"]), d=("dynamic", ['{\n"a":"x\\ny"\r}']))
    lines = encode_v2(dataset_of(odd), GO).decode().splitlines()
    assert len(lines) == 8
    assert all(json.loads(line.lstrip("[,")) for line in lines[:-1])


def test_an_empty_result_has_a_header_and_a_completion_and_no_fragment():
    kinds = [frame["FrameType"] for frame in frames_of(NOTHING, encoding=GO)]
    assert kinds == [
        "DataSetHeader", "DataTable", "TableHeader", "TableCompletion", "DataTable",
        "DataSetCompletion",
    ]  # fmt: skip


@pytest.mark.fidelity("rest/response-v2.md", "Progressive answers have fragments and progress")
@pytest.mark.fidelity(
    "rest/response-v2.md",
    "Progressive results come in fragments with their progress",
    differs="An answer is whole before it is sent; clients that cannot read them get plain tables.",
)
def test_a_progressive_dataset_tells_its_progress():
    frames = frames_of(ONE, encoding=Encoding(Form.PROGRESSIVE))
    assert frames[0]["IsProgressive"] is True
    assert frames[3]["FieldCount"] == 1
    assert frames[4] == {"FrameType": "TableProgress", "TableId": 1, "TableProgress": 100}
    assert frames[5] == {"FrameType": "TableCompletion", "TableId": 1, "RowCount": 2}


def test_large_results_come_in_fragments():
    large = result_of(A=("int", range(70_000)))
    frames = frames_of(large, encoding=GO)
    counts = [len(f["Rows"]) for f in frames if f["FrameType"] == "TableFragment"]
    assert counts == [65_536, 4_464]
    assert frames_of(large)[2]["Rows"] == [[number] for number in range(70_000)]


@pytest.mark.parametrize(
    ("placement", "in_data", "at_end"),
    [
        (ErrorPlacement.IN_DATA, True, False),
        (ErrorPlacement.END_OF_TABLE, False, True),
        (ErrorPlacement.END_OF_DATASET, False, False),
    ],
)
def test_a_partial_failure_is_told_where_the_client_wants_it(placement, in_data, at_end):
    frames = frames_of(
        ONE, OTHER, encoding=Encoding(Form.FRAGMENTED, error_placement=placement), failure=FAILURE
    )
    errors = [{"error": FAILURE.error}]
    rows = [row for f in frames if f["FrameType"] == "TableFragment" for row in f["Rows"]]
    assert ({"OneApiErrors": errors} in rows) is in_data
    ends = [frame for frame in frames if frame["FrameType"] == "TableCompletion"]
    assert [frame.get("OneApiErrors") for frame in ends] == [None, errors if at_end else None]
    assert frames[-1] == {
        "FrameType": "DataSetCompletion",
        "HasErrors": True,
        "Cancelled": False,
        "OneApiErrors": errors,
    }


def test_python_raises_what_a_partial_failure_says():
    with pytest.raises(KustoMultiApiError) as raised:
        KustoResponseDataSetV2(frames_of(ONE, failure=FAILURE))
    (error,) = raised.value.get_api_errors()
    assert (error.code, error.permanent) == ("LimitsExceeded", False)


@pytest.mark.parametrize("results", [(ONE,), (ONE, OTHER), (NOTHING,)])
def test_python_reads_every_result_in_order(results):
    found = KustoResponseDataSetV2(frames_of(*results))
    assert [table.raw_rows for table in found.primary_results] == [
        [list(row.values()) for row in result.table.to_pylist()] for result in results
    ]
    assert found.errors_count == 0


def test_python_streams_the_same_tables():
    body = encode_v2(dataset_of(ONE, OTHER), Encoding())
    stream = KustoStreamingResponseDataSet(
        StreamingDataSetEnumerator(JsonTokenReader(io.BytesIO(body)))
    )
    found = [[list(row) for row in table] for table in stream.iter_primary_results()]
    assert found == [[[1], [2]], [["x"]]]
    assert (stream.finished, stream.errors_count) == (True, 0)


def test_render_and_cursor_are_extended_properties_of_their_results():
    drawn = replace(ONE, visualization={"Visualization": "linechart", "Title": "t"})
    seen = replace(OTHER, cursor="636")
    rows = frames_of(drawn, seen)[1]["Rows"]
    assert [row[:2] for row in rows] == [[1, "Visualization"], [2, "Visualization"], [2, "Cursor"]]
    chart = json.loads(rows[0][2])
    assert list(chart)[:3] == ["Visualization", "Title", "XColumn"]
    assert (chart["Visualization"], chart["Title"], chart["Kind"]) == ("linechart", "t", None)
    assert rows[2][2] == "636"


def test_a_result_with_a_name_has_it():
    assert frames_of(replace(ONE, name="first"))[2]["TableName"] == "first"


# -- version 1 --------------------------------------------------------------------------------


def test_a_command_is_one_table_as_text():
    assert encode_command_v1(dataset_of(OTHER)) == (
        b'{"Tables":[{"TableName":"Table_0","Columns":'
        b'[{"ColumnName":"B","DataType":"String","ColumnType":"string"}],"Rows":[["x"]]}]}'
    )


def test_the_data_types_are_those_of_the_contract():
    known = {
        "string": "String", "int": "Int32", "long": "Int64", "datetime": "DateTime",
        "bool": "SByte", "real": "Double", "dynamic": "Object", "guid": "Guid",
        "timespan": "TimeSpan", "decimal": "SqlDecimal",
    }  # fmt: skip
    dataset = dataset_of(result_of(**{kind: (kind, []) for kind in known}))
    (table,) = json.loads(encode_command_v1(dataset))["Tables"]
    assert table["Rows"] == []
    assert {c["ColumnType"]: c["DataType"] for c in table["Columns"]} == known


@pytest.mark.fidelity("rest/response.md", "The last of three or more tables is of contents")
@pytest.mark.parametrize("results", [(ONE,), (ONE, OTHER)])
def test_a_query_has_a_table_of_contents_last(results):
    body = json.loads(encode_v1(dataset_of(*results)))
    tables = body["Tables"]
    assert len(tables) == len(results) + 3
    assert [table["TableName"] for table in tables] == [f"Table_{i}" for i in range(len(tables))]
    contents = tables[-1]["Rows"]
    assert [row[:3] for row in contents] == [
        *([i, "QueryResult", "PrimaryResult"] for i in range(len(results))),
        [len(results), "QueryProperties", "@ExtendedProperties"],
        [len(results) + 1, "QueryStatus", "QueryStatus"],
    ]
    assert contents[-1][3] == "00000000-0000-0000-0000-000000000000"
    assert "Exceptions" not in body
    assert encode_v1(dataset_of(*results)) == encode_v1(dataset_of(*results))


def test_python_reads_a_version_1_query():
    found = KustoResponseDataSetV1(json.loads(encode_v1(dataset_of(ONE, OTHER))))
    assert [table.raw_rows for table in found.primary_results] == [[[1], [2]], [["x"]]]
    assert found.errors_count == 0
    kinds = [table.table_kind for table in found]
    assert kinds[2:] == [
        WellKnownDataSet.QueryProperties,
        WellKnownDataSet.QueryCompletionInformation,
        WellKnownDataSet.TableOfContents,
    ]


def test_properties_of_version_1_are_one_json_each():
    seen = replace(ONE, cursor="636")
    tables = json.loads(encode_v1(dataset_of(seen)))["Tables"]
    (chart,), (cursor,) = tables[1]["Rows"]
    assert json.loads(chart)["Visualization"] is None
    assert json.loads(cursor) == {"Cursor": "636"}


def test_a_partial_failure_of_version_1_is_in_data_status_and_exceptions():
    body = json.loads(encode_v1(dataset_of(NOTHING, failure=FAILURE)))
    assert body["Exceptions"] == ["too many rows"]
    assert body["Tables"][0]["Rows"] == [{"OneApiErrors": [{"error": FAILURE.error}]}]
    assert body["Tables"][2]["Rows"][0][1:5] == [2, "Error", -2133196797, "too many rows"]
