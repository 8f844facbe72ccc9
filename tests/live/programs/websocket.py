"""A WebSocket server that echoes, and a client for it, by Python's websockets on
asyncio: TLS goes through memory BIOs.

    websocket.py server MODE LOG [CERTIFICATE KEY]
    websocket.py client MODE LOG URL [CERTIFICATE]

MODE is plain, takeover or alone: without compression, with a context that lasts,
or with one for each message. Into LOG goes a JSON line for each message that this
end sent or received, as the library's user knows them. The server prints its port,
serves one connection and ends. With HOLD in the environment the client prints a
line after some messages and their echoes, and goes on when it gets one. SMALL in the environment is how many small messages
there are, 1000 without it.
"""

import asyncio
import base64
import json
import os
import random
import ssl
import sys

import websockets
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

ROLE, MODE, LOG = sys.argv[1:4]
REST = sys.argv[4:]
SMALL = int(os.environ.get("SMALL", 1000))


class Log:
    def __init__(self):
        self.file = open(LOG, "w")

    def line(self, **fields):
        print(json.dumps(fields), file=self.file, flush=True)

    def message(self, direction, message, kind=None):
        kind = kind or ("text" if isinstance(message, str) else "binary")
        data = message.encode() if isinstance(message, str) else message
        payload = base64.b64encode(data).decode()
        self.line(direction=direction, type=kind, base64=payload)

    def close(self, direction, close):
        self.line(direction=direction, type="close", code=close.code, reason=close.reason)


def options():
    if MODE == "plain":
        return {"compression": None, "max_size": None}
    alone = {
        "server_no_context_takeover": MODE == "alone",
        "client_no_context_takeover": MODE == "alone",
    }
    factory = ServerPerMessageDeflateFactory if ROLE == "server" else ClientPerMessageDeflateFactory
    return {"compression": None, "max_size": None, "extensions": [factory(**alone)]}


async def server():
    log = Log()
    over = asyncio.get_running_loop().create_future()

    async def serve(socket):
        await socket.ping(b"from the server")
        log.message("send", b"from the server", "ping")
        try:
            while True:
                message = await socket.recv()
                log.message("receive", message)
                await socket.send(message)
                log.message("send", message)
        except websockets.ConnectionClosed:
            pass
        log.close("receive", socket.close_rcvd)
        await socket.wait_closed()
        over.set_result(None)

    context = None
    if REST:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*REST)
    async with websockets.serve(serve, "127.0.0.1", 0, ssl=context, **options()) as listener:
        print(listener.sockets[0].getsockname()[1], flush=True)
        await over


async def client():
    log = Log()
    context = ssl.create_default_context(cafile=REST[1]) if len(REST) > 1 else None
    extra = {"ssl": context} if context else {}
    async with websockets.connect(REST[0], **extra, **options()) as socket:

        async def send(message):
            await socket.send(message)
            log.message("send", message)

        async def receive():
            message = await socket.recv()
            log.message("receive", message)

        noise = random.Random(1).randbytes
        if "HOLD" in os.environ:
            for n in range(5):
                await send(json.dumps({"n": -n, "what": "one of many small messages"}))
                await receive()
            print("held", flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        for message in ["Hello", "", "grüße, 世界 🌍", noise(300), noise(1 << 20), "x" * 70000]:
            await send(message)
            await receive()

        async def parts():
            yield "in three "
            await socket.ping(b"between")
            log.message("send", b"between", "ping")
            yield "parts, "
            yield "with a ping between"

        await socket.send(parts())
        log.message("send", "in three parts, with a ping between")
        await receive()
        for n in range(SMALL):
            await send(json.dumps({"n": n, "what": "one of many small messages"}))
        for _ in range(SMALL):
            await receive()
        await socket.close(4001, "enough")
        log.close("send", socket.close_sent)
        log.close("receive", socket.close_rcvd)


asyncio.run(server() if ROLE == "server" else client())
