"""Rows of commands in extents: what is stored, what is refused, and that nothing is left behind."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import pytest
import trio
from batch_world import DATABASE, DAY_US, NOW_US, batch_world

from cluster.batch.sources import parse_source
from cluster.catalog.changes import (
    SetMapping,
    SetPolicy,
)
from cluster.catalog.model import Database, IngestionMapping
from cluster.errors import (
    CreationTimeError,
    DatabaseNotFoundError,
    DuplicateMappingError,
    FormatNotSupportedError,
    IngestionPropertyError,
    InvalidArchiveError,
    LimitExceededError,
    MappingNotFoundError,
    ReadOnlyError,
    SourceForbiddenError,
    SourceNotFoundError,
    TableNotFoundError,
)


@pytest.fixture
async def world(tmp_path):
    async with batch_world(tmp_path) as world:
        await world.create()
        yield world
        await world.assert_tidy()


def written(world, name, data):
    path = world.ingest_folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return parse_source(name)


def mapping(name, *columns):
    text = json.dumps([{"Column": c, "Properties": {"Ordinal": str(o)}} for c, o in columns])
    return IngestionMapping(name, "csv", text, 1)


# Inline


async def test_rows_of_the_command_are_durable_in_one_extent(world):
    (extent,) = await world.inline("1,one\n2,two\n")
    assert await world.rows() == [(1, "one"), (2, "two")]
    assert (extent.row_count, extent.original_bytes) == (2, 12)
    assert extent.file in await world.files()
    assert world.extents()[0].created_min_us == NOW_US
    (told,) = world.history.data_operations()
    assert (told.kind.value, told.table, told.row_count) == ("BatchIngest", "T", 2)
    assert world.batch.statistics().rows == 2


async def test_without_records_there_is_no_extent(world):
    assert await world.inline("\n\n") == ()
    assert world.extents() == []


async def test_streamed_and_ingested_rows_are_one_table(world):
    await world.stream((1, "streamed"))
    await world.inline("2,ingested")
    assert await world.rows() == [(1, "streamed"), (2, "ingested")]


@pytest.mark.fidelity(
    "ingestion-time-policy.md", "Ingestion time is measured just before the commit"
)
async def test_ingestion_time_is_of_the_commit_and_cursors_do_not_wait_for_the_work(world):
    seen = []

    async def before():
        world.clock.us += 5_000_000
        await world.stream((1, "meanwhile"))
        seen.append(world.row_stores.times.cursor_us())

    # The world's rows are already written when the transaction begins.
    world.store.before_commit = None
    real = world.batch._store._commit

    async def commit(*given):
        await before()
        return await real(*given)

    world.batch._store._commit = commit
    await world.inline("2,late")
    assert seen == [NOW_US + 5_000_000]
    ((time,),) = await world.query("T | where n == 2 | project ingestion_time()")
    assert time.timestamp() > 0
    assert world.extents()[0].ingested_min_us > seen[0]


async def test_without_the_policy_there_is_no_ingestion_time(world):
    await world.commit(SetPolicy("T", "ingestiontime", '{"IsEnabled": false}'))
    await world.inline("2,x")
    assert world.extents()[0].ingested_min_us is None
    assert await world.query("T | project ingestion_time()") == [(None,)]


# Sources and formats


@pytest.mark.fidelity("ingest-into-command.md", "All sources of a command become visible at once")
async def test_several_files_are_one_transaction(world):
    sources = [written(world, f"{n}.csv", f"{n},file\n") for n in range(5)]
    version = world.catalog.get(DATABASE).version
    extents = await world.ingest(*sources)
    assert sum(extent.row_count for extent in extents) == 5
    assert world.catalog.get(DATABASE).version.minor == version.minor + 1
    assert all((world.ingest_folder / f"{n}.csv").exists() for n in range(5))


async def test_one_bad_source_refuses_all(world):
    good = written(world, "good.csv", "1,a\n")
    bad = written(world, "bad.csv", '1,"never closed\n')
    with pytest.raises(Exception, match="quote"):
        await world.ingest(good, bad)
    assert await world.rows() == []
    failure = world.failure()
    assert failure.error_code == "Stream_ClosingQuoteMissing"
    assert (failure.source, failure.table) == ("good.csv, bad.csv", "T")
    assert failure.is_permanent
    assert failure.operation_id
    await world.assert_tidy()


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("csv", "1,a\n"),
        ("tsv", "1\ta\n"),
        ("psv", "1|a\n"),
        ("scsv", "1;a\n"),
        ("sohsv", "1\x01a\n"),
        ("tsve", "1\ta\n"),
        ("json", '{"n":1,"name":"a"}\n'),
        ("multijson", '[{"n":1,\n"name":"a"}]'),
        ("singlejson", '{"n":1,\n"name":"a"}'),
    ],
)
@pytest.mark.parametrize("archive", ["", ".gz", ".zip"])
async def test_text_formats_and_archives(world, kind, data, archive):
    content = data.encode()
    if archive == ".gz":
        content = gzip.compress(content)
    elif archive == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("one", content)
            file.writestr("two", content)
        content = buffer.getvalue()
    await world.ingest(written(world, f"f.{kind}{archive}", content), format=kind.upper())
    assert await world.rows() == [(1, "a")] * (2 if archive == ".zip" else 1)


async def test_gzip_kept_as_it_is_is_no_csv(world):
    source = written(world, "f.csv.gz", gzip.compress(b"1,a\n"))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - what is wrong first is chance
        await world.ingest(source, TreatGzAsUncompressed=True)
    assert caught.value.permanent
    assert await world.rows() == []


async def test_a_damaged_archive_is_refused(world):
    source = written(world, "f.csv.gz", gzip.compress(b"1,a\n" * 1000)[:-20])
    with pytest.raises(InvalidArchiveError):
        await world.ingest(source)
    assert await world.rows() == []


@pytest.mark.fidelity(
    "ingestion-properties.md", "ignoreFirstRecord leaves the first record of each source out"
)
async def test_the_first_record_of_each_source_is_left_out(world):
    sources = [written(world, f"{n}.csv", f"n,name\n{n},a\n") for n in (1, 2)]
    await world.ingest(*sources, ignoreFirstRecord=True)
    assert await world.rows() == [(1, "a"), (2, "a")]


async def test_mappings(world):
    await world.commit(
        SetMapping("", "csv", "M", mapping("M", ("n", 0), ("name", 1))),
        SetMapping("T", "csv", "M", mapping("M", ("n", 1), ("name", 0))),
        SetMapping("", "csv", "D", mapping("D", ("n", 0))),
    )
    await world.inline("one,1", ingestionMappingReference="M")  # the table's shadows
    await world.inline("2,two", ingestionMappingReference="D")
    inline = json.dumps([{"Column": "n", "Properties": {"ConstValue": "3"}}])
    await world.inline("x", ingestionMapping=inline)
    assert await world.rows() == [(1, "one"), (2, ""), (3, "")]
    with pytest.raises(MappingNotFoundError):
        await world.inline("1", ingestionMappingReference="None")
    with pytest.raises(DuplicateMappingError):
        await world.inline("1", ingestionMappingReference="M", ingestionMapping=inline)
    with pytest.raises(FormatNotSupportedError):
        await world.inline("1", format="frob")


async def test_files_outside_the_folder_are_forbidden(world, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("1,a\n")
    (world.ingest_folder / "link.csv").symlink_to(secret)
    for name in (str(secret), "../secret.csv", "link.csv", f"file://{secret}"):
        with pytest.raises(SourceForbiddenError):
            await world.ingest(parse_source(name))
    inside = written(world, "a.csv", "1,a\n")
    await world.ingest(inside, parse_source(f"file://{world.ingest_folder}/a.csv"))
    with pytest.raises(SourceNotFoundError):
        await world.ingest(inside, parse_source("none.csv"))
    with pytest.raises(SourceNotFoundError):
        await world.ingest(parse_source("."))
    assert len(await world.rows()) == 2
    assert world.failure().error_code == "Download_SourceNotFound"


# Properties


@pytest.mark.fidelity(
    "ingestion-properties.md", "tags and creationTime are those of the new extents"
)
async def test_tags_and_creation_time(world):
    created = NOW_US - 3 * DAY_US
    (extent,) = await world.inline(
        "1,a", tags='["drop-by:x", "blue"]', creationTime="2023-11-11T22:13:20Z"
    )
    assert extent.tags == ("drop-by:x", "blue")
    assert (extent.created_min_us, extent.created_max_us) == (created, created)


@pytest.mark.fidelity("ingestion-properties.md", "creationTime older than the retention is refused")
async def test_creation_time_longer_ago_than_data_is_kept(world):
    policy = {"SoftDeletePeriod": "10.00:00:00", "Recoverability": "Enabled"}
    await world.commit(SetPolicy("T", "retention", json.dumps(policy)))
    await world.inline("1,a", creationTime="2023-11-04T22:13:20Z")  # to the microsecond
    with pytest.raises(CreationTimeError):
        await world.inline("2,a", creationTime="2023-11-04T22:13:19.999999Z")
    assert await world.rows() == [(1, "a")]


@pytest.mark.fidelity(
    "extent-tags.md", "ingestIfNotExists ingests nothing if the table has the ingest-by tag"
)
async def test_what_was_ingested_is_not_ingested_again(world):
    given = {"tags": '["ingest-by:file-1"]', "ingestIfNotExists": '["file-1"]'}
    assert len(await world.inline("1,a", **given)) == 1
    assert await world.inline("1,a", **given) == ()
    assert len(await world.inline("2,b", ingestIfNotExists='["file-2"]')) == 1
    assert await world.rows() == [(1, "a"), (2, "b")]


async def test_of_two_racing_commands_one_ingests(world):
    given = {"tags": '["ingest-by:f"]', "ingestIfNotExists": '["f"]'}
    found = []

    async def ingest(number):
        found.append(len(await world.inline(f"{number},a", **given)))

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(ingest, number)
    assert sorted(found) == [0, 0, 0, 1]
    assert len(await world.rows()) == 1
    await world.assert_tidy()


async def test_properties_of_other_commands_are_refused(world):
    with pytest.raises(IngestionPropertyError):
        await world.inline("1,a", extend_schema=True)
    with pytest.raises(IngestionPropertyError):
        await world.from_query("append", "T", format="csv")


# Refusals at the door


async def test_unknown_names(world):
    with pytest.raises(TableNotFoundError):
        await world.inline("1,a", table="None")
    request = world.request()
    with pytest.raises(DatabaseNotFoundError):
        await world.batch.inline(request.__class__("None", "T", *_rest(request)), b"1,a")


def _rest(request):
    return request.properties, request.kind, request.text, request.operation_id


async def test_a_follower_database_is_read_only(world):
    tree = world.catalog.get(DATABASE)
    await world.catalog.install_snapshot(
        "Followed", "leader", "Followed", Database("Followed", tree.database_id, tables=tree.tables)
    )
    request = world.request()
    followed = request.__class__("Followed", "T", *_rest(request))
    with pytest.raises(ReadOnlyError):
        await world.batch.inline(followed, b"1,a")
    assert await world.files() == set()


# Limits


@pytest.mark.parametrize(("count", "fits"), [(2, True), (3, True), (4, False)])
async def test_limit_of_sources(tmp_path, count, fits):
    async with batch_world(tmp_path, ingest_sources=3) as world:
        await world.create()
        sources = [written(world, f"{n}.csv", "1,a\n") for n in range(count)]
        if fits:
            await world.ingest(*sources)
        else:
            with pytest.raises(LimitExceededError, match="limit is 3"):
                await world.ingest(*sources)
        assert len(await world.rows()) == (count if fits else 0)


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
async def test_limit_of_a_source(tmp_path, size, fits):
    async with batch_world(tmp_path, ingest_source_bytes=100) as world:
        await world.create()
        source = written(world, "f.csv", ("1," + "x" * size)[:size])
        if fits:
            await world.ingest(source)
        else:
            with pytest.raises(LimitExceededError, match="more than 100 bytes"):
                await world.ingest(source)
            assert world.failure().source == "f.csv"


@pytest.mark.fidelity("sharding-policy.md", "Extents end at the rows of the sharding policy")
async def test_extents_end_where_the_sharding_policy_says(world):
    policy = {"ShardEngineMaxRowCount": 100}
    await world.commit(SetPolicy("T", "sharding", json.dumps(policy)))
    extents = await world.inline("1,a\n" * 250)
    assert [extent.row_count for extent in extents] == [100, 100, 50]
    assert sum(extent.original_bytes for extent in extents) == 1000
