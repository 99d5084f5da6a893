"""Storage connection strings."""

from __future__ import annotations

import pytest

from cluster.batch.download import Downloads
from cluster.batch.sources import FileSource, ObjectSource, parse_source
from cluster.errors import InvalidRequestError, NotSupportedError, SourceNotFoundError
from cluster.limits import LIMITS


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("readings.csv", "readings.csv"),
        ("/data/in/readings.csv.gz", "/data/in/readings.csv.gz"),
        ("file:///data/in/a%20b.csv", "/data/in/a b.csv"),
    ],
)
def test_files(text, path):
    source = parse_source(text)
    assert isinstance(source, FileSource)
    assert source.path == path
    assert source.name == path.rpartition("/")[2]


BLOB = "https://acct.blob.core.windows.net/box/dir/f.csv.gz"
AZURITE = "http://127.0.0.1:10000/devstoreaccount1/box/dir/f.csv"
S3 = "https://bucket.s3.us-east-1.amazonaws.com/dir/f.json"


@pytest.mark.parametrize(
    ("text", "url", "key", "options"),
    [
        (BLOB, "az://box", "dir/f.csv.gz", {"account_name": "acct"}),
        (BLOB + ";a2V5", "az://box", "dir/f.csv.gz",
         {"account_name": "acct", "account_key": "a2V5"}),
        (BLOB + "?sv=1&sig=x", "az://box", "dir/f.csv.gz",
         {"account_name": "acct", "sas_key": "sv=1&sig=x"}),
        (AZURITE + ";a2V5", "az://box", "dir/f.csv",
         {"account_name": "devstoreaccount1", "account_key": "a2V5",
          "endpoint": "http://127.0.0.1:10000/devstoreaccount1"}),
        (S3, "s3://bucket", "dir/f.json", {"region": "us-east-1"}),
        (S3 + ";AwsCredentials=ID,SE/C=", "s3://bucket", "dir/f.json",
         {"region": "us-east-1", "access_key_id": "ID", "secret_access_key": "SE/C="}),
        ("http://127.0.0.1:5000/bucket/dir/f.csv;AwsCredentials=ID,SECRET", "s3://bucket",
         "dir/f.csv", {"region": "us-east-1", "access_key_id": "ID",
                       "secret_access_key": "SECRET", "endpoint": "http://127.0.0.1:5000"}),
        ("s3://bucket/dir/f.csv", "s3://bucket", "dir/f.csv", {}),
        ("https://example.org/dir/f.csv?v=1", "https://example.org", "dir/f.csv?v=1", {}),
        ("http://localhost:8000/f.csv", "http://localhost:8000", "f.csv", {}),
    ],
)  # fmt: skip
def test_objects(text, url, key, options):
    source = parse_source(text)
    assert isinstance(source, ObjectSource)
    assert (source.url, source.key, dict(source.options)) == (url, key, options)


@pytest.mark.parametrize("text", [BLOB + ";s3cr3t", BLOB + "?sig=s3cr3t",
                                  S3 + ";AwsCredentials=s3cr3t,s3cr3t"])  # fmt: skip
def test_credentials_are_never_shown(text):
    source = parse_source(text)
    assert "s3cr3t" not in repr(source)
    assert source.shown == text.partition(";")[0].partition("?")[0]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", InvalidRequestError, "is empty"),
        ("http://[zz]/f.csv", InvalidRequestError, "is not an address"),
        ("https://[::1/f.csv", InvalidRequestError, "is not an address"),
        (BLOB + ";impersonate", NotSupportedError, "identity"),
        (BLOB + ";managed_identity=system", NotSupportedError, "identity"),
        ("gs://bucket/f", NotSupportedError, "'gs' is not a scheme"),
        ("http://example.org/f.csv", InvalidRequestError, "only for this machine"),
        ("https://example.org/f.csv;key", InvalidRequestError, "only for Azure Blob and S3"),
        ("https://example.org/", InvalidRequestError, "names no object"),
        ("https://acct.blob.core.windows.net/box", InvalidRequestError, "a container and a blob"),
        ("s3://bucket", InvalidRequestError, "a bucket and an object"),
        (S3 + ";key", InvalidRequestError, "AwsCredentials=ID,SECRET"),
    ],
)
def test_what_cannot_be_read_is_refused(text, error, words):
    with pytest.raises(error, match=words):
        parse_source(text)


@pytest.mark.parametrize("path", ["nothing", "a.csv/below", "x" * 300, "a\0b", "loop", "."])
async def test_paths_of_no_file_are_told_as_such(tmp_path, path):
    (tmp_path / "a.csv").write_text("1\n")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    downloads = Downloads(folder=tmp_path, work=tmp_path / "work", limits=LIMITS)
    with pytest.raises(SourceNotFoundError):
        await downloads.get(FileSource(path, path), 1)
