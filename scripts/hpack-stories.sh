#!/bin/bash
# Makes the stories of fixtures/hpack again: header lists as blocks that other
# encoders than ours wrote, in the form of the public hpack-test-case. Needs
# python3 with venv, a C compiler, libnghttp2-dev, go, node and the network.
#
# The lists are made of a fixed seed; the bytes change only with the encoders.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly sources=$PWD/scripts/hpack-stories
readonly stories=$PWD/fixtures/hpack
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in python3 gcc go node; do
	if ! command -v $tool >/dev/null; then
		echo "hpack-stories: needs $tool" >&2
		exit 1
	fi
done
if [ ! -e /usr/include/nghttp2/nghttp2.h ]; then
	echo "hpack-stories: needs libnghttp2-dev" >&2
	exit 1
fi

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet hpack==4.2.0
gcc -Wall -Wextra -O1 -o "$work/nghttp2" "$sources/nghttp2.c" -lnghttp2
(cd "$sources/go" && go build -o "$work/go" .)

mkdir -p "$stories"
for kind in requests responses sizes; do
	# Lines for the encoders: "table SIZE", "field NEVER NAME VALUE" with
	# tabs between them, "end".
	python3 "$sources/lists.py" $kind >"$work/$kind"
	"$work/venv/bin/python" "$sources/python.py" <"$work/$kind" >"$work/python-$kind.hex"
	"$work/nghttp2" <"$work/$kind" >"$work/nghttp2-$kind.hex"
	"$work/go" <"$work/$kind" >"$work/go-$kind.hex"
	for encoder in python nghttp2 go; do
		python3 "$sources/story.py" "$encoder" "$work/$kind" "$work/$encoder-$kind.hex" \
			>"$stories/$encoder-$kind.json"
	done
done
# What node's HTTP/2 client and server sent each other, and what each says that
# it received.
node "$sources/node.js" "$work/requests" "$work/responses" "$stories"
ls -l "$stories"
