"""gRPC by grpcio, in clear or inside TLS; messages are bytes.

    h2_grpc.py serve [CERT KEY]             prints its port
    h2_grpc.py call [--cafile CA] ADDRESS   calls each kind of method once
    h2_grpc.py gzip [--cafile CA] ADDRESS   calls one whose messages are compressed
    h2_grpc.py lines [--cafile CA] ADDRESS  calls Unary with each line of stdin

Test/Unary gives back the message; Test/Down a message for each byte, of the
byte's size; Test/Up all messages as one; Test/Both each message; Test/Fail ends
with NOT_FOUND; Test/Gzip gives back all messages, compressed. The client ends with 1 unless it gets that.
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
    context.abort(grpc.StatusCode.NOT_FOUND, "not here: 50% é")


def squeeze(messages, context):
    context.set_compression(grpc.Compression.Gzip)
    yield from messages


def content(path):
    with open(path, "rb") as file:
        return file.read()


def serve(certificate=None, key=None):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Down": grpc.unary_stream_rpc_method_handler(down),
        "Up": grpc.stream_unary_rpc_method_handler(up),
        "Both": grpc.stream_stream_rpc_method_handler(both),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Gzip": grpc.stream_stream_rpc_method_handler(squeeze),
    }
    handler = grpc.method_handlers_generic_handler("httpsniff.Test", handlers)
    server.add_generic_rpc_handlers([handler])
    if certificate:
        credentials = grpc.ssl_server_credentials([(content(key), content(certificate))])
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def channel(arguments):
    address = arguments[-1]
    options = [("grpc.enable_http_proxy", 0)]
    if len(arguments) == 1:
        return grpc.insecure_channel(address, options)
    credentials = grpc.ssl_channel_credentials(content(arguments[1]))
    return grpc.secure_channel(address, credentials, options)


PARTS = [b"a" * 10, b"b" * 20_000, b""]


def call(channel):
    large = b"u" * 100_000
    assert channel.unary_unary("/httpsniff.Test/Unary")(large) == large
    parts = list(channel.unary_stream("/httpsniff.Test/Down")(bytes([0, 1, 200])))
    assert parts == [b"", b"d", b"d" * 200]
    assert channel.stream_unary("/httpsniff.Test/Up")(iter(PARTS)) == b"".join(PARTS)
    assert list(channel.stream_stream("/httpsniff.Test/Both")(iter(PARTS))) == PARTS
    try:
        channel.unary_unary("/httpsniff.Test/Fail")(b"x")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND
        assert error.details() == "not here: 50% é"
    else:
        sys.exit("no error")


def compressed(channel):
    method = channel.stream_stream("/httpsniff.Test/Gzip")
    assert list(method(iter(PARTS), compression=grpc.Compression.Gzip)) == PARTS


def lines(channel):
    method = channel.unary_unary("/httpsniff.Test/Unary")
    for line in sys.stdin:
        print(method(line.rstrip().encode()).decode(), flush=True)


mode, *arguments = sys.argv[1:]
if mode == "serve":
    serve(*arguments)
else:
    with channel(arguments) as connected:
        {"call": call, "gzip": compressed, "lines": lines}[mode](connected)
