import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.microsoft.azure.kusto.data.Client;
import com.microsoft.azure.kusto.data.ClientFactory;
import com.microsoft.azure.kusto.data.ClientRequestProperties;
import com.microsoft.azure.kusto.data.KustoOperationResult;
import com.microsoft.azure.kusto.data.KustoResultSetTable;
import com.microsoft.azure.kusto.data.StreamingClient;
import com.microsoft.azure.kusto.data.auth.ConnectionStringBuilder;
import java.io.InputStream;
import java.math.BigDecimal;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class DataTest {
    private static String table;

    @BeforeAll
    static void threeRows() {
        table = Clusters.table("a: int, b: string");
        Clusters.command(".ingest inline into table " + table + " <|\n1,x\n2,y\n3,z");
        Clusters.followed(table, 3);
    }

    // sdk_call("java", "Client.executeQuery", "works", "several statements, several results")
    @Test
    void query() {
        KustoOperationResult answer = Clusters.follower.executeQuery(
                Clusters.DATABASE, table + " | order by a asc; " + table + " | count");
        List<List<List<Object>>> results = new ArrayList<>();
        for (KustoResultSetTable found : answer.getResultTables()) {
            if (found.getTableKind().name().equals("PrimaryResult")) {
                results.add(found.getData());
            }
        }
        assertEquals(
                List.of(List.of(List.of(1, "x"), List.of(2, "y"), List.of(3, "z")), List.of(List.of(3))),
                results);
    }

    // sdk_call("java", "Client.executeQueryAsync", "works")
    // sdk_call("java", "Client.executeMgmtAsync", "works")
    @Test
    void queriesThatAreNotWaitedFor() {
        KustoOperationResult answer = Clusters.follower
                .executeQueryAsync(Clusters.DATABASE, table + " | count")
                .zipWith(Clusters.follower.executeMgmtAsync(Clusters.DATABASE, ".show tables"))
                .block()
                .getT1();
        assertEquals(List.of(List.of(3)), answer.getPrimaryResults().getData());
    }

    // sdk_call("java", "Client.executeMgmt", "works", "commands, also followed by a query")
    @Test
    void command() {
        KustoOperationResult answer = Clusters.follower.executeMgmt(
                Clusters.DATABASE, ".show table " + table + " cslschema | project Schema");
        assertEquals(List.of(List.of("a:int,b:string")), answer.getPrimaryResults().getData());
    }

    // sdk_call("java", "Client.executeToJsonResult", "works")
    @Test
    void json() {
        String body = Clusters.follower.executeToJsonResult(
                Clusters.DATABASE, "print a = 1", new ClientRequestProperties());
        assertTrue(body.contains("\"TableKind\":\"PrimaryResult\""), body);
    }

    // sdk_call("java", "StreamingClient.executeStreamingQuery", "works", "the answer as it comes")
    @Test
    void streamingQuery() throws Exception {
        StreamingClient client =
                ClientFactory.createStreamingClient(new ConnectionStringBuilder(Clusters.FOLLOWER));
        try (InputStream body =
                client.executeStreamingQuery(Clusters.DATABASE, "range a from 1 to 20000 step 1")) {
            assertEquals(20000, new ObjectMapper().readTree(body).get(2).get("Rows").size());
        }
    }

    // sdk_call("java", "KustoResultSetTable", "works", "every type, and its null")
    @Test
    void types() {
        KustoResultSetTable row = Clusters.follower
                .executeQuery(Clusters.DATABASE, "print yes = true, small = int(-7), "
                        + "big = 9007199254740993, number = 1.5, exact = decimal(1.25), words = 'Ünï', "
                        + "at = datetime(2026-01-02 03:04:05.123456), took = 1.5h, "
                        + "id = guid(74be27de-1e4e-49d9-b579-fe0b331d3642), "
                        + "bag = dynamic({'k': [1]}), none = long(null)")
                .getPrimaryResults();
        assertTrue(row.next());
        assertTrue(row.getBoolean("yes"));
        assertEquals(-7, row.getInt("small"));
        assertEquals(9007199254740993L, row.getLong("big"));
        assertEquals(1.5, row.getDouble("number"));
        assertEquals(new BigDecimal("1.25"), row.getBigDecimal("exact"));
        assertEquals("Ünï", row.getString("words"));
        assertEquals(LocalDateTime.of(2026, 1, 2, 3, 4, 5, 123456000), row.getKustoDateTime("at"));
        assertEquals("01:30", row.getLocalTime("took").toString());
        assertEquals("74be27de-1e4e-49d9-b579-fe0b331d3642", row.getUUID("id").toString());
        assertEquals("{\"k\":[1]}", row.getJSONObject("bag").toString());
        assertEquals(null, row.getLongObject("none"));
    }

    // sdk_call("java", "ClientRequestProperties", "works", "parameters and options")
    @Test
    void parametersAndOptions() {
        ClientRequestProperties properties = new ClientRequestProperties();
        properties.setParameter("least", 2);
        properties.setParameter("name", "it's");
        properties.setParameter("id", UUID.fromString("74be27de-1e4e-49d9-b579-fe0b331d3642"));
        properties.setParameter("at", LocalDateTime.of(2026, 1, 2, 3, 4, 5));
        properties.setOption("query_take_max_records", 1);
        properties.setOption("unknown_to_everybody", true);
        properties.setTimeoutInMilliSec(90_000L);
        String request = "mine;" + UUID.randomUUID();
        properties.setClientRequestId(request);
        properties.setApplication("my-app");
        properties.setUser("me@example.org");
        KustoOperationResult answer = Clusters.follower.executeQuery(
                Clusters.DATABASE,
                "declare query_parameters(least: long, name: string, id: guid, at: datetime); "
                        + table + " | where a >= least | order by a asc | project a, name, id, at",
                properties);
        assertEquals(
                List.of(List.of(
                        2, "it's", "74be27de-1e4e-49d9-b579-fe0b331d3642", "2026-01-02T03:04:05.0000000Z")),
                answer.getPrimaryResults().getData());
        assertEquals(
                List.of(List.of("my-app", "me@example.org")),
                Clusters.follower
                        .executeMgmt(Clusters.DATABASE, ".show queries | where ClientActivityId == '"
                                + request + "' | project Application, User")
                        .getPrimaryResults()
                        .getData());
    }

    // sdk_call("java", "ConnectionStringBuilder", "works", "an address, a connection string")
    @Test
    void connectionStrings() {
        for (String text : List.of(
                Clusters.LEADER,
                Clusters.LEADER + "/",
                "Data Source=" + Clusters.LEADER + ";Initial Catalog=" + Clusters.DATABASE,
                "Data Source=" + Clusters.LEADER.replace("localhost", "127.0.0.1"))) {
            Client client = Clusters.connect(text);
            assertEquals(List.of(List.of(3)), Clusters.rows(client, table + " | count"), text);
        }
    }
}
