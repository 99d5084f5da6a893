#!/usr/bin/env bash
# Runs the tests of Kusto's own .NET clients, against a leader and a follower that it starts.
# They are not part of scripts/test: they need .NET 8 (the command dotnet), and are written from the
# clients' documents. The exit code is that of the tests; 2 where there is no .NET.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v dotnet >/dev/null; then
    echo "NOT TESTED: the SDKs of C# need .NET 8 (the command dotnet), not on this machine." >&2
    exit 2
fi
cd "$here/../../.."
source scripts/bootstrap
export REMORA_SDK_BUILD="${XDG_CACHE_HOME:-$HOME/.cache}/remora/sdk/csharp"
exec "$VENV/bin/python" tests/sdk/with_clusters.py \
    dotnet test "$here/Remora.Sdk.csproj" --logger "console;verbosity=normal" "$@"
