"""Properties of ingestion commands: what is read, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cluster.batch.properties import (
    IngestionProperties,
    described,
    parse_properties,
    prefixed,
)
from cluster.errors import DuplicateMappingError, IngestionPropertyError


def test_without_properties_there_are_defaults():
    assert parse_properties(()) == IngestionProperties()


def test_everything_is_read_whatever_the_case_of_its_name():
    properties = parse_properties(
        [
            ("FORMAT", "JSON"),
            ("ingestionmappingreference", "m"),
            ("creationTime", "2026-01-31T12:00:00Z"),
            ("tags", '["drop-by:x", "a", "a"]'),
            ("ingestIfNotExists", '["one", "two"]'),
            ("ignoreFirstRecord", "True"),
            ("TreatGzAsUncompressed", True),
            ("distributed", "false"),
            ("persistDetails", "true"),
        ]
    )
    assert properties == IngestionProperties(
        format="json",
        mapping_reference="m",
        created_us=1_769_860_800_000_000,
        tags=("drop-by:x", "a"),
        ingest_if_not_exists=("one", "two"),
        ignore_first_record=True,
        keep_gzip=True,
        persist_details=True,
    )
    assert prefixed(properties.ingest_if_not_exists) == {"ingest-by:one", "ingest-by:two"}
    assert described(properties) == {
        "Format": "json",
        "IngestionMappingReference": "m",
        "Tags": ["drop-by:x", "a"],
        "IgnoreFirstRecord": True,
    }


def test_a_time_without_zone_is_utc_and_a_datetime_literal_passes():
    first = parse_properties([("creationTime", "2026-01-31")])
    second = parse_properties([("creationTime", datetime(2026, 1, 31, tzinfo=UTC))])
    assert first == second


def test_a_query_may_change_the_schema_and_describes_a_new_table():
    properties = parse_properties(
        [("extend_schema", "true"), ("folder", "f"), ("docstring", "d")], from_query=True
    )
    assert (properties.extend_schema, properties.folder, properties.docstring) == (True, "f", "d")


@pytest.mark.fidelity(
    "ingestion-properties.md",
    "Properties of the table of the page",
    differs="Those that would have no effect here are refused, not ignored",
)
@pytest.mark.parametrize(
    ("given", "from_query", "words"),
    [
        ([("colour", "x")], False, "There is no ingestion property 'colour'; there are format"),
        ([("zipPattern", "*.csv")], False, "'zipPattern' is not supported"),
        ([("validationpolicy", "{}")], True, "not one of this command"),
        ([("tags", "x")], False, "must be a JSON array of strings"),
        ([("tags", '[""]')], False, "must be a JSON array of strings"),
        ([("tags", "[1]")], False, "must be a JSON array of strings"),
        ([("tags", "[" * 100_000)], False, "must be a JSON array of strings"),
        ([("creationTime", "yesterday")], False, "must be an ISO 8601 time"),
        ([("creationTime", 5)], False, "must be an ISO 8601 time"),
        ([("ignoreFirstRecord", "maybe")], False, "must be true or false"),
        ([("format", 5)], False, "must be a string"),
        ([("format", "csv"), ("Format", "tsv")], False, "given twice"),
        ([("folder", "f")], False, "not one of this command"),
        ([("format", "csv")], True, "not one of this command"),
    ],
)
def test_what_cannot_be_honoured_is_refused(given, from_query, words):
    with pytest.raises(IngestionPropertyError, match=words):
        parse_properties(given, from_query=from_query)


@pytest.mark.fidelity(
    "ingestion-properties.md", "ingestionMapping with ingestionMappingReference is refused"
)
def test_two_mappings_are_one_too_many():
    with pytest.raises(DuplicateMappingError):
        parse_properties([("ingestionMapping", "[]"), ("ingestionMappingReference", "m")])


@pytest.mark.fidelity(
    "ingestion-properties.md",
    "validationPolicy says what is validated, and whether that fails",
    differs="One that would fail is refused by name; the others refuse nothing, as by default",
)
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"ValidationOptions": 1, "ValidationImplications": 1}',
        '{"ValidationOptions": 0, "ValidationImplications": 0}',
        '{"ValidationOptions": 2}',
        '{"ValidationOptions": "ValidateCsvInputConstantColumns"}',
        '{"ValidationImplications": "BestEffort"}',
        '{"ValidationOptions": "DoNotValidate", "ValidationImplications": "Fail"}',
    ],
)
def test_validation_policies_that_refuse_nothing_are_taken(text):
    assert parse_properties([("validationPolicy", text)]).validation_policy == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"ValidationOptions": 1, "ValidationImplications": 0}', "not supported by Remora"),
        ('{"ValidationOptions": 2, "ValidationImplications": "Fail"}', "not supported by Remora"),
        ('{"ValidationImplications": 0}', "ValidateCsvInputConstantColumns fails"),
        ('{"ValidationOptions": 3}', "must be one of"),
        ('{"ValidationOptions": -1}', "must be one of"),
        ('{"ValidationOptions": true}', "must be one of"),
        ('{"ValidationImplications": "Maybe"}', "must be one of"),
        ('{"Options": 1}', "must be a JSON object"),
        ("[]", "must be a JSON object"),
        ("{", "must be a JSON object"),
        (1, "must be a string"),
    ],
)
def test_validation_policies_that_would_fail_or_are_none_are_refused_by_name(text, why):
    with pytest.raises(IngestionPropertyError, match=why) as caught:
        parse_properties([("validationPolicy", text)])
    assert caught.value.metadata == {"property": "validationPolicy"}
