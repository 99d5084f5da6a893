"""The doors of identity: tokens over HTTP, certificates, and who calls over gRPC."""
