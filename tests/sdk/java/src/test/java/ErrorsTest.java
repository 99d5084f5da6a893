import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.microsoft.azure.kusto.data.Client;
import com.microsoft.azure.kusto.data.ClientRequestProperties;
import com.microsoft.azure.kusto.data.auth.ConnectionStringBuilder;
import com.microsoft.azure.kusto.data.exceptions.DataServiceException;
import com.microsoft.azure.kusto.data.exceptions.DataWebException;
import com.microsoft.azure.kusto.data.exceptions.KustoServiceQueryError;
import com.microsoft.azure.kusto.data.exceptions.ThrottleException;
import com.microsoft.azure.kusto.ingest.IngestClient;
import com.microsoft.azure.kusto.ingest.IngestClientFactory;
import com.microsoft.azure.kusto.ingest.IngestionMapping.IngestionMappingKind;
import com.microsoft.azure.kusto.ingest.IngestionProperties;
import com.microsoft.azure.kusto.ingest.IngestionProperties.DataFormat;
import com.microsoft.azure.kusto.ingest.exceptions.IngestionServiceException;
import com.microsoft.azure.kusto.ingest.source.StreamSourceInfo;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

class ErrorsTest {
    private static final String LONG = "range a from 1 to 100000 step 1 | extend k = 1"
            + " | join kind=inner (range b from 1 to 100000 step 1 | extend k = 1) on k"
            + " | summarize sum(a * b % 7)";

    private static void refused(String code, int status, boolean permanent, DataServiceException error) {
        DataWebException web = assertInstanceOf(DataWebException.class, error.getCause(), error.toString());
        assertEquals(code, web.getApiError().getCode());
        assertEquals(status, web.getStatusCode());
        assertEquals(permanent, error.isPermanent());
    }

    private static DataServiceException run(Client client, String database, String text) {
        return assertThrows(DataServiceException.class, () -> {
            if (text.startsWith(".")) {
                client.executeMgmt(database, text);
            } else {
                client.executeQuery(database, text);
            }
        }, text);
    }

    // sdk_call("java", "DataServiceException", "refused as documented", "status, code, permanent")
    // sdk_call("java", "DataWebException.getApiError", "refused as documented")
    @Test
    void whatIsWrongWithAText() {
        String table = Clusters.table("a: int");
        Clusters.followed(table + " | count", 1);
        Client client = Clusters.follower;
        String database = Clusters.DATABASE;
        DataServiceException semantic = run(client, database, "Nonexistent");
        refused("General_BadRequest", 400, true, semantic);
        assertTrue(semantic.toString().contains("Semantic error:")
                || semantic.getCause().toString().contains("Semantic error:"), semantic.toString());
        refused("General_BadRequest", 400, true, run(client, database, table + " | where nothing > 1"));
        refused("BadRequest_SyntaxError", 400, true, run(client, database, table + " | where"));
        refused("BadRequest_SyntaxError", 400, true, run(client, database, ".show nothing at all"));
        refused("BadRequest_TableNotExist", 400, true, run(client, database, ".show table Nonexistent"));
        refused("BadRequest_DatabaseNotExist", 400, true, run(client, "Nowhere", "print 1"));
        refused("Forbidden", 403, true, run(client, database, ".create table Other (a: int)"));
    }

    @Test
    void timeLimit() {
        String text = "set servertimeout = 1s; " + LONG;
        refused("Timeout", 504, false, run(Clusters.follower, Clusters.DATABASE, text));
    }

    // sdk_call("java", "KustoServiceQueryError", "refused as documented", "a result over its limits")
    @Test
    void aResultOverItsLimits() {
        DataServiceException error = assertThrows(DataServiceException.class, () -> Clusters.follower.executeQuery(
                Clusters.DATABASE, "set truncationmaxrecords = 2; range a from 1 to 5 step 1"));
        KustoServiceQueryError query = assertInstanceOf(KustoServiceQueryError.class, error.getCause());
        assertTrue(query.toString().contains("LimitsExceeded") || query.getMessage().contains("LimitsExceeded")
                || query.getExceptions().toString().contains("LimitsExceeded"), query.toString());
    }

    // sdk_call("java", "ThrottleException", "refused as documented", "too many queries at once")
    @Test
    void tooManyQueries() {
        Client client = Clusters.connect(Clusters.TIGHT);
        String database = "NetDefaultDB";
        List<String> requests = new ArrayList<>();
        List<CompletableFuture<Void>> running = new ArrayList<>();
        try {
            assertThrows(ThrottleException.class, () -> {
                for (int cores = 0; cores < 65; cores++) { // one a core is allowed
                    client.executeQuery(database, "print 1");
                    ClientRequestProperties properties = new ClientRequestProperties();
                    properties.setClientRequestId("java;" + UUID.randomUUID());
                    requests.add(properties.getClientRequestId());
                    running.add(CompletableFuture.runAsync(() -> assertThrows(
                            DataServiceException.class, () -> client.executeQuery(database, LONG, properties))));
                    while (!client.executeMgmt(database, ".show running queries")
                            .getPrimaryResults()
                            .getData()
                            .toString()
                            .contains(properties.getClientRequestId())) {
                        Clusters.pause();
                    }
                }
            });
        } finally {
            requests.forEach(request -> client.executeMgmt(database, ".cancel query '" + request + "'"));
            running.forEach(CompletableFuture::join);
        }
    }

    private static String streamed(String url, String table, String data, DataFormat format, String mapping)
            throws Exception {
        IngestionProperties properties = new IngestionProperties(Clusters.DATABASE, table);
        properties.setDataFormat(format);
        if (mapping != null) {
            properties.setIngestionMapping(mapping, IngestionMappingKind.JSON);
        }
        StreamSourceInfo source =
                new StreamSourceInfo(new ByteArrayInputStream(data.getBytes(StandardCharsets.UTF_8)));
        try (IngestClient client = IngestClientFactory.createStreamingIngestClient(new ConnectionStringBuilder(url))) {
            IngestionServiceException error = assertThrows(
                    IngestionServiceException.class, () -> client.ingestFromStream(source, properties));
            DataServiceException inner = assertInstanceOf(DataServiceException.class, error.getCause());
            return assertInstanceOf(DataWebException.class, inner.getCause(), inner.toString())
                    .getApiError()
                    .getCode();
        }
    }

    // sdk_call("java", "IngestionServiceException", "refused as documented", "streams: every code")
    @Test
    void streamsThatAreRefused() throws Exception {
        String table = Clusters.table("a: int, b: string");
        String closed = Clusters.table("a: int");
        Clusters.command(".alter table " + closed + " policy streamingingestion disable");
        String leader = Clusters.LEADER;
        assertEquals("BadRequest_TableNotExist", streamed(leader, "Nowhere", "1\n", DataFormat.CSV, null));
        assertEquals("BadRequest_StreamingIngestionPolicyNotEnabled",
                streamed(leader, closed, "1\n", DataFormat.CSV, null));
        assertEquals("Stream_ClosingQuoteMissing", streamed(leader, table, "1,\"x\n", DataFormat.CSV, null));
        assertEquals("BadRequest_MappingReferenceWasNotFound", streamed(leader, table, "{}", DataFormat.JSON, "M"));
        assertEquals("Stream_InputStreamTooLarge",
                streamed(leader, table, "1," + "x".repeat(4 << 20), DataFormat.CSV, null));
        assertEquals("Forbidden", streamed(Clusters.FOLLOWER, table, "1,x\n", DataFormat.CSV, null));
        assertEquals("NotFound_StreamingIngestionDisabledForCluster",
                streamed(Clusters.OFF, table, "1,x\n", DataFormat.CSV, null));
        assertEquals(List.of(List.of(0)), Clusters.followed(table + " | count", 1));
    }

    @Test
    void nobodyListens() {
        Client client = Clusters.connect("http://localhost:1");
        assertThrows(DataServiceException.class, () -> client.executeQuery(Clusters.DATABASE, "print 1"));
    }
}
