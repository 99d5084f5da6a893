package data

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	kusto "github.com/Azure/azure-kusto-go/azkustodata/errors"
)

// sdk_call("go", "Conn.StreamIngest", "works", "what azkustoingest's streaming clients send with")
func TestStream(t *testing.T) {
	leader := connect(t, "LEADER")
	table := makeTable(t, leader, "a: int, b: string")
	if err := stream(t, leader, table, "1,x\n2,y\n", "Csv", ""); err != nil {
		t.Fatal(err)
	}
	command(t, leader, fmt.Sprintf(".create table %s ingestion json mapping 'M' "+
		`'[{"column": "a", "path": "$.n"}, {"column": "b", "path": "$.s"}]'`, table))
	for _, format := range []format{"Json", "MultiJson"} {
		if err := stream(t, leader, table, "{\"n\": 3, \"s\": \"z\"}\n", format, "M"); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, followed(t, table+" | order by a asc", 4), "1|x", "2|y", "3|z", "3|z")
}

// What the SDK makes of a refusal: is it worth another try, as its managed client asks.
//
// sdk_call("go", "errors.Retry", "works", "whether a stream is refused for ever")
func TestRefusedStreams(t *testing.T) {
	leader := connect(t, "LEADER")
	table := makeTable(t, leader, "a: int, b: string")
	closed := makeTable(t, leader, "a: int")
	command(t, leader, ".alter table "+closed+" policy streamingingestion disable")
	for _, refused := range []struct {
		cluster, table, data string
		format               format
		mapping, code        string
	}{
		{"LEADER", "Nowhere", "1\n", "Csv", "", "BadRequest_TableNotExist"},
		{"LEADER", closed, "1\n", "Csv", "", "BadRequest_StreamingIngestionPolicyNotEnabled"},
		{"LEADER", table, "1,\"x\n", "Csv", "", "Stream_ClosingQuoteMissing"},
		{"LEADER", table, "", "Csv", "", "Stream_NoDataToIngest"},
		{"LEADER", table, "{}", "Json", "None", "BadRequest_MappingReferenceWasNotFound"},
		{"LEADER", table, "1," + strings.Repeat("x", 4<<20), "Csv", "", "Stream_InputStreamTooLarge"},
		{"FOLLOWER", table, "1,x\n", "Csv", "", "Forbidden"},
		{"OFF", table, "1,x\n", "Csv", "", "StreamingIngestionDisabledForCluster"},
	} {
		err := stream(t, connect(t, refused.cluster), refused.table, refused.data, refused.format, refused.mapping)
		var found *kusto.Error
		if !errors.As(err, &found) || found.Kind != kusto.KHTTPError || found.Op != kusto.OpIngestStream {
			t.Fatalf("%s: %v", refused.code, err)
		}
		if !strings.Contains(err.Error(), refused.code) {
			t.Fatalf("%s: %v", refused.code, err)
		}
	}
	expect(t, followed(t, table+" | count", 1), "0")
}
