import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.microsoft.azure.kusto.data.Client;
import com.microsoft.azure.kusto.data.auth.ConnectionStringBuilder;
import com.microsoft.azure.kusto.data.exceptions.DataClientException;
import com.microsoft.azure.kusto.data.exceptions.DataServiceException;
import com.microsoft.azure.kusto.ingest.IngestClient;
import com.microsoft.azure.kusto.ingest.IngestClientFactory;
import com.microsoft.azure.kusto.ingest.IngestionProperties;
import com.microsoft.azure.kusto.ingest.source.StreamSourceInfo;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Credentials. The machine that runs this trusts the clusters' authority: javax.net.ssl.trustStore. */
class IdentityTest {
    private static final List<List<Object>> ONE = List.of(List.of(1));

    private static Client keyed(String url, String id, String key) {
        return Clusters.connect(Clusters.keyed(url, id, key));
    }

    // sdk_call("java", "createWithAadApplicationCredentials", "works", "over TLS, with tenant adfs")
    @Test
    void applicationKey() throws Exception {
        String table = Clusters.table("a: int");
        ConnectionStringBuilder builder =
                Clusters.keyed(Clusters.LEADER_HTTPS, Clusters.APPLICATION, Clusters.KEY);
        try (IngestClient client = IngestClientFactory.createStreamingIngestClient(builder)) {
            client.ingestFromStream(
                    new StreamSourceInfo(new ByteArrayInputStream("1\n".getBytes(StandardCharsets.UTF_8))),
                    new IngestionProperties(Clusters.DATABASE, table));
        }
        Client follower = keyed(Clusters.FOLLOWER_HTTPS, Clusters.APPLICATION, Clusters.KEY);
        assertEquals(ONE, Clusters.shown(follower, Clusters.DATABASE, table, 1));
        assertEquals(
                List.of(List.of("aadapp=" + Clusters.APPLICATION + ";" + Clusters.TENANT)),
                Clusters.rows(follower, "print current_principal()"));
    }

    @Test
    void applicationThatMayNot() {
        String table = Clusters.table("a: int");
        Client stranger = keyed(Clusters.LEADER_HTTPS, Clusters.STRANGER, Clusters.KEY);
        DataServiceException error =
                assertThrows(DataServiceException.class, () -> Clusters.rows(stranger, table));
        assertEquals(403, error.getStatusCode());
    }

    @Test
    void wrongKey() {
        Client client = keyed(Clusters.LEADER_HTTPS, Clusters.APPLICATION, "another");
        assertThrows(DataClientException.class, () -> Clusters.rows(client, "print 1"));
    }

    // sdk_call("java", "createWithAadApplicationCredentials", "works", "http://localhost: the SDK sends none")
    @Test
    void keyThatIsNotSent() {
        for (String key : List.of(Clusters.KEY, "another")) {
            Client client = keyed(Clusters.LEADER, Clusters.APPLICATION, key);
            assertEquals(ONE, Clusters.rows(client, "print 1"));
        }
    }

    // At any other address it does get a token, and sends it in the clear.
    @Test
    void keyWithoutTls() {
        String url = Clusters.LEADER.replace("localhost", "127.0.0.1");
        assertEquals(
                List.of(List.of("aadapp=" + Clusters.APPLICATION + ";" + Clusters.TENANT)),
                Clusters.rows(keyed(url, Clusters.APPLICATION, Clusters.KEY), "print current_principal()"));
    }

    // sdk_call("java", "createWithAadAccessTokenAuthentication", "works", "over TLS")
    @Test
    void unknownToken() {
        Client client = Clusters.connect(
                ConnectionStringBuilder.createWithAadAccessTokenAuthentication(Clusters.LEADER_HTTPS, "opaque"));
        assertEquals(ONE, Clusters.rows(client, "print 1"));
    }
}
