#!/bin/bash
# Builds the programs that the live tests watch and that no package has: servers
# and clients on rustls and BoringSSL, of reqwest and of gRPC; and fetches what reads our files in tests
# and is in no package. Called by `make test`; what is built stays in target/peers,
# and a second call takes a second.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly manifest=tests/live/programs/rust/Cargo.toml
readonly boringssl=$PWD/target/peers/boringssl
export CARGO_TARGET_DIR=$PWD/target/peers

# BoringSSL, from the sources that a crate carries. Its functions are exported,
# so that one build gives the static library and the shared one. Little
# optimization: it is to be built quickly.
mkdir -p "$CARGO_TARGET_DIR"
if [ ! -e "$boringssl/libboringssl.so" ]; then
	sources=$(cargo metadata --locked --format-version 1 --all-features --manifest-path $manifest |
		jq -r '.packages[] | select(.name == "boring-sys").manifest_path')
	cmake -S "$(dirname "$sources")/deps/boringssl" -B "$boringssl" -G Ninja --log-level=ERROR \
		-DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
		-DCMAKE_C_FLAGS=-DBORINGSSL_SHARED_LIBRARY -DCMAKE_CXX_FLAGS=-DBORINGSSL_SHARED_LIBRARY \
		-DCMAKE_C_FLAGS_RELEASE='-O1 -g0 -DNDEBUG' -DCMAKE_CXX_FLAGS_RELEASE='-O1 -g0 -DNDEBUG' \
		>"$boringssl.log"
	ninja -C "$boringssl" --quiet crypto ssl
	g++ -shared -o "$boringssl/libboringssl.so" -Wl,-soname,libboringssl.so -Wl,-z,defs \
		-Wl,--whole-archive "$boringssl/libssl.a" "$boringssl/libcrypto.a" -Wl,--no-whole-archive
fi

PEERS_BORINGSSL=$boringssl cargo build --locked --quiet --release --features boringssl,h2 \
	--manifest-path $manifest
# As programs are built while they are written: nothing inlined.
cargo build --locked --quiet --manifest-path $manifest --bin rustls_stream --bin rustls_tokio

# gRPC of Go, where Go is new enough for it. The cache is that of the tests' own
# programs.
GOCACHE=$PWD/target/tmp/go/cache GOTOOLCHAIN=local go build -C tests/live/programs/grpc_go \
	-buildvcs=false -o "$CARGO_TARGET_DIR/grpc_go" . ||
	echo 'peers: gRPC of Go was not built' >&2

# mitmproxy imports HAR from 10.1 on, newer than the packages of stable
# distributions.
python=$CARGO_TARGET_DIR/python
if ! "$python/bin/python3" -c 'import mitmproxy.io.har' 2>/dev/null; then
	/usr/bin/python3 -m venv "$python"
	"$python/bin/pip" --quiet --disable-pip-version-check install 'mitmproxy~=11.0'
fi
