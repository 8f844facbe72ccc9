#!/usr/bin/python3
"""What watching costs a server: `make bench`.

    benches/watched.py [HTTPSNIFF] [--seconds 3] [--rounds 5] [--output json]

nginx with one worker answers wrk on loopback, in clear and inside TLS, with
bodies of 35 B and 16 KiB. Each round measures every case unwatched and
watched, one after the other, so that what else the machine does strikes both;
the order changes from round to round. Printed are medians:

    alone     time per request without httpsniff, at the full speed of wrk
    watched   the same with `httpsniff --pid NGINX`
    factor    the median of the rounds' quotients
    missing   responses that wrk counted and httpsniff did not see
    lost      what httpsniff itself says it lost

Needs root. wrk, nginx and httpsniff share the machine's cores: with few of
them, the time that httpsniff takes to show what it sees is in the figure.
"""

import argparse
import os
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SIZES = [35, 16 * 1024]
WRK_CONNECTIONS = 16


class Nginx:
    """One worker on two ports: clear and TLS."""

    def __init__(self, folder):
        self.ports = {"clear": free_port(), "TLS": free_port()}
        certificate = [
            "openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "1",
            "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost",
            "-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem",
        ]  # fmt: skip
        subprocess.run(certificate, check=True, stderr=subprocess.DEVNULL)
        os.mkdir(f"{folder}/files")
        for size in SIZES:
            with open(f"{folder}/files/{size}", "wb") as file:
                file.write(b"x" * size)
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        )
        with open(f"{folder}/nginx.conf", "w", encoding="ascii") as file:
            file.write(f"""
                daemon off; master_process off; user root; pid {folder}/pid;
                error_log {folder}/error.log;
                events {{ worker_connections 1024; }}
                http {{
                    {temporary}
                    access_log off; sendfile off; keepalive_requests 100000000;
                    open_file_cache max=10;
                    ssl_certificate {folder}/cert.pem;
                    ssl_certificate_key {folder}/key.pem;
                    server {{
                        listen 127.0.0.1:{self.ports["clear"]};
                        listen 127.0.0.1:{self.ports["TLS"]} ssl;
                        root {folder}/files;
                    }}
                }}
            """)
        program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        self.process = subprocess.Popen([program, "-c", f"{folder}/nginx.conf"])
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.ports["TLS"])).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    sys.exit("bench: nginx did not start")
                time.sleep(0.01)

    def url(self, layer, size):
        scheme = "https" if layer == "TLS" else "http"
        return f"{scheme}://127.0.0.1:{self.ports[layer]}/{size}"

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Httpsniff:
    """Watches one process until stopped."""

    def __init__(self, program, pid, output, folder):
        # A named pipe tells without asking: it is readable (or hung up) once
        # httpsniff has opened it, and that is when it captures.
        ready = f"{folder}/ready"
        os.mkfifo(ready)
        pipe = os.open(ready, os.O_RDONLY | os.O_NONBLOCK)
        command = [
            program, "--pid", str(pid), "-o", output, "-O", f"{folder}/out",
            "--ready-file", ready,
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        ended = os.pidfd_open(self.process.pid)
        poll = select.poll()
        poll.register(pipe, select.POLLIN | select.POLLHUP)
        poll.register(ended, select.POLLIN)
        events = dict(poll.poll(60_000))
        os.close(pipe)
        os.close(ended)
        if not events or ended in events:
            self.process.kill()
            sys.exit(f"bench: httpsniff did not start: {self.process.communicate()[1]}")

    def stop(self):
        """What it saw and what it lost, by its own account."""
        self.process.send_signal(signal.SIGINT)
        _, summary = self.process.communicate(timeout=120)
        if self.process.returncode != 0:
            sys.exit(f"bench: httpsniff failed: {summary}")
        seen = re.search(r"([\d,]+) exchanges? seen", summary)
        lost = re.search(r"lost: (.*)", summary)
        if not seen:
            sys.exit(f"bench: no summary: {summary}")
        return int(seen[1].replace(",", "")), lost[1] if lost else ""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wrk(url, seconds):
    """Responses that wrk counted, and microseconds for each."""
    text = subprocess.run(
        ["wrk", "-t1", f"-c{WRK_CONNECTIONS}", f"-d{seconds}s", url],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    count = int(re.search(r"(\d+) requests in", text)[1])
    errors = re.search(r"Socket errors.*|Non-2xx.*", text)
    if errors or count == 0:
        sys.exit(f"bench: wrk: {text}")
    return count, 1e6 / float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])


class Case:
    """A layer and a size, with what its rounds gave."""

    def __init__(self, layer, size):
        self.layer, self.size = layer, size
        self.alone, self.watched, self.factors = [], [], []
        self.requests = self.missing = 0
        self.lost = []

    def measure_alone(self, nginx, seconds):
        self.alone.append(wrk(nginx.url(self.layer, self.size), seconds)[1])

    def measure_watched(self, nginx, arguments):
        with tempfile.TemporaryDirectory(prefix="httpsniff-bench-") as folder:
            watch = Httpsniff(arguments.httpsniff, nginx.process.pid, arguments.output, folder)
            count, each = wrk(nginx.url(self.layer, self.size), arguments.seconds)
            seen, lost = watch.stop()
        self.watched.append(each)
        self.requests += count
        # wrk stops counting while some of its requests are under way, so
        # httpsniff may have seen a few more.
        self.missing += max(0, count - seen)
        if lost:
            self.lost.append(lost)

    def finish_round(self):
        self.factors.append(self.watched[-1] / self.alone[-1])

    def row(self):
        size = f"{self.size} B" if self.size < 1024 else f"{self.size // 1024} KiB"
        return (
            f"{self.layer:6}{size:>8}{statistics.median(self.alone):>10.1f} us"
            f"{statistics.median(self.watched):>10.1f} us{statistics.median(self.factors):>9.2f}"
            f"{self.requests:>12}{self.missing:>10}  {'; '.join(self.lost) or 'nothing'}"
        )


def main():
    parser = argparse.ArgumentParser(description="what watching costs nginx")
    parser.add_argument("httpsniff", nargs="?", default="target/release/httpsniff")
    parser.add_argument("--seconds", type=int, default=3, help="of wrk for each figure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", default="text", choices=["text", "json"])
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench: capturing needs root: run `sudo make bench`")

    cases = [Case(layer, size) for layer in ["clear", "TLS"] for size in SIZES]
    with tempfile.TemporaryDirectory(prefix="httpsniff-bench-") as folder:
        nginx = Nginx(folder)
        try:
            for number in range(arguments.rounds):
                print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
                for case in cases:
                    steps = [
                        lambda case=case: case.measure_alone(nginx, arguments.seconds),
                        lambda case=case: case.measure_watched(nginx, arguments),
                    ]
                    for step in steps if number % 2 == 0 else reversed(steps):
                        step()
                    case.finish_round()
        finally:
            nginx.stop()

    print(f"{'':6}{'answer':>8}{'alone':>13}{'watched':>13}{'factor':>9}{'requests':>12}{'missing':>10}  lost")
    for case in cases:
        print(case.row())
    if any(case.missing for case in cases):
        print("bench: exchanges are missing; at this speed none should be", file=sys.stderr)


if __name__ == "__main__":
    main()
