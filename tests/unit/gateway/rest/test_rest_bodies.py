"""What a request says, in every form an SDK sends it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rest_values import ACTIVITY, post

from cluster.errors import InvalidRequestError
from cluster.gateway.http.messages import HttpRequest
from cluster.gateway.rest.bodies import command_seconds, encoding_of, read_request
from cluster.gateway.rest.dataset_v2 import Encoding, ErrorPlacement, Form
from cluster.limits import LIMITS
from cluster.request import Caller, ClientRequest

CALLER = Caller("aadapp=1;2")
PATH = "/v2/rest/query"


def read(body: object, **headers: str):
    return read_request(post(PATH, body, **headers), CALLER)


def test_a_whole_request():
    asked = read(
        {
            "db": "Sales",
            "csl": "T | take 1",
            "properties": {
                "Options": {"servertimeout": "00:04:00", "additional": "additional"},
                "Parameters": {"n": "int(1)"},
            },
        },
        x_ms_client_request_id="KGC.execute;1",
        x_ms_app="app",
        x_ms_user="me",
        host="127.0.0.1:8080",
    )
    assert (asked.database, asked.text) == ("Sales", "T | take 1")
    assert asked.client == ClientRequest(
        CALLER,
        request_id="KGC.execute;1",
        activity_id=ACTIVITY,
        application="app",
        user="me",
        options={"servertimeout": "00:04:00", "additional": "additional"},
        parameters={"n": "int(1)"},
        origin="http://127.0.0.1:8080",
    )


@pytest.mark.fidelity("rest/request.md", "Properties of a request are JSON, or a text of it")
@pytest.mark.parametrize(
    "properties",
    [
        {"Options": {"notruncation": True}},  # Node, Go
        {"Options": {"notruncation": True}, "Parameters": None},  # Go
        '{"Options": {"notruncation": true}, "Parameters": {}}',  # Python, Java
        {"options": {"notruncation": True}},
    ],
)
def test_properties_are_an_object_or_its_text(properties):
    client = read({"db": "d", "csl": "T", "properties": properties}).client
    assert (client.options, client.parameters) == ({"notruncation": True}, {})


@pytest.mark.parametrize("more", [{}, {"properties": None}, {"properties": ""}, {"properties": {}}])
def test_properties_may_be_missing(more):
    client = read({"csl": "T", **more}).client
    assert (client.options, client.parameters, client.read_only) == ({}, {}, False)


@pytest.mark.parametrize("body", [{"csl": "T"}, {"csl": "T", "db": None}, {"csl": "T", "db": ""}])
def test_the_database_may_be_missing(body):
    assert read(body).database == ""


@pytest.mark.parametrize(
    "raw",
    [
        '{"csl":"print \'é\'"}'.encode(),
        b"\xef\xbb\xbf" + '{"csl":"print \'é\'"}'.encode(),
        '{"csl":"print \'é\'"}'.encode("utf-16"),
    ],
)
def test_a_byte_order_mark_tells_the_encoding(raw):
    assert read(raw).text == "print 'é'"


def test_the_charset_tells_the_encoding():
    raw = '{"csl":"print \'é\'"}'.encode("latin-1")
    assert read(raw, content_type='application/json; charset="ISO-8859-1"').text == "print 'é'"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff{", "not utf-8"),
        ({}, "'csl' is missing"),
        ({"csl": None}, "'csl' is missing"),
        ({"csl": " \n"}, "'csl' is missing"),
        ({"csl": 5}, "'csl' is missing"),
        ({"csl": "T", "db": 5}, "'db' is not a string"),
        ({"csl": "T", "properties": "{"}, "'properties' is not JSON"),
        ({"csl": "T", "properties": [1]}, "'properties' is not a JSON object"),
        ({"csl": "T", "properties": "5"}, "'properties' is not a JSON object"),
        ({"csl": "T", "properties": {"Options": 5}}, "'Options' is not a JSON object"),
        ({"csl": "T", "properties": {"Parameters": []}}, "'Parameters' is not a JSON object"),
    ],
)
def test_what_cannot_be_read_is_a_bad_request(body, words):
    with pytest.raises(InvalidRequestError, match=words):
        read(body)


def test_an_unknown_charset_is_a_bad_request():
    with pytest.raises(InvalidRequestError, match="'klingon'"):
        read({"csl": "T"}, content_type="application/json; charset=klingon")


@pytest.mark.parametrize(
    ("headers", "options", "read_only"),
    [
        ({}, {}, False),
        ({"x_ms_readonly": "true"}, {}, True),
        ({}, {"request_readonly": True}, True),
        ({}, {"request_readonly": "true"}, True),
        ({}, {"request_readonly": False}, False),
        ({}, {"request_readonly_hardline": True}, True),
        ({"x_ms_readonly": "true"}, {"request_readonly": False}, True),
    ],
)
def test_read_only_by_header_or_option(headers, options, read_only):
    client = read({"csl": "T", "properties": {"Options": options}}, **headers).client
    assert client.read_only is read_only


def test_a_get_has_the_same_names_and_may_only_read():
    query = {"db": "Sales", "csl": "T", "properties": json.dumps({"Options": {"a": 1}})}
    asked = read_request(HttpRequest("GET", PATH, query=query, activity_id=ACTIVITY), CALLER)
    assert (asked.database, asked.text, asked.client.options) == ("Sales", "T", {"a": 1})
    assert asked.client.read_only


def test_options_name_application_and_user():
    options = {"request_app_name": "mine", "request_user": "me"}
    client = read({"csl": "T", "properties": {"Options": options}}, x_ms_app="theirs").client
    assert (client.application, client.user) == ("mine", "me")


def test_the_properties_name_the_request_unless_the_header_does():
    body = {"csl": "T", "properties": {"ClientRequestId": "from properties"}}
    assert read(body).client.request_id == "from properties"
    assert read(body, x_ms_client_request_id="from header").client.request_id == "from header"


PYTHON = "Kusto.Python.Client:{6.0.4}"
PROGRESSIVE = {"results_progressive_enabled": True}
FRAGMENTED = {"results_v2_fragment_primary_tables": True}


@pytest.mark.parametrize(
    ("options", "version", "encoding"),
    [
        ({}, "", Encoding()),
        (PROGRESSIVE, "", Encoding(Form.PROGRESSIVE)),
        (PROGRESSIVE, "Kusto.Dotnet.Client:{13.0}", Encoding(Form.PROGRESSIVE)),
        (PROGRESSIVE, PYTHON, Encoding()),
        (PROGRESSIVE, "Kusto.Java.Client:{8.0.1}", Encoding()),
        (PROGRESSIVE, "Kusto.JavaScript.Client:{7.0.3}", Encoding()),
        (FRAGMENTED, PYTHON, Encoding(Form.FRAGMENTED)),
        ({**FRAGMENTED, **PROGRESSIVE}, "", Encoding(Form.FRAGMENTED)),
        ({"results_v2_fragment_primary_tables": "false"}, "", Encoding()),
        (
            {
                **FRAGMENTED,
                "results_v2_newlines_between_frames": True,
                "results_error_reporting_placement": "end_of_table",
            },
            "Kusto.Go.Client:{1.2.1}",
            Encoding(Form.FRAGMENTED, newlines=True, error_placement=ErrorPlacement.END_OF_TABLE),
        ),
        (
            {"results_error_reporting_placement": "end_of_dataset"},
            "",
            Encoding(error_placement=ErrorPlacement.END_OF_DATASET),
        ),
        ({"results_error_reporting_placement": "elsewhere"}, "", Encoding()),
        (
            {"deferpartialqueryfailures": True},
            "",
            Encoding(error_placement=ErrorPlacement.END_OF_DATASET),
        ),
    ],
)
def test_the_form_of_an_answer_is_what_the_client_asked_for_and_can_read(
    options, version, encoding
):
    client = replace(ClientRequest(CALLER), options=options)
    assert encoding_of(client, version) == encoding


@pytest.mark.fidelity(
    "set-timeout-limits.md", "Commands have 10 minutes, or servertimeout up to an hour"
)
@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 600.0),
        ({"servertimeout": "1:00:00"}, 3600.0),  # Python, for every command
        ({"servertimeout": "00:59:59"}, 3599.0),
        ({"servertimeout": "00:00:29.9999902"}, 29.9999902),  # Go
        ({"servertimeout": "02:00:00"}, 3600.0),
        ({"servertimeout": "00:01:00", "norequesttimeout": True}, 3600.0),
    ],
)
def test_how_long_a_command_may_take(options, seconds):
    client = replace(ClientRequest(CALLER), options=options)
    assert command_seconds(client, LIMITS) == pytest.approx(seconds)


def test_a_timeout_that_is_none_is_a_bad_request():
    client = replace(ClientRequest(CALLER), options={"servertimeout": "soon"})
    with pytest.raises(InvalidRequestError, match="'soon'"):
        command_seconds(client, LIMITS)
