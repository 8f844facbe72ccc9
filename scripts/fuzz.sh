#!/bin/bash
# Runs the TARGETs of fuzz/, or all of them, for SECONDS each (default 30).
#     scripts/fuzz.sh [SECONDS [TARGET...]]
# They start from fuzz/corpus and from what earlier runs found, which is in
# target/fuzz/corpus.
#     scripts/fuzz.sh --keep [TARGET...]
# writes fuzz/corpus anew: of both, what reaches all code that they reach, and
# the inputs that have a name of their own.
# Needs a nightly compiler and cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."

keep=
if [ "${1:-}" = --keep ]; then
	keep=1
fi
seconds=${1:-30}
shift || true
if ! cargo +nightly --version >/dev/null 2>&1; then
	rustup toolchain install nightly --profile minimal
fi
cargo +nightly fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
if [ $# = 0 ]; then
	# shellcheck disable=SC2046 # names without spaces
	set -- $(cargo +nightly fuzz list)
fi
for target; do
	kept=fuzz/corpus/$target
	found=target/fuzz/corpus/$target
	mkdir -p "$kept" "$found"
	if [ -n "$keep" ]; then
		new=target/fuzz/keep/$target
		rm -rf "$new"
		mkdir -p "$new"
		# Edges only: a corpus for how often each is taken is ten times as large.
		cargo +nightly fuzz run "$target" "$new" "$kept" "$found" -- \
			-set_cover_merge=1 -use_counters=0 -max_len=2048
		find "$kept" -type f -regex '.*/[0-9a-f]*' -delete
		mv "$new"/* "$kept"
	else
		echo "fuzz: $target for $seconds s" >&2
		cargo +nightly fuzz run "$target" "$found" "$kept" -- -max_total_time="$seconds" \
			-timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=512 -print_final_stats=1
	fi
done
