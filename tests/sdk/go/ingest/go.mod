module remora/sdk/ingest

go 1.24.0

require (
	github.com/Azure/azure-kusto-go/azkustodata v1.2.1
	github.com/Azure/azure-kusto-go/azkustoingest v1.2.1
)
