"""A WebSocket server that echoes, by Hypercorn, which takes WebSockets over HTTP/2
(RFC 8441) by Python's h2 and wsproto.

    websocket_asgi.py LOG [CERTIFICATE KEY]

Into LOG goes a JSON line for each message, as websocket.py has them. Prints its
port, and does not end.
"""

import asyncio
import base64
import json
import socket
import sys

from hypercorn.asyncio import serve
from hypercorn.config import Config

LOG = open(sys.argv[1], "w")


def log(direction, event):
    text = event.get("text")
    data = event["bytes"] if text is None else text.encode()
    line = {
        "direction": direction,
        "type": "binary" if text is None else "text",
        "base64": base64.b64encode(data).decode(),
    }
    print(json.dumps(line), file=LOG, flush=True)


async def app(scope, receive, send):
    if scope["type"] != "websocket":
        raise NotImplementedError
    assert scope["http_version"] == "2", scope
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        log("receive", event)
        answer = {"type": "websocket.send", "text": event["text"], "bytes": event["bytes"]}
        await send(answer)
        log("send", answer)


listener = socket.create_server(("127.0.0.1", 0))
config = Config()
config.bind = [f"fd://{listener.fileno()}"]
config.websocket_max_message_size = 4 << 20
config.errorlog = None
if len(sys.argv) > 2:
    config.certfile, config.keyfile = sys.argv[2:4]
print(listener.getsockname()[1], flush=True)
asyncio.run(serve(app, config))
