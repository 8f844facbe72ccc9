"""TLS over sockets whose bytes it counts itself, for tests of connections that are not read.

    talk_tls.py serve CERTIFICATE KEY     prints its port, then a line for each connection
    talk_tls.py ask PORT NAME PROTOCOLS WORD...

A client does what the words say: `get:N` asks for N bytes, `wait` prints the counts and waits for
a line on stdin, `reset` ends with a reset, `leave` closes without reading more. A line of counts is
`WORD SENT RECEIVED PORT`: bytes of TCP payload, the client's port.
"""

import socket
import ssl
import struct
import sys
import threading


class Talk:
    def __init__(self, sock, context, **options):
        self.sock = sock
        self.coming, self.going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.coming, self.going, **options)
        self.sent = self.received = self.calls = 0

    def receive(self):
        # The first bytes in pieces, as libraries read them that take a record's header first.
        self.calls += 1
        piece = self.sock.recv(65536 if self.calls > 8 else (5, 150)[self.calls % 2])
        self.received += len(piece)
        return piece

    def flush(self):
        data = self.going.read()
        if data:
            self.sock.sendall(data)
            self.sent += len(data)

    def do(self, act, *arguments):
        while True:
            try:
                result = act(*arguments)
                self.flush()
                return result
            except ssl.SSLWantReadError:
                self.flush()
                piece = self.receive()
                if piece:
                    self.coming.write(piece)
                else:
                    self.coming.write_eof()

    def end(self):
        self.do(self.tls.unwrap)
        self.sock.shutdown(socket.SHUT_WR)
        while self.receive():
            pass

    def say(self, word, port):
        print(word, self.sent, self.received, port, flush=True)


def answer(sock, port, context):
    talk = Talk(sock, context, server_side=True)
    word = "done"
    try:
        talk.do(talk.tls.do_handshake)
        while size := talk.do(talk.tls.read, 10):
            talk.do(talk.tls.write, b"x" * int(size))
        talk.end()
    except (OSError, ssl.SSLError) as error:
        word = type(error).__name__
    sock.close()
    talk.say(word, port)


def serve(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["http/1.1"])
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        sock, (_, port) = listener.accept()
        threading.Thread(target=answer, args=(sock, port, context), daemon=True).start()


def ask(port, name, protocols, *words):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(protocols.split(","))
    sock = socket.create_connection(("127.0.0.1", int(port)))
    local = sock.getsockname()[1]
    talk = Talk(sock, context, server_hostname=name)
    talk.do(talk.tls.do_handshake)
    for word in words:
        if word == "wait":
            talk.say(word, local)
            sys.stdin.readline()
        elif word == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        elif word == "leave":
            sock.close()
        else:
            left = int(word.removeprefix("get:"))
            talk.do(talk.tls.write, str(left).ljust(10).encode())
            while left:
                left -= len(talk.do(talk.tls.read, left))
    if words[-1] not in ("reset", "leave"):
        talk.end()
        sock.close()
    talk.say("done", local)


{"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
