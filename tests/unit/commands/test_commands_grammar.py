"""The table of commands, whole: every form parses, declares its documented result, and is alone."""

from __future__ import annotations

import pytest

from cluster.catalog.model import Column, ScalarType
from cluster.commands.grammar import COMMANDS, Kind
from cluster.commands.interpreter import EntityName, parse_command
from cluster.commands.notation import display, parse_notation
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
    (".show table T policy streamingingestion", "show table policy", {"table": T}, ""),
    (".show table db.T policy streamingingestion", "show table policy", {"table": DB_T}, ""),
    (".show database policy streamingingestion", "show database policy", {}, ""),
    (
        ".show database D policy streamingingestion",
        "show database policy",
        {"database": "D"},
        "",
    ),
    (
        ".show database policy policy streamingingestion",
        "show database policy",
        {"database": "policy"},
        "",
    ),
    (".show cluster policy streamingingestion", "show cluster policy", {}, ""),
    (
        ".alter table T policy streamingingestion '{}'",
        "alter table policy",
        {"table": T, "policy": "{}"},
        "",
    ),
    (
        ".alter table db.T policy streamingingestion enable",
        "alter table policy",
        {"table": DB_T},
        "enable",
    ),
    (
        ".alter table T policy streamingingestion disable",
        "alter table policy",
        {"table": T},
        "disable",
    ),
    (
        ".alter database policy streamingingestion '{}'",
        "alter database policy",
        {"policy": "{}"},
        "",
    ),
    (
        ".alter database D policy streamingingestion '{}'",
        "alter database policy",
        {"database": "D", "policy": "{}"},
        "",
    ),
    (
        ".alter database policy streamingingestion enable",
        "alter database policy",
        {},
        "enable",
    ),
    (
        ".alter database D policy streamingingestion disable",
        "alter database policy",
        {"database": "D"},
        "disable",
    ),
    (
        ".alter-merge table T policy streamingingestion '{}'",
        "alter-merge table policy",
        {"table": T, "policy": "{}"},
        "",
    ),
    (
        ".alter-merge database policy streamingingestion '{}'",
        "alter-merge database policy",
        {"policy": "{}"},
        "",
    ),
    (
        ".alter-merge database D policy streamingingestion '{}'",
        "alter-merge database policy",
        {"database": "D", "policy": "{}"},
        "",
    ),
    (".delete table T policy streamingingestion", "delete table policy", {"table": T}, ""),
    (
        ".delete database D policy streamingingestion",
        "delete database policy",
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
    (".alter cluster policy streamingingestion enable", "policy of the whole cluster"),
    (".alter-merge cluster policy streamingingestion '{}'", "policy of the whole cluster"),
    (".delete cluster policy streamingingestion", "policy of the whole cluster"),
    (".show tables | count", "Piping the result"),
    (".show database policy streamingingestion | where Policy != 'null'", "Piping the result"),
]

POLICY_ROW = "PolicyName EntityName Policy ChildEntities EntityType"
SCHEMA_ROW = "TableName Schema DatabaseName Folder DocString"
DATABASE_ROW = (
    "DatabaseName PersistentStorage Version IsCurrent:bool DatabaseAccessMode PrettyName "
    "ReservedSlot1:bool DatabaseId:guid InTransitionTo"
)
RESULTS = {
    "show databases": DATABASE_ROW,
    "show database": DATABASE_ROW,
    "create database": "DatabaseName PersistentPath Created StoresMetadata:bool StoresData:bool",
    "create database persist": None,
    "create table": SCHEMA_ROW,
    "create-merge table": SCHEMA_ROW,
    "drop table": "TableName DatabaseName",
    "show tables": "TableName DatabaseName Folder DocString",
    "show table cslschema": SCHEMA_ROW,
    "show table schema as json": SCHEMA_ROW,
    "show table policy": POLICY_ROW,
    "show database policy": POLICY_ROW,
    "show cluster policy": POLICY_ROW,
    "alter table policy": POLICY_ROW,
    "alter database policy": POLICY_ROW,
    "alter-merge table policy": POLICY_ROW,
    "alter-merge database policy": POLICY_ROW,
    "delete table policy": POLICY_ROW,
    "delete database policy": POLICY_ROW,
    "alter cluster policy": None,
    "delete cluster policy": None,
    "clear table cache": "NodeId Status",
    "clear database cache": "NodeId Status",
    "show cluster": (
        "NodeId Address Name StartTime:datetime IsAdmin:bool MachineTotalMemory:long "
        "MachineAvailableMemory:long ProcessorCount:int EnvironmentDescription"
    ),
    "show version": "BuildVersion BuildTime:datetime ServiceType ProductVersion",
}


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


def test_the_forms_above_are_the_whole_table():
    tried = {name for _, name, _, _ in FORMS}
    assert tried == {spec.name for spec in COMMANDS if spec.kind is not Kind.REFUSE}
    assert tried == set(EXECUTORS)
    assert len({spec.name for spec in COMMANDS}) == len(COMMANDS)


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_declared_results_are_the_documented_ones(spec):
    documented = RESULTS[spec.name]
    if documented is None:
        assert spec.kind is Kind.REFUSE
        assert spec.refusal
        assert spec.columns == ()
    else:
        assert spec.columns == parse_schema(documented.replace(" ", ","))
    assert spec.permission


@pytest.mark.parametrize(("text", "name", "values", "words"), FORMS)
@pytest.mark.parametrize("cut", [1, 2])
def test_a_form_with_its_end_cut_off_is_another_form_or_refused(text, name, values, words, cut):
    shorter = " ".join(text.split()[:-cut])
    try:
        command = parse_command(shorter, LIMITS)
    except (SyntaxRefusedError, NotSupportedError):
        return
    assert command.text in {form[0] for form in FORMS}


@pytest.mark.parametrize(("text", "name", "values", "words"), FORMS)
def test_anything_after_a_form_is_refused(text, name, values, words):
    for more in (" frob", "; .show tables", ";;", " 1", " )"):
        with pytest.raises(SyntaxRefusedError):
            parse_command(text + more, LIMITS)


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
    assert display("a <b:name> [c | <d:string>]") == "a <b> [c | <d>]"
