#!/bin/bash
# Formats, clippy with and without the capturing part, and rustdoc. Warnings
# are errors.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf 'lint: %s\n' "$*" >&2; }

step 'cargo fmt --check'
cargo fmt --all --check

mapfile -t sources < <(find bpf -name '*.c' -o -name '*.h' | sort)
if [ ${#sources[@]} -gt 0 ]; then
	step 'clang-format bpf/'
	clang-format --dry-run --Werror "${sources[@]}"
fi

step 'bash -n'
for script in scripts/*.sh .ci/run; do bash -n "$script"; done

step 'cargo clippy'
cargo clippy --locked --all-targets -- -D warnings
step 'cargo clippy --no-default-features'
cargo clippy --locked --no-default-features --all-targets -- -D warnings

# Private items are documented too: it is their readers who need it most.
step 'cargo doc'
RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' \
	cargo doc --locked --no-deps --document-private-items --quiet
