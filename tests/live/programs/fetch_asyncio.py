"""Fetches URLs of one server by asyncio streams into files 0, 1, 2, …

    fetch_asyncio.py [--cafile FILE] [--connections N] URL…

With --connections that many connections each fetch every URL, at the same
time; the query `?c=NUMBER` tells them apart, and only the first keeps files.
"""

import argparse
import asyncio
import ssl
from urllib.parse import urlsplit

parser = argparse.ArgumentParser()
parser.add_argument("--cafile")
parser.add_argument("--connections", type=int, default=0)
parser.add_argument("urls", nargs="+")
arguments = parser.parse_args()


async def fetch(number, together):
    first = urlsplit(arguments.urls[0])
    context = None
    if first.scheme == "https":
        context = ssl.create_default_context(cafile=arguments.cafile)
    reader, writer = await asyncio.open_connection(first.hostname, first.port, ssl=context)
    # Nobody asks before all are connected.
    await together.wait()
    for index, url in enumerate(arguments.urls):
        parts = urlsplit(url)
        target = parts.path + (f"?c={number}" if arguments.connections else "")
        writer.write(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        fields = dict(
            line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line
        )
        if fields.get(b"transfer-encoding") == b"chunked":
            body = b""
            while size := int((await reader.readline()).split(b";")[0], 16):
                body += await reader.readexactly(size)
                await reader.readline()
            while (await reader.readline()).strip():
                pass
        else:
            body = await reader.readexactly(int(fields[b"content-length"]))
        if number == 0:
            with open(str(index), "wb") as file:
                file.write(body)
    writer.close()
    await writer.wait_closed()


class Barrier:
    """asyncio.Barrier, which only came with Python 3.11."""

    def __init__(self, count):
        self.left, self.event = count, asyncio.Event()

    async def wait(self):
        self.left -= 1
        if self.left == 0:
            self.event.set()
        await self.event.wait()


async def main():
    count = max(arguments.connections, 1)
    barrier = Barrier(count)
    await asyncio.gather(*(fetch(number, barrier) for number in range(count)))


asyncio.run(main())
