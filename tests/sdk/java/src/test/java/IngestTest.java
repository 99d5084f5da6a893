import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.microsoft.azure.kusto.data.Client;
import com.microsoft.azure.kusto.data.auth.ConnectionStringBuilder;
import com.microsoft.azure.kusto.ingest.IngestClient;
import com.microsoft.azure.kusto.ingest.IngestClientFactory;
import com.microsoft.azure.kusto.ingest.IngestionMapping.IngestionMappingKind;
import com.microsoft.azure.kusto.ingest.IngestionProperties;
import com.microsoft.azure.kusto.ingest.IngestionProperties.DataFormat;
import com.microsoft.azure.kusto.ingest.IngestionProperties.IngestionReportLevel;
import com.microsoft.azure.kusto.ingest.IngestionProperties.IngestionReportMethod;
import com.microsoft.azure.kusto.ingest.result.IngestionResult;
import com.microsoft.azure.kusto.ingest.result.IngestionStatus;
import com.microsoft.azure.kusto.ingest.result.OperationStatus;
import com.microsoft.azure.kusto.ingest.source.CompressionType;
import com.microsoft.azure.kusto.ingest.source.FileSourceInfo;
import com.microsoft.azure.kusto.ingest.source.StreamSourceInfo;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Random;
import java.util.UUID;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;

class IngestTest {
    private static final String SCHEMA = "a: int, b: string";

    private static ConnectionStringBuilder address(String url) {
        return new ConnectionStringBuilder(url);
    }

    private static IngestionProperties csv(String table) {
        IngestionProperties properties = new IngestionProperties(Clusters.DATABASE, table);
        properties.setDataFormat(DataFormat.CSV);
        return properties;
    }

    /** Properties of what is queued: at once, its end told in the status table. */
    private static IngestionProperties reported(IngestionProperties properties) {
        properties.setFlushImmediately(true);
        properties.setReportLevel(IngestionReportLevel.FAILURES_AND_SUCCESSES);
        properties.setReportMethod(IngestionReportMethod.TABLE);
        return properties;
    }

    private static StreamSourceInfo stream(String text) {
        return new StreamSourceInfo(
                new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8)), false, UUID.randomUUID());
    }

    /** So many letters that no compression makes much smaller. */
    private static String noise(int length) {
        return new Random(7).ints(length, 'a', 'z' + 1)
                .collect(StringBuilder::new, StringBuilder::appendCodePoint, StringBuilder::append)
                .toString();
    }

    private static byte[] compressed(String text) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (GZIPOutputStream out = new GZIPOutputStream(bytes)) {
            out.write(text.getBytes(StandardCharsets.UTF_8));
        }
        return bytes.toByteArray();
    }

    private static FileSourceInfo file(String name, byte[] bytes) throws IOException {
        Path path = Clusters.FOLDER.resolve(UUID.randomUUID() + name);
        Files.write(path, bytes);
        return new FileSourceInfo(path.toString());
    }

    private static OperationStatus status(IngestionResult result) throws Exception {
        return result.getIngestionStatusCollection().get(0).status;
    }

    /** The last status of what was queued. */
    private static IngestionStatus end(IngestionResult result) throws Exception {
        Instant start = Instant.now();
        IngestionStatus found = result.getIngestionStatusCollection().get(0);
        while (found.status == OperationStatus.Pending) {
            assertFalse(Clusters.isPast(start), "still pending");
            Clusters.pause();
            found = result.getIngestionStatusCollection().get(0);
        }
        return found;
    }

    // sdk_call("java", "StreamingIngestClient.ingestFromStream", "works", "plain and gzip, CSV and JSON")
    // sdk_call("java", "StreamingIngestClient.ingestFromFile", "works", "plain and gzip")
    @Test
    void streaming() throws Exception {
        String table = Clusters.table(SCHEMA);
        Clusters.command(".create table " + table + " ingestion json mapping 'M' "
                + "'[{\"column\": \"a\", \"path\": \"$.n\"}, {\"column\": \"b\", \"path\": \"$.s\"}]'");
        try (IngestClient client = IngestClientFactory.createStreamingIngestClient(address(Clusters.LEADER))) {
            assertEquals(OperationStatus.Succeeded, status(client.ingestFromStream(stream("1,x\n"), csv(table))));
            StreamSourceInfo zipped = new StreamSourceInfo(new ByteArrayInputStream(compressed("2,y\n")));
            zipped.setCompressionType(CompressionType.gz);
            client.ingestFromStream(zipped, csv(table));
            client.ingestFromFile(file(".csv", "3,z\n".getBytes(StandardCharsets.UTF_8)), csv(table));
            client.ingestFromFile(file(".csv.gz", compressed("4,zz\n")), csv(table));
            IngestionProperties json = csv(table);
            json.setDataFormat(DataFormat.JSON);
            json.setIngestionMapping("M", IngestionMappingKind.JSON);
            client.ingestFromStream(stream("{\"n\": 5, \"s\": \"json\"}"), json);
        }
        assertEquals(
                List.of(List.of(1, "x"), List.of(2, "y"), List.of(3, "z"), List.of(4, "zz"), List.of(5, "json")),
                Clusters.followed(table + " | order by a asc", 5));
    }

    // sdk_call("java", "ManagedStreamingIngestClient.ingestFromStream", "works", "streamed; queued over 10 MiB")
    @Test
    void managed() throws Exception {
        String table = Clusters.table(SCHEMA);
        int lines = 168;
        String large = ("2," + noise(1 << 16) + "\n").repeat(lines); // 10.5 MiB
        try (IngestClient client = IngestClientFactory.createManagedStreamingIngestClient(
                address(Clusters.LEADER), address(Clusters.LEADER))) {
            assertEquals(OperationStatus.Succeeded, status(client.ingestFromStream(stream("1,x\n"), csv(table))));
            IngestionResult queued = client.ingestFromStream(stream(large), reported(csv(table)));
            assertEquals(OperationStatus.Succeeded, end(queued).status);
        }
        assertEquals(
                List.of(List.of(1, 1, 1), List.of(2, lines, lines << 16)),
                Clusters.followed(table + " | summarize count(), sum(strlen(b)) by a | order by a asc", 2));
    }

    // sdk_call("java", "ManagedStreamingIngestClient.ingestFromStream", "works", "queued after 3 failures")
    @Test
    void managedQueuesWhatFailsThreeTimes() throws Exception {
        // The row store of this cluster has no room for it, and says that it is for now.
        String database = "NetDefaultDB";
        Client tight = Clusters.connect(Clusters.TIGHT);
        String table = Clusters.table(tight, database, "a: string");
        IngestionProperties properties = reported(new IngestionProperties(database, table));
        properties.setDataFormat(DataFormat.TXT);
        try (IngestClient client = IngestClientFactory.createManagedStreamingIngestClient(
                address(Clusters.TIGHT), address(Clusters.TIGHT))) {
            IngestionResult result = client.ingestFromStream(stream(noise(100_000)), properties);
            assertEquals(OperationStatus.Succeeded, end(result).status);
        }
        assertEquals(List.of(List.of(1)), Clusters.shown(tight, database, table + " | count", 1));
    }

    // sdk_call("java", "QueuedIngestClient.ingestFromStream", "works", "its end in the status table")
    // sdk_call("java", "QueuedIngestClient.ingestFromFile", "works", "plain and gzip")
    // sdk_call("java", "IngestionResult.getIngestionStatusCollection", "works", "pending, succeeded, failed")
    @Test
    void queued() throws Exception {
        String table = Clusters.table(SCHEMA);
        try (IngestClient client = IngestClientFactory.createClient(address(Clusters.LEADER))) {
            IngestionProperties unreported = csv(table);
            unreported.setFlushImmediately(true);
            assertEquals(OperationStatus.Queued, status(client.ingestFromStream(stream("1,x\n"), unreported)));
            IngestionResult[] results = {
                client.ingestFromStream(stream("2,y\n"), reported(csv(table))),
                client.ingestFromFile(
                        file(".csv", "3,z\n".getBytes(StandardCharsets.UTF_8)), reported(csv(table))),
                client.ingestFromFile(file(".csv.gz", compressed("4,zz\n")), reported(csv(table))),
            };
            IngestionProperties wrong = reported(csv(table));
            wrong.setIngestionMapping("Nowhere", IngestionMappingKind.CSV);
            IngestionStatus failed = end(client.ingestFromStream(stream("5,no\n"), wrong));
            assertEquals(OperationStatus.Failed, failed.status);
            assertEquals("Permanent", failed.getFailureStatus());
            assertEquals("BadRequest_MappingReferenceWasNotFound", failed.errorCodeString);
            for (IngestionResult result : results) {
                IngestionStatus found = end(result);
                assertEquals(OperationStatus.Succeeded, found.status, found.details);
                assertEquals(Clusters.DATABASE, found.database);
                assertEquals(table, found.table);
            }
        }
        assertEquals(
                List.of(List.of(1, "x"), List.of(2, "y"), List.of(3, "z"), List.of(4, "zz")),
                Clusters.followed(table + " | order by a asc", 4));
    }

    // sdk_call("java", "QueuedIngestClient.ingestFromFile", "works", "127.0.0.1 without endpoint correction")
    @Test
    void queuedAtAnAddress() throws Exception {
        String table = Clusters.table(SCHEMA);
        String url = Clusters.LEADER.replace("localhost", "127.0.0.1");
        try (IngestClient client = IngestClientFactory.createClient(address(url), null, false)) {
            FileSourceInfo source = file(".csv", "1,x\n".getBytes(StandardCharsets.UTF_8));
            assertEquals(OperationStatus.Succeeded, end(client.ingestFromFile(source, reported(csv(table)))).status);
        }
        assertEquals(List.of(List.of(1, "x")), Clusters.followed(table, 1));
    }
}
