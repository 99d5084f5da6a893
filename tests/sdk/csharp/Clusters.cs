using System.Data;
using System.Diagnostics;
using Kusto.Data;
using Kusto.Data.Common;
using Kusto.Data.Net.Client;

// All tests share the clusters, and some need them for themselves.
[assembly: Xunit.CollectionBehavior(DisableTestParallelization = true)]

namespace Remora.Sdk;

/// <summary>What the tests share: where the clusters are, a table for each, waiting for the follower.</summary>
internal static class Clusters
{
    public const string Tenant = "adfs";
    public const string Application = "11111111-2222-3333-4444-555555555555";
    public const string Stranger = "99999999-2222-3333-4444-555555555555";
    public const string Key = "its-key";

    public static readonly string Leader = Needed("LEADER");
    public static readonly string Follower = Needed("FOLLOWER");
    public static readonly string Tight = Needed("TIGHT");
    public static readonly string Off = Needed("OFF");
    public static readonly string LeaderHttps = Needed("LEADER_HTTPS");
    public static readonly string FollowerHttps = Needed("FOLLOWER_HTTPS");
    public static readonly string Database = Needed("DATABASE");
    public static readonly string Folder = Needed("FOLDER");
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(
        double.Parse(Needed("PATIENCE_SECONDS"), System.Globalization.CultureInfo.InvariantCulture));

    private static string Needed(string name) =>
        Environment.GetEnvironmentVariable("REMORA_SDK_" + name)
        ?? throw new InvalidOperationException(
            $"the variable REMORA_SDK_{name} is not set: run these tests with tests/sdk/csharp/run.sh");

    public static KustoConnectionStringBuilder Keyed(string url, string id, string key) =>
        new KustoConnectionStringBuilder(url).WithAadApplicationKeyAuthentication(id, key, Tenant);

    public static List<object?[]> Rows(IDataReader reader)
    {
        var rows = new List<object?[]>();
        while (reader.Read())
        {
            var values = new object[reader.FieldCount];
            reader.GetValues(values);
            rows.Add(values.Select(value => value is DBNull ? null : value).ToArray());
        }
        return rows;
    }

    public static List<object?[]> Query(string url, string text, ClientRequestProperties? properties = null) =>
        Query(new KustoConnectionStringBuilder(url), text, properties);

    public static List<object?[]> Query(
        KustoConnectionStringBuilder builder, string text, ClientRequestProperties? properties = null)
    {
        using var client = KustoClientFactory.CreateCslQueryProvider(builder);
        using var reader = client.ExecuteQuery(Database, text, properties ?? new ClientRequestProperties());
        return Rows(reader);
    }

    public static List<object?[]> Command(string text, string? url = null, string? database = null)
    {
        using var client = KustoClientFactory.CreateCslAdminProvider(
            new KustoConnectionStringBuilder(url ?? Leader));
        using var reader = client.ExecuteControlCommand(database ?? Database, text);
        return Rows(reader);
    }

    /// <summary>A table of a new name on the leader, open to streaming.</summary>
    public static string Table(string schema)
    {
        var name = "T_" + Guid.NewGuid().ToString("N");
        Command($".create table {name} ({schema})");
        Command($".alter table {name} policy streamingingestion enable");
        return name;
    }

    /// <summary>The rows of a query on the follower, as soon as there are so many.</summary>
    public static List<object?[]> Followed(string text, int count)
    {
        var watch = Stopwatch.StartNew();
        Exception last;
        do
        {
            try
            {
                var rows = Query(Follower, text);
                if (rows.Count >= count)
                {
                    return rows;
                }
                last = new TimeoutException($"{rows.Count} of {count} rows on the follower");
            }
            catch (Kusto.Data.Exceptions.KustoException error)
            {
                last = error; // the table may not be there yet
            }
            Thread.Sleep(20); // who is looked at needs the processor too
        } while (watch.Elapsed < Patience);
        throw last;
    }
}
