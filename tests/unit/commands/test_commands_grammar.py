"""The table of commands, whole: every form parses, declares its documented result, and is alone."""

from __future__ import annotations

import pytest
from command_examples import EXAMPLES
from data_examples import DATA_RESULTS
from ingestion_examples import INGESTION_RESULTS

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
    (".show table T principals | count", "no principals"),
    (".alter table T policy row_level_security enable 'x'", "not kept here"),
    (".alter async materialized-view V on table T { T }", "materialized views"),
]

DATABASE_START = (
    "DatabaseName PersistentStorage Version IsCurrent:bool DatabaseAccessMode PrettyName"
)
DATABASE_END = "DatabaseId:guid InTransitionTo"
SIZES = (
    "{0}OriginalSize:real {0}ExtentSize:real {0}CompressedSize:real {0}IndexSize:real "
    "{0}RowCount:long"
)
DETAILS = (
    f"{DATABASE_START} AuthorizedPrincipals RetentionPolicy MergePolicy ReservedSlot1 "
    "CachingPolicy ShardingPolicy StreamingIngestionPolicy IngestionBatchingPolicy "
    f"TotalSize:real {DATABASE_END}"
)
DATABASE_POLICIES = (
    f"{DATABASE_START} DatabaseId:guid AuthorizedPrincipals RetentionPolicy MergePolicy "
    "CachingPolicy ShardingPolicy StreamingIngestionPolicy IngestionBatchingPolicy"
)
METADATA = "DatabaseName Version PersistentStorage MetadataPersistentStorage DatabaseAccessMode"
POLICY_ROW = "PolicyName EntityName Policy ChildEntities EntityType"
SCHEMA_ROW = "TableName Schema DatabaseName Folder DocString"
TABLE_ROW = "TableName DatabaseName Folder DocString"
REMAINING = "TableName DatabaseName"
COLUMN_ROW = "EntityName DataType Policy"
FUNCTION_ROW = "Name Parameters Body Folder DocString"
MAPPING_ROW = "Name Kind Mapping LastUpdatedOn:datetime Database"
DATABASE_ROW = f"{DATABASE_START} ReservedSlot1:bool {DATABASE_END}"
IDENTITY = f"{DATABASE_START} CurrentUserIsUnrestrictedViewer:bool {DATABASE_END}"
STATISTICS = f"{SIZES.format('')} {SIZES.format('Hot')}"
FLAT_ROW = (
    "DatabaseName TableName ColumnName ColumnType IsDefaultTable:bool IsDefaultColumn:bool "
    "PrettyName Version Folder DocString"
)
ENTITY_ROW = (
    "DatabaseName EntityType EntityName DocString Folder CslInputSchema Content CslOutputSchema "
    "Properties:dynamic"
)
TABLE_DETAILS = (
    f"{TABLE_ROW} TotalExtents:long TotalExtentSize:real TotalOriginalSize:real "
    "TotalRowCount:long HotExtents:long HotExtentSize:real HotOriginalSize:real HotRowCount:long "
    "AuthorizedPrincipals RetentionPolicy CachingPolicy ShardingPolicy MergePolicy "
    "StreamingIngestionPolicy IngestionBatchingPolicy MinExtentsCreationTime:datetime "
    "MaxExtentsCreationTime:datetime RowOrderPolicy TableId:guid"
)
JOURNAL_ROW = (
    "Event EventTimestamp:datetime Database EntityName UpdatedEntityName EntityVersion "
    "EntityContainerName OriginalEntityState UpdatedEntityState ChangeCommand Principal "
    "RootActivityId:guid ClientRequestId User OriginalEntityVersion"
)
RESULTS = {
    "show databases": DATABASE_ROW,
    "show databases details": DETAILS,
    "show databases identity": IDENTITY,
    "show databases policies": DATABASE_POLICIES,
    "show databases datastats": f"{DATABASE_START} DatabaseId:guid {STATISTICS}",
    "show databases metadata": METADATA,
    "show database": DATABASE_ROW,
    "show database details": DETAILS,
    "show database identity": IDENTITY,
    "show database policies": DATABASE_POLICIES,
    "show database datastats": (
        f"{DATABASE_START} CurrentUseIsUnrestrictedViewer:bool DatabaseId:guid {STATISTICS}"
    ),
    "show database metadata": METADATA,
    "create database": "DatabaseName PersistentPath Created StoresMetadata:bool StoresData:bool",
    "alter database prettyname": "DatabaseName PrettyName",
    "drop database prettyname": "DatabaseName PrettyName",
    "show database schema": FLAT_ROW,
    "show databases schema": FLAT_ROW,
    "show cluster schema": FLAT_ROW,
    "show database schema as json": "DatabaseSchema",
    "show databases schema as json": "DatabaseSchema",
    "show cluster schema as json": "DatabaseSchema",
    "show database schema as csl": "DatabaseSchemaScript",
    "show database cslschema": SCHEMA_ROW,
    "show databases entities": ENTITY_ROW,
    "show database entity": ENTITY_ROW,
    "show database schema violations": "EntityKind EntityName Property Reason",
    "create table": SCHEMA_ROW,
    "create tables": TABLE_ROW,
    "define table": SCHEMA_ROW,
    "define tables": TABLE_ROW,
    "create-merge table": SCHEMA_ROW,
    "create-merge tables": TABLE_ROW,
    "create table based-on": SCHEMA_ROW,
    "alter table": SCHEMA_ROW,
    "alter-merge table": SCHEMA_ROW,
    "alter table docstring": SCHEMA_ROW,
    "alter table folder": SCHEMA_ROW,
    "rename table": TABLE_ROW,
    "rename tables": TABLE_ROW,
    "drop table": REMAINING,
    "drop tables": REMAINING,
    "undo drop table": "ExtentId:guid NumberOfRecords:long Status FailureReason",
    "show tables": TABLE_ROW,
    "show tables details": TABLE_DETAILS,
    "show table": (
        "AttributeName AttributeType ExtentSize:long CompressionRatio:real IndexSize:long "
        "IndexSizePercent:real OriginalSize:long AttributeId:guid SharedIndexSize:long "
        "StorageEngineVersion"
    ),
    "show table details": TABLE_DETAILS,
    "show table cslschema": SCHEMA_ROW,
    "show table schema as json": SCHEMA_ROW,
    "alter column type": COLUMN_ROW,
    "rename column": COLUMN_ROW,
    "rename columns": COLUMN_ROW,
    "drop column": SCHEMA_ROW,
    "drop table columns": SCHEMA_ROW,
    "alter table column-docstrings": SCHEMA_ROW,
    "alter-merge table column-docstrings": SCHEMA_ROW,
    "show functions": FUNCTION_ROW,
    "show function": FUNCTION_ROW,
    "show function schema as json": SCHEMA_ROW.replace("TableName", "FunctionName"),
    "create function": FUNCTION_ROW,
    "create-or-alter function": FUNCTION_ROW,
    "alter function": FUNCTION_ROW,
    "alter function docstring": FUNCTION_ROW,
    "alter function folder": FUNCTION_ROW,
    "drop function": "Name",
    "drop functions": FUNCTION_ROW,
    "show mappings": f"{MAPPING_ROW} Table",
    "clear table cache": "NodeId Status",
    "clear database cache": "NodeId Status",
    "show cluster": (
        "NodeId Address Name StartTime:datetime IsAdmin:bool MachineTotalMemory:long "
        "MachineAvailableMemory:long ProcessorCount:int EnvironmentDescription"
    ),
    "show version": "BuildVersion BuildTime:datetime ServiceType ProductVersion",
    "show journal": JOURNAL_ROW,
    "show database journal": JOURNAL_ROW,
    "show cluster journal": JOURNAL_ROW,
    **DATA_RESULTS,
    **INGESTION_RESULTS,
}


def documented(name):
    if " policy " in name:
        return POLICY_ROW
    if " mapping" in name and name not in RESULTS:
        return f"{MAPPING_ROW} Table" if " table " in name else MAPPING_ROW
    return RESULTS[name]


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
        assert caught.value.message == f"{spec.usage}: {spec.refusal}"
    else:
        assert parse_command(text, LIMITS).spec is spec


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
