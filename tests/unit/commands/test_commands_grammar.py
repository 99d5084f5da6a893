"""The table of commands, whole: every form parses, declares its documented result, and is alone."""

from __future__ import annotations

import pytest
from command_examples import EXAMPLES
from documented_results import documented

from cluster.catalog.model import Column, ScalarType
from cluster.commands.grammar import COMMANDS, Kind
from cluster.commands.interpreter import Matcher, parse_command
from cluster.commands.names import EntityName
from cluster.commands.notation import display, openings, parse_notation
from cluster.commands.results import parse_schema
from cluster.commands.service import EXECUTORS
from cluster.errors import LimitExceededError, NotSupportedError, SyntaxRefusedError
from cluster.limits import LIMITS, Limits

T, DB_T = EntityName(None, "T"), EntityName("db", "T")
A = (Column("a", ScalarType.LONG),)

FORMS = [
    # text, command, values, keywords that tell forms apart
    (".show databases", "show databases", {}, ""),
    (".show cluster databases", "show databases", {}, "cluster"),
    (".show databases (D, ['E F'])", "show databases", {"databases": ("D", "E F")}, ""),
    (".show cluster databases (D)", "show databases", {"databases": ("D",)}, "cluster"),
    (".show database", "show database", {}, ""),
    (".create database D", "create database", {"database": "D"}, ""),
    (".create database D ifnotexists", "create database", {"database": "D"}, "ifnotexists"),
    (".create database D volatile", "create database", {"database": "D"}, "volatile"),
    (
        ".create database D volatile ifnotexists",
        "create database",
        {"database": "D"},
        "volatile ifnotexists",
    ),
    (".create table T (a:long)", "create table", {"table": "T", "columns": A}, ""),
    (
        ".create table ['T'] (a:long) with (docstring='d', folder=\"f\")",
        "create table",
        {"table": "T", "columns": A, "properties": (("docstring", "d"), ("folder", "f"))},
        "with",
    ),
    (".create-merge table T (a:long)", "create-merge table", {"table": "T", "columns": A}, ""),
    (
        ".create-merge table T (a:long) with (folder='f')",
        "create-merge table",
        {"table": "T", "columns": A, "properties": (("folder", "f"),)},
        "with",
    ),
    (".drop table T", "drop table", {"table": "T"}, ""),
    (".drop table T ifexists", "drop table", {"table": "T"}, "ifexists"),
    (".show tables", "show tables", {}, ""),
    (".show tables (T, U)", "show tables", {"tables": ("T", "U")}, ""),
    (".show table T cslschema", "show table cslschema", {"table": "T"}, "cslschema"),
    (".show table T kqlschema", "show table cslschema", {"table": "T"}, "kqlschema"),
    (".show table T schema as json", "show table schema as json", {"table": "T"}, ""),
    (
        ".show table T policy streamingingestion",
        "show table policy streamingingestion",
        {"table": T},
        "",
    ),
    (
        ".show table db.T policy streamingingestion",
        "show table policy streamingingestion",
        {"table": DB_T},
        "",
    ),
    (".show database policy streamingingestion", "show database policy streamingingestion", {}, ""),
    (
        ".show database D policy streamingingestion",
        "show database policy streamingingestion",
        {"database": "D"},
        "",
    ),
    (
        ".show database policy policy streamingingestion",
        "show database policy streamingingestion",
        {"database": "policy"},
        "",
    ),
    (".show cluster policy streamingingestion", "show cluster policy streamingingestion", {}, ""),
    (
        ".alter table T policy streamingingestion '{}'",
        "alter table policy streamingingestion",
        {"table": T, "policy": "{}"},
        "",
    ),
    (
        ".alter table db.T policy streamingingestion enable",
        "alter table policy streamingingestion",
        {"table": DB_T},
        "enable",
    ),
    (
        ".alter table T policy streamingingestion disable",
        "alter table policy streamingingestion",
        {"table": T},
        "disable",
    ),
    (
        ".alter database policy streamingingestion '{}'",
        "alter database policy streamingingestion",
        {"policy": "{}"},
        "",
    ),
    (
        ".alter database D policy streamingingestion '{}'",
        "alter database policy streamingingestion",
        {"database": "D", "policy": "{}"},
        "",
    ),
    (
        ".alter database policy streamingingestion enable",
        "alter database policy streamingingestion",
        {},
        "enable",
    ),
    (
        ".alter database D policy streamingingestion disable",
        "alter database policy streamingingestion",
        {"database": "D"},
        "disable",
    ),
    (
        ".alter-merge table T policy streamingingestion '{}'",
        "alter-merge table policy streamingingestion",
        {"table": T, "policy": "{}"},
        "",
    ),
    (
        ".alter-merge database policy streamingingestion '{}'",
        "alter-merge database policy streamingingestion",
        {"policy": "{}"},
        "",
    ),
    (
        ".alter-merge database D policy streamingingestion '{}'",
        "alter-merge database policy streamingingestion",
        {"database": "D", "policy": "{}"},
        "",
    ),
    (
        ".delete table T policy streamingingestion",
        "delete table policy streamingingestion",
        {"table": T},
        "",
    ),
    (
        ".delete database D policy streamingingestion",
        "delete database policy streamingingestion",
        {"database": "D"},
        "",
    ),
    (".clear table T cache streamingingestion schema", "clear table cache", {"table": "T"}, ""),
    (".clear database cache streamingingestion schema", "clear database cache", {}, ""),
    (".show cluster", "show cluster", {}, ""),
    (".show version", "show version", {}, ""),
]

REFUSED = [
    (".create database D persist ('path', @'other')", "data folder"),
    (".alter cluster policy streamingingestion '{}'", "policy of the whole cluster"),
    (".alter-merge cluster policy streamingingestion '{}'", "policy of the whole cluster"),
    (".delete cluster policy streamingingestion", "policy of the whole cluster"),
    (".show function F principals", "no principals of their own"),
    (".alter table T policy query_acceleration 'x'", "not kept here"),
    (".alter async materialized-view V on table T { T }", "materialized views"),
]


@pytest.mark.parametrize(("text", "name", "values", "words"), FORMS)
@pytest.mark.parametrize("ending", ["", ";", " ;\n", " // done"])
def test_every_form_parses(text, name, values, words, ending):
    command = parse_command(f"\n  // a comment\n{text}{ending}", LIMITS)
    assert command.spec.name == name
    assert command.values == values
    assert command.words >= set(words.split())


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_forms_that_are_known_but_refused(text, why):
    with pytest.raises(NotSupportedError, match=why):
        parse_command(text, LIMITS)


def test_every_form_has_an_executor_or_a_reason_and_a_name_of_its_own():
    run = {spec.name for spec in COMMANDS if spec.kind is not Kind.REFUSE}
    assert run == set(EXECUTORS)
    assert len({spec.name for spec in COMMANDS}) == len(COMMANDS)
    assert all(spec.refusal for spec in COMMANDS if spec.kind is Kind.REFUSE)


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_every_form_has_an_example_that_fits_it_alone(spec):
    text = EXAMPLES[spec.name]
    fitting = [other.name for other in COMMANDS if Matcher(text).first([other]) is not None]
    assert fitting == [spec.name]
    if spec.kind is Kind.REFUSE:
        with pytest.raises(NotSupportedError) as caught:
            parse_command(text, LIMITS)
        assert caught.value.message == (
            f"{spec.usage} is not supported by Remora: {spec.refusal} "
            f"(FIDELITY.md, row '{spec.name}')"
        )
        assert caught.value.metadata["fidelity_row"] == spec.name
    else:
        assert parse_command(text, LIMITS).spec is spec


@pytest.mark.fidelity(
    "published grammar",
    "Results have the documented columns in their order",
    differs=(
        "IngestIntoTable types Duration and HasErrors as its page does; .set calls "
        "CompressedSize as its page does"
    ),
)
@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_declared_results_are_the_documented_ones(spec):
    if spec.kind is Kind.REFUSE:
        assert spec.columns == ()
    else:
        assert spec.columns == parse_schema(documented(spec.name).replace(" ", ","))
    assert spec.permission


@pytest.mark.parametrize(("text", "name", "values", "words"), FORMS)
@pytest.mark.parametrize("cut", [1, 2])
def test_a_form_with_its_end_cut_off_is_another_form_or_refused(text, name, values, words, cut):
    shorter = " ".join(text.split()[:-cut])
    try:
        command = parse_command(shorter, LIMITS)
    except (SyntaxRefusedError, NotSupportedError):
        return
    whole = parse_command(text, LIMITS)
    assert (command.spec, command.values, command.words) != (whole.spec, whole.values, whole.words)


@pytest.mark.parametrize(("text", "name", "values", "words"), FORMS)
def test_anything_after_a_form_is_refused(text, name, values, words):
    for more in (" frob", "; .show tables", ";;", " 1", " )"):
        with pytest.raises(SyntaxRefusedError):
            parse_command(text + more, LIMITS)


def test_what_follows_a_pipe_is_kept_as_it_is():
    text = ".show tables | where TableName == ']{' | extend x = h'secret' // and | so on"
    command = parse_command(text, LIMITS)
    assert command.pipe == "| where TableName == ']{' | extend x = h'secret' // and | so on"
    assert command.text == text.replace("h'secret'", "******")
    assert parse_command(".show tables", LIMITS).pipe == ""


@pytest.mark.parametrize(
    ("written", "scalar"),
    [
        *((scalar.value, scalar) for scalar in ScalarType),
        ("boolean", ScalarType.BOOL),
        ("date", ScalarType.DATETIME),
        ("uuid", ScalarType.GUID),
        ("uniqueid", ScalarType.GUID),
        ("int32", ScalarType.INT),
        ("int64", ScalarType.LONG),
        ("double", ScalarType.REAL),
        ("time", ScalarType.TIMESPAN),
        ("System.SByte", ScalarType.BOOL),
        ("System.Boolean", ScalarType.BOOL),
        ("System.DateTime", ScalarType.DATETIME),
        ("System.Data.SqlTypes.SqlDecimal", ScalarType.DECIMAL),
        ("System.Object", ScalarType.DYNAMIC),
        ("System.Guid", ScalarType.GUID),
        ("System.Int32", ScalarType.INT),
        ("System.int", ScalarType.INT),
        ("System.Int64", ScalarType.LONG),
        ("System.Double", ScalarType.REAL),
        ("System.Single", ScalarType.REAL),
        ("System.String", ScalarType.STRING),
        ("System . TimeSpan", ScalarType.TIMESPAN),
    ],
)
def test_types_and_their_aliases(written, scalar):
    command = parse_command(f".create table T (['a b'] : {written}, c:int)", LIMITS)
    assert command.values["columns"] == (Column("a b", scalar), Column("c", ScalarType.INT))


@pytest.mark.parametrize(
    "written", ["float", "Long", "varchar", "System", "System.Frob", "Foo.Int32", "long.x", "", "1"]
)
def test_types_that_do_not_exist(written):
    with pytest.raises(SyntaxRefusedError, match="line 1, column 20: expected a scalar type"):
        parse_command(f".create table T (a:{written or ')'}", LIMITS)


@pytest.mark.parametrize(("size", "fits"), [(63, True), (64, True), (65, False)])
def test_limit_of_the_text_counts_bytes(size, fits):
    limits = Limits(command_text_bytes=64)
    text = ".show version //ä"
    text += "x" * (size - len(text.encode()))
    if fits:
        assert parse_command(text, limits).spec.name == "show version"
    else:
        with pytest.raises(LimitExceededError, match="65 bytes, the limit is 64"):
            parse_command(text, limits)


def test_secrets_stay_out_of_the_text_that_is_kept():
    command = parse_command(
        ".alter table T policy streamingingestion h'{\"a\":1}' // c\n  @'x' ;", LIMITS
    )
    assert command.values["policy"] == '{"a":1}x'
    assert command.text == ".alter table T policy streamingingestion ****** ;"


@pytest.mark.parametrize(
    "notation", ["show [", "show ]", "a (b | c", "a b)", "a | b", "<a>", "a [b)"]
)
def test_wrong_notation_is_refused_when_the_table_is_made(notation):
    with pytest.raises(ValueError, match="grammar"):
        parse_notation(notation)


def test_notation_as_people_read_it():
    assert display("a <b:name> [c '=' <d:string>]") == "a <b> [c = <d>]"


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("show tables", {("show", "tables")}),
        ("show [cluster] databases", {("show", "cluster"), ("show", "databases")}),
        ("(a | b) <c:name> d", {("a", None), ("b", None)}),
        ("a [b]", {("a", "b"), ("a", None)}),
        ("a '=' b", {("a", None)}),
    ],
)
def test_openings_of_a_form(notation, expected):
    assert openings(parse_notation(notation), 2) == expected
