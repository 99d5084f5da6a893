"""Signatures and keys that stand plainly in a text are in nothing that is kept of it."""

from __future__ import annotations

import pytest

from cluster.commands.credentials import holds_credential, without_credentials
from cluster.commands.interpreter import parse_command
from cluster.commands.lexer import fit_for_logs, without_secrets
from cluster.errors import RemoraError, SyntaxRefusedError
from cluster.limits import LIMITS

KEY = "k" * 86 + "=="
WHOLE = [
    f"https://a.blob.core.windows.net/c/b.csv?sv=2020&sig={KEY}",
    f"https://a.blob.core.windows.net/c/b.csv?sp=r&sig={KEY}&se=2030",
    f"https://a.blob.core.windows.net/c/b.csv;{KEY}",
    f"abfss://fs@a.dfs.core.windows.net/p;{KEY}",
    f"https://a.blob.core.windows.net/c/b.csv;token={KEY}",
    f"s3://bucket/p;AwsCredentials=AK,{KEY}",
    f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={KEY};EndpointSuffix=x",
    f"Endpoint=sb://n/;SharedAccessKeyName=n;SharedAccessKey={KEY}",
    f"BlobEndpoint=https://a/;SharedAccessSignature=sv=1&sig={KEY}",
    f"sig={KEY}",
    f"Data Source=https://c;AppKey={KEY}",
    f"Server=s;Password={KEY}",
    f"https://s3/b/k?X-Amz-Signature={KEY}&x=1",
]
HARMLESS = [
    "https://a.blob.core.windows.net/c/b.csv",
    "https://a.blob.core.windows.net/c/b.csv;impersonate",
    "https://a.blob.core.windows.net/c/b.csv;managed_identity=system",
    "&sig=",
    "design=1",
    "no token is here; none=0",
    f"{KEY}",
    "AccountKey",
    "T | extend sig=1, token=strcat(a), AccountKey=b | where password=='x'",
]


@pytest.mark.parametrize("text", WHOLE)
def test_what_is_a_credential(text):
    assert holds_credential(text)
    shown = without_credentials(text)
    assert KEY not in shown
    assert shown.startswith(text[: text.index(KEY)].removesuffix("AK,").removesuffix("sv=1&sig="))


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_none(text):
    assert not holds_credential(text)
    assert without_credentials(text) == text
    assert fit_for_logs(f'T | where a == "{text}"') == f'T | where a == "{text}"'


@pytest.mark.fidelity(
    "storage-connection-strings.md",
    "Obfuscated literals keep secrets out of traces",
    differs="Plain literals with a signature, key or token are masked too",
)
@pytest.mark.parametrize("text", WHOLE)
@pytest.mark.parametrize("quoted", ["'{}'", '"{}"', "@'{}'", "```{}```", "'' '{}'"])
def test_a_plain_literal_is_masked_as_an_obfuscated_one(text, quoted):
    literal = quoted.format(text)
    command = parse_command(f".ingest into table T ({literal})", LIMITS)
    assert command.text == ".ingest into table T (******)"
    assert command.values["sources"] == (text,), "it is read as it was"
    behind = parse_command(f".show tables | where TableName == {quoted.format(text)}", LIMITS)
    assert KEY not in behind.text
    assert KEY not in fit_for_logs(f"T | where url == {literal} | take 1")


@pytest.mark.parametrize("text", [text for text in WHOLE if ":" in text or ";" in text])
def test_outside_of_literals_only_the_value_is_hidden(text):
    data = f".ingest inline into table T <|\n1,{text}\n2,plain"
    shown = parse_command(data, LIMITS).text
    assert KEY not in shown
    assert shown.endswith("\n2,plain")
    assert KEY not in fit_for_logs(f"T // {text}")
    assert KEY not in fit_for_logs(f"T | where a == '{text}")


@pytest.mark.parametrize("text", WHOLE)
def test_errors_do_not_show_it(text):
    with pytest.raises(SyntaxRefusedError) as caught:
        parse_command(f".ingest into table T ('{text}') nonsense", LIMITS)
    assert KEY[:8] not in str(caught.value)
    with pytest.raises(SyntaxRefusedError) as caught:
        parse_command(f".create table T '{text}'", LIMITS)
    assert KEY[:8] not in str(caught.value)


def test_bodies_of_functions_stay_as_they_are():
    body = f"{{ T | where url == '{WHOLE[0]}' }}"
    assert without_secrets(body) == body


async def test_nothing_that_is_shown_has_it(world):
    url = WHOLE[0]
    await world.run(f".create function F() {{ print '{url}' }}")
    with pytest.raises(RemoraError):
        await world.run(f".drop table ['{url}']")
    with pytest.raises(RemoraError):
        await world.run(
            ".execute database script with (ThrowOnErrors=true) <|\n"
            f".create function G() {{ print '{url}' }}\n.create tab '{url}'"
        )
    for show in (".show commands", ".show journal", ".show operations"):
        shown = str(await world.run(show))
        assert KEY[:8] not in shown, show
    assert url in str(await world.run(".show functions")), "a function is no log"
