// Package data has the tests of azkustodata, unmodified, against a leader and a follower.
package data

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-kusto-go/azkustodata"
	"github.com/Azure/azure-kusto-go/azkustodata/kql"
	"github.com/Azure/azure-kusto-go/azkustodata/query"
	"github.com/google/uuid"
)

const (
	tenant      = "adfs"
	application = "11111111-2222-3333-4444-555555555555"
	stranger    = "99999999-2222-3333-4444-555555555555"
	key         = "its-key"
)

// variable is one that scripts/test sdk sets.
func variable(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv("REMORA_SDK_" + name)
	if value == "" {
		t.Fatalf("the variable REMORA_SDK_%s is not set: run these tests with scripts/test sdk", name)
	}
	return value
}

func database(t *testing.T) string { return variable(t, "DATABASE") }

func open(t *testing.T, builder *azkustodata.ConnectionStringBuilder) *azkustodata.Client {
	t.Helper()
	client, err := azkustodata.New(builder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// connect opens a client of a cluster without credentials.
func connect(t *testing.T, cluster string) *azkustodata.Client {
	t.Helper()
	return open(t, azkustodata.NewConnectionStringBuilder(variable(t, cluster)))
}

func text(words string) *kql.Builder { return kql.New("").AddUnsafe(words) }

func ask(t *testing.T, client *azkustodata.Client, words string) (query.Dataset, error) {
	t.Helper()
	return client.Query(context.Background(), database(t), text(words))
}

func command(t *testing.T, client *azkustodata.Client, words string) {
	t.Helper()
	if _, err := client.Mgmt(context.Background(), database(t), text(words)); err != nil {
		t.Fatalf("%s: %v", words, err)
	}
}

// makeTable makes a table of a new name on the leader, open to streaming.
func makeTable(t *testing.T, leader *azkustodata.Client, schema string) string {
	t.Helper()
	table := "T_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	command(t, leader, fmt.Sprintf(".create table %s (%s)", table, schema))
	command(t, leader, fmt.Sprintf(".alter table %s policy streamingingestion enable", table))
	return table
}

// followed are the rows of a query on the follower, as text, as soon as there are so many.
func followed(t *testing.T, words string, count int) []string {
	t.Helper()
	return followedAs(t, connect(t, "FOLLOWER"), words, count)
}

func followedAs(t *testing.T, client *azkustodata.Client, words string, count int) []string {
	t.Helper()
	patience, err := time.ParseDuration(variable(t, "PATIENCE_SECONDS") + "s")
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(patience)
	for {
		answer, err := ask(t, client, words)
		if err == nil {
			if rows := lines(answer.Tables()[0]); len(rows) >= count {
				return rows
			}
			err = fmt.Errorf("fewer than %d rows on the follower", count)
		}
		if time.Now().After(end) { // the table may not be there yet
			t.Fatalf("%s: %v", words, err)
		}
		pause()
	}
}

// pause is between two looks: who is looked at needs the processor too.
func pause() { time.Sleep(20 * time.Millisecond) }

func lines(table query.Table) []string {
	found := make([]string, 0, len(table.Rows()))
	for _, row := range table.Rows() {
		values := make([]string, 0, len(row.Values()))
		for _, value := range row.Values() {
			values = append(values, value.String())
		}
		found = append(found, strings.Join(values, "|"))
	}
	return found
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("got %q, want %q", got, want)
	}
}

type format string

func (f format) CamelCase() string                                  { return string(f) }
func (f format) KnownOrDefault() azkustodata.DataFormatForStreaming { return f }

// stream sends data as the SDK's streaming client does: its own transport, chunked, compressed.
func stream(t *testing.T, client *azkustodata.Client, table, data string, f format, mapping string) error {
	t.Helper()
	transport, err := azkustodata.NewConn(
		client.Endpoint(), client.Auth(), http.DefaultClient, client.ClientDetails())
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	compressor := gzip.NewWriter(&body)
	if _, err := compressor.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	if err := compressor.Close(); err != nil {
		t.Fatal(err)
	}
	return transport.StreamIngest(
		context.Background(), database(t), table, &body, f, mapping, "", false)
}
