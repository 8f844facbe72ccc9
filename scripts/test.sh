#!/bin/bash
# `make test`: unit tests, whole-program tests, and the live tests as root.
set -euo pipefail
cd "$(dirname "$0")/.."

# The live tests need root, nothing else does. Cargo itself stays with the
# user, so that target/ does; only the test binary is run by sudo.
if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then
	runner="sudo --preserve-env=CI,HTTPSNIFF_TEST_BACKEND,RUST_BACKTRACE,TMPDIR"
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=$runner
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$runner
	export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER
fi
exec cargo test --locked --no-fail-fast "$@"
