#!/usr/bin/env bash
# Runs the tests of azkustoingest, against a leader and a follower that it starts. They are not part
# of scripts/test: not every module proxy has that module. The exit code is that of the tests; 2
# where the module cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command -v go >/dev/null || { echo "NOT TESTED: azkustoingest needs Go (the command go)." >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/go.mod "$here"/*_test.go "$work"
cd "$work"
go mod tidy || { echo "NOT TESTED: the module azkustoingest cannot be had here." >&2; exit 2; }
cd "$here/../../../.."
source scripts/bootstrap
"$VENV/bin/python" tests/sdk/with_clusters.py go test -C "$work" -count=1 -v ./...
