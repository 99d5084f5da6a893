// Package ingest has the tests of azkustoingest, unmodified, against a leader and a follower.
package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-kusto-go/azkustodata"
	"github.com/Azure/azure-kusto-go/azkustodata/kql"
	"github.com/Azure/azure-kusto-go/azkustoingest"
	"github.com/google/uuid"
)

func variable(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv("REMORA_SDK_" + name)
	if value == "" {
		t.Fatalf("the variable REMORA_SDK_%s is not set: run these tests with run.sh", name)
	}
	return value
}

func address(t *testing.T, cluster string) *azkustodata.ConnectionStringBuilder {
	t.Helper()
	return azkustodata.NewConnectionStringBuilder(variable(t, cluster))
}

func connect(t *testing.T, cluster string) *azkustodata.Client {
	t.Helper()
	client, err := azkustodata.New(address(t, cluster))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func makeTable(t *testing.T) string {
	t.Helper()
	leader, table := connect(t, "LEADER"), "T_"+strings.ReplaceAll(uuid.NewString(), "-", "")
	for _, words := range []string{
		".create table " + table + " (a: int, b: string)",
		".alter table " + table + " policy streamingingestion enable",
	} {
		if _, err := leader.Mgmt(context.Background(), variable(t, "DATABASE"), kql.New("").AddUnsafe(words)); err != nil {
			t.Fatal(err)
		}
	}
	return table
}

// followed waits for the rows of a table on the follower.
func followed(t *testing.T, table string, want int64) {
	t.Helper()
	patience, err := time.ParseDuration(variable(t, "PATIENCE_SECONDS") + "s")
	if err != nil {
		t.Fatal(err)
	}
	follower, end := connect(t, "FOLLOWER"), time.Now().Add(patience)
	for {
		answer, err := follower.Query(context.Background(), variable(t, "DATABASE"), kql.New("").AddTable(table).AddLiteral(" | count"))
		if err == nil {
			var count *int64
			if count, err = answer.Tables()[0].Rows()[0].LongByIndex(0); err == nil && *count == want {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("no %d rows on the follower: %v", want, err)
		}
		time.Sleep(20 * time.Millisecond) // who is looked at needs the processor too
	}
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	var body bytes.Buffer
	if strings.HasSuffix(name, ".gz") {
		compressor := gzip.NewWriter(&body)
		if _, err := compressor.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := compressor.Close(); err != nil {
			t.Fatal(err)
		}
	} else {
		body.WriteString(text)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// sdk_call("go", "azkustoingest.NewStreaming", "not run: needs azkustoingest", "reader, plain and gzip files")
func TestStreaming(t *testing.T) {
	table := makeTable(t)
	client, err := azkustoingest.NewStreaming(address(t, "LEADER"),
		azkustoingest.WithDefaultDatabase(variable(t, "DATABASE")), azkustoingest.WithDefaultTable(table))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, csv := context.Background(), azkustoingest.FileFormat(azkustoingest.CSV)
	if _, err := client.FromReader(ctx, strings.NewReader("1,x\n"), csv); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.csv", "a.csv.gz"} {
		if _, err := client.FromFile(ctx, file(t, name, "2,y\n"), csv); err != nil {
			t.Fatal(err)
		}
	}
	followed(t, table, 3)
}

// Storage is https for this SDK, and a host with a port gets "ingest-" unless told not to.
//
// sdk_call("go", "azkustoingest.New", "not run: needs azkustoingest", "https; its end in the status table")
func TestQueued(t *testing.T) {
	table := makeTable(t)
	builder := address(t, "LEADER_HTTPS")
	client, err := azkustoingest.New(builder, azkustoingest.WithoutEndpointCorrection(),
		azkustoingest.WithDefaultDatabase(variable(t, "DATABASE")), azkustoingest.WithDefaultTable(table))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	options := []azkustoingest.FileOption{
		azkustoingest.FileFormat(azkustoingest.CSV),
		azkustoingest.FlushImmediately(), azkustoingest.ReportResultToTable(),
	}
	end := func(result *azkustoingest.Result, err error) error {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return <-result.Wait(ctx, azkustoingest.WithImmediateFirst(), azkustoingest.WithInterval(100*time.Millisecond))
	}
	if err := end(client.FromReader(ctx, strings.NewReader("1,x\n"), options...)); err != nil {
		t.Fatal(err)
	}
	if err := end(client.FromFile(ctx, file(t, "a.csv.gz", "2,y\n"), options...)); err != nil {
		t.Fatal(err)
	}
	wrong := append(options, azkustoingest.IngestionMappingRef("Nowhere", azkustoingest.CSV))
	err = end(client.FromReader(ctx, strings.NewReader("3,z\n"), wrong...))
	status, _ := azkustoingest.GetIngestionStatus(err)
	failure, _ := azkustoingest.GetIngestionFailureStatus(err)
	code, _ := azkustoingest.GetErrorCode(err)
	if status != azkustoingest.Failed || failure != azkustoingest.Permanent || code != "BadRequest_MappingReferenceWasNotFound" {
		t.Fatalf("%v %v %v: %v", status, failure, code, err)
	}
	followed(t, table, 2)
}

// sdk_call("go", "azkustoingest.NewManaged", "not run: needs azkustoingest", "streamed; queued over 4 MiB")
func TestManaged(t *testing.T) {
	table := makeTable(t)
	client, err := azkustoingest.NewManaged(address(t, "LEADER_HTTPS"), azkustoingest.WithoutEndpointCorrection(),
		azkustoingest.WithDefaultDatabase(variable(t, "DATABASE")), azkustoingest.WithDefaultTable(table))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, csv := context.Background(), azkustoingest.FileFormat(azkustoingest.CSV)
	if _, err := client.FromReader(ctx, strings.NewReader("1,x\n"), csv); err != nil {
		t.Fatal(err)
	}
	var large strings.Builder
	for range 100 {
		noise := make([]byte, 1<<16)
		if _, err := rand.Read(noise); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&large, "2,%s\n", hex.EncodeToString(noise))
	}
	if _, err := client.FromReader(ctx, strings.NewReader(large.String()), csv, azkustoingest.FlushImmediately()); err != nil {
		t.Fatal(err)
	}
	followed(t, table, 101)
}

func TestRefused(t *testing.T) {
	client, err := azkustoingest.NewStreaming(address(t, "LEADER"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	_, err = client.FromReader(context.Background(), strings.NewReader("1,x\n"),
		azkustoingest.FileFormat(azkustoingest.CSV), azkustoingest.Table("Nowhere"), azkustoingest.Database(variable(t, "DATABASE")))
	if err == nil || !strings.Contains(err.Error(), "BadRequest_TableNotExist") {
		t.Fatal(err)
	}
}
