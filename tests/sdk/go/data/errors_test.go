package data

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-kusto-go/azkustodata"
	kusto "github.com/Azure/azure-kusto-go/azkustodata/errors"
	"github.com/google/uuid"
)

const long = "range a from 1 to 100000 step 1 | extend k = 1" +
	" | join kind=inner (range b from 1 to 100000 step 1 | extend k = 1) on k" +
	" | summarize sum(a * b % 7)"

// refusal is the SDK's own error for an answer that is not 200.
func refusal(t *testing.T, err error) *kusto.HttpError {
	t.Helper()
	var found *kusto.HttpError
	if !errors.As(err, &found) {
		t.Fatalf("%T: %v", err, err)
	}
	return found
}

func object(err *kusto.HttpError) map[string]any {
	inner, _ := err.UnmarshalREST()["error"].(map[string]any)
	return inner
}

// sdk_call("go", "errors.HttpError", "refused as documented", "status, code, permanent, message")
func TestRefusedTexts(t *testing.T) {
	follower, leader := connect(t, "FOLLOWER"), connect(t, "LEADER")
	table := makeTable(t, leader, "a: int")
	followed(t, table+" | count", 1)
	for _, refused := range []struct {
		words, code string
		status      int
		semantic    bool
	}{
		{"Nonexistent", "General_BadRequest", http.StatusBadRequest, true},
		{table + " | where nothing > 1", "General_BadRequest", http.StatusBadRequest, true},
		{table + " | where", "BadRequest_SyntaxError", http.StatusBadRequest, false},
		{".show nothing at all", "BadRequest_SyntaxError", http.StatusBadRequest, false},
		{".show table Nonexistent", "BadRequest_TableNotExist", http.StatusBadRequest, false},
		{".create table Other (a: int)", "Forbidden", http.StatusForbidden, false},
	} {
		var err error
		if strings.HasPrefix(refused.words, ".") {
			_, err = follower.Mgmt(context.Background(), database(t), text(refused.words))
		} else {
			_, err = ask(t, follower, refused.words)
		}
		found := refusal(t, err)
		if found.Kind != kusto.KHTTPError || found.StatusCode != refused.status {
			t.Fatalf("%s: %d %v", refused.words, found.StatusCode, err)
		}
		body := object(found)
		if body["code"] != refused.code || body["@permanent"] != true || kusto.Retry(&found.KustoError) {
			t.Fatalf("%s: %v", refused.words, body)
		}
		if strings.Contains(err.Error(), "Semantic error:") != refused.semantic {
			t.Fatalf("%s: %v", refused.words, err)
		}
	}
	_, err := follower.Query(context.Background(), "Nowhere", text("print 1"))
	if object(refusal(t, err))["code"] != "BadRequest_DatabaseNotExist" {
		t.Fatal(err)
	}
}

func TestTimeLimit(t *testing.T) {
	_, err := connect(t, "FOLLOWER").Query(
		context.Background(), database(t), text(long), azkustodata.ServerTimeout(time.Second))
	found := refusal(t, err)
	if found.StatusCode != http.StatusGatewayTimeout || object(found)["code"] != "Timeout" {
		t.Fatal(err)
	}
	if !kusto.Retry(&found.KustoError) {
		t.Fatal("a time limit is not for ever")
	}
}

// sdk_call("go", "TruncationMaxRecords", "refused as documented", "told at the end of the table")
// sdk_call("go", "TruncationMaxSize", "refused as documented", "told at the end of the table")
func TestResultOverItsLimits(t *testing.T) {
	follower := connect(t, "FOLLOWER")
	words := text("range a from 1 to 5 step 1 | extend b = strrep('x', 100)")
	for _, option := range []azkustodata.QueryOption{
		azkustodata.TruncationMaxRecords(2), azkustodata.TruncationMaxSize(150),
	} {
		_, err := follower.Query(context.Background(), database(t), words, option)
		if err == nil || !strings.Contains(err.Error(), "LimitsExceeded") {
			t.Fatal(err)
		}
		answer, err := follower.IterativeQuery(context.Background(), database(t), words, option)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := answer.ToDataset(); err == nil {
			t.Fatal("no error in the rows as they come")
		}
	}
}

// sdk_call("go", "RequestReadonly", "refused as documented", "no command that changes anything")
func TestReadOnlyRequest(t *testing.T) {
	_, err := connect(t, "LEADER").Mgmt(context.Background(), database(t),
		text(".create table ReadOnly (a: int)"), azkustodata.RequestReadonly())
	if found := refusal(t, err); found.StatusCode/100 != 4 {
		t.Fatal(err)
	}
}

// sdk_call("go", "HttpError.IsThrottled", "refused as documented", "too many queries at once")
func TestTooManyQueries(t *testing.T) {
	client, name := connect(t, "TIGHT"), "NetDefaultDB"
	var running sync.WaitGroup
	var requests []string
	defer func() {
		for _, request := range requests {
			_, _ = client.Mgmt(context.Background(), name, text(".cancel query '"+request+"'"))
		}
		running.Wait()
	}()
	for range 65 { // one a core is allowed
		if _, err := client.Query(context.Background(), name, text("print 1")); err != nil {
			if !refusal(t, err).IsThrottled() {
				t.Fatal(err)
			}
			return
		}
		request := "go;" + uuid.NewString()
		requests = append(requests, request)
		running.Add(1)
		go func() {
			defer running.Done()
			_, _ = client.Query(context.Background(), name, text(long), azkustodata.ClientRequestID(request))
		}()
		for {
			shown, err := client.Mgmt(context.Background(), name, text(".show running queries"))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(strings.Join(lines(shown.Tables()[0]), "\n"), request) {
				break
			}
			pause()
		}
	}
	t.Fatal("never too many")
}

// sdk_call("go", "errors.KHTTPError", "works", "nobody listens")
func TestNobodyListens(t *testing.T) {
	client := open(t, azkustodata.NewConnectionStringBuilder("http://localhost:1"))
	_, err := client.Query(context.Background(), database(t), text("print 1"))
	var found *kusto.Error
	if !errors.As(err, &found) || found.Kind != kusto.KHTTPError {
		t.Fatal(err)
	}
}
