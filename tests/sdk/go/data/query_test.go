package data

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-kusto-go/azkustodata"
	"github.com/Azure/azure-kusto-go/azkustodata/kql"
	"github.com/Azure/azure-kusto-go/azkustodata/query"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

func threeRows(t *testing.T) string {
	t.Helper()
	leader := connect(t, "LEADER")
	table := makeTable(t, leader, "a: int, b: string")
	command(t, leader, fmt.Sprintf(".ingest inline into table %s <|\n1,x\n2,y\n3,z", table))
	followed(t, table, 3)
	return table
}

// sdk_call("go", "Client.Query", "works", "fragmented results, several statements")
func TestQuery(t *testing.T) {
	table := threeRows(t)
	answer, err := ask(t, connect(t, "FOLLOWER"), table+" | order by a asc; "+table+" | count")
	if err != nil {
		t.Fatal(err)
	}
	var results []query.Table // beside them are what the SDK calls secondary tables
	for _, found := range answer.Tables() {
		if found.IsPrimaryResult() {
			results = append(results, found)
		}
	}
	if len(results) != 2 {
		t.Fatalf("%d results", len(results))
	}
	expect(t, lines(results[0]), "1|x", "2|y", "3|z")
	expect(t, lines(results[1]), "3")
}

// sdk_call("go", "query.ToStructs", "works", "every type, and its null")
func TestTypes(t *testing.T) {
	type record struct {
		Yes   *bool           `kusto:"yes"`
		Small *int32          `kusto:"small"`
		Big   int64           `kusto:"big"`
		Real  float64         `kusto:"number"`
		Exact decimal.Decimal `kusto:"exact"`
		Words string          `kusto:"words"`
		At    time.Time       `kusto:"at"`
		Took  time.Duration   `kusto:"took"`
		ID    uuid.UUID       `kusto:"id"`
		Bag   map[string]any  `kusto:"bag"`
		None  *int64          `kusto:"none"`
		Never *time.Time      `kusto:"never"`
	}
	answer, err := ask(t, connect(t, "FOLLOWER"), "print yes = true, small = int(-7), "+
		"big = 9007199254740993, number = 1.5, exact = decimal(1.25), words = 'Ünï', "+
		"at = datetime(2026-01-02 03:04:05.123456), took = time(-1.01:02:03.5), "+
		"id = guid(74be27de-1e4e-49d9-b579-fe0b331d3642), bag = dynamic({'k': [1]}), "+
		"none = long(null), never = datetime(null)")
	if err != nil {
		t.Fatal(err)
	}
	records, err := query.ToStructs[record](answer)
	if err != nil {
		t.Fatal(err)
	}
	got := records[0]
	at := time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC)
	took := -(25*time.Hour + 2*time.Minute + 3500*time.Millisecond)
	switch {
	case !*got.Yes, *got.Small != -7, got.Big != 9007199254740993, got.Real != 1.5,
		got.Exact.String() != "1.25", got.Words != "Ünï", !got.At.Equal(at), got.Took != took,
		got.ID.String() != "74be27de-1e4e-49d9-b579-fe0b331d3642",
		fmt.Sprint(got.Bag) != "map[k:[1]]", got.None != nil, got.Never != nil:
		t.Fatalf("%+v", got)
	}
}

// sdk_call("go", "Client.IterativeQuery", "works", "rows as they come, in many fragments")
func TestIterativeQuery(t *testing.T) {
	words := text("range a from 1 to 20000 step 1 | extend b = strcat('row ', a)")
	answer, err := connect(t, "FOLLOWER").IterativeQuery(context.Background(), database(t), words)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Close() }()
	rows, sum := 0, int64(0)
	for table := range answer.Tables() {
		if table.Err() != nil {
			t.Fatal(table.Err())
		}
		if !table.Table().IsPrimaryResult() {
			continue
		}
		for row := range table.Table().Rows() {
			if row.Err() != nil {
				t.Fatal(row.Err())
			}
			value, err := row.Row().LongByName("a")
			if err != nil {
				t.Fatal(err)
			}
			rows, sum = rows+1, sum+*value
		}
	}
	if rows != 20000 || sum != 200010000 {
		t.Fatalf("%d rows, sum %d", rows, sum)
	}
}

// sdk_call("go", "Client.QueryToJson", "works")
func TestQueryToJson(t *testing.T) {
	body, err := connect(t, "FOLLOWER").QueryToJson(context.Background(), database(t), text("print a = 1"))
	if err != nil {
		t.Fatal(err)
	}
	var frames []map[string]any
	if err := json.Unmarshal([]byte(body), &frames); err != nil {
		t.Fatal(err)
	}
	if frames[0]["FrameType"] != "DataSetHeader" {
		t.Fatal(body)
	}
}

// sdk_call("go", "Client.Mgmt", "works", "commands, also followed by a query")
func TestMgmt(t *testing.T) {
	table := threeRows(t)
	words := text(".show table " + table + " cslschema | project Schema")
	answer, err := connect(t, "FOLLOWER").Mgmt(context.Background(), database(t), words)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, lines(answer.Tables()[0]), "a:int,b:string")
}

// sdk_call("go", "QueryParameters", "works", "of every type; the SDK declares them")
// sdk_call("go", "kql.Builder", "works", "values and names quoted")
func TestQueryParameters(t *testing.T) {
	table := threeRows(t)
	follower := connect(t, "FOLLOWER")
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	id := uuid.MustParse("74be27de-1e4e-49d9-b579-fe0b331d3642")
	parameters := kql.NewParameters().
		AddBool("yes", true).AddInt("small", 2).AddLong("big", 1<<60).AddReal("number", 1.5).
		AddDecimal("exact", decimal.RequireFromString("1.25")).AddString("words", "it's \"x\"\\").
		AddDateTime("at", at).AddTimespan("took", 90*time.Second).AddGUID("id", id).
		AddDynamic("bag", map[string]any{"k": 1})
	words := kql.New("").AddTable(table).AddLiteral(" | where a == small | project a, yes, big, " +
		"number, exact, words, at, took, id, k = toint(bag.k)")
	answer, err := follower.Query(
		context.Background(), database(t), words, azkustodata.QueryParameters(parameters))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, lines(answer.Tables()[0]), "2|true|1152921504606846976|1.5|1.25|it's \"x\"\\|"+
		"2026-01-02T03:04:05Z|1m30s|74be27de-1e4e-49d9-b579-fe0b331d3642|1")
	built := kql.New("print a = ").AddString("it's \"x\"\\").AddLiteral(", b = ").AddTimespan(time.Minute).
		AddLiteral(", c = ").AddDynamic([]int{1})
	if answer, err = follower.Query(context.Background(), database(t), built); err != nil {
		t.Fatal(err)
	}
	expect(t, lines(answer.Tables()[0]), "it's \"x\"\\|1m0s|[1]")
}

// sdk_call("go", "ServerTimeout", "works")
// sdk_call("go", "ClientRequestID", "works")
// sdk_call("go", "Application", "works")
// sdk_call("go", "User", "works")
// sdk_call("go", "QueryNow", "works")
// sdk_call("go", "QueryTakeMaxRecords", "works")
// sdk_call("go", "NoTruncation", "works")
// sdk_call("go", "CustomQueryOption", "works", "unknown ones are ignored")
func TestOptions(t *testing.T) {
	follower, request := connect(t, "FOLLOWER"), "mine;"+uuid.NewString()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	answer, err := follower.Query(context.Background(), database(t),
		text("range a from 1 to 5 step 1 | extend b = now()"),
		azkustodata.ServerTimeout(time.Minute), azkustodata.ClientRequestID(request),
		azkustodata.Application("my-app"), azkustodata.User("me@example.org"),
		azkustodata.QueryNow(at), azkustodata.QueryTakeMaxRecords(1), azkustodata.NoTruncation(),
		azkustodata.CustomQueryOption("unknown_to_everybody", true))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, lines(answer.Tables()[0]), "1|2026-01-02T03:04:05Z")
	shown, err := follower.Mgmt(context.Background(), database(t),
		text(".show queries | where ClientActivityId == '"+request+"' | project Application, User"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, lines(shown.Tables()[0]), "my-app|me@example.org")
}

// sdk_call("go", "NewConnectionStringBuilder", "works", "an address, a connection string")
func TestConnectionStrings(t *testing.T) {
	url := variable(t, "LEADER")
	for _, words := range []string{
		url, url + "/", "Data Source=" + url + ";Initial Catalog=" + database(t),
		"Data Source=" + url + ";Fed=false",
	} {
		answer, err := ask(t, open(t, azkustodata.NewConnectionStringBuilder(words)), "print 1")
		if err != nil {
			t.Fatalf("%s: %v", words, err)
		}
		expect(t, lines(answer.Tables()[0]), "1")
	}
}
