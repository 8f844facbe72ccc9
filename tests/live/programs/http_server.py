"""Python's http.server as the live tests use it.

    http_server.py FOLDER ADDRESS PORT [CERTIFICATE KEY]

Serves the files of FOLDER, echoes POST and PUT, and gives /chunked/FILE in
chunks. Prints its port when it accepts connections.
"""

import http.server
import os
import socket
import ssl
import sys

FOLDER, ADDRESS, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Answers go out as they are written, headers and body apart.
    disable_nagle_algorithm = True

    def do_GET(self):
        path = self.path.partition("?")[0]
        chunked = path.startswith("/chunked/")
        try:
            with open(os.path.join(FOLDER, os.path.basename(path)), "rb") as file:
                body = file.read()
        except OSError:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if chunked:
            for start in range(0, len(body), 10_000):
                piece = body[start : start + 10_000]
                self.wfile.write(b"%x;n=v\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\nX-Sum: %d\r\n\r\n" % (sum(body) % 1000))
        else:
            self.wfile.write(body)

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_POST

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def server_bind(self):
        if ":" in ADDRESS:
            # Else ::ffff:127.0.0.1 cannot be bound.
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", self.socket.getsockname()[1]


if ":" in ADDRESS:
    Server.address_family = socket.AF_INET6
server = Server((ADDRESS, PORT), Handler)
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[4], sys.argv[5])
    # The handshake happens in the connection's thread, at its first read.
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
print(server.server_port, flush=True)
server.serve_forever()
