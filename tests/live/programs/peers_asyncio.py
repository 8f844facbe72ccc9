"""Many connections on one thread by asyncio, and who they were with.

    peers_asyncio.py serve LOG PORTS CERTIFICATE KEY
    peers_asyncio.py ask LOG CAFILE CONNECTIONS REQUESTS early|late PORT…

`serve` listens on PORTS ports and prints them. `ask` opens CONNECTIONS
connections to each port and sends REQUESTS requests on each, all connections
at the same time and all requests of one length. `late` opens the connections
and asks once on each before it prints `ready`; `early` prints that first. Then
it waits for a line. A line of LOG is `role local peer target`.
"""

import asyncio
import ssl
import sys

MODE, LOG = sys.argv[1:3]
BODY = b"0123456\n"


class Log:
    def __init__(self, role):
        self.file, self.role = open(LOG, "w", encoding="ascii"), role

    def add(self, writer, target):
        local, peer = (
            "%s:%d" % writer.get_extra_info(name)[:2] for name in ("sockname", "peername")
        )
        if not target.startswith("/warm"):
            print(self.role, local, peer, target, file=self.file, flush=True)


async def answer(log, reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            log.add(writer, head.split(b" ")[1].decode("ascii"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    log = Log("server")
    servers = [
        await asyncio.start_server(
            lambda *both: answer(log, *both), "127.0.0.1", 0, ssl=context, backlog=512
        )
        for _ in range(int(sys.argv[3]))
    ]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()


async def fetch(connection, target):
    reader, writer = connection
    writer.write(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target.encode("ascii"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    await reader.readexactly(len(BODY))


async def ask():
    context = ssl.create_default_context(cafile=sys.argv[3])
    connections, requests = map(int, sys.argv[4:6])
    late, ports = sys.argv[6] == "late", sys.argv[7:] * connections
    log = Log("client")

    async def run(number, port, steps):
        if number not in opened:
            opened[number] = await asyncio.open_connection("localhost", int(port), ssl=context)
        for target in steps:
            log.add(opened[number][1], target)
            await fetch(opened[number], target)

    async def all_of(steps):
        await asyncio.gather(
            *(run(number, port, steps(number)) for number, port in enumerate(ports))
        )

    opened = {}
    if late:
        await all_of(lambda number: [f"/warm{number:05}"])
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await all_of(lambda number: [f"/{number:05}-{step:05}" for step in range(requests)])
    print("done", flush=True)
    # The connections stay open until all has been seen.
    await asyncio.to_thread(sys.stdin.readline)


asyncio.run(serve() if MODE == "serve" else ask())
