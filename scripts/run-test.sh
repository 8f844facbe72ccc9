#!/bin/bash
# cargo's runner when it is not root: the live test binary through sudo, every
# other one as it is. Without sudo the live tests say that they are skipped.
set -euo pipefail
case $(basename "$1") in
live-*)
	if command -v sudo >/dev/null; then
		exec sudo --preserve-env=CI,HTTPSNIFF_TEST_BACKEND,RUST_BACKTRACE "$@"
	fi
	;;
esac
exec "$@"
