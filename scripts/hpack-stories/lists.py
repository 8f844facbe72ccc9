"""Prints header lists as lines for the encoders, from a fixed seed."""

import random
import sys

# Of a fixed algorithm in every version of Python.
random.seed(7541)
kind = sys.argv[1]


def token(n, letters="0123456789abcdef"):
    return "".join(letters[int(random.random() * len(letters))] for _ in range(n))


def pick(*choices):
    return choices[int(random.random() * len(choices))]


def request():
    yield ":method", pick("GET", "GET", "GET", "POST", "PUT")
    yield ":scheme", "https"
    yield ":authority", pick("www.example.com", "api.example.com", "api.example.com:8443")
    yield ":path", pick("/", "/index.html", "/v1/items/" + token(4), "/s?q=" + token(3))
    yield "user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101"
    yield "accept", pick("*/*", "application/json")
    yield "accept-encoding", "gzip, deflate, br, zstd"
    if pick(True, False):
        yield "cookie", "session=" + token(12)
    if pick(True, False):
        yield "cookie", "theme=dark"
    if pick(True, False, False):
        yield "authorization", "Bearer " + token(16)
    yield "traceparent", f"00-{token(32)}-{token(16)}-01"
    if pick(True, False, False):
        yield "x-" + token(3, "abc"), pick("", "~|\\^`{}<>!", "caf\u00e9 \u20ac", token(5))


def response():
    yield ":status", pick("200", "200", "200", "204", "304", "404", "503")
    yield "server", pick("nginx/1.26.0", "nginx/1.26.0", "envoy")
    yield "date", f"Sat, 21 Nov 2026 15:{token(1, '012345')}{token(1, '0123456789')}:00 GMT"
    yield "content-type", pick("text/html; charset=utf-8", "application/json", "image/png")
    yield "content-length", str(int(random.random() * 5000))
    yield "cache-control", pick("no-cache", "private, max-age=0", "public, max-age=31536000")
    if pick(True, False):
        yield "etag", f'W/"{token(12)}"'
    if pick(True, False, False):
        yield "set-cookie", f"session={token(20)}; Path=/; Secure; HttpOnly; SameSite=Lax"
    yield "vary", "Accept-Encoding"
    yield "x-request-id", token(16)


# Sizes of the table that the receiver announces, by case.
sizes = {0: 4096}
if kind == "sizes":
    sizes = {0: 4096, 3: 256, 6: 0, 7: 512, 9: 65536, 13: 100, 14: 4096}
for case in range(18):
    if case in sizes:
        print(f"table\t{sizes[case]}")
    fields = response() if kind == "responses" else request()
    for name, value in fields:
        never = int(name in ("authorization", "set-cookie"))
        print(f"field\t{never}\t{name}\t{value}")
    print("end")
