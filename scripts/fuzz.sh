#!/bin/bash
# Runs every target of fuzz/ for SECONDS each (default 30); needs a nightly
# compiler and cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-30}
if [ ! -f fuzz/Cargo.toml ]; then
	echo "fuzz: there are no fuzz targets" >&2
	exit 1
fi
if ! cargo +nightly --version >/dev/null 2>&1; then
	rustup toolchain install nightly --profile minimal
fi
cargo +nightly fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
for target in $(cargo +nightly fuzz list); do
	echo "fuzz: $target for $seconds s" >&2
	cargo +nightly fuzz run "$target" -- -max_total_time="$seconds" -rss_limit_mb=2048
done
