import com.microsoft.azure.kusto.data.Client;
import com.microsoft.azure.kusto.data.ClientFactory;
import com.microsoft.azure.kusto.data.auth.ConnectionStringBuilder;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.locks.LockSupport;

/** What the tests share: where the clusters are, a table for each test, waiting for the follower. */
final class Clusters {
    static final String TENANT = "adfs";
    static final String APPLICATION = "11111111-2222-3333-4444-555555555555";
    static final String STRANGER = "99999999-2222-3333-4444-555555555555";
    static final String KEY = "its-key";

    static final String LEADER = needed("LEADER");
    static final String FOLLOWER = needed("FOLLOWER");
    static final String TIGHT = needed("TIGHT");
    static final String OFF = needed("OFF");
    static final String LEADER_HTTPS = needed("LEADER_HTTPS");
    static final String FOLLOWER_HTTPS = needed("FOLLOWER_HTTPS");
    static final String DATABASE = needed("DATABASE");
    static final Path FOLDER = Path.of(needed("FOLDER"));
    private static final Duration PATIENCE =
            Duration.ofMillis((long) (1000 * Double.parseDouble(needed("PATIENCE_SECONDS"))));

    static final Client leader = connect(LEADER);
    static final Client follower = connect(FOLLOWER);

    private Clusters() {}

    private static String needed(String name) {
        String value = System.getenv("REMORA_SDK_" + name);
        if (value == null) {
            throw new IllegalStateException(
                    "the variable REMORA_SDK_" + name + " is not set: run these tests with scripts/test sdk");
        }
        return value;
    }

    static Client connect(String url) {
        return connect(new ConnectionStringBuilder(url));
    }

    static Client connect(ConnectionStringBuilder builder) {
        try {
            return ClientFactory.createClient(builder);
        } catch (java.net.URISyntaxException error) {
            throw new IllegalArgumentException(error);
        }
    }

    static ConnectionStringBuilder keyed(String url, String id, String key) {
        return ConnectionStringBuilder.createWithAadApplicationCredentials(url, id, key, TENANT);
    }

    static void command(String text) {
        leader.executeMgmt(DATABASE, text);
    }

    /** A table of a new name on the leader, open to streaming. */
    static String table(String schema) {
        return table(leader, DATABASE, schema);
    }

    static String table(Client client, String database, String schema) {
        String name = "T_" + UUID.randomUUID().toString().replace("-", "");
        client.executeMgmt(database, ".create table " + name + " (" + schema + ")");
        client.executeMgmt(database, ".alter table " + name + " policy streamingingestion enable");
        return name;
    }

    static List<List<Object>> rows(Client client, String query) {
        return client.executeQuery(DATABASE, query).getPrimaryResults().getData();
    }

    /** The rows of a query on the follower, as soon as there are so many. */
    static List<List<Object>> followed(String query, int count) {
        return shown(follower, DATABASE, query, count);
    }

    static List<List<Object>> shown(Client client, String database, String query, int count) {
        Instant end = Instant.now().plus(PATIENCE);
        RuntimeException last = null;
        do {
            try {
                List<List<Object>> rows =
                        client.executeQuery(database, query).getPrimaryResults().getData();
                if (rows.size() >= count) {
                    return rows;
                }
                last = new IllegalStateException(rows.size() + " of " + count + " rows");
            } catch (RuntimeException error) {
                last = error; // the table may not be there yet
            }
            pause();
        } while (Instant.now().isBefore(end));
        throw last;
    }

    /** Between two looks: who is looked at needs the processor too. */
    static void pause() {
        LockSupport.parkNanos(20_000_000);
    }

    static boolean isPast(Instant start) {
        return Instant.now().isAfter(start.plus(PATIENCE));
    }
}
