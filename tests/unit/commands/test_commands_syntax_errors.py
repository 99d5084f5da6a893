"""What people read when a command does not parse: position, expectation, nearest form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.commands.grammar import COMMANDS, Kind
from cluster.commands.interpreter import parse_command
from cluster.commands.lexer import TokenKind, block_end, lex, masked, secrets_in
from cluster.commands.notation import openings
from cluster.errors import NotSupportedError, SyntaxRefusedError
from cluster.limits import LIMITS

ALTER_TABLE = ".alter table <table> policy streamingingestion (<policy> | enable | disable)"


def words_after(*before):
    """The words a command may go on with after these, as errors list them."""
    return frozenset(
        f"'{opening[-1]}'"
        for spec in COMMANDS
        if spec.kind is not Kind.REFUSE
        for opening in openings(spec.tree, len(before) + 1)
        if opening[:-1] == before and opening[-1] is not None
    )


def test_words_expected_first_are_those_of_the_table():
    for text, before in ((".", ()), (".shows tables", ()), (".show\n  tablets", ("show",))):
        with pytest.raises(SyntaxRefusedError) as caught:
            parse_command(text, LIMITS)
        expected = caught.value.metadata["expected"]
        assert frozenset(expected.replace(" or ", ", ").split(", ")) == words_after(*before)


KINDS = (
    "'streamingingestion', 'auto_delete', 'caching', 'encoding', 'extent_tags_retention', "
    "'ingestionbatching', 'ingestiontime', 'merge', 'partitioning', 'restricted_view_access', "
    "'retention', 'roworder', 'row_level_security', 'sharding' or 'update'"
)

GOLDEN = [
    ("", ("at line 1, column 1: expected a command, which starts with a dot, "
         "found the end of the command.")),
    ("T | count", "at line 1, column 1: expected a command, which starts with a dot, found 'T'."),
    (".alter table T policy streaming enable",
     (f"at line 1, column 23: expected {KINDS}, found 'streaming'. "
     f"The nearest command is: {ALTER_TABLE}")),
    (".alter table T policy streamingingestion {\"IsEnabled\": true}",
     ("at line 1, column 42: expected the policy as a quoted string, 'enable' or 'disable', "
     f"found '{{'. The nearest command is: {ALTER_TABLE}")),
    (".alter table T policy streamingingestion '{\"IsEnabled\": true}",
     ("at line 1, column 42: expected the policy as a quoted string, 'enable' or 'disable', "
     f"found a string that is never closed. The nearest command is: {ALTER_TABLE}")),
    (".alter table T policy streamingingestion '\\q'",
     ("at line 1, column 42: expected the policy as a quoted string, 'enable' or 'disable', "
     f"found a string with the unknown escape '\\q'. The nearest command is: {ALTER_TABLE}")),
    (".create table my-table (a:long)",
     ("at line 1, column 15: expected a table name (with dashes it is written ['my-table']), "
     "found 'my-table'. "
     "The nearest command is: .create table <table> <columns> [with <properties>]")),
    (".create table T ()",
     ("at line 1, column 18: expected a column name, found ')'. "
     "The nearest command is: .create table <table> <columns> [with <properties>]")),
    (".create table T (a:long",
     ("at line 1, column 24: expected ',' or ')', found the end of the command. "
     "The nearest command is: .create table <table> <columns> [with <properties>]")),
    (".create table ['T (a:long)",
     ("at line 1, column 16: expected a table name, found a string that is never closed. "
     "The nearest command is: .create table <table> <columns> [with <properties>]")),
    (".drop table T | count",
     ("at line 1, column 15: expected 'ifexists', the end of the command, 'columns', "
     "'ingestion', 'extent', 'admins' or 'ingestors', found '|'. "
     "The nearest command is: .drop table <table> [ifexists]")),
    (".delete database policy streamingingestion",
     ("at line 1, column 25: expected 'policy', found 'streamingingestion'. "
     "The nearest command is: .delete database <database> policy streamingingestion")),
    (".show tables \x07", ("at line 1, column 14: expected '(', the end of the command or "
                          "'details', found '\\x07'. "
                          "The nearest command is: .show tables [<tables>]")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (".", "line 1, column 2: expected .*, found the end of the command."),
        (".shows tables", "line 1, column 2: .*, found 'shows'. The nearest .*: .show tables"),
        (".show\n  tablets", "line 2, column 3: .* found 'tablets'. The nearest .*: .show tables"),
    ],
)
def test_where_any_command_could_begin(text, found):
    with pytest.raises(SyntaxRefusedError, match=found):
        parse_command(text, LIMITS)


@pytest.mark.parametrize(("text", "message"), GOLDEN)
def test_messages(text, message):
    with pytest.raises(SyntaxRefusedError) as caught:
        parse_command(text, LIMITS)
    assert caught.value.message.partition("\n")[0] == f"Syntax error {message}"


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        (".shows tables", ".shows", 1),
        (".show\n\ttablets | count", " tablets", 1),
        (".drop table T if exists", ".drop table T if", 14),
        (".show tables (T", ".show tables (T", 15),
        (
            ".create table T (a:long) with (folder=h'a secret', h'b')",
            ".create table T (a:long) with (folder=******, ******",
            46,
        ),
        (".alter table T policy retention h@'first\nsecond' frob", "****** frob", 7),
        (".alter table T policy retention h'open", ".alter table T policy retention", 32),
        (".create table ['" + 70 * "x" + "'] (a:frob)", "..." + 54 * "x" + "'] (a:frob", 63),
    ],
)
def test_a_caret_shows_where(text, line, column):
    with pytest.raises(SyntaxRefusedError) as caught:
        parse_command(text, LIMITS)
    assert caught.value.message.partition("\n")[2] == f"  {line}\n  {' ' * column}^"


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        (".crate table T (a:long)", ".create table <table> <columns>"),
        (".show datbasex", ".show database"),
        (".show ingestion failuresx", ".show ingestion failures"),
        (".alter table T policy stremingingestion enable", "policy streamingingestion"),
        (".dropp table T", ".drop table <table>"),
        (".SHOW TABLES", ".show tables"),
        (".execute datbasex script <| .drop table T", ".execute [database] script"),
    ],
)
def test_the_nearest_command_is_told(text, nearest):
    with pytest.raises(SyntaxRefusedError) as caught:
        parse_command(text, LIMITS)
    assert nearest in caught.value.message.partition("The nearest command is: ")[2]


def test_the_position_is_also_there_for_programs():
    with pytest.raises(SyntaxRefusedError) as caught:
        parse_command(".show tables\n  frob", LIMITS)
    assert caught.value.metadata["line"] == "2"
    assert caught.value.metadata["column"] == "3"


def test_long_and_secret_tokens_are_not_repeated():
    with pytest.raises(SyntaxRefusedError, match=r"found 'x{40}\.\.\.'"):
        parse_command(f".show {'x' * 1000}", LIMITS)
    with pytest.raises(SyntaxRefusedError) as caught:
        parse_command(".show h'secret'", LIMITS)
    assert "secret" not in str(caught.value)


STRINGS = [
    ("'a'", "a"),
    ('"a"', "a"),
    ("''", ""),
    (r"'a\'b\"c\\d\n\t\r\0'", "a'b\"c\\d\n\t\r\0"),
    (r"'\u00e4\x41\U0001F600'", "äA😀"),
    (r"'\ud83d\ude00'", "😀"),
    (r"@'a\nb''c'", r"a\nb'c"),
    (r'@"a""b"', 'a"b'),
    ("@'a\nb'", "a\nb"),
    ("```a'b\"\\n\nc```", "a'b\"\\n\nc"),
    ("h'a'", "a"),
    ("H@'a'", "a"),
    ("'a' \"b\"\n// comment\n@'c' ```d```", "abcd"),
    ("'a''b'", "ab"),
]


@pytest.mark.parametrize(("text", "value"), STRINGS)
def test_strings(text, value):
    token, end = lex(text)
    assert (token.kind, token.value, end.kind) == (TokenKind.STRING, value, TokenKind.END)


@pytest.mark.parametrize(
    "text",
    [
        "'a",
        "'a\nb'",
        "\"a'",
        "@'a''",
        "```a``",
        r"'\ud83d'",
        r"'\U00110000'",
        r"'\u12'",
        r"'\8'",
        "['a'",
        "[",
        "[a\nb]",
        "[h'a']",
        "[]",
    ],
)
def test_literals_that_cannot_be_read(text):
    token, end = lex(text)
    assert (token.kind, end.kind) == (TokenKind.INVALID, TokenKind.END)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("['a b']", [("BRACKETED", "a b")]),
        ('[ "a" ]', [("BRACKETED", "a")]),
        ("[@'a']", [("BRACKETED", "a")]),
        ("[My Table]", [("BRACKETED", "My Table")]),
        ("alter-merge", [("WORD", "alter-merge")]),
        ("größe_1", [("WORD", "größe_1")]),
        ("db.T", [("WORD", "db"), ("SYMBOL", "."), ("WORD", "T")]),
        ("-1 2.5e3", [("NUMBER", "-1"), ("NUMBER", "2.5e3")]),
        (
            "0f8fad5b-d9cb-469f-a165-70867728950e",
            [("GUID", "0f8fad5b-d9cb-469f-a165-70867728950e")],
        ),
        ("a // 'b\n c", [("WORD", "a"), ("WORD", "c")]),
        ("a | 'never lexed", [("WORD", "a"), ("PIPE", "|")]),
    ],
)
def test_other_tokens(text, tokens):
    assert [(token.kind.name, token.value) for token in lex(text)[:-1]] == tokens


pieces = st.sampled_from(
    sorted(
        {word for spec in COMMANDS for word in spec.usage.replace("<", " ").split()}
        | {"T", "'x'", '"', "'", "@'", "```", "h'a'", "[", "['a b']", "(a:long)", "(", ")", ","}
        | {"=", ":", ";", "|", "//", "\n", "\\", "-", "1", "System.Int32", "(folder='x')", "."}
    )
)
texts = (
    st.text(max_size=80)
    | st.lists(pieces, max_size=14).map(" ".join)
    | st.lists(pieces, max_size=14).map("".join)
)


@given(texts)
def test_no_text_raises_anything_untyped(text):
    for command in (text, f".{text}"):
        try:
            parse_command(command, LIMITS)
        except (SyntaxRefusedError, NotSupportedError):
            continue


@given(texts)
def test_tokens_are_in_order_and_cover_what_is_not_space_or_comment(text):
    tokens = lex(text)
    at = 0
    for token in tokens[:-1]:
        assert at <= token.start < token.end <= len(text)
        between = text[at : token.start]
        assert not between.strip() or "//" in between
        at = token.end
    assert tokens[-1].kind is TokenKind.END
    assert TokenKind.END not in [token.kind for token in tokens[:-1]]


@given(texts)
def test_masking_changes_nothing_without_secrets(text):
    secrets = secrets_in(text, 0, len(text))
    assert (masked(text, secrets) == text) is (not secrets)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("T | where a == h'x' // h'y'", "T | where a == ****** // h'y'"),
        ("path'x' 'h' H@\"a\"\"b\" h'it\\'s'", "path'x' 'h' ****** ******"),
        ("'// ' h'x'", "'// ' ******"),
        ("h'x' h'never closed", "****** ******"),
        ("T | where a == h@\"never closed ' ", "T | where a == ******"),
        ("path'never closed", "path'never closed"),
    ],
)
def test_secrets_in_text_that_is_not_lexed(text, shown):
    assert masked(text, secrets_in(text, 0, len(text))) == shown


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("{ a }b", 5),
        ("(a:long, T:(b:int))", 19),
        ("{ '}' \"}\" ```}``` // }\n }", 25),
        ("{ [ (1) ] }", 11),
        ("{ a", None),
        ("{ ) }", None),
        ("{ [ } ]", None),
        ("{ '}", None),
    ],
)
def test_where_a_block_ends(text, end):
    assert block_end(text, 0) == end


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_survives_as_verbatim_literal(text):
    doubled = text.replace("'", "''")
    (token, _) = lex(f"@'{doubled}'")
    assert token.value == text


@pytest.mark.parametrize("text", [".sho tables", "frob"])
def test_doors_say_the_remedy_once_before_the_caret(text):
    with pytest.raises(SyntaxRefusedError) as caught:
        parse_command(text, LIMITS)
    assert caught.value.remedy in caught.value.message
    assert caught.value.message.endswith("^")
