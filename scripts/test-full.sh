#!/bin/bash
# Runs every test with HOLDFAST_FULL under the race detector, and every fuzz target
# for FUZZTIME, one by one. What has passed for this commit is not run again, so a
# run that was cut off, or ended by SLICE (seconds), goes on where it was; a tree
# with changes of its own begins anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
commit=$(git describe --always --dirty --abbrev=40 --exclude='*')
work=$PWD/build/full/$commit
case $commit in *-dirty) rm -rf "$work" ;; esac
mkdir -p "$work"
touch "$work/passed"
export HOLDFAST_FULL=1 CGO_ENABLED=1 HOLDFAST_MATRIX=$PWD/docs/matrix.md
began=$SECONDS
if [ -n "${SLICE:-}" ]; then
	HOLDFAST_SLICE_END=$(($(date +%s) + SLICE))
	export HOLDFAST_SLICE_END
fi
go build -o build/bin/noskip ./test/noskip
failed=0

# piece NAME COMMAND... runs a piece of the work that has not passed yet.
piece() {
	local name=$1 start=$SECONDS
	shift
	if grep -qF " $name " "$work/passed"; then return; fi
	if [ -n "${SLICE:-}" ] && ((SECONDS - began >= SLICE)); then
		echo "the slice is over; $(wc -l <"$work/passed") pieces of $commit have passed: run it again to go on" >&2
		exit 75
	fi
	if "$@"; then
		echo "passed $name in $((SECONDS - start)) s" >>"$work/passed"
	else
		echo "failed: $name" >&2
		failed=1
	fi
}

# run PACKAGE DIR BINARY TEST runs one test; a skipped one fails.
run() {
	(cd "$2" && "$3" -test.run "^$4\$" -test.v=test2json -test.count=1 -test.timeout 4h </dev/null 2>&1) |
		go tool test2json -t -p "$1" | build/bin/noskip -v
}

fuzz() {
	go test -run '^$' -fuzz "^$2\$" -fuzztime "${FUZZTIME:-30s}" "$1" </dev/null
}

while read -r package dir; do
	binary=$work/$(tr / _ <<<"$package").test
	[ -e "$binary" ] || go test -c -race -tags vm,faults -o "$binary" "$package"
	for name in $(cd "$dir" && "$binary" -test.list '^(Test|Fuzz|Example)'); do
		piece "$package.$name" run "$package" "$dir" "$binary" "$name"
		case $name in Fuzz*) piece "$package.$name(fuzzing)" fuzz "$package" "$name" ;; esac
	done
done < <(go list -tags vm,faults -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' ./...)
[ "$failed" = 0 ] || exit 1
rm -f "$work"/*.test
echo "$commit: $(wc -l <"$work/passed") pieces have passed"
