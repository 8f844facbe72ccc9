"""Fetches a URL over an https proxy by asyncio: TLS in TLS, both in memory.

    fetch_tls_in_tls.py CAFILE PROXY_PORT URL

Prints the local address.
"""

import asyncio
import ssl
import sys
from urllib.parse import urlsplit


async def main():
    cafile, proxy, url = sys.argv[1:]
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=cafile)
    reader, writer = await asyncio.open_connection("localhost", int(proxy), ssl=context)
    print("127.0.0.1:%d" % writer.get_extra_info("sockname")[1])
    writer.write(f"CONNECT {parts.netloc} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    await writer.start_tls(context, server_hostname="localhost")
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    await reader.read()
    writer.close()


asyncio.run(main())
