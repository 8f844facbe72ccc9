"""HTTP/2 by httpx, which is h2 and hpack in Python; one connection, one after the other
(httpcore 0.16 waits for ever when streams share a window).

    h2_httpx.py get [--cafile CA] URL TARGET...          keeps answers in files 0, 1, ...
    h2_httpx.py post [--cafile CA] URL FOLDER TARGET...  posts the files of these names
    h2_httpx.py lines [--cafile CA] URL                  a request for each line of stdin

A line is method and target and then names and values of fields, between tabs.
What was sent and got for it is printed as JSON.
"""

import argparse
import asyncio
import json
import os
import ssl
import sys

import httpx

parser = argparse.ArgumentParser()
parser.add_argument("mode")
parser.add_argument("--cafile")
parser.add_argument("url")
parser.add_argument("rest", nargs="*")
arguments = parser.parse_args()


def pairs(headers):
    return [[name.decode().lower(), value.decode()] for name, value in headers.raw]


def lines(client):
    for line in sys.stdin:
        method, target, *fields = line.rstrip("\n").split("\t")
        headers = list(zip(fields[::2], fields[1::2]))
        content = target if method == "POST" else None
        response = client.request(method, target, headers=headers, content=content)
        told = {
            "sent": pairs(response.request.headers),
            "status": response.status_code,
            "fields": pairs(response.headers),
            "body": response.text,
        }
        print(json.dumps(told), flush=True)


async def one_after_the_other(client):
    async with client:
        for number, target in enumerate(targets):
            if arguments.mode == "post":
                name = os.path.basename(target.split("?")[0])
                with open(os.path.join(folder, name), "rb") as file:
                    response = await client.post(target, content=file.read())
            else:
                response = await client.get(target)
            response.raise_for_status()
            with open(str(number), "wb") as file:
                file.write(response.content)


context = ssl.create_default_context(cafile=arguments.cafile)
options = {
    "base_url": arguments.url,
    "http1": False,
    "http2": True,
    "verify": context,
    "timeout": 60,
    "trust_env": False,
    "limits": httpx.Limits(keepalive_expiry=None),
}
if arguments.mode == "lines":
    with httpx.Client(**options) as client:
        lines(client)
else:
    targets = arguments.rest
    if arguments.mode == "post":
        folder, *targets = targets
    asyncio.run(one_after_the_other(httpx.AsyncClient(**options)))
