#!/bin/bash
# `make test`: unit tests, whole-program tests, and the live tests as root.
# Further arguments go to cargo test.
set -euo pipefail
cd "$(dirname "$0")/.."

# The live tests need root, nothing else does: cargo stays with the user, so
# that target/ does.
if [ "$(id -u)" != 0 ]; then
	for host in X86_64 AARCH64; do
		export "CARGO_TARGET_${host}_UNKNOWN_LINUX_GNU_RUNNER=$PWD/scripts/run-test.sh"
	done
fi
exec cargo test --locked --no-fail-fast "$@"
