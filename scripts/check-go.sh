#!/bin/bash
# Checks that the Go that go.mod asks for is there, or fetches itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

needed=$(awk '$1 == "go" { print $2; exit }' go.mod)
if ! command -v go >/dev/null; then
	echo "Go is missing: install Go $needed or newer from https://go.dev/dl" >&2
	exit 1
fi
# Go 1.21 and later fetch the toolchain that go.mod names; older ones cannot
# even read go.mod, and Debian 12's is one of them.
if ! have=$(go env GOVERSION 2>&1) || [ "$(printf '%s\n' "go$needed" "$have" | sort -V | head -n 1)" != "go$needed" ]; then
	echo "Go $needed or newer is needed (or any Go from 1.21, which fetches it): see https://go.dev/dl" >&2
	echo "The go in PATH says: $have" >&2
	exit 1
fi
