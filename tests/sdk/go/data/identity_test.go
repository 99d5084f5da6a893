package data

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-kusto-go/azkustodata"
	kusto "github.com/Azure/azure-kusto-go/azkustodata/errors"
)

// keyed opens a client that has an application's key. The program trusts what SSL_CERT_FILE names.
func keyed(t *testing.T, cluster, id, secret string) *azkustodata.Client {
	t.Helper()
	builder := azkustodata.NewConnectionStringBuilder(variable(t, cluster))
	return open(t, builder.WithAadAppKey(id, secret, tenant))
}

// sdk_call("go", "WithAadAppKey", "works", "over TLS, with tenant adfs: query, command, stream")
func TestApplicationKey(t *testing.T) {
	leader := keyed(t, "LEADER_HTTPS", application, key)
	table := makeTable(t, leader, "a: int")
	if err := stream(t, leader, table, "1\n2\n", "Csv", ""); err != nil {
		t.Fatal(err)
	}
	follower := keyed(t, "FOLLOWER_HTTPS", application, key)
	expect(t, followedAs(t, follower, table+" | order by a asc", 2), "1", "2")
	shown, err := follower.Query(context.Background(), database(t), text("print current_principal()"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, lines(shown.Tables()[0]), "aadapp="+application+";"+tenant)
}

func TestApplicationThatMayNot(t *testing.T) {
	leader := connect(t, "LEADER")
	table := makeTable(t, leader, "a: int")
	client := keyed(t, "LEADER_HTTPS", stranger, key)
	_, err := ask(t, client, table)
	if found := refusal(t, err); found.StatusCode != http.StatusForbidden {
		t.Fatal(err)
	}
	if err := stream(t, client, table, "1\n", "Csv", ""); err == nil {
		t.Fatal("it may not ingest")
	}
	command(t, leader, ".add table "+table+" ingestors ('aadapp="+stranger+";"+tenant+"')")
	if err := stream(t, client, table, "1\n", "Csv", ""); err != nil {
		t.Fatal(err)
	}
	expect(t, followed(t, table, 1), "1")
}

func TestWrongKey(t *testing.T) {
	_, err := ask(t, keyed(t, "LEADER_HTTPS", application, "another"), "print 1")
	var found *kusto.Error
	if !errors.As(err, &found) || found.Kind != kusto.KInternal || !strings.Contains(err.Error(), "invalid_client") {
		t.Fatal(err)
	}
}

// The SDK sends no token in the clear, whoever serves it.
func TestKeyWithoutTLS(t *testing.T) {
	builder := azkustodata.NewConnectionStringBuilder(variable(t, "LEADER"))
	_, err := azkustodata.New(builder.WithAadAppKey(application, key, tenant))
	var found *kusto.Error
	if !errors.As(err, &found) || found.Kind != kusto.KClientArgs {
		t.Fatal(err)
	}
}

// sdk_call("go", "WithSystemManagedIdentity", "works", "IDENTITY_ENDPOINT names a cluster")
func TestManagedIdentity(t *testing.T) {
	t.Setenv("IDENTITY_ENDPOINT", variable(t, "LEADER")+"/msi/token")
	t.Setenv("IDENTITY_HEADER", "x")
	builder := azkustodata.NewConnectionStringBuilder(variable(t, "LEADER_HTTPS"))
	answer, err := ask(t, open(t, builder.WithSystemManagedIdentity()), "print 1")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, lines(answer.Tables()[0]), "1")
}
