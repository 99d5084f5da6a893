"""Generated gRPC code lives below; see proto/."""
