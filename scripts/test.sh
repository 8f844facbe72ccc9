#!/bin/bash
# `make test`: unit tests, whole-program tests, and the live tests as root.
# Further arguments go to the test programs (a part of a name, --nocapture).
set -euo pipefail
cd "$(dirname "$0")/.."

# Other versions of TLS libraries than this machine's. Where they cannot be had,
# the tests that want them say so.
scripts/tls-fetch.sh || true

# The live tests need root, nothing else does: cargo stays with the user, so
# that target/ does.
if [ "$(id -u)" != 0 ]; then
	for host in X86_64 AARCH64; do
		export "CARGO_TARGET_${host}_UNKNOWN_LINUX_GNU_RUNNER=$PWD/scripts/run-test.sh"
	done
fi
# The live tests watch the program that users run: the release build, which
# `make build` and `make demo` make too. Everything else is built for debugging,
# with its checks of arithmetic.
targets=(--lib --bins --examples)
for file in tests/*.rs tests/*/main.rs; do
	name=$(basename "${file%/main.rs}" .rs)
	if [ -f "$file" ] && [ "$name" != live ]; then targets+=(--test "$name"); fi
done

# The tests that need them say so if they cannot be built.
scripts/peers.sh || echo 'test: scripts/peers.sh failed: its programs are not there' >&2

status=0
cargo test --locked --no-fail-fast "${targets[@]}" -- "$@" || status=$?
cargo test --locked --doc -- "$@" || status=$?
cargo test --locked --release --test live -- "$@" || status=$?
exit $status
