"""gRPC by grpcio, in clear; messages are bytes.

    h2_grpc.py serve          prints its port
    h2_grpc.py call ADDRESS   calls each kind of method once

Test/Unary gives back the message; Test/Down a message for each byte, of the
byte's size; Test/Up all messages as one; Test/Both each message; Test/Fail ends
with NOT_FOUND. The client ends with 1 unless it gets that.
"""

import concurrent.futures
import sys

import grpc


def unary(message, context):
    return message


def down(message, context):
    for size in message:
        yield b"d" * size


def up(messages, context):
    return b"".join(messages)


def both(messages, context):
    yield from messages


def fail(message, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "not here: 50%")


def serve():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Down": grpc.unary_stream_rpc_method_handler(down),
        "Up": grpc.stream_unary_rpc_method_handler(up),
        "Both": grpc.stream_stream_rpc_method_handler(both),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    handler = grpc.method_handlers_generic_handler("httpsniff.Test", handlers)
    server.add_generic_rpc_handlers([handler])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


def call(address):
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        large = b"u" * 100_000
        assert channel.unary_unary("/httpsniff.Test/Unary")(large) == large
        parts = list(channel.unary_stream("/httpsniff.Test/Down")(bytes([0, 1, 200])))
        assert parts == [b"", b"d", b"d" * 200]
        parts = [b"a" * 10, b"b" * 20_000, b""]
        assert channel.stream_unary("/httpsniff.Test/Up")(iter(parts)) == b"".join(parts)
        assert list(channel.stream_stream("/httpsniff.Test/Both")(iter(parts))) == parts
        try:
            channel.unary_unary("/httpsniff.Test/Fail")(b"x")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND
        else:
            sys.exit("no error")


if sys.argv[1] == "serve":
    serve()
else:
    call(sys.argv[2])
