"""A gRPC server that echoes streams, or a client that sends each line of stdin.

grpc_calls.py server | client PORT
"""

import sys
from concurrent import futures

import grpc


def echo(requests, context):
    for request in requests:
        if request == b"fail":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: é")
        yield request


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(1))
    method = grpc.stream_stream_rpc_method_handler(echo)
    handler = grpc.method_handlers_generic_handler("shop.Stock", {"Find": method})
    server.add_generic_rpc_handlers((handler,))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(None).wait()


def call(port):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.stream_stream("/shop.Stock/Find")
        lines = (line.rstrip().encode() for line in sys.stdin)
        try:
            for answer in method(lines):
                print(answer.decode(), flush=True)
        except grpc.RpcError as error:
            print(error.code().name, flush=True)


if sys.argv[1] == "server":
    serve()
else:
    call(sys.argv[2])
