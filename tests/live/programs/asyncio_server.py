"""A small asyncio server: TLS through memory BIOs, one thread.

    asyncio_server.py FOLDER ADDRESS PORT [CERTIFICATE KEY]

Serves the files of FOLDER with keep-alive and echoes POST. Prints its port
when it accepts connections.
"""

import asyncio
import os
import ssl
import sys

FOLDER, ADDRESS, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            if method == "GET":
                name = os.path.basename(target.partition("?")[0])
                with open(os.path.join(FOLDER, name), "rb") as file:
                    body = file.read()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
            if fields.get("connection") == "close":
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def main():
    context = None
    if len(sys.argv) > 4:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[4], sys.argv[5])
    server = await asyncio.start_server(
        serve, ADDRESS, PORT, ssl=context, limit=1 << 20, backlog=256
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
