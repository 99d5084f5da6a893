using Kusto.Data;
using Kusto.Data.Common;
using Kusto.Data.Exceptions;
using Kusto.Ingest;
using Xunit;

namespace Remora.Sdk;

public class ErrorsTests
{
    private static KustoException Refused(Action action)
    {
        var error = Assert.ThrowsAny<KustoException>(action);
        return error;
    }

    // sdk_call("csharp", "KustoBadRequestException", "not run: needs .NET", "semantic, syntax, unknown names")
    [Theory]
    [InlineData("Nonexistent")]
    [InlineData("print 1 | where")]
    [InlineData(".show table Nonexistent details")]
    public void WhatIsWrongWithAText(string text)
    {
        var error = Refused(() => Clusters.Query(Clusters.Follower, text));
        Assert.IsAssignableFrom<KustoBadRequestException>(error);
        Assert.True(error.IsPermanent);
        Assert.Equal(400, error.FailureCode);
    }

    // sdk_call("csharp", "KustoRequestDeniedException", "not run: needs .NET", "a follower is read-only")
    [Fact]
    public void AFollowerIsReadOnly()
    {
        var error = Refused(() => Clusters.Command(".create table Other (a: int)", Clusters.Follower));
        Assert.Equal(403, error.FailureCode);
    }

    [Fact]
    public void TimeLimit()
    {
        var properties = new ClientRequestProperties();
        properties.SetOption(ClientRequestProperties.OptionServerTimeout, TimeSpan.FromSeconds(1));
        var error = Refused(() => Clusters.Query(
            Clusters.Follower,
            "range a from 1 to 100000 step 1 | extend k = 1 | join kind=inner (range b from 1 to 100000 "
                + "step 1 | extend k = 1) on k | summarize sum(a * b % 7)",
            properties));
        Assert.False(error.IsPermanent);
    }

    // sdk_call("csharp", "KustoServicePartialQueryFailureException", "not run: needs .NET", "a result over its limits")
    [Fact]
    public void AResultOverItsLimits() =>
        Assert.ThrowsAny<KustoServicePartialQueryFailureException>(() => Clusters.Query(
            Clusters.Follower, "set truncationmaxrecords = 2; range a from 1 to 5 step 1"));

    [Fact]
    public async Task AClusterWithoutStreaming()
    {
        using var client = KustoIngestFactory.CreateStreamingIngestClient(
            new KustoConnectionStringBuilder(Clusters.Off));
        await Assert.ThrowsAnyAsync<Exception>(() => client.IngestFromStreamAsync(
            new MemoryStream(new byte[] { 0x31, 0x0a }),
            new KustoIngestionProperties("NetDefaultDB", "T") { Format = DataSourceFormat.csv }));
    }

    // sdk_call("csharp", "WithAadApplicationKeyAuthentication", "not run: needs .NET", "over TLS, with tenant adfs")
    [Fact]
    public void ApplicationKey()
    {
        var builder = Clusters.Keyed(Clusters.FollowerHttps, Clusters.Application, Clusters.Key);
        Assert.Equal(
            new[] { new object[] { $"aadapp={Clusters.Application};{Clusters.Tenant}" } },
            Clusters.Query(builder, "print current_principal()"));
        var stranger = Clusters.Keyed(Clusters.FollowerHttps, Clusters.Stranger, Clusters.Key);
        Assert.Equal(403, Refused(() => Clusters.Query(stranger, "print 1")).FailureCode);
    }
}
