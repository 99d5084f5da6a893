"""The Kusto REST surface: handlers on whole HTTP requests, one module an endpoint."""
