"""A client of gRPC-Web by httpx, in HTTP/1.1 or HTTP/2:

    grpc_web.py 1|2 URL [CA]

calls Echo and Fail, as bytes and as text (EchoText, FailText), each with three
messages; every frame of text is a piece of base64 of its own. It ends with 1
unless the answers are right.
"""

import base64
import re
import ssl
import sys

import httpx

MESSAGES = [b"", b"hello", b"m" * 20_000]


def frame(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


def decoded(text):
    return b"".join(base64.b64decode(group) for group in re.findall(rb".{4}", text))


def call(client, method, as_text):
    frames = [frame(message) for message in MESSAGES]
    kind = "application/grpc-web+proto"
    if as_text:
        frames = [base64.b64encode(content) for content in frames]
        kind = "application/grpc-web-text"
    response = client.post(
        f"/httpsniff.Web/{method}",
        content=b"".join(frames),
        headers={"content-type": kind, "x-grpc-web": "1"},
    )
    assert response.http_version == ("HTTP/2" if version == "2" else "HTTP/1.1")
    body = decoded(response.content) if as_text else response.content
    got = []
    while body:
        length = int.from_bytes(body[1:5], "big")
        got.append((body[0], body[5 : 5 + length]))
        body = body[5 + length :]
    if method.startswith("Echo"):
        *messages, (flags, trailers) = got
        assert messages == [(0, message) for message in MESSAGES]
        assert (flags, trailers.split(b"\r\n")[0]) == (0x80, b"grpc-status:0")
    else:
        [(flags, trailers)] = got
        assert (flags, trailers.split(b"\r\n")[0]) == (0x80, b"grpc-status: 5")


version, url, *authority = sys.argv[1:]
options = {
    "base_url": url,
    "http1": version == "1",
    "http2": version == "2",
    "verify": ssl.create_default_context(cafile=authority[0] if authority else None),
    "timeout": 60,
    "trust_env": False,
}
with httpx.Client(**options) as client:
    for method in ["Echo", "Fail"]:
        call(client, method, False)
        call(client, method + "Text", True)
