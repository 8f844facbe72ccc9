"""Serves one event stream: an event for each line on stdin, until its end."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for number, line in enumerate(sys.stdin, 1):
            event = f"event: tick\nid: {number}\ndata: {line.rstrip()}\n\n"
            self.wfile.write(event.encode())

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.handle_request()
