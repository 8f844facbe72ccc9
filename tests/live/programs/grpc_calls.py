"""A gRPC server that echoes streams, or a client that sends each line of stdin.

grpc_calls.py server [CERT KEY] | client PORT [CA]
"""

import sys
from concurrent import futures

import grpc


def echo(requests, context):
    for request in requests:
        if request == b"fail":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: é")
        yield request


def content(path):
    with open(path, "rb") as file:
        return file.read()


def serve(certificate=None, key=None):
    server = grpc.server(futures.ThreadPoolExecutor(1))
    method = grpc.stream_stream_rpc_method_handler(echo)
    handler = grpc.method_handlers_generic_handler("shop.Stock", {"Find": method})
    server.add_generic_rpc_handlers((handler,))
    if certificate:
        credentials = grpc.ssl_server_credentials([(content(key), content(certificate))])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None).wait()


def connect(port, authority=None):
    if authority:
        credentials = grpc.ssl_channel_credentials(content(authority))
        return grpc.secure_channel(f"127.0.0.1:{port}", credentials)
    return grpc.insecure_channel(f"127.0.0.1:{port}")


def call(*server):
    with connect(*server) as channel:
        method = channel.stream_stream("/shop.Stock/Find")
        lines = (line.rstrip().encode() for line in sys.stdin)
        try:
            for answer in method(lines):
                print(answer.decode(), flush=True)
        except grpc.RpcError as error:
            print(error.code().name, flush=True)


if sys.argv[1] == "server":
    serve(*sys.argv[2:])
else:
    call(*sys.argv[2:])
