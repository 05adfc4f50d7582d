#!/bin/bash
# Fuzzes every target for an equal share of a time: fuzz-short.sh SECONDS.
# Ordinary test binaries are used, whose parts are built already: instrumented
# ones would find more in an hour, but take longer to build than this runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

targets=() # "directory binary target"
while read -r dir; do
	binary=$work/$(tr / _ <<<"$dir").test
	go test -c -o "$binary" "$dir"
	for target in $(cd "$dir" && "$binary" -test.list '^Fuzz'); do
		targets+=("$dir $binary $target")
	done
done < <(grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | xargs -rn1 dirname | sort -u)
[ ${#targets[@]} -gt 0 ] || { echo "no fuzz targets" >&2; exit 1; }

share=$((seconds * 1000 / ${#targets[@]}))ms
echo "fuzzing ${#targets[@]} targets for $share each"
for entry in "${targets[@]}"; do
	read -r dir binary target <<<"$entry"
	(cd "$dir" && "$binary" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$share" \
		-test.fuzzminimizetime 1s -test.fuzzcachedir "$work/corpus" </dev/null >"$work/log" 2>&1) ||
		{ echo "== $dir $target"; cat "$work/log"; exit 1; } >&2
done
