#!/bin/bash
# `make demo`: an HTTPS server of our own on loopback, curl, and httpsniff
# watching curl. Leaves demo.pcapng behind, and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

httpsniff=${1:-target/release/httpsniff}
work=$(mktemp -d)
server_pid=
cleanup() {
	# The server is ours, by the pid that bash gave us.
	if [ -n "$server_pid" ]; then
		kill "$server_pid" 2>/dev/null || true
		wait "$server_pid" 2>/dev/null || true
	fi
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 \
	-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
	-keyout "$work/key.pem" -out "$work/cert.pem" 2>"$work/openssl.log" || {
	cat "$work/openssl.log" >&2
	exit 1
}

# Opening the pipe for reading and writing does not wait for the other end.
mkfifo "$work/port"
exec 3<>"$work/port"
/usr/bin/python3 scripts/demo-server.py "$work/cert.pem" "$work/key.pem" >&3 &
server_pid=$!
if ! read -r -t 30 port <&3; then
	echo "demo: the HTTPS server did not start" >&2
	exit 1
fi

run=("$httpsniff" -w demo.pcapng -o text -v -- curl -sS --cacert "$work/cert.pem" "https://localhost:$port/hello")
if [ "$(id -u)" != 0 ]; then run=(sudo "${run[@]}"); fi
rm -f demo.pcapng
echo "demo: ${run[*]}"
echo
"${run[@]}"

"$httpsniff" -r demo.pcapng -o json 2>/dev/null | grep -q '"target":"/hello"' || {
	echo "demo: the exchange is not in demo.pcapng" >&2
	exit 1
}
echo
echo "The exchange above came out of curl's TLS library; nothing was decrypted,"
echo "proxied or restarted. It is in demo.pcapng too, with the process in a comment"
echo "on every packet. Next:"
echo
echo "    wireshark demo.pcapng"
echo "    tshark -r demo.pcapng -Y http"
echo "    $httpsniff -r demo.pcapng -vv"
