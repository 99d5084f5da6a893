using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using Kusto.Data;
using Kusto.Data.Common;
using Kusto.Ingest;
using Xunit;

namespace Remora.Sdk;

public class IngestTests
{
    private static KustoConnectionStringBuilder Leader => new(Clusters.Leader);

    private static MemoryStream Stream(string text) => new(Encoding.UTF8.GetBytes(text));

    private static KustoIngestionProperties Csv(string table) =>
        new(Clusters.Database, table) { Format = DataSourceFormat.csv };

    private static KustoQueuedIngestionProperties Reported(string table) =>
        new(Clusters.Database, table)
        {
            Format = DataSourceFormat.csv,
            FlushImmediately = true,
            ReportLevel = IngestionReportLevel.FailuresAndSuccesses,
            ReportMethod = IngestionReportMethod.Table,
        };

    /// <summary>The last status of what was queued.</summary>
    private static IngestionStatus End(IKustoIngestionResult result)
    {
        var end = DateTime.UtcNow + Clusters.Patience;
        while (true)
        {
            var status = result.GetIngestionStatusCollection().Single();
            if (status.Status != Status.Pending)
            {
                return status;
            }
            Assert.True(DateTime.UtcNow < end, "still pending");
            Thread.Sleep(20); // who is looked at needs the processor too
        }
    }

    // sdk_call("csharp", "CreateStreamingIngestClient", "not run: needs .NET", "stream and file")
    [Fact]
    public async Task Streaming()
    {
        var table = Clusters.Table("a: int, b: string");
        using var client = KustoIngestFactory.CreateStreamingIngestClient(Leader);
        await client.IngestFromStreamAsync(Stream("1,x\n"), Csv(table));
        var file = Path.Combine(Clusters.Folder, Guid.NewGuid() + ".csv.gz");
        using (var zipped = new GZipStream(File.Create(file), CompressionMode.Compress))
        {
            zipped.Write(Encoding.UTF8.GetBytes("2,y\n"));
        }
        await client.IngestFromStorageAsync(file, Csv(table));
        Assert.Equal(
            new[] { new object[] { 1, "x" }, new object[] { 2, "y" } },
            Clusters.Followed($"{table} | order by a asc", 2));
    }

    // sdk_call("csharp", "CreateManagedStreamingIngestClient", "not run: needs .NET", "streamed; queued over 4 MiB")
    [Fact]
    public async Task Managed()
    {
        var table = Clusters.Table("a: int, b: string");
        using var client = KustoIngestFactory.CreateManagedStreamingIngestClient(Leader, Leader);
        await client.IngestFromStreamAsync(Stream("1,x\n"), Csv(table));
        var large = new StringBuilder();
        for (var line = 0; line < 100; line++)
        {
            large.Append("2,").Append(Convert.ToHexString(RandomNumberGenerator.GetBytes(1 << 16))).Append('\n');
        }
        await client.IngestFromStreamAsync(Stream(large.ToString()), Reported(table));
        Assert.Equal(
            new[] { new object[] { 1, 1L }, new object[] { 2, 100L } },
            Clusters.Followed($"{table} | summarize count() by a | order by a asc", 2));
    }

    // sdk_call("csharp", "CreateQueuedIngestClient", "not run: needs .NET", "its end in the status table")
    [Fact]
    public async Task Queued()
    {
        var table = Clusters.Table("a: int, b: string");
        using var client = KustoIngestFactory.CreateQueuedIngestClient(Leader);
        Assert.Equal(
            Status.Succeeded,
            End(await client.IngestFromStreamAsync(Stream("1,x\n"), Reported(table))).Status);
        var wrong = Reported(table);
        wrong.IngestionMapping = new IngestionMapping
        {
            IngestionMappingReference = "Nowhere",
            IngestionMappingKind = Kusto.Data.Ingestion.IngestionMappingKind.Csv,
        };
        var failed = End(await client.IngestFromStreamAsync(Stream("2,y\n"), wrong));
        Assert.Equal(Status.Failed, failed.Status);
        Assert.Equal(FailureStatus.Permanent, failed.FailureStatus);
        Assert.Equal(new[] { new object[] { 1, "x" } }, Clusters.Followed(table, 1));
    }

    // sdk_call("csharp", "CreateDirectIngestClient", "not run: needs .NET", "the document's client")
    [Fact]
    public async Task Direct()
    {
        var table = Clusters.Table("a: int, b: string");
        using var client = KustoIngestFactory.CreateDirectIngestClient(Leader);
        await client.IngestFromStreamAsync(Stream("1,x\n"), Csv(table));
        Assert.Equal(new[] { new object[] { 1, "x" } }, Clusters.Followed(table, 1));
    }
}
