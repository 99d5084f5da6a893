using Kusto.Data;
using Kusto.Data.Common;
using Kusto.Data.Net.Client;
using Xunit;

namespace Remora.Sdk;

public class DataTests
{
    private static string ThreeRows()
    {
        var table = Clusters.Table("a: int, b: string");
        Clusters.Command($".ingest inline into table {table} <|\n1,x\n2,y\n3,z");
        Clusters.Followed(table, 3);
        return table;
    }

    // sdk_call("csharp", "ICslQueryProvider.ExecuteQuery", "not run: needs .NET", "several results")
    [Fact]
    public void Query()
    {
        var table = ThreeRows();
        using var client = KustoClientFactory.CreateCslQueryProvider(
            new KustoConnectionStringBuilder(Clusters.Follower));
        using var reader = client.ExecuteQuery(
            Clusters.Database, $"{table} | order by a asc; {table} | count", new ClientRequestProperties());
        Assert.Equal(
            new[] { new object[] { 1, "x" }, new object[] { 2, "y" }, new object[] { 3, "z" } },
            Clusters.Rows(reader));
        Assert.True(reader.NextResult());
        Assert.Equal(new[] { new object[] { 3L } }, Clusters.Rows(reader));
    }

    // sdk_call("csharp", "ICslQueryProvider.ExecuteQueryAsync", "not run: needs .NET")
    // sdk_call("csharp", "ICslAdminProvider.ExecuteControlCommandAsync", "not run: needs .NET")
    [Fact]
    public async Task NotWaitedFor()
    {
        var builder = new KustoConnectionStringBuilder(Clusters.Follower);
        using var client = KustoClientFactory.CreateCslQueryProvider(builder);
        using var answer = await client.ExecuteQueryAsync(
            Clusters.Database, "print a = 1", new ClientRequestProperties());
        Assert.Equal(new[] { new object[] { 1L } }, Clusters.Rows(answer));
        using var admin = KustoClientFactory.CreateCslAdminProvider(builder);
        using var shown = await admin.ExecuteControlCommandAsync(Clusters.Database, ".show tables");
        Assert.NotNull(Clusters.Rows(shown));
    }

    // sdk_call("csharp", "ICslAdminProvider.ExecuteControlCommand", "not run: needs .NET")
    // sdk_call("csharp", "CslCommandGenerator", "not run: needs .NET", "types by their .NET names")
    [Fact]
    public void Command()
    {
        var table = "T_" + Guid.NewGuid().ToString("N");
        Clusters.Command(CslCommandGenerator.GenerateTableCreateCommand(
            table, new[] { Tuple.Create("at", "System.DateTime"), Tuple.Create("name", "System.String") }));
        Clusters.Command(
            CslCommandGenerator.GenerateTableAlterStreamingIngestionPolicyCommand(table, isEnabled: true));
        Assert.Equal(
            new[] { new object[] { "at:datetime,name:string" } },
            Clusters.Command($".show table {table} cslschema | project Schema"));
    }

    // sdk_call("csharp", "IDataReader", "not run: needs .NET", "every type, and its null")
    [Fact]
    public void Types()
    {
        var row = Assert.Single(Clusters.Query(
            Clusters.Follower,
            "print yes = true, small = int(-7), big = 9007199254740993, number = 1.5, words = 'Ünï', "
                + "at = datetime(2026-01-02 03:04:05.123456), took = 1.5h, "
                + "id = guid(74be27de-1e4e-49d9-b579-fe0b331d3642), none = long(null)"));
        Assert.Equal(-7, row[1]);
        Assert.Equal(9007199254740993L, row[2]);
        Assert.Equal(1.5, row[3]);
        Assert.Equal("Ünï", row[4]);
        Assert.Equal(new DateTime(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc).AddTicks(1234560), row[5]);
        Assert.Equal(TimeSpan.FromMinutes(90), row[6]);
        Assert.Equal(Guid.Parse("74be27de-1e4e-49d9-b579-fe0b331d3642"), row[7]);
        Assert.Null(row[8]);
    }

    // sdk_call("csharp", "ClientRequestProperties", "not run: needs .NET", "parameters and options")
    [Fact]
    public void ParametersAndOptions()
    {
        var table = ThreeRows();
        var properties = new ClientRequestProperties
        {
            ClientRequestId = "mine;" + Guid.NewGuid(),
            Application = "my-app",
            User = "me@example.org",
        };
        properties.SetParameter("least", 2L);
        properties.SetParameter("name", "it's");
        properties.SetOption(ClientRequestProperties.OptionServerTimeout, TimeSpan.FromMinutes(1));
        properties.SetOption("query_take_max_records", 1);
        properties.SetOption("unknown_to_everybody", true);
        Assert.Equal(
            new[] { new object[] { 2, "it's" } },
            Clusters.Query(
                Clusters.Follower,
                "declare query_parameters(least: long, name: string); "
                    + $"{table} | where a >= least | order by a asc | project a, name",
                properties));
        Assert.Equal(
            new[] { new object[] { "my-app", "me@example.org" } },
            Clusters.Command(
                $".show queries | where ClientActivityId == '{properties.ClientRequestId}' "
                    + "| project Application, User",
                Clusters.Follower));
    }
}
